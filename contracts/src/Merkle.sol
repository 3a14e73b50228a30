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
        bool possible = index == expectedIndex && index < count;
        bytes32 hash = leaf;
        uint256 width = count;
        uint256 place = index;
        while (possible && width > 1) {
            bool isRight = place % 2 == 1;
            if (isRight || place + 1 < width) {
                if (left == 0) {
                    possible = false;
                    break;
                }
                --left;
                bytes32 sibling = Codec.word(input, cursor);
                hash = isRight
                    ? sha256(abi.encodePacked(uint8(1), sibling, hash))
                    : sha256(abi.encodePacked(uint8(1), hash, sibling));
            }
            place /= 2;
            width = (width + 1) / 2;
        }
        cursor.offset = after_;
        if (!possible || left != 0) return bytes32(0);
        return sha256(abi.encodePacked(uint8(2), uint64(count), hash));
    }
}
