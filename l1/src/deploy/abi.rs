//! What is called of EigenLayer's core, of tokens and of the network's contracts.
#![allow(missing_docs)] // the names are the contracts'

use alloy_sol_types::sol;

sol! {
    struct OperatorSet {
        address avs;
        uint32 id;
    }

    interface IInitialize {
        function initialize(address owner, uint256 paused) external;
    }

    interface IStrategyManager {
        function initialize(address owner, address whitelister, uint256 paused) external;
        function depositIntoStrategy(address strategy, address token, uint256 amount) external returns (uint256);
    }

    interface IStrategyFactory {
        function initialize(address owner, uint256 paused, address beacon) external;
        function deployNewStrategy(address token) external returns (address);
        function deployedStrategies(address token) external view returns (address);
    }

    interface IDelegationManager {
        function registerAsOperator(address approver, uint32 allocationDelay, string uri) external;
    }

    struct AllocateParams {
        OperatorSet operatorSet;
        address[] strategies;
        uint64[] newMagnitudes;
    }

    struct RegisterParams {
        address avs;
        uint32[] operatorSetIds;
        bytes data;
    }

    interface IAllocationManager {
        function modifyAllocations(address operator, AllocateParams[] params) external;
        function registerForOperatorSets(address operator, RegisterParams params) external;
        function isMemberOfOperatorSet(address operator, OperatorSet operatorSet) external view returns (bool);
    }

    interface IToken {
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
    }

    struct TableArguments {
        address allocationManager;
        OperatorSet operatorSet;
        address registrar;
        address[] strategies;
        uint256[] multipliers;
        uint64 minimumStake;
        uint16 mostMembers;
        uint32 epochBlocks;
        uint32 evidenceWindow;
    }

    struct SlasherArguments {
        address registrar;
        address strategyManager;
        bytes32 network;
        uint256[4] fractions;
        address sink;
        uint256 bounty;
        uint32 claimBlocks;
        string metadataURI;
    }

    struct Where {
        bytes peerId;
        bytes[] addresses;
    }

    struct Registration {
        address key;
        bytes proof;
        Where contact;
    }

    interface ISquadRegistrar {
        function setContact(Where contact) external;
        function contactOf(address operator) external view returns (Where);
        function isTombstoned(address operator) external view returns (bool);
    }
}
