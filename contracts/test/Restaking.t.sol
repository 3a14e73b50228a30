// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Codec} from "../src/Codec.sol";
import {Member} from "../src/Committee.sol";
import {
    DeregisterParams,
    IAllocationManager,
    IDelegationManager,
    OperatorSet,
    RegisterParams,
    SlashingParams
} from "../src/EigenLayer.sol";
import {Evidence} from "../src/Evidence.sol";
import {Slasher} from "../src/Slasher.sol";
import {SquadRegistrar} from "../src/SquadRegistrar.sol";
import {StakeTable} from "../src/StakeTable.sol";
import {Core} from "./support/Core.sol";
import {Restaked} from "./support/Restaked.sol";
import {Statement} from "./support/Statement.sol";
import {vm} from "./support/Vm.sol";

/// What registering, leaving, rotating and slashing do, on EigenLayer's own code.
abstract contract RestakingTests is Restaked {
    // Registering.

    function test_anOperatorRegistersWithItsKeyAndCounts() public {
        address operator = join(0);
        require(isMember(operator), "not in the set");
        require(registrar.keyOf(operator) == vm.addr(keyAt(0)), "another key");
        require(registrar.operatorOf(vm.addr(keyAt(0))) == operator, "another operator");
        require(registrar.contactOf(operator).addresses.length == 1, "no address");
        (Member[] memory members, bytes32 hash) = table.committee(7);
        require(members.length == 1 && members[0].key == vm.addr(keyAt(0)), "another member");
        require(members[0].stake == 100e6, "another weight");
        require(hash == keccak256(abi.encodePacked(uint64(7), uint32(1), vm.addr(keyAt(0)), uint64(100e6))), "hash");
    }

    function test_aProofHoldsForOneOperatorOneChainAndOneContract() public {
        (address operator, uint256 key) = (operatorAt(0), keyAt(0));
        restake(operator, 100 * WAD, 0);
        bytes memory others =
            abi.encode(SquadRegistrar.Registration(vm.addr(key), proofOf(operatorAt(1), key), contact()));
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.BadProof.selector, vm.addr(key)));
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), others));
        bytes memory right = registration(operator, key);
        vm.chainId(31_338);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.BadProof.selector, vm.addr(key)));
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), right));
        vm.chainId(31_337);
        bytes32 digest = registrar.keyDigest(operator, vm.addr(key));
        require(digest != new SquadRegistrar(table, 1, 1).keyDigest(operator, vm.addr(key)), "one for two contracts");
        register(operator, right);
    }

    function testFuzz_theOtherFormOfAProofIsRefused(uint256 key) public {
        key = 1 + key % (ORDER - 1);
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, registrar.keyDigest(operator, vm.addr(key)));
        bytes memory proof = abi.encodePacked(r, ORDER - uint256(s), v == 27 ? uint8(28) : uint8(27));
        bytes memory data = abi.encode(SquadRegistrar.Registration(vm.addr(key), proof, contact()));
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.BadProof.selector, vm.addr(key)));
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), data));
    }

    function test_aKeyBelongsToOneOperatorForEver() public {
        address first = join(0);
        rotate(first, keyAt(9));
        vm.roll(vm.getBlockNumber() + ROTATION_DELAY);
        quit(first);
        address second = operatorAt(1);
        restake(second, 100 * WAD, 0);
        for (uint256 i = 0; i < 10; i += 9) {
            bytes memory data = registration(second, keyAt(i));
            vm.prank(second);
            vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.KeyTaken.selector, vm.addr(keyAt(i)), first));
            allocation.registerForOperatorSets(second, RegisterParams(address(slasher), ids(), data));
        }
        // Its own it may take up again, once the core lets it back in.
        vm.roll(vm.getBlockNumber() + core.DEALLOCATION_DELAY() + 1);
        register(first, registration(first, keyAt(0)));
        require(registrar.keyOf(first) == vm.addr(keyAt(0)), "another key");
    }

    function test_onlyTheCoreMayCallTheHooks() public {
        bytes memory data = registration(operatorAt(0), keyAt(0));
        vm.expectRevert(SquadRegistrar.OnlyAllocationManager.selector);
        registrar.registerOperator(operatorAt(0), address(slasher), ids(), data);
        vm.expectRevert(SquadRegistrar.OnlyAllocationManager.selector);
        registrar.deregisterOperator(operatorAt(0), address(slasher), ids());
        vm.expectRevert(SquadRegistrar.OnlySlasher.selector);
        registrar.tombstone(operatorAt(0));
        uint32[] memory other = new uint32[](1);
        vm.prank(address(allocation));
        vm.expectRevert(SquadRegistrar.WrongSet.selector);
        registrar.registerOperator(operatorAt(0), address(slasher), other, data);
        vm.prank(address(allocation));
        vm.expectRevert(SquadRegistrar.WrongSet.selector);
        registrar.registerOperator(operatorAt(0), address(this), ids(), data);
    }

    function test_tooLittleStakeIsRefused() public {
        address operator = operatorAt(0);
        // The bond counts a twentieth: together a unit less than the minimum.
        restake(operator, 30 * WAD, 40 * WAD - 20e12);
        bytes memory data = registration(operator, keyAt(0));
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.TooLittleStake.selector, MINIMUM - 1, MINIMUM));
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), data));
        deposit(operator, 1, 20e12);
        register(operator, data);
        require(table.weightOf(operator) == MINIMUM, "another weight");
    }

    function test_aFullSetTakesNobodyButGivesUpWhoFellBelowTheMinimum() public {
        deploy(2, 100);
        address first = join(0);
        address second = join(1);
        address third = operatorAt(2);
        restake(third, 100 * WAD, 0);
        bytes memory data = registration(third, keyAt(2));
        vm.prank(third);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.Full.selector, 2));
        allocation.registerForOperatorSets(third, RegisterParams(address(slasher), ids(), data));
        vm.expectRevert(abi.encodeWithSelector(Slasher.KeepsItsSeat.selector, second));
        slasher.eject(second);
        allocate(first, uint64(WAD / 10));
        vm.roll(vm.getBlockNumber() + core.DEALLOCATION_DELAY() + 1 - table.lookahead());
        slasher.eject(first);
        require(
            !isMember(first) && allocation.isOperatorSlashable(first, slasher.operatorSet()), "still there, or gone"
        );
        register(third, data);
        require(isMember(second) && isMember(third), "not in the set");
    }

    function test_whoWeighsTheMinimumKeepsItsSeat() public {
        deploy(1, 100);
        address operator = operatorAt(0);
        restake(operator, 32 * WAD, 0);
        register(operator, registration(operator, keyAt(0)));
        require(table.weightOf(operator) == MINIMUM, "another weight");
        vm.expectRevert(abi.encodeWithSelector(Slasher.KeepsItsSeat.selector, operator));
        slasher.eject(operator);
    }

    function test_whoFellBelowTheMinimumKeepsItsSeatWhileThereIsRoom() public {
        address operator = join(0);
        allocate(operator, uint64(WAD / 10));
        vm.roll(vm.getBlockNumber() + core.DEALLOCATION_DELAY() + 1 - table.lookahead());
        require(table.weightOf(operator) < MINIMUM, "another weight");
        vm.expectRevert(abi.encodeWithSelector(Slasher.KeepsItsSeat.selector, operator));
        slasher.eject(operator);
    }

    function test_aContactIsBounded() public {
        address operator = join(0);
        SquadRegistrar.Contact memory long = contact();
        long.addresses[0] = new bytes(257);
        mustRefuse(operator, long);
        long.addresses = new bytes[](9);
        for (uint256 i = 0; i < 9; ++i) {
            long.addresses[i] = hex"04";
        }
        mustRefuse(operator, long);
        long = contact();
        long.addresses = new bytes[](0);
        mustRefuse(operator, long);
        long = contact();
        long.addresses[0] = new bytes(0);
        mustRefuse(operator, long);
        long = contact();
        long.peerId = bytes.concat(long.peerId, hex"00");
        mustRefuse(operator, long);
        long = contact();
        long.addresses[0] = hex"04";
        vm.prank(operator);
        registrar.setContact(long);
        require(registrar.contactOf(operator).addresses[0].length == 1, "not changed");
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.NotRegistered.selector, address(this)));
        registrar.setContact(long);
    }

    function mustRefuse(address operator, SquadRegistrar.Contact memory bad) private {
        vm.prank(operator);
        vm.expectRevert(SquadRegistrar.BadContact.selector);
        registrar.setContact(bad);
    }

    function test_aNewKeyCountsAfterTheDelay() public {
        address operator = join(0);
        rotate(operator, keyAt(1));
        (address next, uint32 from) = registrar.nextKeyOf(operator);
        require(next == vm.addr(keyAt(1)) && from == vm.getBlockNumber() + ROTATION_DELAY, "another plan");
        bytes memory proof = proofOf(operator, keyAt(2));
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.RotationPending.selector, from));
        registrar.rotateKey(vm.addr(keyAt(2)), proof);
        vm.roll(from - 1);
        (Member[] memory members,) = table.committee(0);
        require(members[0].key == vm.addr(keyAt(0)), "too early");
        vm.roll(from);
        (members,) = table.committee(0);
        require(members[0].key == vm.addr(keyAt(1)), "too late");
        vm.prank(operator);
        registrar.rotateKey(vm.addr(keyAt(2)), proof);
        require(registrar.keyOf(operator) == vm.addr(keyAt(1)), "lost the key between");
    }

    // The table.

    function test_whatLeavesWithinTheWindowDoesNotCount() public {
        address operator = join(0);
        uint256 until = vm.getBlockNumber() + core.DEALLOCATION_DELAY();
        allocate(operator, uint64(WAD / 4));
        // It takes effect after what the table looks ahead to, and is slashable until then.
        require(table.weightOf(operator) == 100e6, "counts too little");
        vm.roll(until - table.lookahead());
        require(table.weightOf(operator) == 100e6, "counts too little");
        vm.roll(until + 1 - table.lookahead());
        require(table.weightOf(operator) == 25e6, "counts what may be gone");
        vm.expectRevert(abi.encodeWithSelector(bytes4(keccak256("Empty()"))));
        table.committee(0);
    }

    function test_aTableThatLooksFurtherThanStakeIsHeldIsRefused() public {
        StakeTable.Settings memory settings = settingsOfTable(address(slasher), address(registrar), 100);
        uint32 delay = core.DEALLOCATION_DELAY();
        settings.epochBlocks = delay - WINDOW;
        new StakeTable(settings);
        settings.epochBlocks += 1;
        vm.expectRevert(abi.encodeWithSelector(StakeTable.TooFarAhead.selector, delay + 1, delay));
        new StakeTable(settings);
        // Nor may stakers be away sooner than operators.
        settings.epochBlocks -= 1;
        bytes memory question = abi.encodeCall(IDelegationManager.minWithdrawalDelayBlocks, ());
        vm.mockCall(address(core.delegationManager()), question, abi.encode(delay - 1));
        vm.expectRevert(abi.encodeWithSelector(StakeTable.TooFarAhead.selector, delay, delay - 1));
        new StakeTable(settings);
    }

    function test_theWeightiestFormTheCommitteeInOrderOfKey() public {
        deploy(MOST_OPERATORS, 4);
        for (uint256 i = 0; i < 6; ++i) {
            join(i);
        }
        quit(operatorAt(5));
        (Member[] memory members,) = table.committee(0);
        require(members.length == 4, "another number");
        for (uint256 i = 0; i < 4; ++i) {
            require(i == 0 || members[i].key > members[i - 1].key, "out of order");
            require(members[i].stake >= 101e6 && members[i].stake <= 104e6, "a lighter one");
        }
    }

    // Slashing.

    function testFuzz_evidenceTakesStakeByItsKind(uint8 kind, uint64 height) public {
        kind %= 4;
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 1000 * WAD);
        register(operator, registration(operator, keyAt(0)));
        slasher.slash(contradiction(kind, keyAt(0), height));
        uint256 kept = WAD - [WAD, WAD / 2, WAD / 4, WAD / 10][kind];
        require(shares(operator, 0) == 100 * kept && shares(operator, 1) == 1000 * kept, "takes another part");
        require(registrar.isTombstoned(operator) && registrar.keyOf(operator) == address(0), "may vote on");
        require(!isMember(operator), "keeps its seat");
    }

    function test_theEvidenceHereIsWhatOperatorsFind() public pure {
        // The crate makes the same bytes: see rust/tests/slashed.rs.
        bytes32[4] memory hashes = [
            bytes32(0x5c72e7169a3a89d8dfee66eaa27574739909e983dc704969d25fa7f43f94b58f),
            bytes32(0xf89b266c613d456e75fea865eadc938edd604392c86c791f9d9d10e906512e1d),
            bytes32(0x4a7e6edd5421d6f6cb2735cead8eefa5f4d3c78f97843232d33dce615883dcf2),
            bytes32(0x5a7e48e7245e9282a9f96c4823ad5213e3ef121dabcc4737dcba2159993aeed1)
        ];
        for (uint8 kind = 0; kind < 4; ++kind) {
            require(keccak256(contradiction(kind, keyAt(0), 1)) == hashes[kind], "other bytes");
        }
    }

    function test_theOthersGoOnWithoutTheSlashed() public {
        join(0);
        join(1);
        slasher.slash(contradiction(0, keyAt(0), 1));
        (Member[] memory members,) = table.committee(3);
        require(members.length == 1 && members[0].key == vm.addr(keyAt(1)), "another committee");
        require(members[0].stake == 101e6, "another weight");
    }

    function test_theSlashedDoNotComeBack() public {
        address operator = join(0);
        slasher.slash(contradiction(3, keyAt(0), 1));
        vm.roll(vm.getBlockNumber() + core.DEALLOCATION_DELAY() + 1);
        bytes memory data = registration(operator, keyAt(0));
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.Tombstoned.selector, operator));
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), data));
    }

    function test_aCoreThatLetsNobodyLeaveHoldsUpNoSlash() public {
        address operator = join(0);
        join(1);
        DeregisterParams memory leaving = DeregisterParams(operator, address(slasher), ids());
        vm.mockCallRevert(
            address(allocation), abi.encodeCall(IAllocationManager.deregisterFromOperatorSets, (leaving)), "paused"
        );
        slasher.slash(contradiction(1, keyAt(0), 1));
        require(shares(operator, 0) == 50 * WAD && isMember(operator), "not slashed, or taken out");
        // Until it is taken out it has a seat, and no part in anything.
        (Member[] memory members,) = table.committee(3);
        require(members.length == 1 && members[0].key == vm.addr(keyAt(1)), "votes on");
        bytes memory proof = proofOf(operator, keyAt(2));
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.Tombstoned.selector, operator));
        registrar.rotateKey(vm.addr(keyAt(2)), proof);
        vm.prank(operator);
        vm.expectRevert(abi.encodeWithSelector(SquadRegistrar.Tombstoned.selector, operator));
        registrar.setContact(contact());
        vm.clearMockedCalls();
        slasher.eject(operator);
        require(!isMember(operator), "keeps its seat");
    }

    function test_anIncidentCountsOnceAndTwoCountTwice() public {
        address operator = join(0);
        bytes memory evidence = contradiction(2, keyAt(0), 1);
        bytes32 incident = slasher.slash(evidence);
        vm.expectRevert(abi.encodeWithSelector(Slasher.AlreadySlashed.selector, incident));
        slasher.slash(evidence);
        // The same slot, proved with a third statement.
        (bytes memory first,) = Statement.header(keyAt(0), NETWORK, Statement.Header(1, 0, 0, keccak256("one")));
        (bytes memory third,) = Statement.header(keyAt(0), NETWORK, Statement.Header(1, 0, 0, keccak256("third")));
        vm.expectRevert(abi.encodeWithSelector(Slasher.AlreadySlashed.selector, incident));
        slasher.slash(abi.encodePacked(uint8(2), third, first));
        require(shares(operator, 0) == 75 * WAD, "taken twice");
        slasher.slash(contradiction(2, keyAt(0), 2));
        require(shares(operator, 0) == 5625 * WAD / 100, "the second is free");
    }

    function testFuzz_whatHonestOperatorsSignNeverSlashes(uint64 height, uint32 round, uint32 later, bytes32 block_)
        public
    {
        join(0);
        if (round == later) later = ~round;
        bytes memory first = Statement.vote(keyAt(0), NETWORK, true, height, round, block_);
        vm.expectRevert(Evidence.NoConflict.selector);
        slasher.slash(abi.encodePacked(uint8(0), first, first));
        bytes memory second = Statement.vote(keyAt(0), NETWORK, true, height, later, ~block_);
        vm.expectRevert(Evidence.NoConflict.selector);
        slasher.slash(abi.encodePacked(uint8(0), first, second));
        second = Statement.vote(keyAt(0), NETWORK, false, height, round, ~block_);
        vm.expectRevert(Evidence.NoConflict.selector);
        slasher.slash(abi.encodePacked(uint8(0), first, second));
        require(shares(operatorAt(0), 0) == 100 * WAD, "slashed");
    }

    function test_otherFormsOfASignatureSlashNobody() public {
        join(0);
        bytes memory evidence = contradiction(0, keyAt(0), 1);
        uint256 last = evidence.length - 1;
        uint256 order = ORDER;
        bytes memory high = bytes.concat(evidence);
        assembly ("memory-safe") {
            let s := add(add(high, 32), sub(last, 32))
            mstore(s, sub(order, mload(s)))
        }
        high[last] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(Codec.Malformed.selector, last - 32));
        slasher.slash(high);
        for (uint8 parity = 2; parity < 30; ++parity) {
            evidence[last] = bytes1(parity);
            vm.expectRevert(abi.encodeWithSelector(Codec.Malformed.selector, last));
            slasher.slash(evidence);
        }
    }

    function testFuzz_anotherNetworksEvidenceSlashesNobody(bytes32 network, uint8 kind) public {
        if (network == NETWORK) network = ~network;
        join(0);
        bytes memory evidence = Statement.contradiction(kind % 4, keyAt(0), network, 1);
        vm.expectRevert(abi.encodeWithSelector(Evidence.BadSignature.selector, vm.addr(keyAt(0))));
        slasher.slash(evidence);
        require(shares(operatorAt(0), 0) == 100 * WAD, "slashed");
    }

    function test_aStrangersContradictionSlashesNobody() public {
        join(0);
        vm.expectRevert(abi.encodeWithSelector(Slasher.UnknownKey.selector, vm.addr(keyAt(1))));
        slasher.slash(contradiction(0, keyAt(1), 1));
    }

    function test_anOldKeysEvidenceSlashesItsOperator() public {
        address operator = join(0);
        for (uint256 i = 1; i < 3; ++i) {
            rotate(operator, keyAt(i));
            vm.roll(vm.getBlockNumber() + ROTATION_DELAY);
        }
        slasher.slash(contradiction(1, keyAt(0), 1));
        require(shares(operator, 0) == 50 * WAD, "not slashed");
        slasher.slash(contradiction(1, keyAt(1), 1));
        require(shares(operator, 0) == 25 * WAD, "not slashed");
    }

    function test_whoLeftIsSlashedWithinTheWindowAndNotAfter() public {
        address first = join(0);
        address second = join(1);
        quit(first);
        quit(second);
        vm.expectRevert(bytes4(keccak256("Empty()")));
        table.committee(0);
        // Deallocating does not help: that takes as long.
        allocate(first, 0);
        uint256 last = vm.getBlockNumber() + core.DEALLOCATION_DELAY();
        require(core.DEALLOCATION_DELAY() >= table.lookahead(), "away before the window is over");
        vm.roll(last);
        slasher.slash(contradiction(0, keyAt(0), 1));
        require(shares(first, 0) == 0, "not slashed");
        vm.roll(last + 1);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NoLongerSlashable.selector, second));
        slasher.slash(contradiction(0, keyAt(1), 1));
        require(shares(second, 0) == 101 * WAD, "slashed");
    }

    function test_nobodyElseSlashes(address caller) public {
        if (caller == address(slasher)) caller = address(this);
        address operator = join(0);
        uint256[] memory wads = new uint256[](2);
        (wads[0], wads[1]) = (WAD, WAD);
        vm.prank(caller);
        vm.expectRevert();
        allocation.slashOperator(address(slasher), SlashingParams(operator, SET, strategies, wads, ""));
        vm.expectRevert(abi.encodeWithSelector(Slasher.KeepsItsSeat.selector, operator));
        slasher.eject(operator);
    }
}

/// The core as crates carry it, whose operator sets only burn.
contract OnCore14 is RestakingTests {
    function redistributes() internal pure override returns (bool) {
        return false;
    }

    function setUp() public {
        startOn(new Core("core/v1.4.json", false));
    }

    function test_withoutASinkNothingIsSwept() public {
        tokens[0].mint(address(slasher), 7);
        slasher.sweep(address(tokens[0]));
        require(tokens[0].balanceOf(address(slasher)) == 7, "sent to nobody");
    }
}
