// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {
    AllocateParams,
    CreateSetParamsV2,
    DeregisterParams,
    IAVSRegistrar,
    OperatorSet,
    RegisterParams,
    SlashingParams
} from "../../src/EigenLayer.sol";
import {Token} from "./Core.sol";

/// Behaves as a core from v1.9 on as far as bounties need it: one set, stake that is wholly allocated, and slashed tokens that
/// anybody can have sent to the set's recipient. It stands in where no such core is at hand; `OnCheckout` has the real one.
contract Redistributing {
    uint32 public constant DEALLOCATION_DELAY = 100_800;
    uint32 public constant CONFIGURATION_DELAY = 126_000;
    uint256 private constant WAD = 1e18;

    IAVSRegistrar private registrar;
    address private recipient;
    address[] private members;
    mapping(address operator => bool) private isRegistered;
    mapping(address operator => uint256) private slashableUntil;
    mapping(address operator => mapping(address strategy => uint256)) public operatorShares;
    mapping(uint256 slash => mapping(address strategy => uint256)) private taken;
    mapping(address strategy => Token) private tokenOf;
    uint256 private slashes;
    /// Whether what moves slashed tokens is paused.
    bool public paused;

    function allocationManager() external view returns (address) {
        return address(this);
    }

    function delegationManager() external view returns (address) {
        return address(this);
    }

    function delegation() external view returns (address) {
        return address(this);
    }

    function strategyManager() external view returns (address) {
        return address(this);
    }

    function minWithdrawalDelayBlocks() external pure returns (uint32) {
        return DEALLOCATION_DELAY;
    }

    function pause(bool whether) external {
        paused = whether;
    }

    function addStrategy() external returns (address strategy, Token token) {
        token = new Token();
        strategy = address(new Strategy(token));
        tokenOf[strategy] = token;
    }

    function registerAsOperator(address, uint32, string calldata) external {}

    function modifyAllocations(address, AllocateParams[] calldata) external {}

    function updateAVSMetadataURI(address, string calldata) external {}

    function depositIntoStrategy(address strategy, Token token, uint256 amount) external returns (uint256) {
        token.transferFrom(msg.sender, address(this), amount);
        operatorShares[msg.sender][strategy] += amount;
        return amount;
    }

    function setAVSRegistrar(address, IAVSRegistrar registrar_) external {
        registrar = registrar_;
    }

    function createRedistributingOperatorSets(address, CreateSetParamsV2[] calldata, address[] calldata recipients)
        external
    {
        recipient = recipients[0];
    }

    function registerForOperatorSets(address operator, RegisterParams calldata params) external {
        members.push(operator);
        isRegistered[operator] = true;
        registrar.registerOperator(operator, params.avs, params.operatorSetIds, params.data);
    }

    function deregisterFromOperatorSets(DeregisterParams calldata params) external {
        require(msg.sender == params.operator || msg.sender == params.avs, "somebody else");
        isRegistered[params.operator] = false;
        slashableUntil[params.operator] = block.number + DEALLOCATION_DELAY;
        registrar.deregisterOperator(params.operator, params.avs, params.operatorSetIds);
    }

    function slashOperator(address avs, SlashingParams calldata params) external returns (uint256, uint256[] memory) {
        require(msg.sender == avs, "somebody else");
        ++slashes;
        for (uint256 i = 0; i < params.strategies.length; ++i) {
            address strategy = params.strategies[i];
            uint256 part = operatorShares[params.operator][strategy] * params.wadsToSlash[i] / WAD;
            operatorShares[params.operator][strategy] -= part;
            taken[slashes][strategy] = part;
        }
        return (slashes, new uint256[](0));
    }

    function clearBurnOrRedistributableSharesByStrategy(OperatorSet calldata, uint256 slash, address strategy)
        external
        returns (uint256 amount)
    {
        require(!paused, "paused");
        (amount, taken[slash][strategy]) = (taken[slash][strategy], 0);
        tokenOf[strategy].transfer(recipient, amount);
    }

    function getSlashCount(OperatorSet calldata) external view returns (uint256) {
        return slashes;
    }

    function getMemberCount(OperatorSet calldata) external view returns (uint256) {
        return members.length;
    }

    function isMemberOfOperatorSet(address operator, OperatorSet calldata) external view returns (bool) {
        return isRegistered[operator];
    }

    function isOperatorSlashable(address operator, OperatorSet calldata) external view returns (bool) {
        return isRegistered[operator] || block.number <= slashableUntil[operator];
    }

    function getMinimumSlashableStake(
        OperatorSet calldata,
        address[] calldata operators,
        address[] calldata strategies,
        uint32
    ) external view returns (uint256[][] memory stakes) {
        stakes = new uint256[][](operators.length);
        for (uint256 i = 0; i < operators.length; ++i) {
            stakes[i] = new uint256[](strategies.length);
            for (uint256 j = 0; j < strategies.length; ++j) {
                stakes[i][j] = operatorShares[operators[i]][strategies[j]];
            }
        }
    }
}

contract Strategy {
    Token public immutable underlyingToken;

    constructor(Token token) {
        underlyingToken = token;
    }
}
