// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Codec, Cursor} from "./Codec.sol";
import {Merkle} from "./Merkle.sol";
import {Ack, Batch, Said, Statements} from "./Statements.sol";

/// Two statements of one operator that no honest operator makes, judged from their bytes alone: what decides is which digests
/// were signed in one slot. Two precommits of different rounds are no evidence, nor is silence, slowness or a block that was
/// not extended.
library Evidence {
    /// The statements do not contradict one another.
    error NoConflict();
    /// A signature is not its signer's.
    error BadSignature(address signer);
    /// The statements are by two operators.
    error TwoSigners(address first, address second);

    /// The longest chain of headers between two acks.
    uint256 internal constant MAX_HEADERS = 4_096;

    /// Whom the evidence accuses, and of what: one incident has one id, whoever proves it and however.
    function judge(bytes32 network, bytes calldata evidence)
        internal
        pure
        returns (address operator, bytes32 incident)
    {
        bytes32 separator = Statements.domain(network);
        Cursor memory cursor;
        uint256 kind = Codec.number(evidence, cursor, 1);
        bytes32 slot;
        if (kind == 0) {
            Said memory first = Statements.vote(separator, evidence, cursor);
            Said memory second = Statements.vote(separator, evidence, cursor);
            (operator, slot) = differ(first, second);
        } else if (kind == 1) {
            Said memory first = Statements.proposal(separator, evidence, cursor);
            Said memory second = Statements.proposal(separator, evidence, cursor);
            (operator, slot) = differ(first, second);
        } else if (kind == 2) {
            (operator, slot) = batches(separator, evidence, cursor);
        } else if (kind == 3) {
            (operator, slot) = acks(separator, evidence, cursor);
        } else {
            revert Codec.Malformed(0);
        }
        Codec.end(evidence, cursor);
        incident = keccak256(abi.encode(network, operator, slot));
    }

    /// One signer, one slot, two digests.
    function differ(Said memory first, Said memory second) private pure returns (address, bytes32) {
        if (first.slot != second.slot || first.digest == second.digest) revert NoConflict();
        return (oneSigner(first, second), first.slot);
    }

    function oneSigner(Said memory first, Said memory second) private pure returns (address) {
        if (first.signer != second.signer) revert TwoSigners(first.signer, second.signer);
        mustHold(first);
        mustHold(second);
        return first.signer;
    }

    function mustHold(Said memory said) private pure {
        if (!Statements.holds(said)) revert BadSignature(said.signer);
    }

    function batches(bytes32 separator, bytes calldata evidence, Cursor memory cursor)
        private
        pure
        returns (address, bytes32)
    {
        (Said memory first, Batch memory batch) = Statements.batchHeader(separator, evidence, cursor);
        (Said memory second,) = Statements.batchHeader(separator, evidence, cursor);
        // Only a lane's author may sign in it.
        if (first.signer != batch.operator) revert NoConflict();
        return differ(first, second);
    }

    /// What an ack says of one lane.
    struct Covered {
        Said said;
        uint64 epoch;
        uint64 sequence;
        bytes32 batch;
        bytes32 root;
        /// Where its path stands in the input.
        uint256 path;
    }

    function acks(bytes32 separator, bytes calldata evidence, Cursor memory cursor)
        private
        pure
        returns (address operator, bytes32 slot)
    {
        Covered memory lower = covered(separator, evidence, cursor);
        Covered memory higher = covered(separator, evidence, cursor);
        uint256 lane = Codec.number(evidence, cursor, 2);
        if (lower.epoch != higher.epoch || lower.sequence > higher.sequence) revert NoConflict();
        leadsToRoot(lower, evidence, lane);
        leadsToRoot(higher, evidence, lane);
        (address author, bytes32 other) = chain(separator, evidence, cursor, lower, higher);
        if (other == lower.batch) revert NoConflict();
        operator = oneSigner(lower.said, higher.said);
        slot = keccak256(abi.encode(lower.said.slot, author, lower.epoch, lower.sequence));
    }

    function covered(bytes32 separator, bytes calldata evidence, Cursor memory cursor)
        private
        pure
        returns (Covered memory proof)
    {
        // The validator's place: advice for whoever looks it up.
        Codec.number(evidence, cursor, 2);
        Ack memory ack;
        (proof.said, ack) = Statements.ack(separator, evidence, cursor);
        proof.epoch = ack.epoch;
        proof.root = ack.root;
        proof.sequence = uint64(Codec.number(evidence, cursor, 8));
        proof.batch = Codec.word(evidence, cursor);
        proof.path = cursor.offset;
        cursor.offset += 16;
        cursor.offset += 32 * Codec.length(evidence, cursor, Merkle.MAX_SIBLINGS);
    }

    function leadsToRoot(Covered memory proof, bytes calldata evidence, uint256 lane) private pure {
        bytes32 leaf = sha256(abi.encodePacked(uint8(0), uint16(lane), proof.sequence, proof.batch));
        bytes32 found = Merkle.root(evidence, Cursor(proof.path), leaf, lane);
        // An impossible path leads to zero, and nothing keeps a liar from signing that.
        if (found == bytes32(0) || found != proof.root) revert NoConflict();
    }

    /// Follows the author's headers from the lower tip's place up to the higher tip. Returns the author and the batch that
    /// stands at the lower tip's place under the higher tip.
    function chain(
        bytes32 separator,
        bytes calldata evidence,
        Cursor memory cursor,
        Covered memory lower,
        Covered memory higher
    ) private pure returns (address author, bytes32 first) {
        uint256 count = Codec.length(evidence, cursor, MAX_HEADERS);
        if (count == 0) revert NoConflict();
        bytes32 last;
        uint64 sequence;
        for (uint256 i = 0; i < count; ++i) {
            (Said memory said, Batch memory batch) = Statements.batchHeader(separator, evidence, cursor);
            bool follows =
                i == 0 ? batch.sequence == lower.sequence : batch.parent == last && batch.sequence == sequence + 1;
            if (!follows || batch.epoch != lower.epoch || said.signer != batch.operator) revert NoConflict();
            mustHold(said);
            if (i == 0) (author, first) = (batch.operator, batch.id);
            (last, sequence) = (batch.id, batch.sequence);
        }
        if (last != higher.batch || sequence != higher.sequence) revert NoConflict();
    }
}
