// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// Where reading has got to.
struct Cursor {
    uint256 offset;
}

/// Reads the canonical binary form of the network's messages: big-endian, length-prefixed, bounded, one encoding a value.
/// What this takes is what operators take, byte for byte.
library Codec {
    /// The bytes are no value, from there on.
    error Malformed(uint256 offset);

    /// An unsigned integer of `size` bytes, at most 32.
    function number(bytes calldata input, Cursor memory cursor, uint256 size) internal pure returns (uint256 value) {
        uint256 offset = cursor.offset;
        if (offset + size > input.length) revert Malformed(offset);
        assembly ("memory-safe") {
            value := shr(sub(256, mul(8, size)), calldataload(add(input.offset, offset)))
        }
        cursor.offset = offset + size;
    }

    function word(bytes calldata input, Cursor memory cursor) internal pure returns (bytes32) {
        return bytes32(number(input, cursor, 32));
    }

    function account(bytes calldata input, Cursor memory cursor) internal pure returns (address) {
        return address(uint160(number(input, cursor, 20)));
    }

    /// A byte that says whether something follows: 0 or 1.
    function flag(bytes calldata input, Cursor memory cursor) internal pure returns (bool) {
        uint256 value = number(input, cursor, 1);
        if (value > 1) revert Malformed(cursor.offset - 1);
        return value == 1;
    }

    /// The length of a list of at most `most` items.
    function length(bytes calldata input, Cursor memory cursor, uint256 most) internal pure returns (uint256 value) {
        value = number(input, cursor, 4);
        if (value > most) revert Malformed(cursor.offset - 4);
    }

    /// Everything must have been read.
    function end(bytes calldata input, Cursor memory cursor) internal pure {
        if (cursor.offset != input.length) revert Malformed(cursor.offset);
    }
}
