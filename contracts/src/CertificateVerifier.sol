// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Certificate, Header} from "./Certificate.sol";
import {Codec, Cursor} from "./Codec.sol";
import {Merkle} from "./Merkle.sol";
import {Statements} from "./Statements.sol";

/// What a confirmation of tier T2 proves: the transaction's final place.
struct Ordered {
    /// The rollup it is for.
    uint32 namespace;
    /// Until when it could be ordered, in milliseconds of the network's chain time; 0 if it has no end.
    uint64 validUntil;
    /// sha256 of its bytes.
    bytes32 dataHash;
    /// Its id, which covers the three above.
    bytes32 id;
    /// The epoch whose committee answers for it.
    uint64 epoch;
    uint64 height;
    /// The hash of the header at that height.
    bytes32 blockHash;
    /// The header's, in milliseconds since the Unix epoch.
    uint64 timestamp;
    /// The transaction's place among its namespace's in that block, from 0.
    uint64 index;
}

/// Says of confirmations whether over two thirds of the stake of a network's operators signed for them. It starts from one
/// committee that whoever deploys it vouches for, and follows the later ones by proofs, which anybody may bring.
///
/// A committee counts for TRUSTING_PERIOD from the time on at which its stake was last known to be bonded. Later its members
/// may have withdrawn, and whoever holds their keys could sign another history for nothing. So a confirmation is taken in for
/// that long, and once the newest committee is older than that, nothing leads on from it: another contract, started from a
/// newer committee, has to take this one's place. Nobody can put a committee in by hand here, since who could do that could
/// prove anything.
contract CertificateVerifier {
    /// A committee that is known from here on: the first one, or the next.
    event Committee(uint64 indexed epoch, bytes32 hash, uint64 asOf);

    /// Of tier T0 or T1: no final place is shown.
    error NotOrdered(uint8 tier);
    /// No committee of this epoch is known: later ones come by `advance`.
    error UnknownEpoch(uint64 epoch);
    /// The committee given is another one than the one of its epoch that is known.
    error WrongCommittee(bytes32 expected, bytes32 found);
    /// The committee's stake may have been withdrawn since.
    error Stale(uint64 epoch, uint64 asOf);
    /// The committee's time lies ahead of this chain's.
    error Future(uint64 epoch, uint64 asOf);
    /// A proof of the committee after `found`, where one of the committee after `expected` is needed.
    error WrongEpoch(uint64 expected, uint64 found);
    /// The members are not those that the header commits to.
    error WrongNextCommittee(bytes32 committed, bytes32 found);
    /// A validity of 0 stands for none and is never written out.
    error ZeroValidity();
    /// The block holds nothing of the namespace, if the proof holds.
    error Absent(uint32 namespace);
    /// The proof is about another namespace than the transaction's.
    error OtherNamespace(uint32 found);
    /// The namespace's leaf does not stand under the header's root.
    error BadNamespacePath();
    /// The transaction does not stand under its namespace's root.
    error BadTransactionPath();

    /// How long a committee counts after its stake was last known to be bonded, in milliseconds: half of what leaving takes.
    uint256 public constant TRUSTING_PERIOD = 7 days * 1_000;
    /// How far ahead of this chain's clock a committee's time may lie, in milliseconds.
    uint256 public constant CLOCK_SLACK = 60_000;

    /// The network's id: keccak256 of its genesis.
    bytes32 public immutable network;
    /// The EIP-712 domain of the network's statements.
    bytes32 private immutable separator;
    /// The highest epoch whose committee is known.
    uint64 public newest;
    mapping(uint64 epoch => bytes32) private hashes;
    /// Four epochs' times in a word: a fresh word costs as much as seven signatures.
    mapping(uint64 quarter => uint256) private times;

    /// Trusts a committee by its hash, as pins name it: of an epoch, its stake last known to be bonded at `asOf`, in
    /// milliseconds since the Unix epoch.
    constructor(bytes32 network_, uint64 epoch, bytes32 committeeHash, uint64 asOf) {
        if (committeeHash == bytes32(0)) revert UnknownEpoch(epoch);
        mustBeFresh(epoch, asOf);
        network = network_;
        separator = Statements.domain(network_);
        newest = epoch;
        learn(epoch, committeeHash, asOf);
    }

    /// The hash of an epoch's committee, and when its stake was last known to be bonded, in milliseconds since the Unix epoch.
    /// Both are 0 if it is not known.
    function committee(uint64 epoch) public view returns (bytes32 hash, uint64 asOf) {
        return (hashes[epoch], uint64(times[epoch / 4] >> (64 * (epoch % 4))));
    }

    /// What a confirmation proves, in its canonical bytes and with those of the committee of its epoch. Reverts if it proves
    /// nothing. That the transaction is the caller's own is for the caller to see: by `dataHash`, which is sha256 of its bytes.
    function verify(bytes calldata confirmation, bytes calldata committee_)
        external
        view
        returns (Ordered memory shown)
    {
        Cursor memory cursor;
        bytes32 found = Codec.word(confirmation, cursor);
        if (found != network) revert Certificate.OtherNetwork(found);
        transaction(confirmation, cursor, shown);
        uint256 tier = Codec.number(confirmation, cursor, 1);
        if (tier > 2) revert Codec.Malformed(cursor.offset - 1);
        if (tier != 2) revert NotOrdered(uint8(tier));
        Header memory header = decided(confirmation, cursor, committee_);
        place(confirmation, cursor, shown, header.namespacesRoot);
        Codec.end(confirmation, cursor);
        (shown.epoch, shown.height) = (header.epoch, header.height);
        (shown.blockHash, shown.timestamp) = (header.hash, header.timestamp);
    }

    /// Follows from the newest committee, whose canonical bytes come first, along proofs of the ones after it, in canonical
    /// bytes, one an epoch. Anybody may call it: what the proofs show, they show whoever brings them.
    function advance(bytes calldata committee_, bytes[] calldata proofs) external {
        uint64 epoch = newest;
        (bytes32 hash, uint64 asOf) = committee(epoch);
        bytes calldata members = membersOf(committee_, epoch, hash);
        for (uint256 i = 0; i < proofs.length; ++i) {
            mustBeFresh(epoch, asOf);
            Header memory header;
            (header, members) = next(proofs[i], epoch, hash, members);
            (epoch, hash, asOf) = (epoch + 1, header.nextCommitteeHash, header.timestamp);
            mustHaveBeen(epoch, asOf);
            learn(epoch, hash, asOf);
        }
        newest = epoch;
    }

    /// The header that fixes the committee after an epoch's, and that committee's members.
    function next(bytes calldata proof, uint64 epoch, bytes32 hash, bytes calldata members)
        private
        view
        returns (Header memory header, bytes calldata following)
    {
        Cursor memory cursor;
        bytes32 named;
        (header, named) = Certificate.header(network, proof, cursor);
        if (header.epoch != epoch) revert WrongEpoch(epoch, header.epoch);
        if (named != hash) revert Certificate.OtherCommittee(hash, named);
        Certificate.mustDecide(separator, members, header, proof, cursor);
        following = proof[cursor.offset:];
        Certificate.mustBeCommittee(following);
        bytes32 found = keccak256(abi.encodePacked(epoch + 1, following));
        if (found != header.nextCommitteeHash) revert WrongNextCommittee(header.nextCommitteeHash, found);
    }

    /// Reads a header and its certificate, which the committee of its epoch has to have signed.
    function decided(bytes calldata input, Cursor memory cursor, bytes calldata committee_)
        private
        view
        returns (Header memory header)
    {
        bytes32 named;
        (header, named) = Certificate.header(network, input, cursor);
        (bytes32 hash, uint64 asOf) = committee(header.epoch);
        if (hash == bytes32(0)) revert UnknownEpoch(header.epoch);
        mustBeFresh(header.epoch, asOf);
        if (named != hash) revert Certificate.OtherCommittee(hash, named);
        Certificate.mustDecide(separator, membersOf(committee_, header.epoch, hash), header, input, cursor);
    }

    /// Reads what the transaction's id covers.
    function transaction(bytes calldata input, Cursor memory cursor, Ordered memory shown) private pure {
        shown.namespace = uint32(Codec.number(input, cursor, 4));
        if (Codec.flag(input, cursor)) {
            shown.validUntil = uint64(Codec.number(input, cursor, 8));
            // Zero and none give one id.
            if (shown.validUntil == 0) revert ZeroValidity();
        }
        shown.dataHash = Codec.word(input, cursor);
        shown.id = sha256(abi.encodePacked(uint8(0), shown.namespace, shown.validUntil, shown.dataHash));
    }

    /// Reads the paths from a header's root down to the transaction.
    function place(bytes calldata input, Cursor memory cursor, Ordered memory shown, bytes32 root) private pure {
        if (Codec.flag(input, cursor)) revert Absent(shown.namespace);
        uint256 start = cursor.offset;
        uint256 namespace = Codec.number(input, cursor, 4);
        if (namespace != shown.namespace) revert OtherNamespace(uint32(namespace));
        uint256 transactions = Codec.number(input, cursor, 4);
        bytes32 transactionsRoot = Codec.word(input, cursor);
        bytes32 leaf = sha256(abi.encodePacked(uint8(0), input[start:cursor.offset]));
        (bool holds,,) = path(input, cursor, leaf, root);
        if (!holds) revert BadNamespacePath();
        uint256 leaves;
        (holds, shown.index, leaves) = path(input, cursor, shown.id, transactionsRoot);
        if (!holds || leaves != transactions) revert BadTransactionPath();
    }

    /// Reads a path: whether it leads from a leaf to a root, at which place, and among how many.
    function path(bytes calldata input, Cursor memory cursor, bytes32 leaf, bytes32 root)
        private
        pure
        returns (bool holds, uint64 index, uint256 leaves)
    {
        // If they are not there, the path is not either.
        uint256 both = Certificate.word(input, cursor.offset);
        (index, leaves) = (uint64(both >> 192), uint64(both >> 128));
        bytes32 found = Merkle.root(input, cursor, leaf, index);
        // An impossible path leads to zero, and nothing keeps a liar from signing that.
        holds = found == root && found != bytes32(0);
    }

    /// The members in a committee's canonical bytes, which have to be those that the hash is of.
    function membersOf(bytes calldata committee_, uint64 epoch, bytes32 hash) private pure returns (bytes calldata) {
        bytes32 found = keccak256(committee_);
        if (found != hash) revert WrongCommittee(hash, found);
        // Only the first one's hash was ever taken on trust.
        Cursor memory cursor;
        if (Codec.number(committee_, cursor, 8) != epoch) revert Certificate.NoCommittee();
        return committee_[8:];
    }

    function learn(uint64 epoch, bytes32 hash, uint64 asOf) private {
        hashes[epoch] = hash;
        // Each epoch is learned once, so its place is zero.
        times[epoch / 4] |= uint256(asOf) << (64 * (epoch % 4));
        emit Committee(epoch, hash, asOf);
    }

    function mustBeFresh(uint64 epoch, uint64 asOf) private view {
        mustHaveBeen(epoch, asOf);
        if (asOf + TRUSTING_PERIOD < block.timestamp * 1_000) revert Stale(epoch, asOf);
    }

    function mustHaveBeen(uint64 epoch, uint64 asOf) private view {
        if (asOf > block.timestamp * 1_000 + CLOCK_SLACK) revert Future(epoch, asOf);
    }
}
