// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {
    AllocateParams,
    DeregisterParams,
    IAllocationManager,
    IStrategyManager,
    OperatorSet,
    RegisterParams
} from "../../src/EigenLayer.sol";
import {IKeys, StakeTable} from "../../src/StakeTable.sol";
import {Slasher} from "../../src/Slasher.sol";
import {SquadRegistrar} from "../../src/SquadRegistrar.sol";
import {Core, ICore, Token} from "./Core.sol";
import {Statement} from "./Statement.sol";
import {vm} from "./Vm.sol";

/// A network's contracts on EigenLayer's core, with operators that deposited, allocated and registered.
abstract contract Restaked {
    bytes32 internal constant NETWORK = keccak256("a network");
    address internal constant SINK = address(0x51CC);
    uint256 internal constant WAD = 1e18;
    uint256 internal constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint32 internal constant SET = 1;
    uint32 internal constant EPOCH_BLOCKS = 300;
    uint32 internal constant WINDOW = 50_400;
    uint32 internal constant ROTATION_DELAY = 50;
    uint32 internal constant CLAIM_BLOCKS = 7_200;
    uint64 internal constant MINIMUM = 32e6;
    uint256 internal constant MOST_OPERATORS = 128;

    Core internal core;
    IAllocationManager internal allocation;
    address[] internal strategies;
    Token[] internal tokens;
    uint256[] internal multipliers;
    StakeTable internal table;
    SquadRegistrar internal registrar;
    Slasher internal slasher;

    /// Which of the two forms of the set: see Slasher.
    function redistributes() internal pure virtual returns (bool);

    function startOn(Core core_) internal {
        core = core_;
        allocation = core.allocationManager();
        for (uint256 i = 0; i < 2; ++i) {
            (address strategy, Token token) = core.addStrategy();
            strategies.push(strategy);
            tokens.push(token);
        }
        if (strategies[0] > strategies[1]) {
            (strategies[0], strategies[1]) = (strategies[1], strategies[0]);
            (tokens[0], tokens[1]) = (tokens[1], tokens[0]);
        }
        // A restaked token counts as it is, the bond a twentieth.
        multipliers = [WAD, WAD / 20];
        deploy(MOST_OPERATORS, 100);
    }

    function deploy(uint256 mostOperators, uint16 mostMembers) internal {
        uint256 nonce = vm.getNonce(address(this));
        address avs = vm.computeCreateAddress(address(this), nonce + 2);
        table = new StakeTable(settingsOfTable(avs, vm.computeCreateAddress(address(this), nonce + 1), mostMembers));
        registrar = new SquadRegistrar(table, mostOperators, ROTATION_DELAY);
        slasher = new Slasher(settingsOfSlasher());
        require(address(slasher) == avs, "elsewhere than computed");
    }

    function settingsOfSlasher() internal view returns (Slasher.Settings memory) {
        return Slasher.Settings({
            registrar: registrar,
            strategyManager: IStrategyManager(address(core.strategyManager())),
            network: NETWORK,
            fractions: [WAD, WAD / 2, WAD / 4, WAD / 10],
            sink: redistributes() ? SINK : address(0),
            bounty: redistributes() ? WAD / 20 : 0,
            claimBlocks: CLAIM_BLOCKS,
            metadataURI: "https://example.org/squad.json"
        });
    }

    function settingsOfTable(address avs, address registrar_, uint16 mostMembers)
        internal
        view
        returns (StakeTable.Settings memory)
    {
        return StakeTable.Settings({
            allocationManager: allocation,
            operatorSet: OperatorSet(avs, SET),
            registrar: IKeys(registrar_),
            strategies: strategies,
            multipliers: multipliers,
            minimumStake: MINIMUM,
            mostMembers: mostMembers,
            epochBlocks: EPOCH_BLOCKS,
            evidenceWindow: WINDOW
        });
    }

    function operatorAt(uint256 i) internal pure returns (address) {
        return address(uint160(0xA000 + i));
    }

    function keyAt(uint256 i) internal pure returns (uint256) {
        return 0xC0DE + i;
    }

    /// Registers an operator with the core and deposits for it; both strategies are wholly allocated to the set.
    function restake(address operator, uint256 first, uint256 second) internal {
        ICore delegation = core.delegationManager();
        vm.prank(operator);
        delegation.registerAsOperator(address(0), 0, "");
        deposit(operator, 0, first);
        deposit(operator, 1, second);
        // Until its allocation delay counts.
        vm.roll(vm.getBlockNumber() + core.CONFIGURATION_DELAY() + 1);
        allocate(operator, uint64(WAD));
    }

    function deposit(address staker, uint256 strategy, uint256 amount) internal {
        if (amount == 0) return;
        ICore manager = core.strategyManager();
        tokens[strategy].mint(staker, amount);
        vm.prank(staker);
        tokens[strategy].approve(address(manager), amount);
        vm.prank(staker);
        manager.depositIntoStrategy(strategies[strategy], address(tokens[strategy]), amount);
    }

    function allocate(address operator, uint64 magnitude) internal {
        AllocateParams[] memory params = new AllocateParams[](1);
        params[0].operatorSet = slasher.operatorSet();
        params[0].strategies = strategies;
        params[0].newMagnitudes = new uint64[](2);
        (params[0].newMagnitudes[0], params[0].newMagnitudes[1]) = (magnitude, magnitude);
        vm.prank(operator);
        allocation.modifyAllocations(operator, params);
    }

    function proofOf(address operator, uint256 key) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, registrar.keyDigest(operator, vm.addr(key)));
        return abi.encodePacked(r, s, v);
    }

    function contact() internal pure returns (SquadRegistrar.Contact memory made) {
        made.peerId = bytes.concat(hex"0024080112", hex"20", keccak256("peer"));
        made.addresses = new bytes[](1);
        made.addresses[0] = hex"047f000001060fa1";
    }

    function registration(address operator, uint256 key) internal view returns (bytes memory) {
        return abi.encode(SquadRegistrar.Registration(vm.addr(key), proofOf(operator, key), contact()));
    }

    function register(address operator, bytes memory data) internal {
        vm.prank(operator);
        allocation.registerForOperatorSets(operator, RegisterParams(address(slasher), ids(), data));
    }

    /// An operator with its place's stake: 100 tokens and 1 more for each place.
    function join(uint256 i) internal returns (address operator) {
        operator = operatorAt(i);
        restake(operator, (100 + i) * WAD, 0);
        register(operator, registration(operator, keyAt(i)));
    }

    function rotate(address operator, uint256 key) internal {
        bytes memory proof = proofOf(operator, key);
        vm.prank(operator);
        registrar.rotateKey(vm.addr(key), proof);
    }

    function quit(address operator) internal {
        vm.prank(operator);
        allocation.deregisterFromOperatorSets(DeregisterParams(operator, address(slasher), ids()));
    }

    function ids() internal pure returns (uint32[] memory list) {
        list = new uint32[](1);
        list[0] = SET;
    }

    function isMember(address operator) internal view returns (bool) {
        return allocation.isMemberOfOperatorSet(operator, slasher.operatorSet());
    }

    function shares(address operator, uint256 strategy) internal view returns (uint256) {
        return core.delegationManager().operatorShares(operator, strategies[strategy]);
    }

    function contradiction(uint8 kind, uint256 key, uint64 height) internal pure returns (bytes memory) {
        return Statement.contradiction(kind, key, NETWORK, height);
    }
}
