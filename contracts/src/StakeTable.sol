// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Committee, Member} from "./Committee.sol";
import {IAllocationManager, OperatorSet} from "./EigenLayer.sol";

/// What the table asks of the registrar.
interface IKeys {
    /// An operator's consensus key at this block; zero if it may not vote.
    function keyOf(address operator) external view returns (address);
}

/// Who is at stake for a network, with which weight, and the committee that follows from it.
///
/// A weight is what can be slashed of an operator from now until `lookahead` blocks later, whatever it does meanwhile: the
/// epoch that the committee votes in, and after that the time in which evidence can be brought. In shares of each strategy, times
/// its multiplier, in units of a millionth of a token of 18 decimals, rounded down.
///
/// The table is asked at a block of the settlement layer, which the network agrees on. It names whoever is at stake: what the
/// protocol adds (at most a third is new, newcomers are ready, never fewer than four) is the operators' to keep.
contract StakeTable {
    /// A limit of zero, lists of different lengths, strategies that do not ascend.
    error BadSettings();
    /// Stake could be withdrawn before evidence can be brought: the core allows that after `delay` blocks.
    error TooFarAhead(uint256 lookahead, uint256 delay);

    /// What one unit of weight is, in shares times multiplier.
    uint256 public constant UNIT = 1e12;
    uint256 private constant WAD = 1e18;

    struct Settings {
        IAllocationManager allocationManager;
        /// The contract that slashes, and the number of its set.
        OperatorSet operatorSet;
        IKeys registrar;
        /// Ascending by address, with what a share of each counts, 1e18 being one.
        address[] strategies;
        uint256[] multipliers;
        /// Who weighs less is in no committee, in units.
        uint64 minimumStake;
        /// The most members.
        uint16 mostMembers;
        /// From the block that the table is read at until nothing of the committee's epoch is signed any more, in blocks.
        uint32 epochBlocks;
        /// How long after that evidence can be brought, in blocks.
        uint32 evidenceWindow;
    }

    IAllocationManager public immutable allocationManager;
    IKeys public immutable registrar;
    uint64 public immutable minimumStake;
    uint16 public immutable mostMembers;
    /// How long stake has to be slashable to count, in blocks.
    uint32 public immutable lookahead;
    uint32 public immutable evidenceWindow;
    address private immutable avs;
    uint32 private immutable setId;
    address[] private strategies_;
    uint256[] private multipliers_;

    constructor(Settings memory settings) {
        uint256 count = settings.strategies.length;
        bool fits = count > 0 && count == settings.multipliers.length && settings.minimumStake > 0
            && settings.minimumStake <= Committee.MAX_STAKE && settings.mostMembers > 0
            && settings.mostMembers <= Committee.MAX_MEMBERS && settings.evidenceWindow > 0;
        for (uint256 i = 0; fits && i < count; ++i) {
            fits = settings.multipliers[i] > 0 && settings.multipliers[i] <= type(uint96).max
                && (i == 0 || settings.strategies[i] > settings.strategies[i - 1]);
        }
        if (!fits) revert BadSettings();
        // Nobody who leaves, deallocates or withdraws after the table was read may get away before the window is over.
        uint256 ahead = uint256(settings.epochBlocks) + settings.evidenceWindow;
        uint256 delay = settings.allocationManager.DEALLOCATION_DELAY();
        uint256 withdrawal = settings.allocationManager.delegation().minWithdrawalDelayBlocks();
        if (withdrawal < delay) delay = withdrawal;
        if (ahead > delay) revert TooFarAhead(ahead, delay);
        allocationManager = settings.allocationManager;
        registrar = settings.registrar;
        minimumStake = settings.minimumStake;
        mostMembers = settings.mostMembers;
        lookahead = uint32(ahead);
        evidenceWindow = settings.evidenceWindow;
        (avs, setId) = (settings.operatorSet.avs, settings.operatorSet.id);
        (strategies_, multipliers_) = (settings.strategies, settings.multipliers);
    }

    function operatorSet() public view returns (OperatorSet memory) {
        return OperatorSet(avs, setId);
    }

    /// The strategies that count and are slashed, ascending, with what a share of each counts.
    function strategies() external view returns (address[] memory, uint256[] memory) {
        return (strategies_, multipliers_);
    }

    /// The weights of operators, whether they are in the set or not.
    function weightsOf(address[] memory operators) public view returns (uint64[] memory weights) {
        uint256[][] memory stakes = allocationManager.getMinimumSlashableStake(
            operatorSet(), operators, strategies_, uint32(block.number) + lookahead
        );
        uint256[] memory multipliers = multipliers_;
        weights = new uint64[](operators.length);
        for (uint256 i = 0; i < operators.length; ++i) {
            uint256 weight;
            for (uint256 j = 0; j < multipliers.length; ++j) {
                // More shares than this no strategy issues; so nothing overflows.
                uint256 stake = stakes[i][j] < type(uint128).max ? stakes[i][j] : type(uint128).max;
                weight += stake * multipliers[j] / WAD;
            }
            weight /= UNIT;
            weights[i] = weight < Committee.MAX_STAKE ? uint64(weight) : Committee.MAX_STAKE;
        }
    }

    function weightOf(address operator) external view returns (uint64) {
        address[] memory operators = new address[](1);
        operators[0] = operator;
        return weightsOf(operators)[0];
    }

    /// The committee for an epoch and its hash, as of this block. Reverts if nobody is at stake.
    function committee(uint64 epoch) external view returns (Member[] memory members, bytes32 hash) {
        address[] memory operators = allocationManager.getMembers(operatorSet());
        uint64[] memory weights = weightsOf(operators);
        members = new Member[](operators.length);
        for (uint256 i = 0; i < operators.length; ++i) {
            address key = registrar.keyOf(operators[i]);
            members[i] = Member(key, key == address(0) ? 0 : weights[i]);
        }
        members = Committee.choose(members, mostMembers, minimumStake);
        hash = Committee.hash(epoch, members);
    }

    /// The hash of a committee, as headers carry it. Reverts for what is none.
    function hashOf(uint64 epoch, Member[] calldata members) external pure returns (bytes32) {
        return Committee.hash(epoch, members);
    }

    /// Whom a table with these limits would choose.
    function choose(Member[] calldata candidates, uint256 most, uint64 least) external pure returns (Member[] memory) {
        return Committee.choose(candidates, most, least);
    }
}
