// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Certificate} from "../src/Certificate.sol";
import {CertificateVerifier, Ordered} from "../src/CertificateVerifier.sol";
import {Codec} from "../src/Codec.sol";
import {Statements} from "../src/Statements.sol";

/// What forge lets a test do.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function warp(uint256 seconds_) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata expected) external;
}

/// A bridge as docs/rollups.md has it.
contract Bridge {
    CertificateVerifier private immutable verifier;
    uint32 private constant ROLLUP = 2;
    mapping(bytes32 id => bool) private used;
    uint256 public received;

    constructor(CertificateVerifier verifier_) {
        verifier = verifier_;
    }

    function receive_(bytes calldata message, bytes calldata confirmation, bytes calldata committee) external {
        Ordered memory shown = verifier.verify(confirmation, committee);
        require(shown.namespace == ROLLUP && shown.dataHash == sha256(message) && !used[shown.id]);
        used[shown.id] = true;
        ++received;
    }
}

contract CertificateVerifierTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 private constant NETWORK = keccak256("a network");
    uint64 private constant EPOCH = 7;
    /// In seconds.
    uint256 private constant START = 1_790_000_000;
    uint256 private constant PERIOD = 7 days;
    uint256 private constant MEMBERS = 4;
    /// The key of somebody who is not in the committee.
    uint256 private constant STRANGER = 0xBAD;

    CertificateVerifier private verifier;
    /// By ascending address.
    uint256[] private keys;
    /// What headers of the first epoch name as their committee, if it is not the one of these keys.
    bytes private anchored;
    /// What headers say of who signed earlier ones: a set of places.
    bytes private places = hex"0000000101";

    function setUp() public {
        for (uint256 i = 1; i <= MEMBERS; ++i) {
            keys.push(i);
            for (uint256 j = i - 1; j > 0 && vm.addr(keys[j]) < vm.addr(keys[j - 1]); --j) {
                (keys[j], keys[j - 1]) = (keys[j - 1], keys[j]);
            }
        }
        vm.warp(START);
        verifier = new CertificateVerifier(NETWORK, EPOCH, keccak256(committee(EPOCH)), uint64(START * 1_000));
    }

    function committee(uint64 epoch) private view returns (bytes memory list) {
        return epoch == EPOCH && anchored.length != 0 ? anchored : abi.encodePacked(epoch, members());
    }

    function members() private view returns (bytes memory list) {
        list = abi.encodePacked(uint32(MEMBERS));
        for (uint256 i = 0; i < MEMBERS; ++i) {
            list = abi.encodePacked(list, vm.addr(keys[i]), uint64(100));
        }
    }

    /// Of an epoch, with a root over namespaces, at a time in milliseconds.
    function header(uint64 epoch, uint64 height, bytes32 root, uint64 time) private view returns (bytes memory) {
        bytes memory first =
            abi.encodePacked(uint16(1), NETWORK, height, epoch, bytes32(0), address(0), uint32(0), time);
        bytes memory second = abi.encodePacked(uint64(0), bytes32(0), bytes32(0), root, uint32(1), bytes32(0));
        bytes32 next = keccak256(committee(epoch + 1));
        return abi.encodePacked(first, second, keccak256(committee(epoch)), next, places);
    }

    /// The precommits of the members whose bits are set.
    function certificate(bytes memory header_, uint64 height, uint8 bitmap) private view returns (bytes memory) {
        bytes32 digest = Statements.precommit(Statements.domain(NETWORK), height, 3, keccak256(header_));
        bytes memory signatures;
        uint32 count;
        for (uint256 i = 0; i <= MEMBERS; ++i) {
            if ((bitmap >> i) % 2 == 0) continue;
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(i == MEMBERS ? STRANGER : keys[i], digest);
            (signatures, count) = (abi.encodePacked(signatures, r, s, v - 27), count + 1);
        }
        return abi.encodePacked(height, uint32(3), keccak256(header_), uint32(1), bitmap, count, signatures);
    }

    /// A transaction that is alone in its namespace, which is alone in its block.
    function confirmation(uint32 namespace, bytes32 data, uint64 height, uint8 bitmap)
        private
        view
        returns (bytes memory)
    {
        bytes32 id = sha256(abi.encodePacked(uint8(0), namespace, uint64(0), data));
        bytes memory alone = abi.encodePacked(uint64(0), uint64(1), uint32(0));
        bytes memory leaf = abi.encodePacked(namespace, uint32(1), sha256(abi.encodePacked(uint8(2), uint64(1), id)));
        bytes32 root = sha256(abi.encodePacked(uint8(2), uint64(1), sha256(abi.encodePacked(uint8(0), leaf))));
        bytes memory header_ = header(EPOCH, height, root, uint64(START * 1_000));
        bytes memory transaction = abi.encodePacked(NETWORK, namespace, uint8(0), data, uint8(2));
        bytes memory paths = abi.encodePacked(uint8(0), leaf, alone, alone);
        return abi.encodePacked(transaction, header_, certificate(header_, height, bitmap), paths);
    }

    function proof(uint64 epoch, uint64 time) private view returns (bytes memory) {
        bytes memory header_ = header(epoch, 1, bytes32(0), time);
        return abi.encodePacked(header_, certificate(header_, 1, 0x07), members());
    }

    function one(bytes memory item) private pure returns (bytes[] memory list) {
        list = new bytes[](1);
        list[0] = item;
    }

    function testFuzz_aConfirmationShowsWhereItsTransactionStands(uint32 namespace, bytes32 data, uint64 height)
        public
        view
    {
        Ordered memory shown = verifier.verify(confirmation(namespace, data, height, 0x0d), committee(EPOCH));
        require(shown.namespace == namespace && shown.dataHash == data && shown.validUntil == 0, "another transaction");
        require(shown.id == sha256(abi.encodePacked(uint8(0), namespace, uint64(0), data)), "another id");
        require(shown.epoch == EPOCH && shown.height == height && shown.index == 0, "another place");
        require(shown.timestamp == START * 1_000, "another time");
    }

    function testFuzz_bytesThatWereChangedNeverVerify(uint256 place, uint8 change) public {
        bytes memory changed = confirmation(2, keccak256("data"), 9, 0x07);
        if (change == 0) change = 1;
        place %= changed.length;
        changed[place] ^= bytes1(change);
        (bool success,) = address(verifier).call(abi.encodeCall(verifier.verify, (changed, committee(EPOCH))));
        require(!success, "changed bytes verify");
    }

    function testFuzz_bytesThatWereCutOrExtendedNeverVerify(uint256 length, bytes calldata more) public {
        bytes memory whole = confirmation(2, keccak256("data"), 9, 0x07);
        bytes memory longer = abi.encodePacked(whole, more, uint8(0));
        length %= whole.length;
        assembly ("memory-safe") {
            mstore(whole, length)
        }
        (bool cut,) = address(verifier).call(abi.encodeCall(verifier.verify, (whole, committee(EPOCH))));
        (bool extended,) = address(verifier).call(abi.encodeCall(verifier.verify, (longer, committee(EPOCH))));
        require(!cut && !extended, "other bytes verify");
    }

    function testFuzz_anotherCommitteeIsRefused(uint256 place, uint8 change) public {
        bytes memory other = committee(EPOCH);
        if (change == 0) change = 1;
        other[place % other.length] ^= bytes1(change);
        bytes memory given = confirmation(2, keccak256("data"), 9, 0x07);
        vm.expectRevert(
            abi.encodeWithSelector(
                CertificateVerifier.WrongCommittee.selector, keccak256(committee(EPOCH)), keccak256(other)
            )
        );
        verifier.verify(given, other);
    }

    function testFuzz_onlyOverTwoThirdsOfStakeCount(uint8 bitmap) public {
        bitmap = 1 + bitmap % 15;
        uint256 signers = bitmap % 2 + (bitmap >> 1) % 2 + (bitmap >> 2) % 2 + (bitmap >> 3) % 2;
        bytes memory given = confirmation(2, keccak256("data"), 9, bitmap);
        if (signers < 3) {
            vm.expectRevert(abi.encodeWithSelector(Certificate.NoQuorum.selector, 100 * signers, 400));
        }
        verifier.verify(given, committee(EPOCH));
    }

    function test_aHeaderInASecondFormIsRefusedEvenIfItIsSigned() public {
        places = hex"000000020100";
        bytes memory given = confirmation(2, keccak256("data"), 9, 0x07);
        // The last byte of the set: behind the network, the transaction, the tier and what comes first in the header.
        uint256 last = 32 + 4 + 1 + 32 + 1 + 318 + 4 + 1;
        vm.expectRevert(abi.encodeWithSelector(Codec.Malformed.selector, last));
        verifier.verify(given, committee(EPOCH));
    }

    function test_aMemberBehindTheCommitteesBytesIsNone() public {
        bytes memory given = confirmation(2, keccak256("data"), 9, 0x10);
        bytes memory data = abi.encodeCall(verifier.verify, (given, committee(EPOCH)));
        // The committee's bytes come last, and what fills their last word is nobody's.
        uint256 filling = 32 - committee(EPOCH).length % 32;
        assembly ("memory-safe") {
            mstore(data, sub(mload(data), filling))
        }
        data = abi.encodePacked(data, vm.addr(STRANGER), type(uint64).max, new bytes(filling));
        (bool success, bytes memory error) = address(verifier).call(data);
        require(!success && bytes4(error) == Certificate.Stranger.selector, "a stranger signs");
    }

    function testFuzz_aCommitteeCountsForThePeriodAndNoLonger(uint32 late) public {
        vm.warp(START + PERIOD + late);
        bytes memory given = confirmation(2, keccak256("data"), 9, 0x07);
        bytes memory stale = abi.encodeWithSelector(CertificateVerifier.Stale.selector, EPOCH, uint64(START * 1_000));
        bytes[] memory proofs = one(proof(EPOCH, uint64(START * 1_000)));
        if (late != 0) vm.expectRevert(stale);
        verifier.verify(given, committee(EPOCH));
        // Nothing leads on from it any more either.
        if (late != 0) vm.expectRevert(stale);
        verifier.advance(committee(EPOCH), proofs);
    }

    function test_committeesAreFollowedAndStayKnown() public {
        uint64 time = uint64(START * 1_000 + 50_000);
        bytes[] memory proofs = new bytes[](5);
        for (uint64 i = 0; i < 5; ++i) {
            proofs[i] = proof(EPOCH + i, time + i);
        }
        vm.recordLogs();
        verifier.advance(committee(EPOCH), proofs);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        require(logs.length == 5 && verifier.newest() == EPOCH + 5, "not all were followed");
        for (uint64 i = 0; i < 5; ++i) {
            (bytes32 hash, uint64 asOf) = verifier.committee(EPOCH + 1 + i);
            require(hash == keccak256(committee(EPOCH + 1 + i)) && asOf == time + i, "another committee");
            require(uint256(logs[i].topics[1]) == EPOCH + 1 + i, "another epoch is told");
            require(keccak256(logs[i].data) == keccak256(abi.encode(hash, asOf)), "another committee is told");
        }
        // The one it started from is not forgotten.
        verifier.verify(confirmation(2, keccak256("data"), 9, 0x07), committee(EPOCH));
        // What was taken in once is not taken in again.
        proofs = one(proofs[0]);
        vm.expectRevert(
            abi.encodeWithSelector(
                CertificateVerifier.WrongCommittee.selector,
                keccak256(committee(EPOCH + 5)),
                keccak256(committee(EPOCH))
            )
        );
        verifier.advance(committee(EPOCH), proofs);
        vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.WrongEpoch.selector, EPOCH + 5, EPOCH));
        verifier.advance(committee(EPOCH + 5), proofs);
    }

    function testFuzz_aChangedProofMovesNothing(uint256 place, uint8 change) public {
        bytes memory changed = proof(EPOCH, uint64(START * 1_000));
        if (change == 0) change = 1;
        changed[place % changed.length] ^= bytes1(change);
        (bool success,) = address(verifier).call(abi.encodeCall(verifier.advance, (committee(EPOCH), one(changed))));
        require(!success && verifier.newest() == EPOCH, "a changed proof is followed");
    }

    function test_oneWrongProofTakesTheOthersBack() public {
        bytes[] memory proofs = new bytes[](2);
        (proofs[0], proofs[1]) = (proof(EPOCH, uint64(START * 1_000)), proof(EPOCH, uint64(START * 1_000)));
        vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.WrongEpoch.selector, EPOCH + 1, EPOCH));
        verifier.advance(committee(EPOCH), proofs);
        (bytes32 hash, uint64 asOf) = verifier.committee(EPOCH + 1);
        require(hash == 0 && asOf == 0 && verifier.newest() == EPOCH, "half of it stayed");
    }

    function testFuzz_aCommitteeOfTheFutureIsRefused(uint32 ahead) public {
        uint64 time = uint64(START * 1_000 + 60_001) + ahead;
        bytes[] memory proofs = one(proof(EPOCH, time));
        vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.Future.selector, EPOCH + 1, time));
        verifier.advance(committee(EPOCH), proofs);
    }

    function test_theFirstCommitteeHasToCountNow() public {
        bytes32 hash = keccak256(committee(EPOCH));
        vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.Stale.selector, EPOCH, 1));
        new CertificateVerifier(NETWORK, EPOCH, hash, 1);
        uint64 future = uint64(START * 1_000 + 60_001);
        vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.Future.selector, EPOCH, future));
        new CertificateVerifier(NETWORK, EPOCH, hash, future);
        vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.UnknownEpoch.selector, EPOCH));
        new CertificateVerifier(NETWORK, EPOCH, 0, uint64(START * 1_000));
    }

    function test_aHashOfWhatIsNoCommitteeProvesNothing() public {
        // One member twice: it would be a quorum alone.
        bytes memory twice = abi.encodePacked(vm.addr(keys[0]), uint64(1), vm.addr(keys[0]), uint64(1));
        mustBeNoCommittee(abi.encodePacked(EPOCH, uint32(2), twice));
        mustBeNoCommittee(abi.encodePacked(EPOCH, uint32(1), vm.addr(keys[0]), uint64(0)));
        mustBeNoCommittee(abi.encodePacked(EPOCH, uint32(1), vm.addr(keys[0]), type(uint64).max));
        mustBeNoCommittee(abi.encodePacked(EPOCH, uint32(0)));
        mustBeNoCommittee(committee(EPOCH + 1));
    }

    function mustBeNoCommittee(bytes memory list) private {
        anchored = list;
        verifier = new CertificateVerifier(NETWORK, EPOCH, keccak256(list), uint64(START * 1_000));
        bytes memory given = confirmation(2, keccak256("data"), 9, 0x03);
        vm.expectRevert(Certificate.NoCommittee.selector);
        verifier.verify(given, list);
        delete anchored;
    }

    function test_aBridgeActsOnAMessageOnce() public {
        Bridge bridge = new Bridge(verifier);
        bytes memory message = "deposit alice 5";
        bytes memory given = confirmation(2, sha256(message), 9, 0x07);
        bytes memory elsewhere = confirmation(3, sha256(message), 9, 0x07);
        bridge.receive_(message, given, committee(EPOCH));
        (bool again,) = address(bridge).call(abi.encodeCall(bridge.receive_, (message, given, committee(EPOCH))));
        (bool other,) = address(bridge).call(abi.encodeCall(bridge.receive_, ("x", given, committee(EPOCH))));
        (bool foreign,) = address(bridge).call(abi.encodeCall(bridge.receive_, (message, elsewhere, committee(EPOCH))));
        require(!again && !other && !foreign && bridge.received() == 1, "acts on what it should not");
    }

    function test_tiersBelowT2AreRefusedByName() public {
        for (uint8 tier = 0; tier < 2; ++tier) {
            bytes memory given = abi.encodePacked(NETWORK, uint32(2), uint8(0), keccak256("data"), tier);
            vm.expectRevert(abi.encodeWithSelector(CertificateVerifier.NotOrdered.selector, tier));
            verifier.verify(given, committee(EPOCH));
        }
    }
}
