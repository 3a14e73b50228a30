//! Deadlines: the driver keeps one, the earliest.

use squad_consensus::TimeoutToken;
use squad_types::Timestamp;
use std::collections::BTreeMap;

/// What a deadline is for. Setting one again replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A batch must be sealed.
    Seal,
    /// An ack may leave.
    Ack,
    /// The full ack is sent again.
    AckResend,
    /// The idle interval is over: propose even if there is nothing to order.
    Idle,
    /// Questions without answer are asked again.
    Fetch,
    /// A known decision was not reached here in time.
    CatchUp,
    /// Peers are asked again for this node's own slots.
    Guard,
    /// The clock has come to a proposal that lay ahead of it.
    Clock,
    /// One of agreement's.
    Consensus(TimeoutToken),
}

/// All deadlines of a node.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    at: BTreeMap<Timer, Timestamp>,
    announced: Option<Timestamp>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.at.insert(timer, at);
    }

    /// Sets a deadline unless an earlier one is set for the same purpose.
    pub(crate) fn set_if_earlier(&mut self, timer: Timer, at: Timestamp) {
        let slot = self.at.entry(timer).or_insert(at);
        *slot = (*slot).min(at);
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.at.remove(&timer);
    }

    /// The driver called because the announced deadline came: the next one has to be announced again.
    pub(crate) fn woken(&mut self) {
        self.announced = None;
    }

    /// Takes the earliest deadline that has come.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (timer, _) = self.at.iter().filter(|(_, at)| **at <= now).min_by_key(|(timer, at)| (**at, **timer))?;
        let timer = *timer;
        self.at.remove(&timer);
        Some(timer)
    }

    /// The earliest deadline, if the driver does not know it yet.
    pub(crate) fn announce(&mut self, now: Timestamp) -> Option<Timestamp> {
        let earliest = self.at.values().min().copied()?;
        // One that the driver was told and that has not come yet needs no second word.
        if self.announced == Some(earliest) && earliest > now {
            return None;
        }
        self.announced = Some(earliest);
        Some(earliest)
    }
}
