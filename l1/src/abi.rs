//! The contracts' interfaces, as much of them as is called here: this network's, and EigenLayer's core from v1.4 on.

use alloy_sol_types::sol;

sol! {
    /// A member of a committee.
    #[derive(Debug, PartialEq, Eq)]
    struct Member {
        address key;
        uint64 stake;
    }

    /// A group of an AVS's operators.
    #[derive(Debug, PartialEq, Eq)]
    struct OperatorSet {
        address avs;
        uint32 id;
    }

    /// Who is at stake.
    interface StakeTable {
        /// The committee for an epoch and its hash, as of the block that it is asked at.
        function committee(uint64 epoch) external view returns (Member[] members, bytes32 hash);
        function allocationManager() external view returns (address);
        function registrar() external view returns (address);
        function operatorSet() external view returns (OperatorSet);
        function strategies() external view returns (address[] strategies, uint256[] multipliers);
        function minimumStake() external view returns (uint64);
        function mostMembers() external view returns (uint16);
        function lookahead() external view returns (uint32);
        function evidenceWindow() external view returns (uint32);
        function weightOf(address operator) external view returns (uint64);
    }

    /// How peers find a node.
    #[derive(Debug, PartialEq, Eq)]
    struct Contact {
        bytes peerId;
        bytes[] addresses;
    }

    /// What an operator registers with.
    #[derive(Debug, PartialEq, Eq)]
    struct Registration {
        address key;
        bytes proof;
        Contact contact;
    }

    /// Which consensus key an operator signs with.
    interface SquadRegistrar {
        event Left(address indexed operator);
        function mostOperators() external view returns (uint256);
        function rotationDelay() external view returns (uint32);
        function operatorOf(address key) external view returns (address);
        function keyOf(address operator) external view returns (address);
        function nextKeyOf(address operator) external view returns (address key, uint32 from);
        function isTombstoned(address operator) external view returns (bool);
        function contactOf(address operator) external view returns (Contact);
        function rotateKey(address key, bytes proof) external;
        function setContact(Contact contact) external;
    }

    /// Who takes stake.
    interface Slasher {
        function strategyManager() external view returns (address);
        function network() external view returns (bytes32);
        function sink() external view returns (address);
        function bounty() external view returns (uint256);
        function claimBlocks() external view returns (uint32);
        function fractions(uint256 kind) external view returns (uint256);
        function incidents(bytes32 incident)
            external view returns (address operator, uint64 slashedAt, address reporter, uint256 slashId);
        function committedAt(bytes32 commitment) external view returns (uint256);
        function bounties(bytes32 incident, address token) external view returns (uint256);
        function slash(bytes evidence) external returns (bytes32 incident);
        function commit(bytes32 commitment) external;
        function claim(bytes evidence, bytes32 salt) external;
        function pay(bytes32 incident, address token) external;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct RegisterParams {
        address avs;
        uint32[] operatorSetIds;
        bytes data;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct DeregisterParams {
        address operator;
        address avs;
        uint32[] operatorSetIds;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct AllocateParams {
        OperatorSet operatorSet;
        address[] strategies;
        uint64[] newMagnitudes;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Allocation {
        uint64 currentMagnitude;
        int128 pendingDiff;
        uint32 effectBlock;
    }

    /// EigenLayer's: what of an operator's stake each set can slash.
    interface AllocationManager {
        function DEALLOCATION_DELAY() external view returns (uint32);
        function ALLOCATION_CONFIGURATION_DELAY() external view returns (uint32);
        function delegation() external view returns (address);
        function getAllocationDelay(address operator) external view returns (bool isSet, uint32 delay);
        function getAllocation(address operator, OperatorSet operatorSet, address strategy)
            external view returns (Allocation);
        function getAllocatableMagnitude(address operator, address strategy) external view returns (uint64);
        function getMaxMagnitude(address operator, address strategy) external view returns (uint64);
        function getMemberCount(OperatorSet operatorSet) external view returns (uint256);
        function isMemberOfOperatorSet(address operator, OperatorSet operatorSet) external view returns (bool);
        function isOperatorSlashable(address operator, OperatorSet operatorSet) external view returns (bool);
        function registerForOperatorSets(address operator, RegisterParams params) external;
        function deregisterFromOperatorSets(DeregisterParams params) external;
        function modifyAllocations(address operator, AllocateParams[] params) external;
    }

    /// EigenLayer's: who is an operator, and what is delegated to it.
    interface DelegationManager {
        function isOperator(address operator) external view returns (bool);
        function operatorShares(address operator, address strategy) external view returns (uint256);
        function minWithdrawalDelayBlocks() external view returns (uint32);
        function registerAsOperator(address approver, uint32 allocationDelay, string metadataURI) external;
    }

    /// EigenLayer's: what a strategy holds.
    interface Strategy {
        function underlyingToken() external view returns (address);
    }
}
