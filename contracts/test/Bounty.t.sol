// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20, Slasher} from "../src/Slasher.sol";
import {SquadRegistrar} from "../src/SquadRegistrar.sol";
import {StakeTable} from "../src/StakeTable.sol";
import {Core, Token} from "./support/Core.sol";
import {Redistributing} from "./support/Redistributing.sol";
import {Restaked} from "./support/Restaked.sol";
import {vm} from "./support/Vm.sol";

/// Who gets what of slashed tokens.
abstract contract BountyTests is Restaked {
    address private constant REPORTER = address(0x4E9);
    address private constant THIEF = address(0x7E1EF);
    bytes32 private constant SALT = keccak256("salt");

    function redistributes() internal pure override returns (bool) {
        return true;
    }

    /// Two strategies' worth: half of 100 and of 1 000 tokens is slashed.
    function joinWithBoth() private returns (bytes memory evidence) {
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 1000 * WAD);
        register(operator, registration(operator, keyAt(0)));
        return contradiction(1, keyAt(0), 1);
    }

    function commit(address reporter, bytes memory evidence) private {
        bytes32 commitment = slasher.commitmentTo(evidence, reporter, SALT);
        vm.prank(reporter);
        slasher.commit(commitment);
        vm.roll(vm.getBlockNumber() + 1);
    }

    function payAll(bytes32 incident) private {
        for (uint256 i = 0; i < 2; ++i) {
            slasher.pay(incident, address(tokens[i]));
            slasher.sweep(address(tokens[i]));
        }
    }

    function held(address holder) private view returns (uint256, uint256) {
        return (tokens[0].balanceOf(holder), tokens[1].balanceOf(holder));
    }

    function mustHold(address holder, uint256 first, uint256 second) private view {
        (uint256 one, uint256 other) = held(holder);
        require(one == first && other == second, "another amount");
    }

    function test_theReporterGetsItsPartAndTheSinkTheRest() public {
        bytes memory evidence = joinWithBoth();
        commit(REPORTER, evidence);
        // Somebody else may slash: that earns nothing.
        vm.prank(THIEF);
        bytes32 incident = slasher.slash(evidence);
        vm.prank(REPORTER);
        slasher.claim(evidence, SALT);
        payAll(incident);
        mustHold(REPORTER, 25 * WAD / 10, 25 * WAD);
        mustHold(SINK, 475 * WAD / 10, 475 * WAD);
        mustHold(address(slasher), 0, 0);
        // Nothing is paid twice.
        payAll(incident);
        mustHold(REPORTER, 25 * WAD / 10, 25 * WAD);
    }

    function test_whoCopiesEvidenceGetsNothing() public {
        bytes memory evidence = joinWithBoth();
        commit(REPORTER, evidence);
        // The reporter's transaction is seen: the thief commits, and has its own before it, in the same block.
        bytes32 stolen = slasher.commitmentTo(evidence, THIEF, SALT);
        vm.prank(THIEF);
        slasher.commit(stolen);
        vm.prank(THIEF);
        slasher.slash(evidence);
        vm.prank(THIEF);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NoCommitment.selector, stolen));
        slasher.claim(evidence, SALT);
        vm.roll(vm.getBlockNumber() + 1);
        vm.prank(THIEF);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NoCommitment.selector, stolen));
        slasher.claim(evidence, SALT);
        // Nor does another's commitment help.
        bytes32 none = slasher.commitmentTo(evidence, address(this), SALT);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NoCommitment.selector, none));
        slasher.claim(evidence, SALT);
        vm.prank(REPORTER);
        slasher.claim(evidence, SALT);
        vm.prank(REPORTER);
        bytes32 incident = incidentOfIt();
        vm.expectRevert(abi.encodeWithSelector(Slasher.AlreadyClaimed.selector, incident, REPORTER));
        slasher.claim(evidence, SALT);
    }

    function test_aCommitmentMadeAgainIsNoLater() public {
        bytes memory evidence = joinWithBoth();
        commit(REPORTER, evidence);
        slasher.slash(evidence);
        // Anybody can say the same hash.
        slasher.commit(slasher.commitmentTo(evidence, REPORTER, SALT));
        vm.prank(REPORTER);
        slasher.claim(evidence, SALT);
    }

    function test_aTokenThatSaysNoIsNotTakenForPaid() public {
        bytes memory evidence = joinWithBoth();
        bytes32 incident = slasher.slash(evidence);
        vm.roll(vm.getBlockNumber() + CLAIM_BLOCKS + 1);
        address token = address(tokens[0]);
        bytes memory paying = abi.encodeCall(IERC20.transfer, (SINK, 25 * WAD / 10));
        vm.mockCall(token, paying, abi.encode(false));
        vm.expectRevert(abi.encodeWithSelector(Slasher.TransferFailed.selector, token));
        slasher.pay(incident, token);
        vm.mockCallRevert(token, paying, "paused");
        vm.expectRevert(abi.encodeWithSelector(Slasher.TransferFailed.selector, token));
        slasher.pay(incident, token);
        require(slasher.bounties(incident, token) == 25 * WAD / 10, "forgotten");
        // Some tokens say nothing.
        vm.clearMockedCalls();
        vm.mockCall(token, paying, "");
        slasher.pay(incident, token);
        require(slasher.bounties(incident, token) == 0, "not paid");
    }

    function incidentOfIt() private pure returns (bytes32) {
        bytes32 slot = keccak256(
            abi.encode(keccak256("Proposal(uint64 height,uint32 round,uint64 validRoundPlusOne,bytes32 block)"), 1, 0)
        );
        return keccak256(abi.encode(NETWORK, vm.addr(keyAt(0)), slot));
    }

    function test_anUnclaimedBountyIsTheSinks() public {
        bytes memory evidence = joinWithBoth();
        uint256 last = vm.getBlockNumber() + CLAIM_BLOCKS;
        bytes32 incident = slasher.slash(evidence);
        vm.roll(last);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NotYet.selector, last));
        slasher.pay(incident, address(tokens[0]));
        vm.roll(last + 1);
        payAll(incident);
        mustHold(SINK, 50 * WAD, 500 * WAD);
    }

    function test_noIncidentNoBounty() public {
        bytes memory evidence = joinWithBoth();
        commit(REPORTER, evidence);
        bytes32 incident = incidentOfIt();
        vm.prank(REPORTER);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NotSlashed.selector, incident));
        slasher.claim(evidence, SALT);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NotSlashed.selector, incident));
        slasher.collect(incident);
        vm.expectRevert(abi.encodeWithSelector(Slasher.NotSlashed.selector, incident));
        slasher.pay(incident, address(tokens[0]));
    }

    function test_sweepingLeavesBountiesAlone() public {
        bytes memory evidence = joinWithBoth();
        commit(REPORTER, evidence);
        bytes32 incident = slasher.slash(evidence);
        tokens[0].mint(address(slasher), 7);
        slasher.sweep(address(tokens[0]));
        slasher.sweep(address(tokens[0]));
        require(tokens[0].balanceOf(SINK) == 475 * WAD / 10 + 7, "another amount");
        vm.prank(REPORTER);
        slasher.claim(evidence, SALT);
        slasher.pay(incident, address(tokens[0]));
        require(tokens[0].balanceOf(REPORTER) == 25 * WAD / 10, "another amount");
    }

    function testFuzz_whatIsSlashedIsPaidOutExactly(uint96 first, uint96 second, bool claimed) public {
        address operator = operatorAt(0);
        restake(operator, 40 * WAD + first % (1e9 * WAD), second % (1e9 * WAD));
        register(operator, registration(operator, keyAt(0)));
        (uint256 one, uint256 other) = (shares(operator, 0), shares(operator, 1));
        bytes memory evidence = contradiction(2, keyAt(0), 9);
        commit(REPORTER, evidence);
        bytes32 incident = slasher.slash(evidence);
        if (claimed) {
            vm.prank(REPORTER);
            slasher.claim(evidence, SALT);
        } else {
            vm.roll(vm.getBlockNumber() + CLAIM_BLOCKS + 1);
        }
        payAll(incident);
        one -= shares(operator, 0);
        other -= shares(operator, 1);
        (uint256 mine, uint256 mineToo) = held(REPORTER);
        (uint256 rest, uint256 restToo) = held(SINK);
        require(mine + rest == one && mineToo + restToo == other, "more or less than was slashed");
        require(!claimed || (mine == one / 20 && mineToo == other / 20), "another part");
        mustHold(address(slasher), 0, 0);
    }
}

