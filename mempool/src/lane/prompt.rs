//! Whether a lane's batches come to everybody in time, as far as this node has seen: if so, it cuts them before anybody has
//! acknowledged them.

use super::Lane;
use squad_types::Tip;

/// Heights for which a lane is cut by acks alone after a vote had to wait for one of its batches.
const FIRST_REST: u32 = 64;

/// How often that grows fourfold: up to some four thousand heights. An honest lane loses one delay by it; what a liar costs, who
/// shows batches to the next proposer alone, comes to a height now and then.
const MAX_GROWTHS: u32 = 3;

/// What a lane has cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Promptness {
    /// How often a vote had to wait for a batch of it.
    times: u32,
    /// Heights until it is trusted again.
    rest: u32,
}

impl Lane {
    /// A vote waits for a batch of this lane that should be here.
    pub(crate) fn was_late(&mut self) {
        let known = &mut self.promptness;
        if known.rest == 0 {
            known.rest = FIRST_REST << (2 * known.times.min(MAX_GROWTHS));
            known.times = known.times.saturating_add(1);
        }
    }

    /// A height passed.
    pub(crate) fn one_height_on(&mut self) {
        self.promptness.rest = self.promptness.rest.saturating_sub(1);
    }

    /// The highest tip above the ordered one that this node would acknowledge, if others can be taken to hold it by now.
    pub(crate) fn prompt_tip(&self) -> Option<Tip> {
        let tip = if self.promptness.rest == 0 { self.ackable()? } else { return None };
        let is_here = self.find(tip).is_some();
        is_here.then_some(tip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LaneLimits;
    use squad_types::{Address, Epoch, LaneId, Params, ValidatorIndex};

    fn rest(lane: &mut Lane) -> u32 {
        let mut heights = 0;
        while lane.promptness.rest > 0 {
            lane.one_height_on();
            heights += 1;
        }
        heights
    }

    #[test]
    fn a_lane_that_votes_wait_for_again_and_again_rests_longer_and_longer() {
        let id = LaneId { epoch: Epoch(0), author: ValidatorIndex(0) };
        let mut lane = Lane::new(id, Address::ZERO, 4, LaneLimits::new(&Params::default(), 4), Promptness::default());
        for expected in [64, 256, 1024, 4096, 4096] {
            lane.was_late();
            lane.was_late();
            assert_eq!(rest(&mut lane), expected, "what is late while it rests counts once");
        }
    }
}
