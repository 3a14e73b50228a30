// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IStrategyManager} from "../src/EigenLayer.sol";
import {BountyTests} from "./Bounty.t.sol";
import {GasTests} from "./Gas.t.sol";
import {RestakingTests} from "./Restaking.t.sol";
import {Core, ICore} from "./support/Core.sol";
import {vm} from "./support/Vm.sol";

// On a newer core, if core.mjs compiled one. Without it, forge.mjs leaves this file out: compiling it takes as long as the rest.

/// With a set that burns.
contract OnCheckout is RestakingTests {
    function redistributes() internal pure override returns (bool) {
        return false;
    }

    function setUp() public {
        startOn(new Core("core/checkout.json", true));
    }
}

/// The same, with a set that redistributes.
contract OnCheckoutRedistributing is RestakingTests {
    function redistributes() internal pure override returns (bool) {
        return true;
    }

    function setUp() public {
        startOn(new Core("core/checkout.json", true));
    }
}

contract BountyOnCheckout is BountyTests {
    function setUp() public {
        startOn(new Core("core/checkout.json", true));
    }

    function test_whoGoesPastTheSlasherLeavesTheBountyToTheSink() public {
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 0);
        register(operator, registration(operator, keyAt(0)));
        bytes32 incident = slasher.slash(contradiction(0, keyAt(0), 1));
        // All was fetched with the slash: nothing is left for anybody to fetch.
        IStrategyManager(address(core.strategyManager()))
            .clearBurnOrRedistributableSharesByStrategy(slasher.operatorSet(), 1, strategies[0]);
        require(slasher.bounties(incident, address(tokens[0])) == 5 * WAD, "another bounty");
        require(tokens[0].balanceOf(address(slasher)) == 100 * WAD, "another amount");
    }

    function test_whatIsBeingWithdrawnIsSlashedAsWell() public {
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 0);
        register(operator, registration(operator, keyAt(0)));
        ICore.QueuedWithdrawalParams[] memory params = new ICore.QueuedWithdrawalParams[](1);
        params[0] = ICore.QueuedWithdrawalParams(new address[](1), new uint256[](1), operator);
        (params[0].strategies[0], params[0].depositShares[0]) = (strategies[0], 100 * WAD);
        ICore delegation = core.delegationManager();
        vm.prank(operator);
        delegation.queueWithdrawals(params);
        require(shares(operator, 0) == 0 && table.weightOf(operator) == 0, "counts on");
        vm.roll(vm.getBlockNumber() + table.lookahead());
        slasher.slash(contradiction(0, keyAt(0), 1));
        require(tokens[0].balanceOf(address(slasher)) == 100 * WAD, "got away");
    }
}

contract GasOnCheckout is GasTests {
    function redistributes() internal pure override returns (bool) {
        return true;
    }

    function setUp() public {
        startOn(new Core("core/checkout.json", true));
    }
}
