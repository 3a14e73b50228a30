// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {
    CreateSetParams,
    CreateSetParamsV2,
    DeregisterParams,
    IAllocationManager,
    IStrategy,
    IStrategyManager,
    OperatorSet,
    SlashingParams
} from "./EigenLayer.sol";
import {Evidence} from "./Evidence.sol";
import {SquadRegistrar} from "./SquadRegistrar.sol";
import {StakeTable} from "./StakeTable.sol";

interface IERC20 {
    function balanceOf(address holder) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
}

/// Takes stake of who contradicted itself, on evidence and on nothing else: no owner, no vote, no oracle, no upgrade.
///
/// This contract is the AVS: EigenLayer lets it alone slash its operator set, and it has no other function that does. What it does
/// at its creation (name the registrar, create the set) it cannot do again, so nobody changes strategies, registrar or slasher.
///
/// With a `sink`, the set is a redistributing one: what is slashed comes here, a part is the reporter's, and the rest the
/// sink's. Without, the core burns it all, and there is no bounty.
contract Slasher {
    /// A fraction of zero or above one, a bounty above a tenth or without a sink, a registrar or a table for somebody else.
    error BadSettings();
    /// No operator ever had this key.
    error UnknownKey(address key);
    error AlreadySlashed(bytes32 incident);
    /// The operator left, and EigenLayer's deallocation delay is over.
    error NoLongerSlashable(address operator);
    error NotSlashed(bytes32 incident);
    /// The sender committed itself to this evidence never, or not in a block before the slash.
    error NoCommitment(bytes32 commitment);
    error AlreadyClaimed(bytes32 incident, address reporter);
    /// Nobody has claimed the bounty yet, and it may still be until `block`.
    error NotYet(uint256 block_);
    /// An operator at stake keeps its seat.
    error KeepsItsSeat(address operator);
    error Reentered();
    /// Less gas is left than fetching a token may take.
    error MoreGas(uint256 least);
    error TransferFailed(address token);

    event Slashed(address indexed operator, address indexed key, bytes32 indexed incident, uint8 kind, uint256 wad);
    event Committed(bytes32 indexed commitment);
    event Collected(bytes32 indexed incident, address indexed token, uint256 amount, uint256 bounty);
    event Claimed(bytes32 indexed incident, address indexed reporter);
    event Paid(bytes32 indexed incident, address indexed token, address to, uint256 amount);
    event Swept(address indexed token, uint256 amount);

    uint256 private constant WAD = 1e18;
    /// The largest bounty: who accuses itself gets that much back.
    uint256 public constant MOST_BOUNTY = WAD / 10;
    /// So that nobody makes fetching fail by giving too little gas, and cheats the reporter.
    uint256 private constant GAS_TO_FETCH = 500_000;

    struct Settings {
        SquadRegistrar registrar;
        IStrategyManager strategyManager;
        /// The network's id: keccak256 of its genesis.
        bytes32 network;
        /// What is taken of an operator's stake in the set for two votes, two proposals, two batch headers, two acks; 1e18 is
        /// all.
        uint256[4] fractions;
        /// Where slashed tokens go; zero burns them.
        address sink;
        /// The reporter's part of them, 1e18 being all.
        uint256 bounty;
        /// How long a bounty waits to be claimed, in blocks.
        uint32 claimBlocks;
        string metadataURI;
    }

    struct Incident {
        address operator;
        /// The block of the slash.
        uint64 slashedAt;
        address reporter;
        /// The core's number of the slash; zero where tokens are burned.
        uint256 slashId;
    }

    IAllocationManager public immutable allocationManager;
    IStrategyManager public immutable strategyManager;
    SquadRegistrar public immutable registrar;
    StakeTable public immutable table;
    bytes32 public immutable network;
    address public immutable sink;
    uint256 public immutable bounty;
    uint32 public immutable claimBlocks;
    uint32 private immutable setId;
    uint256[4] public fractions;
    address[] private strategies;
    /// The token of each strategy, where tokens come here.
    address[] private tokens;

    mapping(bytes32 incident => Incident) public incidents;
    /// The block that a commitment was made in.
    mapping(bytes32 commitment => uint256) public committedAt;
    /// What an incident's reporter has coming.
    mapping(bytes32 incident => mapping(address token => uint256)) public bounties;
    /// The bounties of a token that are not paid yet.
    mapping(address token => uint256) public reserved;
    bool private transient entered;

    constructor(Settings memory settings) {
        registrar = settings.registrar;
        (table, allocationManager) = (registrar.table(), registrar.allocationManager());
        (strategyManager, network) = (settings.strategyManager, settings.network);
        (sink, bounty, claimBlocks) = (settings.sink, settings.bounty, settings.claimBlocks);
        setId = registrar.setId();
        bool fits = registrar.avs() == address(this) && address(table.registrar()) == address(registrar)
            && bounty <= (sink == address(0) ? 0 : MOST_BOUNTY);
        for (uint256 i = 0; i < 4; ++i) {
            fits = fits && settings.fractions[i] > 0 && settings.fractions[i] <= WAD;
        }
        if (!fits) revert BadSettings();
        fractions = settings.fractions;
        (strategies,) = table.strategies();
        allocationManager.updateAVSMetadataURI(address(this), settings.metadataURI);
        allocationManager.setAVSRegistrar(address(this), registrar);
        createSet();
    }

    function createSet() private {
        if (sink == address(0)) {
            CreateSetParams[] memory burning = new CreateSetParams[](1);
            burning[0] = CreateSetParams(setId, strategies);
            allocationManager.createOperatorSets(address(this), burning);
            return;
        }
        for (uint256 i = 0; i < strategies.length; ++i) {
            tokens.push(IStrategy(strategies[i]).underlyingToken());
        }
        CreateSetParamsV2[] memory sets = new CreateSetParamsV2[](1);
        sets[0] = CreateSetParamsV2(setId, strategies, address(this));
        address[] memory recipients = new address[](1);
        recipients[0] = address(this);
        allocationManager.createRedistributingOperatorSets(address(this), sets, recipients);
    }

    modifier once() {
        if (entered) revert Reentered();
        entered = true;
        _;
        entered = false;
    }

    function operatorSet() public view returns (OperatorSet memory) {
        return OperatorSet(address(this), setId);
    }

    /// Takes stake of whom the evidence accuses, on all strategies of the set, and bars it for ever. An incident counts once,
    /// however it is proved; each further one counts again. Anybody may call.
    function slash(bytes calldata evidence) external once returns (bytes32 incident) {
        address key;
        (key, incident) = Evidence.judge(network, evidence);
        address operator = registrar.operatorOf(key);
        if (operator == address(0)) revert UnknownKey(key);
        if (incidents[incident].slashedAt != 0) revert AlreadySlashed(incident);
        if (!allocationManager.isOperatorSlashable(operator, operatorSet())) revert NoLongerSlashable(operator);
        incidents[incident].operator = operator;
        incidents[incident].slashedAt = uint64(block.number);
        uint8 kind = uint8(evidence[0]);
        uint256 wad = fractions[kind];
        uint256[] memory wads = new uint256[](strategies.length);
        for (uint256 i = 0; i < wads.length; ++i) {
            wads[i] = wad;
        }
        allocationManager.slashOperator(
            address(this), SlashingParams(operator, setId, strategies, wads, "SQUAD: contradicting statements")
        );
        emit Slashed(operator, key, incident, kind, wad);
        registrar.tombstone(operator);
        // What follows may be paused by the core, and can be done later: it must not hold up the slash.
        if (isMember(operator)) {
            try allocationManager.deregisterFromOperatorSets(leaving(operator)) {} catch {}
        }
        if (sink != address(0)) {
            incidents[incident].slashId = allocationManager.getSlashCount(operatorSet());
            collectTokens(incident);
        }
    }

    /// Fetches what a slash took, where that was not possible with the slash. Who calls the core's function for that in place of
    /// this one leaves the reporter without its part.
    function collect(bytes32 incident) external once {
        if (incidents[incident].slashId == 0) revert NotSlashed(incident);
        collectTokens(incident);
    }

    function collectTokens(bytes32 incident) private {
        uint256 slashId = incidents[incident].slashId;
        for (uint256 i = 0; i < tokens.length; ++i) {
            IERC20 token = IERC20(tokens[i]);
            uint256 before = token.balanceOf(address(this));
            if (gasleft() < GAS_TO_FETCH) revert MoreGas(GAS_TO_FETCH);
            try strategyManager.clearBurnOrRedistributableSharesByStrategy(operatorSet(), slashId, strategies[i]) {}
            catch {
                continue;
            }
            uint256 amount = token.balanceOf(address(this)) - before;
            if (amount == 0) continue;
            uint256 part = amount * bounty / WAD;
            bounties[incident][address(token)] += part;
            reserved[address(token)] += part;
            emit Collected(incident, address(token), amount, part);
        }
    }

    /// The commitment to report some evidence: only its maker can use it, and it says nothing of the evidence.
    function commitmentTo(bytes calldata evidence, address reporter, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(evidence), reporter, salt));
    }

    /// Says that the sender has evidence, without showing it. Who sees evidence for the first time in somebody's `slash` is too
    /// late to do so, and so gets nothing for sending it on faster.
    function commit(bytes32 commitment) external {
        if (committedAt[commitment] != 0) return;
        committedAt[commitment] = block.number;
        emit Committed(commitment);
    }

    /// Claims an incident's bounty: for the first who committed to evidence of it in a block before the slash, and says so.
    function claim(bytes calldata evidence, bytes32 salt) external {
        (, bytes32 incident) = Evidence.judge(network, evidence);
        Incident storage found = incidents[incident];
        if (found.slashedAt == 0) revert NotSlashed(incident);
        if (found.reporter != address(0)) revert AlreadyClaimed(incident, found.reporter);
        bytes32 commitment = commitmentTo(evidence, msg.sender, salt);
        uint256 made = committedAt[commitment];
        if (made == 0 || made >= found.slashedAt) revert NoCommitment(commitment);
        found.reporter = msg.sender;
        emit Claimed(incident, msg.sender);
    }

    /// Pays an incident's bounty to its reporter, or to the sink if nobody claimed it in time.
    function pay(bytes32 incident, address token) external once {
        Incident storage found = incidents[incident];
        if (found.slashedAt == 0) revert NotSlashed(incident);
        address to = found.reporter;
        if (to == address(0)) {
            if (block.number <= found.slashedAt + claimBlocks) revert NotYet(found.slashedAt + claimBlocks);
            to = sink;
        }
        uint256 amount = bounties[incident][token];
        bounties[incident][token] = 0;
        reserved[token] -= amount;
        if (amount > 0) send(token, to, amount);
        emit Paid(incident, token, to, amount);
    }

    /// Sends the sink, if there is one, whatever is here of a token and no bounty.
    function sweep(address token) external once {
        uint256 amount = IERC20(token).balanceOf(address(this)) - reserved[token];
        if (amount == 0 || sink == address(0)) return;
        send(token, sink, amount);
        emit Swept(token, amount);
    }

    /// Takes from the set an operator that was slashed, or, while the set is full, one with less than the minimum at stake. Its
    /// stake stays slashable as if it had left by itself.
    function eject(address operator) external {
        if (!registrar.isTombstoned(operator)) {
            bool full = allocationManager.getMemberCount(operatorSet()) >= registrar.mostOperators();
            if (!full || table.weightOf(operator) >= table.minimumStake()) revert KeepsItsSeat(operator);
        }
        allocationManager.deregisterFromOperatorSets(leaving(operator));
    }

    function isMember(address operator) private view returns (bool) {
        return allocationManager.isMemberOfOperatorSet(operator, operatorSet());
    }

    function leaving(address operator) private view returns (DeregisterParams memory) {
        uint32[] memory ids = new uint32[](1);
        ids[0] = setId;
        return DeregisterParams(operator, address(this), ids);
    }

    /// Some tokens answer nothing. What comes of a call that failed is its reason, and no answer.
    function send(address token, address to, uint256 amount) private {
        (bool done, bytes memory answer) = token.call(abi.encodeCall(IERC20.transfer, (to, amount)));
        bool paid = done && (answer.length == 0 ? token.code.length > 0 : abi.decode(answer, (bool)));
        if (!paid) revert TransferFailed(token);
    }
}
