//! The highest statements seen of every operator, so that one who lost its memory can ask for them.

use squad_types::{Ack, Address, BatchHeader, Committee, Proposal, Signed, Slots, Verified, Vote, VoteKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Operators remembered: several committees' worth.
const MAX_OPERATORS: usize = 4 * squad_types::limits::MAX_COMMITTEE;

/// The newest statements of one operator. Nearly every message replaces one of them, so they are shared with whoever else
/// keeps them.
#[derive(Debug, Default)]
struct Newest {
    prevote: Option<Verified<Vote>>,
    precommit: Option<Verified<Vote>>,
    proposal: Option<Verified<Proposal>>,
    batch: Option<Box<Signed<BatchHeader>>>,
    ack: Option<Verified<Ack>>,
}

impl Newest {
    fn restore(slots: Slots) -> Self {
        Self {
            prevote: slots.prevote.map(Verified::from_own_log),
            precommit: slots.precommit.map(Verified::from_own_log),
            proposal: slots.proposal.map(Verified::from_own_log),
            batch: slots.batch.map(Box::new),
            ack: slots.ack.map(Verified::from_own_log),
        }
    }

    fn is_empty(&self) -> bool {
        let votes = self.prevote.is_none() && self.precommit.is_none() && self.proposal.is_none();
        votes && self.batch.is_none() && self.ack.is_none()
    }

    fn slots(&self) -> Slots {
        Slots {
            prevote: self.prevote.as_ref().map(|vote| vote.signed().clone()),
            precommit: self.precommit.as_ref().map(|vote| vote.signed().clone()),
            proposal: self.proposal.as_ref().map(|proposal| proposal.signed().clone()),
            batch: self.batch.as_deref().cloned(),
            ack: self.ack.as_ref().map(|ack| ack.signed().clone()),
            decided: None,
        }
    }
}

/// What was seen, by operator. Nearly all of it is of members of the committee in office, who are found by their places.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    committee: Option<Arc<Committee>>,
    /// By place in it.
    members: Vec<Newest>,
    others: BTreeMap<Address, Newest>,
}

impl Seen {
    pub(crate) fn restore(entries: Vec<(Address, Slots)>) -> Self {
        let newest = entries.into_iter().map(|(operator, slots)| (operator, Newest::restore(slots)));
        Self { others: newest.collect(), ..Self::default() }
    }

    /// From now on this committee's members are found by their places.
    pub(crate) fn follow(&mut self, committee: Arc<Committee>) {
        let mut all: BTreeMap<Address, Newest> = std::mem::take(&mut self.others);
        if let Some(before) = self.committee.take() {
            let members = before.members().iter().map(|member| member.address).zip(self.members.drain(..));
            all.extend(members.filter(|(_, newest)| !newest.is_empty()));
        }
        let newest = committee.members().iter().map(|member| all.remove(&member.address).unwrap_or_default());
        self.members = newest.collect();
        self.others = all;
        self.committee = Some(committee);
    }

    fn of_members(&self) -> impl Iterator<Item = (&Address, &Newest)> {
        let members = self.committee.iter().flat_map(|committee| committee.members());
        let members = members.map(|member| &member.address).zip(&self.members);
        members.filter(|(_, newest)| !newest.is_empty())
    }

    /// Ascending by operator.
    pub(crate) fn entries(&self) -> Vec<(Address, Slots)> {
        let all = self.of_members().chain(&self.others);
        let mut entries: Vec<_> = all.map(|(operator, newest)| (*operator, newest.slots())).collect();
        entries.sort_unstable_by_key(|(operator, _)| *operator);
        entries
    }

    pub(crate) fn of(&self, operator: &Address) -> Slots {
        let member = self.committee.as_ref().and_then(|committee| committee.index_of(operator));
        let newest = match member {
            Some(place) => self.members.get(place.position()),
            None => self.others.get(operator),
        };
        newest.map(Newest::slots).unwrap_or_default()
    }