/// Tells the sink's share to be sent on whenever it moves.
contract Meddling is Token {
    Slasher private immutable slasher;

    constructor(Slasher slasher_) {
        slasher = slasher_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        super.transfer(to, amount);
        slasher.sweep(address(this));
        return true;
    }
}

contract BountyOnStandIn is BountyTests {
    function setUp() public {
        startOn(Core(address(new Redistributing())));
    }

    function test_whatCannotBeFetchedNowIsFetchedLater() public {
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 0);
        register(operator, registration(operator, keyAt(0)));
        Redistributing(address(core)).pause(true);
        bytes32 incident = slasher.slash(contradiction(0, keyAt(0), 1));
        require(shares(operator, 0) == 0 && tokens[0].balanceOf(address(slasher)) == 0, "not slashed, or fetched");
        Redistributing(address(core)).pause(false);
        slasher.collect(incident);
        slasher.collect(incident);
        require(tokens[0].balanceOf(address(slasher)) == 100 * WAD, "not fetched");
        require(slasher.bounties(incident, address(tokens[0])) == 5 * WAD, "another bounty");
    }

    function test_aTokenThatCallsBackDoesNotCostTheReporterItsBounty() public {
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 0);
        register(operator, registration(operator, keyAt(0)));
        bytes memory honest = address(tokens[0]).code;
        vm.etch(address(tokens[0]), address(new Meddling(slasher)).code);
        bytes32 incident = slasher.slash(contradiction(0, keyAt(0), 1));
        require(tokens[0].balanceOf(SINK) == 0, "swept while it was fetched");
        vm.etch(address(tokens[0]), honest);
        slasher.collect(incident);
        require(slasher.bounties(incident, address(tokens[0])) == 5 * WAD, "another bounty");
    }

    /// The crate has the same one.
    function test_aCommitmentIsTheOneThatRustMakes() public view {
        bytes32 made =
            slasher.commitmentTo(hex"010203", address(0x0707070707070707070707070707070707070707), bytes32(uint256(9)));
        require(made == 0xe66a0c393d9254b336c963e5ade6170941a1837ed90427e31477870f45de3aa7, "another");
    }

    function test_settingsThatMakeNoSenseAreRefused() public {
        Slasher.Settings memory settings = settingsOfSlasher();
        // Its registrar is the other slasher's.
        vm.expectRevert(Slasher.BadSettings.selector);
        new Slasher(settings);
        settings.fractions[3] = 0;
        mustRefuse(settings);
        settings.fractions[3] = WAD + 1;
        mustRefuse(settings);
        settings = settingsOfSlasher();
        settings.bounty = WAD / 10 + 1;
        mustRefuse(settings);
        settings.bounty = 1;
        settings.sink = address(0);
        mustRefuse(settings);
        // Its table hears another registrar.
        address avs = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 2);
        settings = settingsOfSlasher();
        settings.registrar = new SquadRegistrar(new StakeTable(settingsOfTable(avs, address(registrar), 1)), 1, 1);
        vm.expectRevert(Slasher.BadSettings.selector);
        new Slasher(settings);
        settings = withRegistrar(settingsOfSlasher());
        new Slasher(settings);
    }

    function mustRefuse(Slasher.Settings memory settings) private {
        settings = withRegistrar(settings);
        vm.expectRevert(Slasher.BadSettings.selector);
        new Slasher(settings);
    }

    /// With a table and a registrar that are the next contract's but themselves.
    function withRegistrar(Slasher.Settings memory settings) private returns (Slasher.Settings memory) {
        uint256 nonce = vm.getNonce(address(this));
        address avs = vm.computeCreateAddress(address(this), nonce + 2);
        address next = vm.computeCreateAddress(address(this), nonce + 1);
        settings.registrar = new SquadRegistrar(new StakeTable(settingsOfTable(avs, next, 1)), 1, 1);
        return settings;
    }

    function test_tooLittleGasDoesNotCostTheReporterItsBounty() public {
        address operator = operatorAt(0);
        restake(operator, 100 * WAD, 100 * WAD);
        register(operator, registration(operator, keyAt(0)));
        bytes memory evidence = contradiction(0, keyAt(0), 1);
        bytes memory call = abi.encodeCall(Slasher.slash, (evidence));
        for (uint256 gas = 100_000; gas < 1_000_000; gas += 5_000) {
            (bool done,) = address(slasher).call{gas: gas}(call);
            if (done) break;
        }
        bytes32 incident = incidentOfVotes();
        require(slasher.bounties(incident, address(tokens[0])) == 5 * WAD, "the first is not fetched");
        require(slasher.bounties(incident, address(tokens[1])) == 5 * WAD, "the second is not fetched");
    }

    function incidentOfVotes() private pure returns (bytes32) {
        bytes32 slot = keccak256(abi.encode(keccak256("Precommit(uint64 height,uint32 round,bytes32 block)"), 1, 0));
        return keccak256(abi.encode(NETWORK, vm.addr(keyAt(0)), slot));
    }
}
