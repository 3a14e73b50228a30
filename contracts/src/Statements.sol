// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Codec, Cursor} from "./Codec.sol";

/// A signed statement that was read: what its signature has to cover, and the slot in which its signer may say one thing.
struct Said {
    /// The EIP-712 digest.
    bytes32 digest;
    /// The kind of statement and everything that tells one slot of it from another.
    bytes32 slot;
    /// Who is said to have signed.
    address signer;
    bytes32 r;
    bytes32 s;
    uint8 v;
}

/// A batch header as evidence needs it.
struct Batch {
    address operator;
    uint64 epoch;
    uint64 sequence;
    bytes32 parent;
    /// The EIP-712 struct hash.
    bytes32 id;
}

/// An ack as evidence needs it.
struct Ack {
    uint64 epoch;
    bytes32 root;
}

/// What operators sign, and whether they did.
library Statements {
    bytes32 private constant DOMAIN = keccak256("EIP712Domain(string name,string version,bytes32 salt)");
    bytes32 private constant PREVOTE = keccak256("Prevote(uint64 height,uint32 round,bytes32 block)");
    bytes32 private constant PRECOMMIT = keccak256("Precommit(uint64 height,uint32 round,bytes32 block)");
    bytes32 private constant PROPOSAL =
        keccak256("Proposal(uint64 height,uint32 round,uint64 validRoundPlusOne,bytes32 block)");
    bytes32 private constant BATCH_HEADER = keccak256(
        "BatchHeader(address operator,uint64 epoch,uint64 sequence,bytes32 parent,bytes32 payload,bytes32 transactionsRoot,uint32 count,uint32 bytes)"
    );
    bytes32 private constant ACK = keccak256("Ack(uint64 epoch,uint64 counter,bytes32 root)");

    /// Half of secp256k1's group order. Above it lies the second form of each signature, which `ecrecover` takes.
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// The domain of a network, which is the hash of its genesis.
    function domain(bytes32 network) internal pure returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("SQUAD"), keccak256("1"), network));
    }

    /// Whether the signature is its signer's.
    function holds(Said memory said) internal pure returns (bool) {
        return said.signer != address(0) && ecrecover(said.digest, said.v, said.r, said.s) == said.signer;
    }

    /// What a precommit for a block signs.
    function precommit(bytes32 separator, uint256 height, uint256 round, bytes32 block_)
        internal
        pure
        returns (bytes32)
    {
        bytes32 structHash = keccak256(abi.encode(PRECOMMIT, height, round, block_));
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function vote(bytes32 separator, bytes calldata input, Cursor memory cursor) internal pure returns (Said memory) {
        uint256 kind = Codec.number(input, cursor, 1);
        if (kind > 1) revert Codec.Malformed(cursor.offset - 1);
        bytes32 kindHash = kind == 0 ? PREVOTE : PRECOMMIT;
        uint256 height = Codec.number(input, cursor, 8);
        uint256 round = Codec.number(input, cursor, 4);
        bytes32 block_ = bytes32(0);
        if (Codec.flag(input, cursor)) {
            block_ = Codec.word(input, cursor);
            // Nil is signed as zero: a vote for a block of that hash would be everybody's vote for nil.
            if (block_ == bytes32(0)) revert Codec.Malformed(cursor.offset - 32);
        }
        bytes32 slot = keccak256(abi.encode(kindHash, height, round));
        return signed(separator, keccak256(abi.encode(kindHash, height, round, block_)), slot, input, cursor);
    }

    function proposal(bytes32 separator, bytes calldata input, Cursor memory cursor)
        internal
        pure
        returns (Said memory)
    {
        uint256 height = Codec.number(input, cursor, 8);
        uint256 round = Codec.number(input, cursor, 4);
        uint256 validRoundPlusOne = Codec.flag(input, cursor) ? Codec.number(input, cursor, 4) + 1 : 0;
        bytes32 block_ = Codec.word(input, cursor);
        bytes32 hash = keccak256(abi.encode(PROPOSAL, height, round, validRoundPlusOne, block_));
        return signed(separator, hash, keccak256(abi.encode(PROPOSAL, height, round)), input, cursor);
    }

    function batchHeader(bytes32 separator, bytes calldata input, Cursor memory cursor)
        internal
        pure
        returns (Said memory, Batch memory)
    {
        Batch memory batch;
        batch.operator = Codec.account(input, cursor);
        batch.epoch = uint64(Codec.number(input, cursor, 8));
        batch.sequence = uint64(Codec.number(input, cursor, 8));
        batch.parent = Codec.word(input, cursor);
        batch.id = batchId(batch, input, cursor);
        bytes32 slot = keccak256(abi.encode(BATCH_HEADER, batch.operator, batch.epoch, batch.sequence));
        return (signed(separator, batch.id, slot, input, cursor), batch);
    }

    function batchId(Batch memory batch, bytes calldata input, Cursor memory cursor) private pure returns (bytes32) {
        bytes32 payload = Codec.word(input, cursor);
        bytes32 transactionsRoot = Codec.word(input, cursor);
        uint256 count = Codec.number(input, cursor, 4);
        uint256 bytes_ = Codec.number(input, cursor, 4);
        return keccak256(
            abi.encode(
                BATCH_HEADER,
                batch.operator,
                batch.epoch,
                batch.sequence,
                batch.parent,
                payload,
                transactionsRoot,
                count,
                bytes_
            )
        );
    }

    function ack(bytes32 separator, bytes calldata input, Cursor memory cursor)
        internal
        pure
        returns (Said memory, Ack memory)
    {
        uint256 epoch = Codec.number(input, cursor, 8);
        uint256 counter = Codec.number(input, cursor, 8);
        bytes32 root = Codec.word(input, cursor);
        // An ack's slots are the places in lanes that it covers; whoever compares two of them names the place.
        Said memory said = signed(separator, keccak256(abi.encode(ACK, epoch, counter, root)), ACK, input, cursor);
        return (said, Ack(uint64(epoch), root));
    }

    function signed(bytes32 separator, bytes32 structHash, bytes32 slot, bytes calldata input, Cursor memory cursor)
        private
        pure
        returns (Said memory said)
    {
        said.digest = keccak256(abi.encodePacked(hex"1901", separator, structHash));
        said.slot = slot;
        said.signer = Codec.account(input, cursor);
        said.r = Codec.word(input, cursor);
        said.s = Codec.word(input, cursor);
        if (uint256(said.s) > HALF_ORDER) revert Codec.Malformed(cursor.offset - 32);
        uint256 parity = Codec.number(input, cursor, 1);
        if (parity > 1) revert Codec.Malformed(cursor.offset - 1);
        said.v = uint8(27 + parity);
    }
}
