// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Codec, Cursor} from "./Codec.sol";
import {Statements} from "./Statements.sol";

/// A header as a verifier needs it.
struct Header {
    uint64 height;
    uint64 epoch;
    /// In milliseconds since the Unix epoch.
    uint64 timestamp;
    bytes32 namespacesRoot;
    bytes32 nextCommitteeHash;
    /// What is voted on.
    bytes32 hash;
}

/// Headers, committees, and whether over two thirds of the one's stake decided on the other.
library Certificate {
    /// Of another network than this contract's.
    error OtherNetwork(bytes32 found);
    /// Of a protocol that this contract does not know.
    error OtherVersion(uint16 found);
    /// The members are no committee: none, out of ascending order, without stake, or with more than can be added up.
    error NoCommittee();
    /// The header is decided by another committee than the one of its epoch that is known.
    error OtherCommittee(bytes32 expected, bytes32 found);
    /// The certificate is for another block or height than the header's.
    error OtherBlock(bytes32 certified, uint64 height);
    /// No block has the hash zero: these are votes for nil.
    error ZeroBlock();
    /// As many signatures as signers are needed.
    error SignatureCount(uint256 signatures);
    /// A signer beyond the committee.
    error Stranger();
    /// The signature is not the one of the member at this place.
    error BadSignature(uint256 place);
    /// Signed by no more than two thirds of stake.
    error NoQuorum(uint256 signed, uint256 total);

    uint256 internal constant PROTOCOL_VERSION = 1;
    /// Members of a committee.
    uint256 internal constant MAX_COMMITTEE = 1_024;
    /// All stake of a committee.
    uint256 internal constant MAX_STAKE = type(uint64).max / 3;
    /// Bytes of a member: its address and its stake.
    uint256 private constant MEMBER = 28;
    /// Bytes of a header up to its list of signers.
    uint256 private constant FIXED = 318;

    /// Reads a header that names the committee of its epoch as `committeeHash`, which is looked up by epoch.
    function header(bytes32 network, bytes calldata input, Cursor memory cursor)
        internal
        pure
        returns (Header memory read, bytes32 committeeHash)
    {
        uint256 start = cursor.offset;
        cursor.offset = start + FIXED;
        // Advice to proposers: only its form matters.
        signers(input, cursor);
        // All of it is there, now that what stands behind the fixed part was read.
        uint256 version = word(input, start) >> 240;
        if (version != PROTOCOL_VERSION) revert OtherVersion(uint16(version));
        bytes32 found = bytes32(word(input, start + 2));
        if (found != network) revert OtherNetwork(found);
        read.height = uint64(word(input, start + 34) >> 192);
        read.epoch = uint64(word(input, start + 42) >> 192);
        read.timestamp = uint64(word(input, start + 106) >> 192);
        read.namespacesRoot = bytes32(word(input, start + 186));
        committeeHash = bytes32(word(input, start + 254));
        read.nextCommitteeHash = bytes32(word(input, start + 286));
        read.hash = keccak256(input[start:cursor.offset]);
    }

    /// That over two thirds of the stake of `members` (a list as committees are hashed with, without the epoch before it)
    /// precommitted the header: reads the certificate.
    function mustDecide(
        bytes32 separator,
        bytes calldata members,
        Header memory decided,
        bytes calldata input,
        Cursor memory cursor
    ) internal view {
        uint256 start = cursor.offset;
        cursor.offset = start + 44;
        uint256 bitmap = start + 48;
        uint256 length = signers(input, cursor);
        // All of what stands before the set of places is there, now that it was read.
        uint256 height = word(input, start) >> 192;
        uint256 round = uint32(word(input, start + 8) >> 224);
        bytes32 block_ = bytes32(word(input, start + 12));
        if (block_ == bytes32(0)) revert ZeroBlock();
        if (block_ != decided.hash || height != decided.height) revert OtherBlock(block_, uint64(height));
        uint256 left = Codec.length(input, cursor, MAX_COMMITTEE);
        uint256 offset = cursor.offset;
        cursor.offset = offset + 65 * left;
        if (cursor.offset > input.length) revert Codec.Malformed(offset);
        bytes32 digest = Statements.precommit(separator, height, round, block_);
        uint256 total = mustBeCommittee(members);
        uint256 signed = stakeOfSigners(members, input, Votes(digest, bitmap, length, offset, left));
        if (3 * signed <= 2 * total) revert NoQuorum(signed, total);
    }

    /// Signatures over one digest, and whose they are.
    struct Votes {
        bytes32 digest;
        /// Where the set of places stands, and how many bytes it has.
        uint256 bitmap;
        uint256 length;
        /// Where the signatures stand, and how many there are.
        uint256 offset;
        uint256 left;
    }

    /// The stake of the members in a set of places, all of whom have to have signed.
    function stakeOfSigners(bytes calldata members, bytes calldata input, Votes memory votes)
        private
        view
        returns (uint256 signed)
    {
        uint256 size = members.length / MEMBER;
        uint256 places = 8 * votes.length;
        if (places != 0) {
            // The last byte is not zero.
            uint256 last = word(input, votes.bitmap + votes.length - 1) >> 248;
            if (places >= size + 8 || last >> (size + 8 - places) != 0) revert Stranger();
        }
        uint256 highest = Statements.HALF_ORDER;
        uint256 place;
        uint256 signature;
        uint256 end;
        assembly ("memory-safe") {
            let bits
            let bitmap := add(input.offset, mload(add(votes, 32)))
            signature := add(input.offset, mload(add(votes, 96)))
            end := add(signature, mul(65, mload(add(votes, 128))))
            // What is asked: the digest, the parity, and both numbers of the signature.
            let asked := mload(0x40)
            mstore(asked, mload(votes))
            for {} lt(place, places) { place := add(place, 1) } {
                if iszero(and(place, 0xff)) { bits := calldataload(add(bitmap, shr(3, place))) }
                // The lowest bit of each byte stands for the first of its places.
                if iszero(and(shr(xor(and(place, 0xff), 248), bits), 1)) { continue }
                if eq(signature, end) { break }
                let member := calldataload(add(add(members.offset, 4), mul(MEMBER, place)))
                // 27 or 28 is what the precompile takes, and nothing else.
                mstore(add(asked, 32), add(27, byte(0, calldataload(add(signature, 64)))))
                calldatacopy(add(asked, 64), signature, 64)
                mstore(0, 0)
                pop(staticcall(gas(), 1, asked, 128, 0, 32))
                let signer := shr(96, member)
                // Zero is left where nobody has signed. A high s, which the precompile takes, is another form of a signature.
                if or(gt(mload(add(asked, 96)), highest), or(iszero(signer), xor(signer, mload(0)))) { break }
                signed := add(signed, and(shr(32, member), 0xffffffffffffffff))
                signature := add(signature, 65)
            }
        }
        if (place < places && signature != end) revert BadSignature(place);
        if (place < places || signature != end) revert SignatureCount(votes.left);
    }

    /// That a list of members is a committee. Returns its stake.
    function mustBeCommittee(bytes calldata members) internal pure returns (uint256 total) {
        uint256 size = sizeOf(members);
        bool wrong;
        uint256 least;
        uint256 end = 4 + MEMBER * size;
        assembly ("memory-safe") {
            end := add(members.offset, end)
            for { let place := add(members.offset, 4) } lt(place, end) { place := add(place, MEMBER) } {
                let member := calldataload(place)
                let stake := and(shr(32, member), 0xffffffffffffffff)
                member := shr(96, member)
                wrong := or(wrong, or(lt(member, least), iszero(stake)))
                least := add(member, 1)
                total := add(total, stake)
            }
        }
        if (wrong || total > MAX_STAKE) revert NoCommittee();
    }

    /// How many members the list has, which nothing follows.
    function sizeOf(bytes calldata members) private pure returns (uint256 size) {
        Cursor memory cursor;
        size = Codec.length(members, cursor, MAX_COMMITTEE);
        if (size == 0) revert NoCommittee();
        if (members.length != 4 + MEMBER * size) revert Codec.Malformed(4);
    }

    /// A set of places: as many bytes as its last place needs. Returns how many.
    function signers(bytes calldata input, Cursor memory cursor) private pure returns (uint256 length) {
        length = Codec.length(input, cursor, MAX_COMMITTEE / 8);
        cursor.offset += length;
        if (cursor.offset > input.length) revert Codec.Malformed(cursor.offset);
        if (length != 0 && uint8(input[cursor.offset - 1]) == 0) revert Codec.Malformed(cursor.offset - 1);
    }

    /// The word at an offset of which the caller knows that what it takes of it is there.
    function word(bytes calldata input, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(input.offset, offset))
        }
    }
}
