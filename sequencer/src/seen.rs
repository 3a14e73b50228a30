//! The highest statements seen of every operator, so that one who lost its memory can ask for them.

use squad_types::{Ack, Address, BatchHeader, Proposal, Signed, Slots, Verified, Vote, VoteKind};
use std::collections::BTreeMap;

/// Operators remembered: several committees' worth.
const MAX_OPERATORS: usize = 4 * squad_types::limits::MAX_COMMITTEE;

/// What was seen, by operator.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    by_operator: BTreeMap<Address, Slots>,
}

impl Seen {
    pub(crate) fn restore(entries: Vec<(Address, Slots)>) -> Self {
        Self { by_operator: entries.into_iter().collect() }
    }

    pub(crate) fn entries(&self) -> Vec<(Address, Slots)> {
        self.by_operator.iter().map(|(operator, slots)| (*operator, slots.clone())).collect()
    }

    pub(crate) fn of(&self, operator: &Address) -> Slots {
        self.by_operator.get(operator).cloned().unwrap_or_default()
    }

    /// Drops operators that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Address) -> bool) {
        self.by_operator.retain(|operator, _| keep(operator));
    }

    fn slots(&mut self, operator: Address) -> Option<&mut Slots> {
        if self.by_operator.len() >= MAX_OPERATORS && !self.by_operator.contains_key(&operator) {
            return None;
        }
        Some(self.by_operator.entry(operator).or_default())
    }

    pub(crate) fn vote(&mut self, vote: &Verified<Vote>) {
        self.signed_vote(vote.signed());
    }

    pub(crate) fn signed_vote(&mut self, vote: &Signed<Vote>) {
        let place = |vote: &Signed<Vote>| (vote.statement.height, vote.statement.round);
        let Some(slots) = self.slots(vote.signer) else { return };
        let slot = match vote.statement.kind {
            VoteKind::Prevote => &mut slots.prevote,
            VoteKind::Precommit => &mut slots.precommit,
        };
        if slot.as_ref().is_none_or(|known| place(known) < place(vote)) {
            *slot = Some(vote.clone());
        }
    }

    pub(crate) fn proposal(&mut self, proposal: &Signed<Proposal>) {
        let place = |proposal: &Signed<Proposal>| (proposal.statement.height, proposal.statement.round);
        let Some(slots) = self.slots(proposal.signer) else { return };
        if slots.proposal.as_ref().is_none_or(|known| place(known) < place(proposal)) {
            slots.proposal = Some(proposal.clone());
        }
    }

    pub(crate) fn batch(&mut self, header: &Signed<BatchHeader>) {
        let place = |header: &Signed<BatchHeader>| (header.statement.epoch, header.statement.sequence);
        let Some(slots) = self.slots(header.signer) else { return };
        if slots.batch.as_ref().is_none_or(|known| place(known) < place(header)) {
            slots.batch = Some(header.clone());
        }
    }

    pub(crate) fn ack(&mut self, ack: &Signed<Ack>) {
        let place = |ack: &Signed<Ack>| (ack.statement.epoch, ack.statement.counter);
        let Some(slots) = self.slots(ack.signer) else { return };
        if slots.ack.as_ref().is_none_or(|known| place(known) < place(ack)) {
            slots.ack = Some(ack.clone());
        }
    }
}
