// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

// What is used of EigenLayer's core, as its interfaces have it from v1.4 on; what came later says so.

/// Who is secured by restaked tokens (an AVS), and which group of its operators.
struct OperatorSet {
    address avs;
    uint32 id;
}

struct CreateSetParams {
    uint32 operatorSetId;
    address[] strategies;
}

/// From v1.9 on: with the one address that may slash the set.
struct CreateSetParamsV2 {
    uint32 operatorSetId;
    address[] strategies;
    address slasher;
}

struct RegisterParams {
    address avs;
    uint32[] operatorSetIds;
    bytes data;
}

struct DeregisterParams {
    address operator;
    address avs;
    uint32[] operatorSetIds;
}

struct AllocateParams {
    OperatorSet operatorSet;
    address[] strategies;
    uint64[] newMagnitudes;
}

struct SlashingParams {
    address operator;
    uint32 operatorSetId;
    address[] strategies;
    uint256[] wadsToSlash;
    string description;
}

interface IAllocationManager {
    function DEALLOCATION_DELAY() external view returns (uint32);
    function delegation() external view returns (IDelegationManager);

    function updateAVSMetadataURI(address avs, string calldata metadataURI) external;
    function setAVSRegistrar(address avs, IAVSRegistrar registrar) external;
    function getAVSRegistrar(address avs) external view returns (IAVSRegistrar);
    function createOperatorSets(address avs, CreateSetParams[] calldata params) external;
    /// From v1.9 on.
    function createRedistributingOperatorSets(
        address avs,
        CreateSetParamsV2[] calldata params,
        address[] calldata redistributionRecipients
    ) external;

    function registerForOperatorSets(address operator, RegisterParams calldata params) external;
    function deregisterFromOperatorSets(DeregisterParams calldata params) external;
    function modifyAllocations(address operator, AllocateParams[] calldata params) external;
    /// Since v1.5 it also answers; what this reads instead is `getSlashCount`, so that both can be called.
    function slashOperator(address avs, SlashingParams calldata params) external;

    function getMembers(OperatorSet calldata operatorSet) external view returns (address[] memory);
    function getMemberCount(OperatorSet calldata operatorSet) external view returns (uint256);
    function isMemberOfOperatorSet(address operator, OperatorSet calldata operatorSet) external view returns (bool);
    function isOperatorSlashable(address operator, OperatorSet calldata operatorSet) external view returns (bool);
    function getMinimumSlashableStake(
        OperatorSet calldata operatorSet,
        address[] calldata operators,
        address[] calldata strategies,
        uint32 futureBlock
    ) external view returns (uint256[][] memory);
    /// From v1.5 on: the id of the set's latest slash.
    function getSlashCount(OperatorSet calldata operatorSet) external view returns (uint256);
}

interface IDelegationManager {
    function minWithdrawalDelayBlocks() external view returns (uint32);
}

interface IStrategyManager {
    /// From v1.5 on: sends what a slash took of a strategy to the set's redistribution recipient. Anybody may call it.
    function clearBurnOrRedistributableSharesByStrategy(
        OperatorSet calldata operatorSet,
        uint256 slashId,
        address strategy
    ) external returns (uint256);
}

interface IStrategy {
    function underlyingToken() external view returns (address);
}

/// What the core calls when operators come and go.
interface IAVSRegistrar {
    function registerOperator(address operator, address avs, uint32[] calldata operatorSetIds, bytes calldata data)
        external;
    function deregisterOperator(address operator, address avs, uint32[] calldata operatorSetIds) external;
    function supportsAVS(address avs) external view returns (bool);
}
