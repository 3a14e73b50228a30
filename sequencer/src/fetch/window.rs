//! How many questions for bulk content are open at once, and how long an answer may take.
//!
//! Answers share the link of whoever asks. With more of them under way than it carries in the time that a peer is given, all
//! come late; asking others then only adds to them, and nothing arrives in time any more. So this is TCP's congestion control
//! (RFC 5681, RFC 6298), with questions for segments: few at first, one more for each answer in time, until one comes late; from
//! then on halved for each windowful with a late answer in it, and one more for each without. A question whose time is over
//! stays in the window as long as its answer may still be on its way. A peer has at least twice the time that answers take of
//! late, and more if nobody answers at all. A peer that stays silent while others answer says nothing of the link.

use crate::input::Peer;
use squad_types::Timestamp;
use std::collections::BTreeMap;

/// Open questions to begin with.
const START: usize = 4;
const FEWEST: usize = 2;
const MOST: usize = 64;

/// The longest that an answer is waited for, in milliseconds: connections give requests up after that.
pub(super) const LONGEST_MS: u64 = 10_000;

/// Doublings of the time while nobody answers.
const MAX_BACKOFF: u32 = 5;

#[derive(Debug)]
pub(super) struct Window {
    most: usize,
    /// No answer came late yet.
    probing: bool,
    /// Answers in time since it last grew.
    timely: usize,
    /// Answers to questions from before the last cut: one crowded moment is one reason to cut.
    settling: usize,
    /// How long each peer's answers take, smoothed, in milliseconds; of connected ones only.
    took: BTreeMap<Peer, u64>,
    /// How often questions ran out of time since an answer came, and when that was last so.
    backoff: u32,
    backed_off: Timestamp,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            most: START,
            probing: true,
            timely: 0,
            settling: 0,
            took: BTreeMap::new(),
            backoff: 0,
            backed_off: Timestamp::ZERO,
        }
    }
}

impl Window {
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// An answer came `ms` after its question, in its time or after it.
    pub(super) fn answered(&mut self, peer: Peer, ms: u64, late: bool) {
        self.took.entry(peer).and_modify(|took| *took = (*took * 3).saturating_add(ms) / 4).or_insert(ms);
        self.backoff = 0;
        if self.settling > 0 {
            self.settling -= 1;
        } else if late {
            self.settling = self.most;
            self.most = (self.most / 2).max(FEWEST);
            (self.probing, self.timely) = (false, 0);
        } else {
            self.timely += 1;
            if self.probing || self.timely >= self.most {
                self.most = (self.most + 1).min(MOST);
                self.timely = 0;
            }
        }
    }

    /// A question that was asked at `since` ran out of time.
    pub(super) fn expired(&mut self, since: Timestamp, now: Timestamp) {
        if since >= self.backed_off {
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
            self.backed_off = now;
        }
    }

    /// How long a peer has for its next answer, in milliseconds.
    pub(super) fn patience(&self, peer: Peer, least: u64) -> u64 {
        let took = self.took.get(&peer).copied().unwrap_or_default().max(self.typical());
        (least.max(took.saturating_mul(2)) << self.backoff).min(LONGEST_MS)
    }

    /// How long after its question an answer may still be on its way, in milliseconds.
    pub(super) fn holds(&self) -> u64 {
        self.typical().saturating_mul(2).min(LONGEST_MS)
    }

    /// What answers take at the median of peers: less than half of them cannot move it far.
    fn typical(&self) -> u64 {
        let mut all: Vec<u64> = self.took.values().copied().collect();
        let middle = all.len() / 2;
        if all.is_empty() { 0 } else { *all.select_nth_unstable(middle).1 }
    }

    pub(super) fn forget_peer(&mut self, peer: Peer) {
        self.took.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::Address;

    fn peer(id: u8) -> Peer {
        Peer::Operator(Address([id; 20]))
    }

    #[test]
    fn the_window_widens_by_every_answer_until_one_is_late_and_then_by_one_for_each_windowful() {
        let mut window = Window::default();
        (0..16).for_each(|_| window.answered(peer(1), 100, false));
        assert_eq!(window.most(), START + 16);
        window.answered(peer(1), 500, true);
        assert_eq!(window.most(), 10);
        (0..20).for_each(|_| window.answered(peer(1), 500, true));
        assert_eq!(window.most(), 10, "they were asked before the cut");
        (0..10).for_each(|_| window.answered(peer(1), 100, false));
        assert_eq!(window.most(), 11);
        (0..200).for_each(|_| window.answered(peer(1), 500, true));
        assert_eq!(window.most(), FEWEST, "never none");
        (0..MOST * MOST).for_each(|_| window.answered(peer(1), 1, false));
        assert_eq!(window.most(), MOST);
    }

    #[test]
    fn a_peer_has_twice_the_time_that_its_answers_take_or_those_of_most() {
        let mut window = Window::default();
        assert_eq!((window.patience(peer(1), 400), window.holds()), (400, 0));
        window.answered(peer(1), 700, true);
        assert_eq!((window.patience(peer(1), 400), window.patience(peer(2), 400)), (1_400, 1_400));
        window.answered(peer(2), 10, false);
        window.answered(peer(3), 10, false);
        assert_eq!((window.patience(peer(1), 400), window.patience(peer(4), 400)), (1_400, 400));
        assert_eq!(window.holds(), 20, "one that is slow on purpose keeps nobody waiting");
        window.answered(peer(1), u64::MAX, true);
        assert_eq!(window.patience(peer(1), 400), LONGEST_MS);
        window.forget_peer(peer(1));
        assert_eq!(window.patience(peer(1), 400), 400);
    }

    #[test]
    fn while_nobody_answers_the_time_doubles_once_for_what_was_asked_together() {
        let mut window = Window::default();
        (0..4).for_each(|_| window.expired(Timestamp(1_000), Timestamp(1_400)));
        assert_eq!(window.patience(peer(1), 400), 800);
        (0..4).for_each(|_| window.expired(Timestamp(1_400), Timestamp(2_200)));
        assert_eq!(window.patience(peer(1), 400), 1_600);
        (0..90).for_each(|at| window.expired(Timestamp(3_000 + at), Timestamp(3_000 + at)));
        assert_eq!(window.patience(peer(1), 400), LONGEST_MS);
        window.answered(peer(1), 100, true);
        assert_eq!(window.patience(peer(1), 400), 400);
    }
}
