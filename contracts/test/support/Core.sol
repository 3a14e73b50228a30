// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAllocationManager} from "../../src/EigenLayer.sol";
import {vm} from "./Vm.sol";

/// What tests need of the core besides.
interface ICore {
    struct QueuedWithdrawalParams {
        address[] strategies;
        uint256[] depositShares;
        address withdrawer;
    }

    function initialize(address owner, address whitelister, uint256 paused) external;
    function initialize(address token) external;
    function addStrategiesToDepositWhitelist(address[] calldata strategies) external;
    function registerAsOperator(address approver, uint32 allocationDelay, string calldata uri) external;
    function depositIntoStrategy(address strategy, address token, uint256 amount) external returns (uint256);
    function queueWithdrawals(QueuedWithdrawalParams[] calldata params) external returns (bytes32[] memory);
    function operatorShares(address operator, address strategy) external view returns (uint256);
}

/// Stands before an implementation that is known later.
contract Proxy {
    /// Where no implementation keeps anything.
    bytes32 private constant PLACE = keccak256("implementation");

    function become(address implementation) external {
        bytes32 place = PLACE;
        assembly ("memory-safe") {
            sstore(place, implementation)
        }
    }

    fallback() external {
        bytes32 place = PLACE;
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), sload(place), 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(done) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }
}

/// Stands for the manager of pods on the beacon chain, where nobody here has any.
contract NoPods {
    function stakerDepositShares(address, address) external pure returns (int256) {
        return 0;
    }
}

contract Token {
    uint8 public constant decimals = 18;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) public virtual returns (bool) {
        (balanceOf[msg.sender], balanceOf[to]) = (balanceOf[msg.sender] - amount, balanceOf[to] + amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        (balanceOf[from], balanceOf[to]) = (balanceOf[from] - amount, balanceOf[to] + amount);
        return true;
    }
}

/// EigenLayer's own code, put together as its deployment does: what stake, delegation, allocation and slashing need of it.
contract Core {
    uint32 public constant DEALLOCATION_DELAY = 100_800;
    uint32 public constant CONFIGURATION_DELAY = 126_000;
    uint32 public constant WITHDRAWAL_DELAY = 100_800;

    IAllocationManager public allocationManager;
    ICore public delegationManager;
    ICore public strategyManager;
    string private code;
    bool private split;
    address private pausers;

    /// With the creation code in a file: of v1.4, or of v1.9 or later.
    constructor(string memory file, bool split_) {
        (code, split) = (vm.readFile(file), split_);
        Proxy allocation = new Proxy();
        Proxy delegation = new Proxy();
        Proxy strategy = new Proxy();
        (allocationManager, delegationManager, strategyManager) =
        (IAllocationManager(address(allocation)), ICore(address(delegation)), ICore(address(strategy)));
        pausers = create("PauserRegistry", abi.encode(new address[](0), address(this)));
        address permissions = create("PermissionController", split ? bytes("") : abi.encode("v1.4.0"));
        NoPods pods = new NoPods();
        delegation.become(
            create(
                "DelegationManager",
                abi.encode(strategy, pods, allocation, pausers, permissions, WITHDRAWAL_DELAY, "v1.4.0")
            )
        );
        (bytes memory delays, address eigen) = (abi.encode(DEALLOCATION_DELAY, CONFIGURATION_DELAY), address(0xE16E));
        if (split) {
            address views = create("AllocationManagerView", bytes.concat(abi.encode(delegation, eigen), delays));
            strategy.become(create("StrategyManager", abi.encode(allocation, delegation, pausers, "v1.4.0")));
            allocation.become(
                create(
                    "AllocationManager",
                    bytes.concat(abi.encode(views, delegation, eigen, pausers, permissions), delays)
                )
            );
        } else {
            strategy.become(create("StrategyManager", abi.encode(delegation, pausers, "v1.4.0")));
            allocation.become(
                create(
                    "AllocationManager",
                    abi.encode(delegation, pausers, permissions, DEALLOCATION_DELAY, CONFIGURATION_DELAY, "v1.4.0")
                )
            );
        }
        strategyManager.initialize(address(this), address(this), 0);
    }

    /// A strategy of a token of its own, which may be deposited into.
    function addStrategy() external returns (address strategy, Token token) {
        token = new Token();
        Proxy proxy = new Proxy();
        bytes memory arguments = abi.encode(strategyManager, pausers);
        if (!split) arguments = abi.encode(strategyManager, pausers, "v1.4.0");
        proxy.become(create("StrategyBase", arguments));
        strategy = address(proxy);
        ICore(strategy).initialize(address(token));
        address[] memory list = new address[](1);
        list[0] = strategy;
        strategyManager.addStrategiesToDepositWhitelist(list);
    }

    function create(string memory name, bytes memory arguments) private returns (address made) {
        bytes memory creation = bytes.concat(vm.parseJsonBytes(code, string.concat(".", name)), arguments);
        assembly ("memory-safe") {
            made := create(0, add(creation, 32), mload(creation))
        }
        require(made != address(0), string.concat("not created: ", name));
    }
}
