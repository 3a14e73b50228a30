//! The order in which one sender's transactions leave: by nonce, each behind the one before it.
//!
//! One leaves as soon as those below it have left, so that many travel at once. It names the one before it, and the
//! operator takes it only behind that one: so a refusal in the middle leaves no gap behind it. This holds until the one
//! before it is executed: an answer says that an operator has it, not that every operator does.

use crate::source::Submission;
use alloy_primitives::{Address, Bytes};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

type Sent = HashMap<Address, BTreeMap<u64, Bytes>>;

/// The transactions that are on their way to an operator and have no answer yet.
#[derive(Debug)]
pub(super) struct Turns {
    sent: Mutex<Sent>,
    changed: watch::Sender<u64>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { sent: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

/// What a transaction does now.
pub(super) enum Turn {
    /// It was handed over; whether behind one that has no answer yet.
    Sent { answer: Submission, behind: bool },
    /// It waits for one that is on its way, whose answer will come.
    Wait,
    /// This nonce is neither executed nor answered nor on its way.
    Missing(u64),
}

/// A transaction's place among those on their way, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    turns: &'a Turns,
    sender: Address,
    nonce: u64,
    /// Whether another one with this nonce had the place already.
    taken: bool,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Sent> {
        // Each change is one insertion or removal: a panicking holder leaves nothing half done.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receiver that wakes when one left or got its answer.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Hands the transaction over by `forward` if it is its turn. All nonces below `answered` are executed, or an operator
    /// answered for them. `place` is set once it left; with `alone` it leaves only when those below have their answers.
    pub(super) fn take<'a>(
        &'a self,
        (sender, nonce, raw): (Address, u64, &Bytes),
        answered: u64,
        alone: bool,
        place: &mut Option<Place<'a>>,
        forward: impl FnOnce(Option<Bytes>) -> Submission,
    ) -> Turn {
        let mut sent = self.lock();
        let below = sent.get(&sender);
        let missing = (answered..nonce).find(|nonce| below.is_none_or(|below| !below.contains_key(nonce)));
        let before = nonce.checked_sub(1).filter(|before| *before >= answered);
        let before = before.and_then(|before| below?.get(&before).cloned());
        match (missing, before) {
            (Some(missing), _) => Turn::Missing(missing),
            (None, Some(_)) if alone => Turn::Wait,
            (None, before) => {
                let behind = before.is_some();
                // Under the lock: whoever comes next is to find this one handed over.
                let answer = forward(before);
                if place.is_none() {
                    let own = sent.entry(sender).or_default();
                    let taken = own.contains_key(&nonce);
                    own.entry(nonce).or_insert_with(|| raw.clone());
                    *place = Some(Place { turns: self, sender, nonce, taken });
                }
                drop(sent);
                self.changed.send_modify(|count| *count += 1);
                Turn::Sent { answer, behind }
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut sent = self.turns.lock();
        if let Some(own) = sent.get_mut(&self.sender) {
            own.remove(&self.nonce);
            if own.is_empty() {
                sent.remove(&self.sender);
            }
        }
        drop(sent);
        self.turns.changed.send_modify(|count| *count += 1);
    }
}
