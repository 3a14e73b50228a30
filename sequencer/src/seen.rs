//! The highest statements seen of every operator, so that one who lost its memory can ask for them.

use squad_types::{Ack, Address, BatchHeader, Proposal, Signed, Slots, Verified, Vote, VoteKind};
use std::collections::BTreeMap;

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

/// What was seen, by operator.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    by_operator: BTreeMap<Address, Newest>,
}

impl Seen {
    pub(crate) fn restore(entries: Vec<(Address, Slots)>) -> Self {
        let newest = entries.into_iter().map(|(operator, slots)| (operator, Newest::restore(slots)));
        Self { by_operator: newest.collect() }
    }

    pub(crate) fn entries(&self) -> Vec<(Address, Slots)> {
        self.by_operator.iter().map(|(operator, newest)| (*operator, newest.slots())).collect()
    }

    pub(crate) fn of(&self, operator: &Address) -> Slots {
        self.by_operator.get(operator).map(Newest::slots).unwrap_or_default()
    }

    /// Drops operators that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Address) -> bool) {
        self.by_operator.retain(|operator, _| keep(operator));
    }

    fn slots(&mut self, operator: Address) -> Option<&mut Newest> {
        if self.by_operator.len() >= MAX_OPERATORS && !self.by_operator.contains_key(&operator) {
            return None;
        }
        Some(self.by_operator.entry(operator).or_default())
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
