// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAllocationManager, IDelegationManager, OperatorSet} from "../src/EigenLayer.sol";
import {IKeys, StakeTable} from "../src/StakeTable.sol";
import {vm} from "./support/Vm.sol";

/// What a table makes of its settings and of stakes, whatever a core says of them.
contract StakeTableTest {
    address private constant ALLOCATION = address(0xA110C);
    address private constant DELEGATION = address(0xDE1E);
    address private constant OPERATOR = address(0xA000);
    uint32 private constant DELAY = 1_000;
    uint256 private constant WAD = 1e18;
    uint64 private constant MAX_STAKE = type(uint64).max / 3 / 1_024;

    function setUp() public {
        vm.mockCall(ALLOCATION, abi.encodeCall(IAllocationManager.DEALLOCATION_DELAY, ()), abi.encode(DELAY));
        vm.mockCall(ALLOCATION, abi.encodeCall(IAllocationManager.delegation, ()), abi.encode(DELEGATION));
        vm.mockCall(DELEGATION, abi.encodeCall(IDelegationManager.minWithdrawalDelayBlocks, ()), abi.encode(DELAY));
    }

    function good() private pure returns (StakeTable.Settings memory settings) {
        settings.allocationManager = IAllocationManager(ALLOCATION);
        settings.operatorSet = OperatorSet(address(0xA5), 1);
        settings.registrar = IKeys(address(0x4E6));
        settings.strategies = new address[](2);
        (settings.strategies[0], settings.strategies[1]) = (address(1), address(2));
        settings.multipliers = new uint256[](2);
        (settings.multipliers[0], settings.multipliers[1]) = (WAD, WAD);
        (settings.minimumStake, settings.mostMembers) = (1, 100);
        (settings.epochBlocks, settings.evidenceWindow) = (DELAY / 2, DELAY / 2);
    }

    function mustRefuse(StakeTable.Settings memory settings) private {
        vm.expectRevert(StakeTable.BadSettings.selector);
        new StakeTable(settings);
    }

    function test_settingsThatMakeNoSenseAreRefused() public {
        new StakeTable(good());
        StakeTable.Settings memory settings = good();
        settings.multipliers = new uint256[](1);
        settings.multipliers[0] = WAD;
        mustRefuse(settings);
        (settings.strategies, settings.multipliers) = (new address[](0), new uint256[](0));
        mustRefuse(settings);
        settings = good();
        settings.strategies[1] = settings.strategies[0];
        mustRefuse(settings);
        settings = good();
        settings.multipliers[1] = 0;
        mustRefuse(settings);
        settings.multipliers[1] = uint256(type(uint96).max) + 1;
        mustRefuse(settings);
        settings = good();
        settings.minimumStake = 0;
        mustRefuse(settings);
        settings.minimumStake = MAX_STAKE + 1;
        mustRefuse(settings);
        settings = good();
        settings.mostMembers = 0;
        mustRefuse(settings);
        settings.mostMembers = 1_025;
        mustRefuse(settings);
        settings = good();
        settings.evidenceWindow = 0;
        mustRefuse(settings);
    }

    function weightWith(StakeTable.Settings memory settings, uint256 first, uint256 second) private returns (uint64) {
        StakeTable table = new StakeTable(settings);
        uint256[][] memory stakes = new uint256[][](1);
        stakes[0] = new uint256[](2);
        (stakes[0][0], stakes[0][1]) = (first, second);
        bytes memory question = abi.encodePacked(IAllocationManager.getMinimumSlashableStake.selector);
        vm.mockCall(ALLOCATION, question, abi.encode(stakes));
        return table.weightOf(OPERATOR);
    }

    function test_aWeightIsRoundedDownOnce() public {
        require(weightWith(good(), 0.5e12, 0.5e12) == 1, "each strategy is rounded");
        require(weightWith(good(), 0.5e12, 0.5e12 - 1) == 0, "rounded up");
        StakeTable.Settings memory settings = good();
        settings.multipliers[1] = WAD / 20;
        require(weightWith(settings, 32e18, 40e18) == 34e6, "another weight");
    }

    function testFuzz_noStakeIsTooMuchToAddUp(uint256 first, uint256 second, uint96 multiplier) public {
        StakeTable.Settings memory settings = good();
        settings.multipliers[0] = multiplier == 0 ? 1 : multiplier;
        require(weightWith(settings, first, second) <= MAX_STAKE, "above the most");
        require(weightWith(settings, type(uint256).max, type(uint256).max) == MAX_STAKE, "less than the most");
        require(weightWith(settings, 0, uint256(MAX_STAKE) * 1e12) == MAX_STAKE, "less than the most");
        require(weightWith(settings, 0, uint256(MAX_STAKE) * 1e12 - 1) == MAX_STAKE - 1, "rounded up");
    }
}
