// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Evidence} from "./Evidence.sol";

/// Judges evidence against operators of one network. Reads no state: what it says of some bytes, it says for ever.
contract EvidenceVerifier {
    /// The network's id: keccak256 of its genesis.
    bytes32 public immutable network;

    constructor(bytes32 network_) {
        network = network_;
    }

    /// Whom the evidence accuses and the id of the incident, which all evidence of one slot shares. Reverts if it proves nothing.
    function judge(bytes calldata evidence) external view returns (address operator, bytes32 incident) {
        return Evidence.judge(network, evidence);
    }
}
