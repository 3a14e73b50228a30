//! Deadlines: the driver keeps one, the earliest.

use squad_consensus::TimeoutToken;
use squad_types::Timestamp;

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
    /// Some peer is asked for the proofs that it has.
    Inquiry,
    /// One of agreement's.
    Consensus(TimeoutToken),
}

/// All deadlines of a node.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// A handful, each for another purpose: looked through after each input.
    at: Vec<(Timer, Timestamp)>,
    announced: Option<Timestamp>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        match self.at.iter_mut().find(|(known, _)| *known == timer) {
            Some((_, known)) => *known = at,
            None => self.at.push((timer, at)),
        }
    }

    /// Sets a deadline unless an earlier one is set for the same purpose.
    pub(crate) fn set_if_earlier(&mut self, timer: Timer, at: Timestamp) {
        match self.at.iter_mut().find(|(known, _)| *known == timer) {
            Some((_, known)) => *known = at.min(*known),
            None => self.at.push((timer, at)),
        }
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at.iter().any(|(known, _)| *known == timer)
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.at.retain(|(known, _)| *known != timer);
    }

    /// The driver called because the announced deadline came: the next one has to be announced again.
    pub(crate) fn woken(&mut self) {
        self.announced = None;
    }

    /// Takes the earliest deadline that has come.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let due = self.at.iter().enumerate().filter(|(_, (_, at))| *at <= now);
        let (place, _) = due.min_by_key(|(_, (timer, at))| (*at, *timer))?;
        Some(self.at.swap_remove(place).0)
    }

    /// The earliest deadline, if the driver does not know it yet.
    pub(crate) fn announce(&mut self, now: Timestamp) -> Option<Timestamp> {
        let earliest = self.at.iter().map(|(_, at)| *at).min()?;
        // One that the driver was told and that has not come yet needs no second word.
        if self.announced == Some(earliest) && earliest > now {
            return None;
        }
        self.announced = Some(earliest);
        Some(earliest)
    }
}
