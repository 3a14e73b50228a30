// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EvidenceVerifier} from "../src/EvidenceVerifier.sol";
import {Codec} from "../src/Codec.sol";
import {Evidence} from "../src/Evidence.sol";
import {Statements} from "../src/Statements.sol";

/// What forge lets a test do.
interface Vm {
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata expected) external;
    function expectRevert() external;
}

contract EvidenceVerifierTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 private constant NETWORK = keccak256("a network");
    uint256 private constant KEY = 0xA11CE;
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    EvidenceVerifier private verifier;

    function setUp() public {
        verifier = new EvidenceVerifier(NETWORK);
    }

    function structHash(uint8 kind, uint64 height, uint32 round, bytes32 block_) private pure returns (bytes32) {
        bytes32 typeHash = kind == 0
            ? keccak256("Prevote(uint64 height,uint32 round,bytes32 block)")
            : keccak256("Precommit(uint64 height,uint32 round,bytes32 block)");
        return keccak256(abi.encode(typeHash, height, round, block_));
    }

    function vote(uint256 key, bytes32 network, uint8 kind, uint64 height, uint32 round, bytes32 block_)
        private
        pure
        returns (bytes memory)
    {
        bytes32 hash = structHash(kind, height, round, block_);
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", Statements.domain(network), hash)));
        bytes memory named = block_ == 0 ? bytes(hex"00") : abi.encodePacked(uint8(1), block_);
        return abi.encodePacked(kind, height, round, named, vm.addr(key), r, s, v - 27);
    }

    function pair(bytes memory first, bytes memory second) private pure returns (bytes memory) {
        return abi.encodePacked(uint8(0), first, second);
    }

    function testFuzz_twoVotesInOneSlotAccuseTheirSigner(
        uint256 key,
        bool precommit,
        uint64 height,
        uint32 round,
        bytes32 one,
        bytes32 other
    ) public view {
        key = 1 + key % (ORDER - 1);
        if (one == other) other = ~one;
        uint8 kind = precommit ? 1 : 0;
        bytes memory first = vote(key, NETWORK, kind, height, round, one);
        bytes memory second = vote(key, NETWORK, kind, height, round, other);
        (address operator, bytes32 incident) = verifier.judge(pair(first, second));
        (address again, bytes32 same) = verifier.judge(pair(second, first));
        require(operator == vm.addr(key) && again == operator, "accuses somebody else");
        require(incident == same, "two ids for one incident");
    }

    function testFuzz_precommitsOfDifferentRoundsAreLegal(
        uint64 height,
        uint32 round,
        uint32 later,
        bytes32 one,
        bytes32 other
    ) public {
        if (round == later) later = ~round;
        bytes memory first = vote(KEY, NETWORK, 1, height, round, one);
        bytes memory second = vote(KEY, NETWORK, 1, height, later, other);
        vm.expectRevert(Evidence.NoConflict.selector);
        verifier.judge(pair(first, second));
    }

    function testFuzz_statementsOfAnotherNetworkMeanNothing(bytes32 network, bytes32 one, bytes32 other) public {
        if (network == NETWORK) network = ~network;
        if (one == other) other = ~one;
        bytes memory evidence = pair(vote(KEY, network, 0, 1, 0, one), vote(KEY, network, 0, 1, 0, other));
        vm.expectRevert(abi.encodeWithSelector(Evidence.BadSignature.selector, vm.addr(KEY)));
        verifier.judge(evidence);
    }

    function testFuzz_twoSignersAreNoContradiction(uint256 key, bytes32 one, bytes32 other) public {
        key = 1 + key % (ORDER - 1);
        if (key == KEY) ++key;
        if (one == other) other = ~one;
        bytes memory evidence = pair(vote(KEY, NETWORK, 0, 1, 0, one), vote(key, NETWORK, 0, 1, 0, other));
        vm.expectRevert(abi.encodeWithSelector(Evidence.TwoSigners.selector, vm.addr(KEY), vm.addr(key)));
        verifier.judge(evidence);
    }

    function testFuzz_theOtherFormOfASignatureIsRefused(bytes32 one, bytes32 other) public {
        if (one == other) other = ~one;
        bytes memory evidence = pair(vote(KEY, NETWORK, 1, 1, 0, one), vote(KEY, NETWORK, 1, 1, 0, other));
        uint256 place = evidence.length - 33;
        uint256 order = ORDER;
        assembly ("memory-safe") {
            let s := add(add(evidence, 32), place)
            mstore(s, sub(order, mload(s)))
        }
        evidence[evidence.length - 1] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(Codec.Malformed.selector, place));
        verifier.judge(evidence);
    }

    function testFuzz_bytesThatAreNoEvidenceRevert(bytes calldata evidence) public {
        vm.expectRevert();
        verifier.judge(evidence);
    }

    function test_aVoteForNilIsNoVoteForABlockWhoseHashIsZero() public {
        bytes memory nil = vote(KEY, NETWORK, 0, 5, 1, 0);
        bytes memory zero = new bytes(nil.length + 32);
        for (uint256 i = 0; i < nil.length; ++i) {
            zero[i < 14 ? i : i + 32] = nil[i];
        }
        zero[13] = 0x01;
        vm.expectRevert(abi.encodeWithSelector(Codec.Malformed.selector, 1 + nil.length + 14));
        verifier.judge(pair(nil, zero));
    }
}
