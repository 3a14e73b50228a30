//! The inclusion rule: a certificate known for K heights in which this node voted is due.

use squad_types::{BatchCertificate, LaneId, Tip};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
struct Waiting {
    tip: Tip,
    heights: u32,
}

/// Certificates that cuts have left out, by lane: the lowest of each counts.
#[derive(Debug, Default)]
pub(crate) struct Due {
    waiting: BTreeMap<LaneId, Waiting>,
    /// Certificates learned from others, highest of each lane.
    pub(crate) learned: BTreeMap<LaneId, BatchCertificate>,
}

impl Due {
    /// A height passed. Returns whether a lane's certified tip is left out for the first time, so that it has to be broadcast.
    pub(crate) fn pass(&mut self, lane: LaneId, certified: Option<Tip>, ordered: Option<Tip>, voted: bool) -> bool {
        let above = |tip: Tip| ordered.is_none_or(|ordered| tip.sequence > ordered.sequence);
        if self.waiting.get(&lane).is_some_and(|waiting| !above(waiting.tip)) {
            self.waiting.remove(&lane);
        }
        if self.learned.get(&lane).and_then(BatchCertificate::tip).is_some_and(|tip| !above(tip)) {
            self.learned.remove(&lane);
        }
        let Some(tip) = certified.filter(|tip| above(*tip)) else { return false };
        match self.waiting.get_mut(&lane) {
            Some(waiting) => {
                waiting.heights += u32::from(voted);
                false
            }
            None => {
                // Its heights count from the broadcast that follows.
                self.waiting.insert(lane, Waiting { tip, heights: 0 });
                true
            }
        }
    }

    /// Lanes with a batch that is due after `heights`, and that batch.
    pub(crate) fn due(&self, heights: u32) -> impl Iterator<Item = (LaneId, Tip)> + '_ {
        self.waiting
            .iter()
            .filter(move |(_, waiting)| waiting.heights >= heights)
            .map(|(lane, waiting)| (*lane, waiting.tip))
    }

    pub(crate) fn drop_lanes(&mut self, keep: impl Fn(LaneId) -> bool) {
        self.waiting.retain(|lane, _| keep(*lane));
        self.learned.retain(|lane, _| keep(*lane));
    }
}
