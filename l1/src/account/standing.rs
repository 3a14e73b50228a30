//! What an operator has at stake in a network, and how it stands.

use super::contracts::{Contracts, WAD};
use super::error::AccountError;
use super::questions::Head;
use crate::abi::{AllocationManager, DelegationManager, SquadRegistrar, StakeTable};
use crate::endpoints::Endpoints;
use crate::error::L1Error;
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolEvent as _;
use futures::try_join;

/// What an operator has of one strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The strategy.
    pub strategy: Address,
    /// What a share of it counts, 1e18 being one.
    pub multiplier: U256,
    /// Shares that are delegated to the operator, its own included.
    pub shares: U256,
    /// All that can be allocated: 1e18 less what was slashed.
    pub most: u64,
    /// What is free to be allocated.
    pub free: u64,
    /// What is allocated to this network's set.
    pub magnitude: u64,
    /// A change that does not count yet, and the block from which on it does.
    pub pending: Option<(i128, u32)>,
}

impl Allocated {
    /// What is allocated from now until `until` at the least.
    pub fn lasting(&self, until: u64) -> u64 {
        match self.pending {
            Some((diff, from)) if diff < 0 && u64::from(from) <= until => {
                self.magnitude.saturating_sub(u64::try_from(diff.unsigned_abs()).unwrap_or(u64::MAX))
            }
            _ => self.magnitude,
        }
    }

    /// What will be allocated once all that is pending counts.
    pub fn upcoming(&self) -> u64 {
        let diff = self.pending.map_or(0, |(diff, _)| diff);
        u64::try_from(i128::from(self.magnitude).saturating_add(diff)).unwrap_or(0)
    }

    /// Shares that a magnitude comes to, rounded as the core does.
    pub fn stake(&self, magnitude: u64) -> U256 {
        if self.most == 0 {
            return U256::ZERO;
        }
        let part = U256::from(magnitude).saturating_mul(U256::from(WAD)) / U256::from(self.most);
        self.shares.saturating_mul(part) / U256::from(WAD)
    }
}

/// A key that is to replace an operator's, or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextKey {
    /// The key.
    pub key: Address,
    /// The block from which on it counts.
    pub from: u32,
}

/// An operator as the contracts know it at one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether EigenLayer knows it as an operator.
    pub is_operator: bool,
    /// Blocks until an allocation of its counts; none while no delay counts, so that it cannot allocate.
    pub allocation_delay: Option<u32>,
    /// What it has of each strategy that counts.
    pub strategies: Vec<Allocated>,
    /// Whether it is in the network's operator set.
    pub member: bool,
    /// Whether its stake can be slashed: while it is in the set, and for the deallocation delay after.
    pub slashable: bool,
    /// What the table counts for it now, in millionths of a token: nothing while it is not in the set.
    pub weight: u64,
    /// What the table would count for it in the set.
    pub allocated: u64,
    /// The same once all that is pending counts.
    pub upcoming: u64,
    /// Its consensus key; zero if it has none or is barred.
    pub key: Address,
    /// The key that replaced the first, or will.
    pub next: Option<NextKey>,
    /// Whether it was slashed, and so is barred for good.
    pub tombstoned: bool,
    /// The bytes of its node's peer id.
    pub peer: Bytes,
    /// Its node's multiaddrs in binary form.
    pub addresses: Vec<Bytes>,
}

impl Contracts {
    async fn allocated(
        &self,
        endpoints: &Endpoints,
        at: &Head,
        operator: Address,
        (strategy, multiplier): (Address, U256),
    ) -> Result<Allocated, AccountError> {
        let manager = self.allocation_manager;
        let operator_set = self.operator_set();
        let (shares, most, free, found) = try_join!(
            endpoints.read(at, self.delegation_manager, DelegationManager::operatorSharesCall { operator, strategy }),
            endpoints.read(at, manager, AllocationManager::getMaxMagnitudeCall { operator, strategy }),
            endpoints.read(at, manager, AllocationManager::getAllocatableMagnitudeCall { operator, strategy }),
            endpoints.read(
                at,
                manager,
                AllocationManager::getAllocationCall { operator, operatorSet: operator_set, strategy }
            ),
        )?;
        let pending = (found.pendingDiff != 0).then_some((found.pendingDiff, found.effectBlock));
        Ok(Allocated { strategy, multiplier, shares, most, free, magnitude: found.currentMagnitude, pending })
    }

    /// How an operator stands at a block.
    ///
    /// # Errors
    /// Endpoints that do not agree, or contracts that are none.
    pub async fn standing(
        &self,
        endpoints: &Endpoints,
        at: &Head,
        operator: Address,
    ) -> Result<Standing, AccountError> {
        let (manager, registrar) = (self.allocation_manager, self.registrar);
        let (is_operator, delay, member, slashable, weight) = try_join!(
            endpoints.read(at, self.delegation_manager, DelegationManager::isOperatorCall { operator }),
            endpoints.read(at, manager, AllocationManager::getAllocationDelayCall { operator }),
            endpoints.read(
                at,
                manager,
                AllocationManager::isMemberOfOperatorSetCall { operator, operatorSet: self.operator_set() }
            ),
            endpoints.read(
                at,
                manager,
                AllocationManager::isOperatorSlashableCall { operator, operatorSet: self.operator_set() }
            ),
            endpoints.read(at, self.table, StakeTable::weightOfCall { operator }),
        )?;
        let (key, next, tombstoned, contact) = try_join!(
            endpoints.read(at, registrar, SquadRegistrar::keyOfCall { operator }),
            endpoints.read(at, registrar, SquadRegistrar::nextKeyOfCall { operator }),
            endpoints.read(at, registrar, SquadRegistrar::isTombstonedCall { operator }),
            endpoints.read(at, registrar, SquadRegistrar::contactOfCall { operator }),
        )?;
        let mut strategies = Vec::new();
        for strategy in &self.strategies {
            strategies.push(self.allocated(endpoints, at, operator, *strategy).await?);
        }
        let until = at.number.saturating_add(self.lookahead.into());
        let weigh = |magnitude: &dyn Fn(&Allocated) -> u64| {
            let stakes: Vec<U256> = strategies.iter().map(|found| found.stake(magnitude(found))).collect();
            self.weight(&stakes)
        };
        let (allocated, upcoming) = (weigh(&|found| found.lasting(until)), weigh(&Allocated::upcoming));
        Ok(Standing {
            is_operator,
            allocation_delay: delay.isSet.then_some(delay.delay),
            strategies,
            member,
            slashable,
            weight,
            allocated,
            upcoming,
            key,
            next: (next.key != Address::ZERO).then_some(NextKey { key: next.key, from: next.from }),
            tombstoned,
            peer: contact.peerId,
            addresses: contact.addresses,
        })
    }

    /// The block in which an operator left the set last, if that is no longer ago than its stake stays slashable.
    ///
    /// # Errors
    /// Endpoints that do not agree, or do not look so far back.
    pub async fn left_at(&self, endpoints: &Endpoints, at: &Head, operator: Address) -> Result<Option<u64>, L1Error> {
        let from = at.number.saturating_sub(self.deallocation_delay.into());
        let topics = [SquadRegistrar::Left::SIGNATURE_HASH, operator.into_word()];
        Ok(endpoints.events(at, from, self.registrar, topics).await?.into_iter().max())
    }
}
