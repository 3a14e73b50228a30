//! How much longer than usual a lane's batches are waited for before a peer is asked for them.
//!
//! A batch that was asked for, and then comes from its author all the same, has travelled twice. That is what a lack of
//! processor time or bandwidth looks like, and asking makes it worse: every node then does the work of its lanes twice, and
//! falls behind further. So each such batch doubles the wait, within bounds, and batches that come unasked take it back.

use squad_types::LaneId;
use std::collections::BTreeMap;

/// Times that a wait for progress doubles: a vote that waits stays far within its round.
const MAX_PAUSE: u32 = 3;
/// Times that the whole wait doubles. An author that lets its lane trickle can use it to hold votes up that long.
const MAX_PATIENCE: u32 = 2;
/// Batches in a row that come unasked before a doubling is taken back: some hundred milliseconds of a loaded lane.
const CALM: u32 = 32;

/// By lane; lanes without slack are not in it.
#[derive(Debug, Default)]
pub(crate) struct Slack(BTreeMap<LaneId, Lane>);

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    doublings: u32,
    /// Batches that came unasked since the last that did not.
    calm: u32,
}

impl Slack {
    /// A batch came from its author; whether it had been asked for elsewhere.
    pub(crate) fn came(&mut self, lane: LaneId, asked: bool) {
        if asked {
            let slack = self.0.entry(lane).or_default();
            *slack = Lane { doublings: (slack.doublings + 1).min(MAX_PAUSE), calm: 0 };
        } else if let Some(slack) = self.0.get_mut(&lane) {
            slack.calm += 1;
            if slack.calm >= CALM {
                *slack = Lane { doublings: slack.doublings.saturating_sub(1), calm: 0 };
            }
            if slack.doublings == 0 {
                self.0.remove(&lane);
            }
        }
    }

    fn doublings(&self, lane: LaneId) -> u32 {
        self.0.get(&lane).map_or(0, |slack| slack.doublings)
    }

    /// A wait for a lane's progress.
    pub(crate) fn pause(&self, lane: LaneId, ms: u64) -> u64 {
        ms << self.doublings(lane)
    }

    /// A wait for a batch while its lane goes on.
    pub(crate) fn patience(&self, lane: LaneId, ms: u64) -> u64 {
        ms << self.doublings(lane).min(MAX_PATIENCE)
    }

    /// Forgets lanes that are over.
    pub(crate) fn retain(&mut self, keep: impl Fn(LaneId) -> bool) {
        self.0.retain(|lane, _| keep(*lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{Epoch, ValidatorIndex};

    #[test]
    fn batches_that_travel_twice_double_the_wait_of_their_lane_and_calm_takes_it_back() {
        let lane = |author| LaneId { epoch: Epoch(1), author: ValidatorIndex(author) };
        let mut slack = Slack::default();
        assert_eq!((slack.pause(lane(0), 25), slack.patience(lane(0), 200)), (25, 200));
        slack.came(lane(0), true);
        assert_eq!((slack.pause(lane(0), 25), slack.patience(lane(0), 200)), (50, 400));
        assert_eq!(slack.pause(lane(1), 25), 25, "another author's lane");
        (0..10).for_each(|_| slack.came(lane(0), true));
        assert_eq!((slack.pause(lane(0), 25), slack.patience(lane(0), 200)), (200, 800));
        (0..CALM - 1).for_each(|_| slack.came(lane(0), false));
        assert_eq!(slack.pause(lane(0), 25), 200);
        slack.came(lane(0), false);
        assert_eq!(slack.pause(lane(0), 25), 100);
        (0..2 * CALM).for_each(|_| slack.came(lane(0), false));
        assert_eq!((slack.pause(lane(0), 25), slack.0.len()), (25, 0));
        slack.came(lane(1), true);
        slack.retain(|lane| lane.epoch > Epoch(1));
        assert!(slack.0.is_empty());
    }
}
