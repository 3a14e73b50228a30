// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Member} from "../src/Committee.sol";
import {DeregisterParams, IAllocationManager, RegisterParams} from "../src/EigenLayer.sol";
import {Slasher} from "../src/Slasher.sol";
import {SquadRegistrar} from "../src/SquadRegistrar.sol";
import {Core} from "./support/Core.sol";
import {Restaked} from "./support/Restaked.sol";
import {vm} from "./support/Vm.sol";

/// Operators register, rotate keys, leave, contradict themselves and wait, in any order; what should follow is written down beside
/// it, and each step must succeed or fail, and leave the contracts, as that says.
contract CourseTest is Restaked {
    uint256 private constant OPERATORS = 3;
    uint256 private constant KEYS = 5;
    uint256 private constant STEPS = 40;

    struct Known {
        bool registered;
        bool tombstoned;
        uint256 slashableUntil;
        /// Places of keys, counted from one; zero is none.
        uint256 key;
        uint256 next;
        uint256 from;
    }

    Known[OPERATORS] private known;
    /// Places of operators, counted from one.
    uint256[KEYS] private owner;
    mapping(bytes32 evidence => bool) private slashed;
    uint256[4] private succeeded;
    uint256 private draws;

    function redistributes() internal pure override returns (bool) {
        return false;
    }

    function setUp() public {
        startOn(new Core("core/v1.4.json", false));
        for (uint256 i = 0; i < OPERATORS; ++i) {
            restake(operatorAt(i), (100 + i) * WAD, 0);
        }
    }

    function draw(uint256 below) private returns (uint256) {
        draws = uint256(keccak256(abi.encode(draws)));
        return draws % below;
    }

    function isFree(uint256 operator, uint256 key) private view returns (bool) {
        return owner[key] == 0 || owner[key] == operator + 1;
    }

    function isSlashable(Known storage who) private view returns (bool) {
        return who.registered || (who.slashableUntil > 0 && vm.getBlockNumber() <= who.slashableUntil);
    }

    function settle(Known storage who) private {
        if (who.next > 0 && vm.getBlockNumber() >= who.from) (who.key, who.next) = (who.next, 0);
    }

    function tryAs(address sender, address to, bytes memory data, bool expected, string memory what) private {
        vm.prank(sender);
        (bool done,) = to.call(data);
        require(done == expected, string.concat(what, expected ? " fails" : " succeeds"));
    }

    function registers(uint256 i, uint256 key) private {
        Known storage who = known[i];
        bool expected = !who.tombstoned && !isSlashable(who) && isFree(i, key);
        bytes memory data = registration(operatorAt(i), keyAt(key));
        RegisterParams memory params = RegisterParams(address(slasher), ids(), data);
        bytes memory call = abi.encodeCall(IAllocationManager.registerForOperatorSets, (operatorAt(i), params));
        tryAs(operatorAt(i), address(allocation), call, expected, "registering");
        if (!expected) return;
        ++succeeded[0];
        (who.registered, who.key, who.next) = (true, key + 1, 0);
        owner[key] = i + 1;
    }

    function rotates(uint256 i, uint256 key) private {
        Known storage who = known[i];
        bool expected = who.registered && !who.tombstoned && who.next == 0 && isFree(i, key);
        bytes memory proof = proofOf(operatorAt(i), keyAt(key));
        bytes memory call = abi.encodeCall(SquadRegistrar.rotateKey, (vm.addr(keyAt(key)), proof));
        tryAs(operatorAt(i), address(registrar), call, expected, "rotating");
        if (!expected) return;
        ++succeeded[1];
        (who.next, who.from) = (key + 1, vm.getBlockNumber() + ROTATION_DELAY);
        owner[key] = i + 1;
    }

    function leaves(uint256 i) private {
        bool expected = known[i].registered;
        DeregisterParams memory params = DeregisterParams(operatorAt(i), address(slasher), ids());
        bytes memory call = abi.encodeCall(IAllocationManager.deregisterFromOperatorSets, (params));
        tryAs(operatorAt(i), address(allocation), call, expected, "leaving");
        if (!expected) return;
        ++succeeded[2];
        leftNow(known[i]);
    }

    function leftNow(Known storage who) private {
        (who.registered, who.slashableUntil) = (false, vm.getBlockNumber() + core.DEALLOCATION_DELAY());
    }

    function contradicts(uint256 key, uint8 kind, uint64 height) private {
        bytes memory evidence = contradiction(kind, keyAt(key), height);
        bool isOwned = owner[key] > 0;
        uint256 i = isOwned ? owner[key] - 1 : 0;
        bool expected = isOwned && !slashed[keccak256(evidence)] && isSlashable(known[i]);
        uint256 before = shares(operatorAt(i), 0);
        tryAs(address(this), address(slasher), abi.encodeCall(Slasher.slash, (evidence)), expected, "slashing");
        if (!expected) return;
        ++succeeded[3];
        slashed[keccak256(evidence)] = true;
        require(before == 0 || shares(operatorAt(i), 0) < before, "takes nothing");
        known[i].tombstoned = true;
        if (known[i].registered) leftNow(known[i]);
    }

    function check() private {
        uint256 members;
        for (uint256 i = 0; i < OPERATORS; ++i) {
            Known storage who = known[i];
            settle(who);
            address key = who.tombstoned || who.key == 0 ? address(0) : vm.addr(keyAt(who.key - 1));
            require(registrar.keyOf(operatorAt(i)) == key, "another key");
            require(isMember(operatorAt(i)) == who.registered, "in the set or not");
            if (who.registered) ++members;
        }
        for (uint256 key = 0; key < KEYS; ++key) {
            address expected = owner[key] == 0 ? address(0) : operatorAt(owner[key] - 1);
            require(registrar.operatorOf(vm.addr(keyAt(key))) == expected, "another owner");
        }
        if (members == 0) return;
        (Member[] memory list,) = table.committee(1);
        require(list.length == members, "another committee");
    }

    /// forge-config: default.fuzz.runs = 200
    function testFuzz_anyCourseOfThingsGoesAsItShould(uint256 seed) public {
        draws = seed;
        for (uint256 step = 0; step < STEPS; ++step) {
            uint256 what = draw(12);
            (uint256 operator, uint256 key) = (draw(OPERATORS), draw(KEYS));
            if (what < 4) registers(operator, key);
            else if (what < 7) rotates(operator, key);
            else if (what < 8) leaves(operator);
            else if (what < 9) contradicts(key, uint8(draw(2) + 2), uint64(draw(2)));
            else if (what < 11) vm.roll(vm.getBlockNumber() + draw(2 * ROTATION_DELAY));
            else vm.roll(vm.getBlockNumber() + core.DEALLOCATION_DELAY() + draw(3) - 1);
            check();
        }
    }

    /// So that the test above does not pass by failing at everything: one course with a bit of each.
    function test_eachStepSucceedsSometimes() public {
        testFuzz_anyCourseOfThingsGoesAsItShould(1);
        require(succeeded[0] > 0 && succeeded[1] > 0 && succeeded[2] > 0 && succeeded[3] > 0, "not all happened");
    }
}
