//! Who waits for which transaction, and the answers they get.

use crate::api::{Accepted, Answer, Answers, RejectCode, Rejected};
use squad_types::{Confirmation, NamespaceId, Tier, TxId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// What a look-up gets: nothing, if the node never saw the transaction.
pub(crate) type Found = Result<Option<Confirmation>, Rejected>;

/// Where one answer goes.
pub(crate) enum Reply {
    /// To a submitter, under its ticket's number. One sender serves all tickets that came together.
    Ticket { number: u64, answers: Arc<Answers>, with_confirmation: bool },
    /// To somebody who asked.
    LookUp(oneshot::Sender<Found>),
}

/// Somebody who waits for a tier.
pub(crate) struct Waiter {
    pub(crate) namespace: Option<NamespaceId>,
    pub(crate) tier: Tier,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
}

/// Answers under way, gathered so that those of one submitter travel together.
#[derive(Default)]
pub(crate) struct Outgoing(HashMap<usize, (Arc<Answers>, Vec<Answer>)>);

impl Outgoing {
    fn push(&mut self, answers: Arc<Answers>, answer: Answer) {
        let group = self.0.entry(Arc::as_ptr(&answers) as usize).or_insert_with(|| (answers, Vec::new()));
        group.1.push(answer);
    }

    /// Refuses one ticket.
    pub(crate) fn refuse(&mut self, number: u64, answers: &Arc<Answers>, refusal: Rejected) {
        self.push(Arc::clone(answers), Answer { number, outcome: Err(refusal) });
    }

    /// Sends everything that was gathered.
    pub(crate) fn send(&mut self) {
        for (_, (answers, group)) in self.0.drain() {
            // Whoever lost interest gets nothing.
            let _ = answers.send(group);
        }
    }
}

/// All who wait. Bounded by the gates in front of the node, which bound open submissions and look-ups.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: HashMap<TxId, Vec<Waiter>>,
    /// No deadline of those who wait lies before it.
    earliest: Option<Instant>,
}

impl Waiters {
    pub(crate) fn add(&mut self, id: TxId, waiter: Waiter) {
        self.earliest = Some(self.earliest.map_or(waiter.deadline, |earliest| earliest.min(waiter.deadline)));
        self.waiting.entry(id).or_default().push(waiter);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the first submitter of a transaction that waits came.
    pub(crate) fn arrived(&self, id: &TxId) -> Option<Instant> {
        self.waiting.get(id)?.iter().map(|waiter| waiter.arrived).min()
    }

    /// Answers those who wait for `tier` or a lower one. `confirm` makes the proof where one is wanted;
    pub(crate) fn reach(
        &mut self,
        id: &TxId,
        tier: Tier,
        outgoing: &mut Outgoing,
        confirm: impl Fn() -> Option<Confirmation>,
    ) {
        let Some(waiting) = self.waiting.get_mut(id) else { return };
        for waiter in waiting.extract_if(.., |waiter| waiter.tier <= tier) {
            match waiter.reply {
                Reply::Ticket { number, answers, with_confirmation } => {
                    let confirmation = if with_confirmation { confirm() } else { None };
                    outgoing.push(answers, Answer { number, outcome: Ok(Accepted { id: *id, tier, confirmation }) });
                }
                // Whoever asked may have gone.
                Reply::LookUp(reply) => drop(reply.send(Ok(confirm()))),
            }
        }
        if waiting.is_empty() {
            self.waiting.remove(id);
        }
    }

    /// Refuses all who wait for a transaction.
    pub(crate) fn refuse(&mut self, id: &TxId, refusal: &Rejected, outgoing: &mut Outgoing) {
        for waiter in self.waiting.remove(id).unwrap_or_default() {
            answer(waiter, refusal.clone(), outgoing);
        }
    }

    /// Answers those whose time is over. Nobody is looked at before the earliest deadline.
    pub(crate) fn time_out(&mut self, now: Instant, outgoing: &mut Outgoing) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let mut earliest: Option<Instant> = None;
        self.waiting.retain(|id, waiting| {
            for waiter in waiting.extract_if(.., |waiter| waiter.deadline <= now) {
                let after = now.duration_since(waiter.arrived).as_millis();
                let reason = format!(
                    "transaction {id} is not {} after {after} ms; it may still be ordered: ask squad_getConfirmation",
                    waiter.tier
                );
                answer(waiter, Rejected::new(RejectCode::Timeout, reason), outgoing);
            }
            earliest = waiting.iter().map(|waiter| waiter.deadline).chain(earliest).min();
            !waiting.is_empty()
        });
        self.earliest = earliest;
    }
}

fn answer(waiter: Waiter, refusal: Rejected, outgoing: &mut Outgoing) {
    match waiter.reply {
        Reply::Ticket { number, answers, .. } => outgoing.refuse(number, &answers, refusal),
        Reply::LookUp(reply) => drop(reply.send(Err(refusal))),
    }
}
