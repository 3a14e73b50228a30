// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RegisterParams} from "../src/EigenLayer.sol";
import {SquadRegistrar} from "../src/SquadRegistrar.sol";
import {Core} from "./support/Core.sol";
import {Restaked} from "./support/Restaked.sol";
import {vm} from "./support/Vm.sol";

/// What calls take, with a transaction's own 21 000 and its data, compiled as what is deployed:
/// `FOUNDRY_OPTIMIZER_RUNS=10000 node forge.mjs test --isolate --match-contract Gas -vv`.
abstract contract GasTests is Restaked {
    /// Forge shows these.
    event log_named_uint(string call, uint256 gas);

    function note(string memory call) private {
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint(call, gas);
        require(gas < 15_000_000, "half a block");
    }

    function measure(uint256 operators) private {
        for (uint256 i = 0; i + 1 < operators; ++i) {
            join(i);
        }
        address operator = operatorAt(operators - 1);
        uint256 key = keyAt(operators - 1);
        restake(operator, 100 * WAD, 100 * WAD);
        bytes memory data = registration(operator, key);
        vm.prank(operator);
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), data));
        note("registerForOperatorSets");
        rotate(operator, keyAt(operators));
        note("rotateKey");
        SquadRegistrar.Contact memory contact_ = contact();
        contact_.addresses[0] = hex"047f000001060fa2";
        vm.prank(operator);
        registrar.setContact(contact_);
        note("setContact");
        table.committee(1);
        note("committee");
        bytes memory evidence = contradiction(0, key, 1);
        slasher.commit(slasher.commitmentTo(evidence, address(this), 0));
        note("commit");
        vm.roll(vm.getBlockNumber() + 1);
        for (uint8 kind = 0; kind < 4; ++kind) {
            slasher.slash(contradiction(3 - kind, key, 1));
            note(string.concat("slash: kind ", string(abi.encodePacked(bytes1(51 - kind)))));
        }
        slasher.claim(evidence, 0);
        note("claim");
    }

    function test_gasOfFour() public {
        measure(4);
    }

    function test_gasOfThirtyTwo() public {
        measure(32);
    }

    function test_gasOfAHundred() public {
        measure(100);
    }
}

contract GasOnCore14 is GasTests {
    function redistributes() internal pure override returns (bool) {
        return false;
    }

    function setUp() public {
        startOn(new Core("core/v1.4.json", false));
    }
}
