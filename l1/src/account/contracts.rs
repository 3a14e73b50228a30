//! A network's contracts, found by asking its stake table.

use super::error::AccountError;
use super::questions::Head;
use crate::abi::{self, AllocationManager, DelegationManager, Slasher, SquadRegistrar, StakeTable, Strategy};
use crate::endpoints::Endpoints;
use alloy_primitives::{Address, B256, U256};
use futures::try_join;

/// What one unit of weight is, in shares times multiplier: a millionth of a token of 18 decimals.
pub(super) const UNIT: u64 = 1_000_000_000_000;
/// What stands for all of something.
pub(super) const WAD: u64 = 1_000_000_000_000_000_000;

/// The contracts of a network and what they were deployed with, none of which changes.
#[derive(Clone, Debug)]
pub struct Contracts {
    /// Who is at stake.
    pub table: Address,
    /// Which consensus key an operator signs with.
    pub registrar: Address,
    /// Who takes stake: the AVS.
    pub slasher: Address,
    /// The number of its operator set.
    pub set: u32,
    /// EigenLayer's, for allocations and sets.
    pub allocation_manager: Address,
    /// EigenLayer's, for operators and delegations.
    pub delegation_manager: Address,
    /// Each strategy that counts, ascending, with what a share of it counts, 1e18 being one.
    pub strategies: Vec<(Address, U256)>,
    /// Who weighs less is in no committee, in millionths of a token.
    pub minimum: u64,
    /// The most members of a committee.
    pub most_members: u16,
    /// The most operators in the set.
    pub most_operators: U256,
    /// For how many blocks stake has to stay slashable to count.
    pub lookahead: u32,
    /// How long after an epoch evidence can be brought, in blocks.
    pub evidence_window: u32,
    /// Blocks until a new key counts.
    pub rotation_delay: u32,
    /// Blocks for which stake stays slashable once its operator left or took back its allocation.
    pub deallocation_delay: u32,
    /// Blocks until a new operator's allocation delay counts.
    pub configuration_delay: u32,
    /// Blocks from queueing a withdrawal to completing it.
    pub withdrawal_delay: u32,
    /// The network that the slasher takes evidence of.
    pub network: B256,
    /// What is taken for two votes, two proposals, two batch headers, two acks, 1e18 being all.
    pub fractions: [U256; 4],
    /// Where slashed tokens go; zero burns them.
    pub sink: Address,
    /// The reporter's part of them, 1e18 being all.
    pub bounty: U256,
    /// How long a bounty waits to be claimed, in blocks.
    pub claim_blocks: u32,
}

/// What the slasher knows of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Who was slashed.
    pub operator: Address,
    /// In which block.
    pub slashed_at: u64,
    /// Who claimed the bounty; zero if nobody did.
    pub reporter: Address,
}

impl Contracts {
    /// Asks the table for them.
    ///
    /// # Errors
    /// Endpoints that do not agree, or a table that is none.
    pub async fn find(endpoints: &Endpoints, at: &Head, table: Address) -> Result<Self, AccountError> {
        let (registrar, set, allocation_manager, strategies) = try_join!(
            endpoints.read(at, table, StakeTable::registrarCall {}),
            endpoints.read(at, table, StakeTable::operatorSetCall {}),
            endpoints.read(at, table, StakeTable::allocationManagerCall {}),
            endpoints.read(at, table, StakeTable::strategiesCall {}),
        )?;
        let (minimum, most_members, lookahead, evidence_window) = try_join!(
            endpoints.read(at, table, StakeTable::minimumStakeCall {}),
            endpoints.read(at, table, StakeTable::mostMembersCall {}),
            endpoints.read(at, table, StakeTable::lookaheadCall {}),
            endpoints.read(at, table, StakeTable::evidenceWindowCall {}),
        )?;
        let (most_operators, rotation_delay) = try_join!(
            endpoints.read(at, registrar, SquadRegistrar::mostOperatorsCall {}),
            endpoints.read(at, registrar, SquadRegistrar::rotationDelayCall {}),
        )?;
        let (deallocation_delay, configuration_delay, delegation_manager) = try_join!(
            endpoints.read(at, allocation_manager, AllocationManager::DEALLOCATION_DELAYCall {}),
            endpoints.read(at, allocation_manager, AllocationManager::ALLOCATION_CONFIGURATION_DELAYCall {}),
            endpoints.read(at, allocation_manager, AllocationManager::delegationCall {}),
        )?;
        let slasher = set.avs;
        let (network, sink, bounty, claim_blocks, withdrawal_delay) = try_join!(
            endpoints.read(at, slasher, Slasher::networkCall {}),
            endpoints.read(at, slasher, Slasher::sinkCall {}),
            endpoints.read(at, slasher, Slasher::bountyCall {}),
            endpoints.read(at, slasher, Slasher::claimBlocksCall {}),
            endpoints.read(at, delegation_manager, DelegationManager::minWithdrawalDelayBlocksCall {}),
        )?;
        let mut fractions = [U256::ZERO; 4];
        for (kind, fraction) in (0_u64..).zip(&mut fractions) {
            *fraction = endpoints.read(at, slasher, Slasher::fractionsCall { kind: U256::from(kind) }).await?;
        }
        Ok(Self {
            table,
            registrar,
            slasher,
            set: set.id,
            allocation_manager,
            delegation_manager,
            strategies: strategies.strategies.into_iter().zip(strategies.multipliers).collect(),
            minimum,
            most_members,
            most_operators,
            lookahead,
            evidence_window,
            rotation_delay,
            deallocation_delay,
            configuration_delay,
            withdrawal_delay,
            network,
            fractions,
            sink,
            bounty,
            claim_blocks,
        })
    }

