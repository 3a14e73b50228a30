// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Codec, Cursor} from "./Codec.sol";

/// sha256 merkle trees in the shape of RFC 6962: leaf and node tags, and the number of leaves bound into the root.
library Merkle {
    /// The longest path that is read.
    uint256 internal constant MAX_SIBLINGS = 64;

    /// The root that a path (index, count, siblings) leads to from a leaf; zero if its shape is impossible. The siblings are
    /// read off as they are used.
    function root(bytes calldata input, Cursor memory cursor, bytes32 leaf, uint256 expectedIndex)
        internal
        pure
        returns (bytes32)
    {
        uint256 index = Codec.number(input, cursor, 8);
        uint256 count = Codec.number(input, cursor, 8);
        uint256 left = Codec.length(input, cursor, MAX_SIBLINGS);
        uint256 after_ = cursor.offset + 32 * left;
        if (after_ > input.length) revert Codec.Malformed(cursor.offset);
        uint256 next = cursor.offset;
        cursor.offset = after_;
        if (index != expectedIndex || index >= count) return bytes32(0);
        bytes32 hash = leaf;
        // One piece of memory for all nodes: their tag and two hashes.
        bytes memory node = abi.encodePacked(uint8(1), hash, hash);
        unchecked {
            for (
                (uint256 place, uint256 width) = (index, count);
                width > 1;
                (place, width) = (place / 2, (width + 1) / 2)
            ) {
                bool isRight = place % 2 == 1;
                // An odd last one is passed up.
                if (!isRight && place + 1 == width) continue;
                if (left == 0) return bytes32(0);
                --left;
                assembly ("memory-safe") {
                    let first := add(node, 33)
                    mstore(add(first, mul(32, isRight)), hash)
                    calldatacopy(add(first, mul(32, iszero(isRight))), add(input.offset, next), 32)
                    next := add(next, 32)
                }
                hash = sha256(node);
            }
        }
        if (left != 0) return bytes32(0);
        return sha256(abi.encodePacked(uint8(2), uint64(count), hash));
    }
}
