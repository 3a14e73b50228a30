//! The next epoch's committee: what the parent chain alone says of it, and what the stake table adds.

use squad_types::limits::MAX_COMMITTEE;
use squad_types::{Address, Bitmap, Committee, Epoch, Member, Stake, ValidatorIndex};
use std::cmp::Reverse;

/// Inactivity never shrinks a committee below this: with four, one may fail.
const FEWEST_BY_INACTIVITY: usize = 4;

/// A rule of the parent chain that a listed committee breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeRule {
    /// A newcomer whose readiness was not ordered in the epoch before.
    #[error("{0} joins, but its readiness was not ordered in the epoch before")]
    NotReady(Address),
    /// A member that was not seen at work stays.
    #[error("{0} stays, but was not active")]
    Inactive(Address),
    /// More than a third of the stake is new.
    #[error("{new} of {total} stake is new, which is more than a third")]
    TooMuchNew {
        /// Stake that the committee before did not have.
        new: u64,
        /// All of it.
        total: Stake,
    },
}

/// What the parent chain says of everybody when the first block of an epoch fixes the committee of the next.
#[derive(Clone, Debug)]
pub(super) struct Standing<'a> {
    committee: &'a Committee,
    stays: Vec<bool>,
    ready: &'a [Address],
}

/// What the epoch before says of activity: its committee, and for each member who named it among `signers`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity<'a> {
    pub(super) committee: &'a Committee,
    pub(super) named_by: &'a [Bitmap],
}

impl Activity<'_> {
    /// The stake of the proposers that named a member; none if it was no member, or if too few proposed to tell.
    fn naming_stake(&self, address: &Address) -> Option<Stake> {
        let reported: Bitmap = self.named_by.iter().flat_map(Bitmap::iter).collect();
        // With a quorum of proposers heard, an active member is named by the honest ones among them: over a third.
        if !self.committee.is_quorum(self.committee.stake_of_all(&reported)) {
            return None;
        }
        let named_by = self.named_by.get(self.committee.index_of(address)?.position())?;
        Some(self.committee.stake_of_all(named_by))
    }
}

impl<'a> Standing<'a> {
    /// `committee` is that of the epoch which begins, `activity` tells of the one before; `ready` was ordered in it.
    pub(super) fn new(committee: &'a Committee, activity: Option<Activity>, ready: &'a [Address]) -> Self {
        let naming = |member: &Member| activity.and_then(|activity| activity.naming_stake(&member.address));
        let is_active = |stake: Option<Stake>| match (stake, activity) {
            (Some(stake), Some(activity)) => activity.committee.is_honest_threshold(stake),
            _ => true,
        };
        let named: Vec<Option<Stake>> = committee.members().iter().map(naming).collect();
        let mut stays: Vec<bool> = named.iter().map(|stake| is_active(*stake)).collect();
        let mut left_out: Vec<usize> = (0..stays.len()).filter(|at| !stays[*at]).collect();
        left_out.sort_by_key(|at| (Reverse(named[*at]), *at));
        let room = FEWEST_BY_INACTIVITY.saturating_sub(stays.len() - left_out.len());
        left_out.into_iter().take(room).for_each(|at| stays[at] = true);
        Self { committee, stays, ready }
    }

    fn may_stay(&self, index: ValidatorIndex) -> bool {
        self.stays.get(index.position()).copied().unwrap_or(false)
    }

    /// The committee that these rules make of a stake table: members stay with at most their old stake; a third of the
    /// whole may be new, which newcomers get before those who raise their stake. The old members where nobody is left.
    pub(super) fn next(&self, epoch: Epoch, stakes: &[Member]) -> Option<Committee> {
        let mut members: Vec<Member> = Vec::new();
        let (mut newcomers, mut raises) = (Vec::new(), Vec::new());
        for wanted in stakes.iter().filter(|member| member.stake.0 > 0) {
            match self.committee.index_of(&wanted.address) {
                Some(index) if self.may_stay(index) => {
                    let stake = self.committee.stake(index).min(wanted.stake);
                    members.push(Member { address: wanted.address, stake });
                    raises.push((wanted.address, wanted.stake.0 - stake.0));
                }
                None if self.ready.binary_search(&wanted.address).is_ok() => {
                    newcomers.push((wanted.address, wanted.stake.0));
                }
                _ => {}
            }
        }
        if members.is_empty() {
            let old = self.committee.members().iter().enumerate().filter(|(at, _)| self.stays[*at]);
            members = old.map(|(_, member)| *member).collect();
        }
        let kept: u64 = members.iter().map(|member| member.stake.0).sum();
        // new ≤ (kept + new) / 3
        let mut budget = (kept / 2).min(Committee::MAX_TOTAL.saturating_sub(kept));
        for (address, wanted) in newcomers.into_iter().chain(raises) {
            let granted = wanted.min(budget);
            match members.iter().position(|member| member.address == address) {
                Some(at) => members[at].stake = members[at].stake.plus(granted),
                None if granted > 0 && members.len() < MAX_COMMITTEE => {
                    members.push(Member { address, stake: Stake(granted) });
                }
                None => continue,
            }
            budget -= granted;
        }
        members.sort_unstable_by_key(|member| member.address);
        Committee::new(epoch, members).ok()
    }

    /// Whether a listed committee keeps to what the parent chain alone says.
    pub(super) fn check(&self, listed: &Committee) -> Result<(), CommitteeRule> {
        let mut new = 0_u64;
        for member in listed.members() {
            match self.committee.index_of(&member.address) {
                Some(index) if !self.may_stay(index) => return Err(CommitteeRule::Inactive(member.address)),
                None if self.ready.binary_search(&member.address).is_err() => {
                    return Err(CommitteeRule::NotReady(member.address));
                }
                _ => new += member.stake.0.saturating_sub(self.committee.stake_of(&member.address).0),
            }
        }
        let total = listed.total();
        if u128::from(new) * 3 > u128::from(total.0) {
            return Err(CommitteeRule::TooMuchNew { new, total });
        }
        Ok(())
    }

    /// Members that the parent chain leaves out.
    #[cfg(test)]
    pub(super) fn left_out(&self) -> std::collections::BTreeSet<Address> {
        let members = self.committee.members().iter().zip(&self.stays);
        members.filter(|(_, stays)| !**stays).map(|(member, _)| member.address).collect()
    }
}
