//! How many questions for bulk content are open at once, and how long an answer may take.
//!
//! Answers share the link of whoever asks. With more of them under way than it carries in the time that a peer is given, all
//! come late; asking others then only adds to them, and nothing arrives in time any more. So the window is halved when an
//! answer comes after its time, and grows by one for each windowful that comes in it: additive increase, multiplicative
//! decrease, as of TCP's congestion avoidance (RFC 5681). A peer that stays silent says nothing of the link, and does not
//! narrow it. Nor does a peer get less time than twice what its answers took of late.

use crate::input::Peer;
use std::collections::BTreeMap;

/// Open questions to begin with.
const START: usize = 32;
const FEWEST: usize = 2;
const MOST: usize = 64;

#[derive(Debug)]
pub(super) struct Window {
    most: usize,
    /// Answers in time since it last grew.
    timely: usize,
    /// Answers to questions from before the last cut: one crowded moment is one reason to cut.
    settling: usize,
    /// How long each peer's answers take, smoothed, in milliseconds; of connected ones only.
    took: BTreeMap<Peer, u64>,
}

impl Default for Window {
    fn default() -> Self {
        Self { most: START, timely: 0, settling: 0, took: BTreeMap::new() }
    }
}

impl Window {
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// An answer came `ms` after its question, in its time or after it.
    pub(super) fn answered(&mut self, peer: Peer, ms: u64, late: bool) {
        self.took.entry(peer).and_modify(|took| *took = (*took * 3).saturating_add(ms) / 4).or_insert(ms);
        if self.settling > 0 {
            self.settling -= 1;
        } else if late {
            self.settling = self.most;
            self.most = (self.most / 2).max(FEWEST);
            self.timely = 0;
        } else {
            self.timely += 1;
            if self.timely >= self.most {
                self.most = (self.most + 1).min(MOST);
                self.timely = 0;
            }
        }
    }

    /// How long a peer has for its next answer, in milliseconds.
    pub(super) fn patience(&self, peer: Peer, least: u64) -> u64 {
        self.took.get(&peer).map_or(least, |took| least.max(took.saturating_mul(2)))
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
    fn late_answers_halve_the_window_once_a_windowful_and_timely_ones_widen_it_by_one() {
        let mut window = Window::default();
        window.answered(peer(1), 500, true);
        assert_eq!(window.most(), START / 2);
        (0..START).for_each(|_| window.answered(peer(1), 500, true));
        assert_eq!(window.most(), START / 2, "they were asked before the cut");
        (0..START / 2).for_each(|_| window.answered(peer(1), 100, false));
        assert_eq!(window.most(), START / 2 + 1);
        for _ in 0..10 * START {
            window.answered(peer(1), 500, true);
        }
        assert_eq!(window.most(), FEWEST, "never none");
        for _ in 0..MOST * MOST {
            window.answered(peer(1), 1, false);
        }
        assert_eq!(window.most(), MOST);
    }

    #[test]
    fn a_peer_has_twice_the_time_that_its_answers_take() {
        let mut window = Window::default();
        assert_eq!(window.patience(peer(1), 400), 400);
        window.answered(peer(1), 700, true);
        assert_eq!((window.patience(peer(1), 400), window.patience(peer(2), 400)), (1_400, 400));
        (0..20).for_each(|_| window.answered(peer(1), 10, false));
        assert_eq!(window.patience(peer(1), 400), 400);
        window.answered(peer(1), u64::MAX, true);
        window.answered(peer(1), u64::MAX, true);
        window.forget_peer(peer(1));
        assert_eq!(window.patience(peer(1), 400), 400);
    }
}
