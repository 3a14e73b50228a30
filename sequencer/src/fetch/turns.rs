//! Bulk content in turns: of a lane one question at a time, of all lanes as many as the window allows.

use super::Fetches;
use super::wants::{Asked, WantKey};
use crate::sequencer::{Outputs, Sequencer};
use squad_types::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

impl Fetches {
    /// Until when answers may still be on their way whose time is over.
    pub(super) fn on_their_way(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let holds = self.window.holds();
        let until = move |asked: &Asked| asked.since.plus(holds);
        self.overdue.values().filter(|asked| asked.bulk).map(until).filter(move |until| *until > now)
    }

    /// What is next of the bulk that waits for its turn: the lanes nobody is asked for, as far as the window goes. Of a lane what
    /// was tried least, and of that the highest, since what lies below comes with it. So a tip that a liar named costs every
    /// other question at most, and not the lane. Nor do questions that nothing waits for: what acks name may be made up.
    fn next_turns(&self, now: Timestamp) -> Vec<WantKey> {
        let mut busy = BTreeSet::new();
        let mut open = self.on_their_way(now).count();
        let mut next = BTreeMap::new();
        for (key, wanted) in &self.wanted {
            let WantKey::Batches(lane, tip) = key else { continue };
            if wanted.asked.is_some() && wanted.is_bulk() {
                busy.insert(*lane);
                open += 1;
            } else if wanted.queued {
                let rank = (wanted.passes, wanted.tried.len(), Reverse(*tip));
                let best = next.entry(*lane).or_insert(rank);
                *best = rank.min(*best);
            }
        }
        let free = next.into_iter().filter(|(lane, _)| !busy.contains(lane));
        let free = free.map(|(lane, (_, _, Reverse(tip)))| WantKey::Batches(lane, tip));
        free.take(self.window.most().saturating_sub(open)).collect()
    }
}

impl Sequencer {
    /// Asks for the bulk whose turn it is.
    pub(crate) fn take_turns(&mut self, outputs: &mut Outputs) {
        while std::mem::take(&mut self.fetches.turns) {
            self.fetches.moved = true;
            for key in self.fetches.next_turns(self.now) {
                // What is there by now leaves its turn to another one.
                if self.still_missing(key) {
                    self.pursue_now(key, outputs);
                } else {
                    self.fetches.wanted.remove(&key);
                    self.fetches.turns = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wants::{Haste, Want, Wanted};
    use super::*;
    use crate::input::{AskId, Peer};
    use squad_types::{Address, BatchId, BatchRange, Epoch, LaneId, Request, Sequence, Tip, ValidatorIndex};

    fn lane(author: u32) -> LaneId {
        LaneId { epoch: Epoch(1), author: ValidatorIndex(author as _) }
    }

    fn key(author: u32, to: u64) -> WantKey {
        WantKey::Batches(lane(author), Tip { sequence: Sequence(to), batch: BatchId([to as u8; 32]) })
    }

    fn add(fetches: &mut Fetches, author: u32, to: u64, tried: u8) {
        let tip = Tip { sequence: Sequence(to), batch: BatchId([to as u8; 32]) };
        let wanted = Wanted {
            want: Want::Batches(BatchRange { lane: lane(author), from: Sequence::ZERO, to: tip }),
            tried: (0..tried).map(|id| Peer::Operator(Address([id; 20]))).collect(),
            passes: 0,
            asked: None,
            hint: None,
            haste: Haste::Now,
            not_before: Timestamp::ZERO,
            queued: true,
            patience: Timestamp::ZERO,
            needed: None,
        };
        fetches.wanted.insert(key(author, to), wanted);
    }

    #[test]
    fn of_a_lane_the_highest_tip_comes_first_and_one_at_a_time() {
        let mut fetches = Fetches::default();
        [(0, 5, 0), (0, 9, 0), (1, 3, 0)]
            .into_iter()
            .for_each(|(author, to, tried)| add(&mut fetches, author, to, tried));
        assert_eq!(fetches.next_turns(Timestamp(1_000)), [key(0, 9), key(1, 3)]);
        fetches.wanted.get_mut(&key(0, 9)).unwrap().asked = Some(AskId(1));
        assert_eq!(fetches.next_turns(Timestamp(1_000)), [key(1, 3)], "its lane is being asked for");
    }

    #[test]
    fn a_tip_that_nobody_knows_gives_its_turn_to_a_lower_one() {
        let mut fetches = Fetches::default();
        [(0, 5, 0), (0, 900, 1)].into_iter().for_each(|(author, to, tried)| add(&mut fetches, author, to, tried));
        assert_eq!(fetches.next_turns(Timestamp(1_000)), [key(0, 5)]);
    }

    #[test]
    fn what_was_named_and_nothing_waits_for_keeps_no_lane_busy() {
        let mut fetches = Fetches::default();
        [(0, 5, 0), (0, 900, 3)].into_iter().for_each(|(author, to, tried)| add(&mut fetches, author, to, tried));
        let named = fetches.wanted.get_mut(&key(0, 900)).unwrap();
        (named.haste, named.asked, named.queued) = (Haste::Later, Some(AskId(1)), false);
        assert_eq!(fetches.next_turns(Timestamp(1_000)), [key(0, 5)]);
    }

    #[test]
    fn no_more_is_asked_at_once_than_the_window_allows() {
        let mut fetches = Fetches::default();
        (0..100).for_each(|author| add(&mut fetches, author, 1, 0));
        let most = fetches.window.most();
        assert_eq!(fetches.next_turns(Timestamp(1_000)).len(), most);
        fetches.wanted.get_mut(&key(99, 1)).unwrap().asked = Some(AskId(1));
        assert_eq!(fetches.next_turns(Timestamp(1_000)).len(), most - 1);
        fetches.window.answered(Peer::Operator(Address([1; 20])), 500, true);
        assert_eq!(fetches.next_turns(Timestamp(1_000)).len(), most / 2 - 1);
    }

    #[test]
    fn an_answer_whose_time_is_over_keeps_its_place_while_it_may_be_on_its_way() {
        let mut fetches = Fetches::default();
        (0..100).for_each(|author| add(&mut fetches, author, 1, 0));
        let peer = Peer::Operator(Address([1; 20]));
        let range = BatchRange {
            lane: lane(1),
            from: Sequence::ZERO,
            to: Tip { sequence: Sequence::ZERO, batch: BatchId::ZERO },
        };
        let (request, since) = (Request::Batches(range), Timestamp(600));
        let asked = Asked { peer, want: None, request, bulk: true, since, deadline: Timestamp(1_000) };
        fetches.overdue.insert(AskId(1), asked);
        let most = fetches.window.most();
        assert_eq!(fetches.next_turns(Timestamp(1_000)).len(), most, "nobody answers, as far as is known");
        fetches.window.answered(peer, 300, false);
        let most = fetches.window.most();
        assert_eq!(fetches.next_turns(Timestamp(1_000)).len(), most - 1);
        assert_eq!(fetches.on_their_way(Timestamp(1_000)).min(), Some(Timestamp(1_200)));
        assert_eq!(fetches.next_turns(Timestamp(1_200)).len(), most);
    }
}
