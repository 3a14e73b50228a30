// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

/// What the clients deploy: a value, an event, and the two kinds of revert reason.
contract Counter {
    event Counted(address indexed by, uint256 value);

    error TooFar(uint256 asked, uint256 limit);

    uint256 public value;

    constructor(uint256 start) {
        value = start;
    }

    function add(uint256 by) external {
        require(by != 0, "nothing to add");
        if (by > 100) revert TooFar(by, 100);
        value += by;
        emit Counted(msg.sender, value);
    }
}
