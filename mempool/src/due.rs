//! The inclusion rule: a certificate known for K heights in which this node voted is due.
//!
//! A certificate is first known, then seen to be left out by the next cut and broadcast; its heights count from there. One
//! learned from a broadcast counts at once. So in a network that runs well nothing is broadcast at all.

use squad_types::{BatchCertificate, LaneId, Tip};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    tip: Tip,
    /// This node has broadcast it, or a higher one.
    announced: bool,
    /// Voted heights since it was broadcast by somebody; none before.
    heights: Option<u32>,
}

/// Certificates that are not ordered yet, by lane, ascending. At most one for each number of heights.
#[derive(Debug, Default)]
pub(crate) struct Due {
    waiting: BTreeMap<LaneId, Vec<Waiting>>,
    /// Certificates learned from others, highest of each lane.
    pub(crate) learned: BTreeMap<LaneId, BatchCertificate>,
}

impl Due {
    /// A certificate came by broadcast.
    pub(crate) fn learn(&mut self, certificate: BatchCertificate) {
        let (lane, Some(tip)) = (certificate.lane, certificate.tip()) else { return };
        let known = self.learned.get(&lane).and_then(BatchCertificate::tip);
        if known.is_some_and(|known| known.sequence >= tip.sequence) {
            return;
        }
        self.learned.insert(lane, certificate);
        let waiting = self.waiting.entry(lane).or_default();
        let counted = waiting.iter().any(|other| other.tip.sequence >= tip.sequence && other.heights.is_some());
        if !counted {
            let at = waiting.partition_point(|other| other.tip.sequence < tip.sequence);
            waiting.insert(at, Waiting { tip, announced: false, heights: Some(0) });
        }
    }

    /// A height passed. Returns whether a certificate of the lane, known before its cut, was left out for the first time.
    pub(crate) fn pass(
        &mut self,
        lane: LaneId,
        certified: Option<Tip>,
        ordered: Option<Tip>,
        voted: bool,
        heights: u32,
    ) -> bool {
        let above = |tip: Tip| ordered.is_none_or(|ordered| tip.sequence > ordered.sequence);
        if self.learned.get(&lane).and_then(BatchCertificate::tip).is_some_and(|tip| !above(tip)) {
            self.learned.remove(&lane);
        }
        // As in most lanes at most heights.
        if !certified.is_some_and(above) && !self.waiting.contains_key(&lane) {
            return false;
        }
        let waiting = self.waiting.entry(lane).or_default();
        waiting.retain(|waiting| above(waiting.tip));
        let mut left_out = false;
        if voted {
            for waiting in waiting.iter_mut() {
                left_out |= !waiting.announced;
                waiting.announced = true;
                waiting.heights = Some(waiting.heights.map_or(0, |known| (known + 1).min(heights)));
            }
        }
        let highest = waiting.last().map(|waiting| waiting.tip.sequence);
        if let Some(tip) = certified.filter(|tip| above(*tip) && Some(tip.sequence) > highest) {
            waiting.push(Waiting { tip, announced: false, heights: None });
        }
        // Of those that are due at one time, the highest stands for all.
        let mut kept: Vec<Waiting> = Vec::with_capacity(waiting.len());
        for next in waiting.drain(..) {
            if kept.last().is_some_and(|last| (last.announced, last.heights) == (next.announced, next.heights)) {
                kept.pop();
            }
            kept.push(next);
        }
        *waiting = kept;
        if waiting.is_empty() {
            self.waiting.remove(&lane);
        }
        left_out
    }

    /// Lanes with a batch that is due after `heights`, and the highest such batch.
    pub(crate) fn due(&self, heights: u32) -> impl Iterator<Item = (LaneId, Tip)> + '_ {
        self.waiting.iter().filter_map(move |(lane, waiting)| {
            let due = waiting.iter().rev().find(|waiting| waiting.heights.is_some_and(|known| known >= heights))?;
            Some((*lane, due.tip))
        })
    }

    pub(crate) fn drop_lanes(&mut self, keep: impl Fn(LaneId) -> bool) {
        self.waiting.retain(|lane, _| keep(*lane));
        self.learned.retain(|lane, _| keep(*lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{BatchId, Epoch, Sequence, ValidatorIndex};

    const LANE: LaneId = LaneId { epoch: Epoch(0), author: ValidatorIndex(1) };

    fn tip(sequence: u64) -> Option<Tip> {
        Some(Tip { sequence: Sequence(sequence), batch: BatchId([sequence as u8; 32]) })
    }

    fn due(due: &Due) -> Option<Tip> {
        due.due(3).next().map(|(_, tip)| tip)
    }

    #[test]
    fn a_certificate_that_the_next_cut_takes_is_never_broadcast() {
        let mut rule = Due::default();
        for height in 0..20 {
            assert!(!rule.pass(LANE, tip(height + 1), tip(height), true, 3));
        }
        assert_eq!(due(&rule), None);
    }

    #[test]
    fn one_that_is_left_out_is_broadcast_once_and_due_three_voted_heights_later() {
        let mut rule = Due::default();
        assert!(!rule.pass(LANE, tip(5), None, true, 3), "it became known after this cut was proposed");
        assert!(!rule.pass(LANE, tip(5), None, false, 3), "a height without an own vote proves nothing");
        assert!(rule.pass(LANE, tip(5), None, true, 3));
        for _ in 0..2 {
            assert!(!rule.pass(LANE, tip(5), tip(2), true, 3));
            assert_eq!(due(&rule), None);
        }
        rule.pass(LANE, tip(5), tip(2), false, 3);
        assert_eq!(due(&rule), None);
        rule.pass(LANE, tip(5), tip(2), true, 3);
        assert_eq!(due(&rule), tip(5));
        rule.pass(LANE, tip(5), tip(5), true, 3);
        assert_eq!(due(&rule), None);
    }

    #[test]
    fn what_waits_stays_bounded_and_each_certificate_becomes_due_in_its_turn() {
        let mut rule = Due::default();
        for height in 0..100 {
            rule.pass(LANE, tip(height), None, true, 3);
            assert!(rule.waiting[&LANE].len() <= 6, "{:?}", rule.waiting);
        }
        // Known at 95, left out at 96, three heights later it is due.
        assert_eq!(due(&rule), tip(95));
    }
}
