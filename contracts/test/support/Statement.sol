// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Statements} from "../../src/Statements.sol";
import {vm} from "./Vm.sol";

/// Statements as operators sign and encode them.
library Statement {
    function vote(uint256 key, bytes32 network, bool precommit, uint64 height, uint32 round, bytes32 block_)
        internal
        pure
        returns (bytes memory)
    {
        bytes32 typeHash = precommit
            ? keccak256("Precommit(uint64 height,uint32 round,bytes32 block)")
            : keccak256("Prevote(uint64 height,uint32 round,bytes32 block)");
        bytes memory named = block_ == 0 ? bytes(hex"00") : abi.encodePacked(uint8(1), block_);
        return abi.encodePacked(
            precommit,
            height,
            round,
            named,
            signed(key, network, keccak256(abi.encode(typeHash, height, round, block_)))
        );
    }

    function proposal(uint256 key, bytes32 network, uint64 height, uint32 round, bytes32 block_)
        internal
        pure
        returns (bytes memory)
    {
        bytes32 typeHash = keccak256("Proposal(uint64 height,uint32 round,uint64 validRoundPlusOne,bytes32 block)");
        bytes32 hash = keccak256(abi.encode(typeHash, height, round, uint64(0), block_));
        return abi.encodePacked(height, round, uint8(0), block_, signed(key, network, hash));
    }

    struct Header {
        uint64 epoch;
        uint64 sequence;
        bytes32 parent;
        bytes32 payload;
    }

    function header(uint256 key, bytes32 network, Header memory of_) internal pure returns (bytes memory, bytes32 id) {
        bytes32 typeHash = keccak256(
            "BatchHeader(address operator,uint64 epoch,uint64 sequence,bytes32 parent,bytes32 payload,bytes32 transactionsRoot,uint32 count,uint32 bytes)"
        );
        id = keccak256(
            bytes.concat(
                abi.encode(typeHash, vm.addr(key), of_.epoch, of_.sequence),
                abi.encode(of_.parent, of_.payload, bytes32(0), uint32(1), uint32(9))
            )
        );
        bytes memory fields = abi.encodePacked(
            vm.addr(key), of_.epoch, of_.sequence, of_.parent, of_.payload, bytes32(0), uint32(1), uint32(9)
        );
        return (bytes.concat(fields, signed(key, network, id)), id);
    }

    /// An ack of one lane and the path of its only entry.
    function ack(uint256 key, bytes32 network, uint64 epoch, uint64 counter, uint64 sequence, bytes32 batch)
        internal
        pure
        returns (bytes memory)
    {
        bytes32 leaf = sha256(abi.encodePacked(uint8(0), uint16(0), sequence, batch));
        bytes32 root = sha256(abi.encodePacked(uint8(2), uint64(1), leaf));
        bytes32 hash =
            keccak256(abi.encode(keccak256("Ack(uint64 epoch,uint64 counter,bytes32 root)"), epoch, counter, root));
        return abi.encodePacked(
            uint16(0),
            epoch,
            counter,
            root,
            signed(key, network, hash),
            abi.encodePacked(sequence, batch, uint64(0), uint64(1), uint32(0))
        );
    }

    function signed(uint256 key, bytes32 network, bytes32 hash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", Statements.domain(network), hash)));
        return abi.encodePacked(vm.addr(key), r, s, v - 27);
    }

    /// Two of a signer's contradictions of each kind: `kind` as evidence numbers them.
    function contradiction(uint8 kind, uint256 key, bytes32 network, uint64 height)
        internal
        pure
        returns (bytes memory)
    {
        (bytes32 one, bytes32 other) = (keccak256("one"), keccak256("other"));
        if (kind == 0) {
            return abi.encodePacked(
                kind, vote(key, network, true, height, 0, one), vote(key, network, true, height, 0, other)
            );
        }
        if (kind == 1) {
            return
                abi.encodePacked(kind, proposal(key, network, height, 0, one), proposal(key, network, height, 0, other));
        }
        (bytes memory first, bytes32 firstId) = header(key, network, Header(height, 0, 0, one));
        (bytes memory second, bytes32 secondId) = header(key, network, Header(height, 0, 0, other));
        if (kind == 2) return abi.encodePacked(kind, first, second);
        return abi.encodePacked(
            kind,
            ack(key, network, height, 1, 0, firstId),
            ack(key, network, height, 2, 0, secondId),
            uint16(0),
            uint32(1),
            second
        );
    }
}