    /// Drops operators that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Address) -> bool) {
        self.others.retain(|operator, _| keep(operator));
        let members = self.committee.iter().flat_map(|committee| committee.members());
        for (_, newest) in members.zip(&mut self.members).filter(|(member, _)| !keep(&member.address)) {
            *newest = Newest::default();
        }
    }

    /// None where there is no room for one more: members always have some.
    fn slots(&mut self, operator: Address) -> Option<&mut Newest> {
        if let Some(place) = self.committee.as_ref().and_then(|committee| committee.index_of(&operator)) {
            return self.members.get_mut(place.position());
        }
        if self.members.len() + self.others.len() >= MAX_OPERATORS && !self.others.contains_key(&operator) {
            return None;
        }
        Some(self.others.entry(operator).or_default())
    }

    pub(crate) fn vote(&mut self, vote: &Verified<Vote>) {
        let place = |vote: &Verified<Vote>| (vote.statement.height, vote.statement.round);
        let Some(slots) = self.slots(vote.signer) else { return };
        let slot = match vote.statement.kind {
            VoteKind::Prevote => &mut slots.prevote,
            VoteKind::Precommit => &mut slots.precommit,
        };
        if slot.as_ref().is_none_or(|known| place(known) < place(vote)) {
            *slot = Some(vote.clone());
        }
    }

    pub(crate) fn proposal(&mut self, proposal: &Verified<Proposal>) {
        let place = |proposal: &Verified<Proposal>| (proposal.statement.height, proposal.statement.round);
        let Some(slots) = self.slots(proposal.signer) else { return };
        if slots.proposal.as_ref().is_none_or(|known| place(known) < place(proposal)) {
            slots.proposal = Some(proposal.clone());
        }
    }

    pub(crate) fn batch(&mut self, header: &Signed<BatchHeader>) {
        let place = |header: &Signed<BatchHeader>| (header.statement.epoch, header.statement.sequence);
        let Some(slots) = self.slots(header.signer) else { return };
        if slots.batch.as_ref().is_none_or(|known| place(known) < place(header)) {
            slots.batch = Some(Box::new(header.clone()));
        }
    }

    pub(crate) fn ack(&mut self, ack: &Verified<Ack>) {
        let place = |ack: &Verified<Ack>| (ack.statement.epoch, ack.statement.counter);
        let Some(slots) = self.slots(ack.signer) else { return };
        if slots.ack.as_ref().is_none_or(|known| place(known) < place(ack)) {
            slots.ack = Some(ack.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{Domain, Epoch, HeaderHash, Height, KeyedHashSigner, Member, NetworkId, Round, Stake};

    fn committee(epoch: u64, members: &[u8]) -> Arc<Committee> {
        let members = members.iter().map(|i| Member { address: Address([*i; 20]), stake: Stake(1) });
        Arc::new(Committee::new(Epoch(epoch), members.collect()).unwrap())
    }

    fn vote(signer: u8, height: u64, round: u32) -> Verified<Vote> {
        let block = Some(HeaderHash([7; 32]));
        let vote = Vote { kind: VoteKind::Prevote, height: Height(height), round: Round(round), block };
        Verified::sign(vote, &Domain::new(NetworkId([1; 32])), &KeyedHashSigner(Address([signer; 20])))
    }

    fn heights(seen: &Seen) -> Vec<(u8, u64)> {
        let entries = seen.entries().into_iter();
        entries.map(|(operator, slots)| (operator.0[0], slots.prevote.unwrap().statement.height.0)).collect()
    }

    #[test]
    fn the_newest_of_everybody_stays_as_committees_change() {
        let mut seen = Seen::default();
        [1, 4, 6].into_iter().for_each(|signer| seen.vote(&vote(signer, 1, 0)));
        seen.follow(committee(0, &[1, 2, 3, 4]));
        [2, 4, 5].into_iter().for_each(|signer| seen.vote(&vote(signer, 2, 0)));
        seen.vote(&vote(4, 1, 9));
        let all = [(1, 1), (2, 2), (4, 2), (5, 2), (6, 1)];
        assert_eq!(heights(&seen), all);
        seen.follow(committee(1, &[4, 5, 7]));
        assert_eq!(heights(&seen), all);
        seen.vote(&vote(5, 2, 1));
        assert_eq!(seen.of(&Address([5; 20])).prevote.unwrap().statement.round, Round(1));
        assert_eq!(seen.of(&Address([7; 20])), Slots::default());
        let again = Seen::restore(seen.entries());
        assert_eq!(again.entries(), seen.entries());
        seen.retain(|operator| operator.0[0] > 4);
        assert_eq!(heights(&seen), [(5, 2), (6, 1)]);
    }
}