    pub(super) fn operator_set(&self) -> abi::OperatorSet {
        abi::OperatorSet { avs: self.slasher, id: self.set }
    }

    /// Whether slashed tokens go on to somebody, and their reporter gets a part.
    pub fn pays(&self) -> bool {
        self.sink != Address::ZERO && !self.bounty.is_zero()
    }

    /// The weight of shares of each strategy, in millionths of a token.
    pub fn weight(&self, stakes: &[U256]) -> u64 {
        // As the table counts: each strategy rounded down, then the sum to whole units.
        let most = U256::from(u128::MAX);
        let weigh = |((_, multiplier), stake): (&(Address, U256), &U256)| {
            (*stake).min(most).saturating_mul(*multiplier) / U256::from(WAD)
        };
        let sum = self.strategies.iter().zip(stakes).map(weigh).fold(U256::ZERO, U256::saturating_add);
        u64::try_from(sum / U256::from(UNIT)).unwrap_or(u64::MAX)
    }

    /// Shares of a strategy that make up so much weight, rounded up.
    pub fn shares_for(&self, weight: u64, multiplier: U256) -> U256 {
        let needed = U256::from(weight).saturating_mul(U256::from(UNIT)).saturating_mul(U256::from(WAD));
        needed.div_ceil(multiplier.max(U256::from(1)))
    }

    /// Whose a consensus key is, or ever was; zero if nobody's.
    ///
    /// # Errors
    /// Endpoints that do not agree.
    pub async fn operator_of(&self, endpoints: &Endpoints, at: &Head, key: Address) -> Result<Address, AccountError> {
        endpoints.read(at, self.registrar, SquadRegistrar::operatorOfCall { key }).await
    }

    /// How many are in the operator set.
    ///
    /// # Errors
    /// Endpoints that do not agree.
    pub async fn members(&self, endpoints: &Endpoints, at: &Head) -> Result<U256, AccountError> {
        let call = AllocationManager::getMemberCountCall { operatorSet: self.operator_set() };
        endpoints.read(at, self.allocation_manager, call).await
    }

    /// Consensus keys and weights of the committee that the table names as of a block; none if nobody is at stake.
    ///
    /// # Errors
    /// Endpoints that do not agree.
    pub async fn committee(&self, endpoints: &Endpoints, at: &Head) -> Result<Vec<(Address, u64)>, AccountError> {
        match endpoints.read(at, self.table, StakeTable::committeeCall { epoch: 0 }).await {
            Ok(answer) => Ok(answer.members.iter().map(|member| (member.key, member.stake)).collect()),
            Err(AccountError::Refused { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What the slasher knows of an incident; none if it was not slashed.
    ///
    /// # Errors
    /// Endpoints that do not agree.
    pub async fn incident(
        &self,
        endpoints: &Endpoints,
        at: &Head,
        incident: B256,
    ) -> Result<Option<Incident>, AccountError> {
        let found = endpoints.read(at, self.slasher, Slasher::incidentsCall { incident }).await?;
        let (operator, slashed_at, reporter) = (found.operator, found.slashedAt, found.reporter);
        Ok((slashed_at != 0).then_some(Incident { operator, slashed_at, reporter }))
    }

    /// The block that a commitment to evidence was made in; zero if it never was.
    ///
    /// # Errors
    /// Endpoints that do not agree.
    pub async fn committed_at(&self, endpoints: &Endpoints, at: &Head, commitment: B256) -> Result<u64, AccountError> {
        let made = endpoints.read(at, self.slasher, Slasher::committedAtCall { commitment }).await?;
        Ok(u64::try_from(made).unwrap_or(u64::MAX))
    }

    /// The token of each strategy with what an incident's reporter still has coming of it, where that is something.
    ///
    /// # Errors
    /// Endpoints that do not agree.
    pub async fn bounties(
        &self,
        endpoints: &Endpoints,
        at: &Head,
        incident: B256,
    ) -> Result<Vec<(Address, U256)>, AccountError> {
        let mut coming: Vec<(Address, U256)> = Vec::new();
        for (strategy, _) in &self.strategies {
            let token = endpoints.read(at, *strategy, Strategy::underlyingTokenCall {}).await?;
            let amount = endpoints.read(at, self.slasher, Slasher::bountiesCall { incident, token }).await?;
            if !amount.is_zero() && !coming.iter().any(|(known, _)| *known == token) {
                coming.push((token, amount));
            }
        }
        Ok(coming)
    }
}
