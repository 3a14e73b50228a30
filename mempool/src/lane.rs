//! One lane as this node sees it: the chain above its ordered tip, and what waits for a batch before it.

use crate::limits::{MAX_FORKS, MAX_LANE_SPAN, MAX_ORPHANS};
use squad_types::{Address, BatchId, BatchPair, BatchRange, LaneId, Sequence, Tip, VerifiedBatch};
use std::collections::BTreeMap;

/// What came of putting a batch into a lane.
#[derive(Debug)]
pub(crate) enum Inserted {
    /// Now held, with those that waited for them, in order.
    Stored(Vec<VerifiedBatch>),
    /// Held or ordered before.
    Known,
    /// Kept until the batch before it comes.
    Orphan,
    /// No room, or too far above.
    NoRoom,
}

/// A lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) author: Address,
    /// The last ordered batch.
    pub(crate) ordered: Option<Tip>,
    /// Batches whose chain reaches down to the ordered tip.
    held: BTreeMap<Sequence, Vec<VerifiedBatch>>,
    orphans: BTreeMap<Sequence, Vec<VerifiedBatch>>,
    orphan_count: usize,
    /// The author forked it: nothing is acknowledged in it any more.
    pub(crate) fork: Option<BatchPair>,
    /// The highest batch that this node acknowledged.
    pub(crate) acked: Option<Tip>,
}

impl Lane {
    pub(crate) fn new(id: LaneId, author: Address) -> Self {
        Self {
            id,
            author,
            ordered: None,
            held: BTreeMap::new(),
            orphans: BTreeMap::new(),
            orphan_count: 0,
            fork: None,
            acked: None,
        }
    }

    /// The batch at a tip, if it is held above the ordered tip.
    pub(crate) fn find(&self, tip: Tip) -> Option<&VerifiedBatch> {
        self.held.get(&tip.sequence)?.iter().find(|batch| batch.id() == tip.batch)
    }

    /// Whether a tip is the ordered one, below it, or held.
    pub(crate) fn holds(&self, tip: Tip) -> bool {
        self.ordered.is_some_and(|ordered| tip.sequence < ordered.sequence || tip == ordered)
            || self.find(tip).is_some()
    }

    fn next_sequence(&self) -> Sequence {
        self.ordered.map_or(Sequence::ZERO, |tip| tip.sequence.next())
    }

    fn follows_held(&self, batch: &VerifiedBatch) -> bool {
        let header = batch.header();
        match header.sequence.previous() {
            None => self.ordered.is_none() && header.parent == BatchId::ZERO,
            Some(before) => {
                let parent = Tip { sequence: before, batch: header.parent };
                self.ordered == Some(parent) || self.find(parent).is_some()
            }
        }
    }

    /// Any other batch known at a batch's place.
    pub(crate) fn rival(&self, batch: &VerifiedBatch) -> Option<&VerifiedBatch> {
        let at = batch.header().sequence;
        let known = [self.held.get(&at), self.orphans.get(&at)].into_iter().flatten().flatten();
        known.into_iter().find(|other| other.id() != batch.id())
    }

    pub(crate) fn insert(&mut self, batch: VerifiedBatch) -> Inserted {
        let at = batch.header().sequence;
        if at < self.next_sequence() || self.find(batch.tip()).is_some() {
            return Inserted::Known;
        }
        let span = at.0 - self.next_sequence().0;
        if span > MAX_LANE_SPAN || self.held.get(&at).is_some_and(|slot| slot.len() >= MAX_FORKS) {
            return Inserted::NoRoom;
        }
        if !self.follows_held(&batch) {
            let slot = self.orphans.entry(at).or_default();
            if slot.contains(&batch) {
                return Inserted::Orphan;
            }
            if self.orphan_count >= MAX_ORPHANS || slot.len() >= MAX_FORKS {
                return Inserted::NoRoom;
            }
            slot.push(batch);
            self.orphan_count += 1;
            return Inserted::Orphan;
        }
        let mut stored = vec![batch.clone()];
        self.held.entry(at).or_default().push(batch);
        let mut next = at.next();
        // Those that waited come in ascending order, so that each finds the one before it.
        while let Some(waiting) = self.orphans.remove(&next) {
            self.orphan_count -= waiting.len();
            let (fit, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|orphan| self.follows_held(orphan));
            if !rest.is_empty() {
                self.orphan_count += rest.len();
                self.orphans.insert(next, rest);
            }
            if fit.is_empty() {
                break;
            }
            self.held.entry(next).or_default().extend(fit.iter().cloned());
            stored.extend(fit);
            next = next.next();
        }
        Inserted::Stored(stored)
    }

    /// What has to be fetched to hold a tip; none if it is held.
    pub(crate) fn missing(&self, to: Tip) -> Option<BatchRange> {
        if self.holds(to) {
            return None;
        }
        let mut lowest = to;
        while let Some(orphan) =
            self.orphans.get(&lowest.sequence).and_then(|slot| slot.iter().find(|b| b.id() == lowest.batch))
        {
            let sequence = lowest.sequence.previous()?;
            lowest = Tip { sequence, batch: orphan.header().parent };
            if self.ordered.is_some_and(|ordered| sequence <= ordered.sequence) {
                // All of it is here; that it contradicts the order is not cured by fetching.
                return None;
            }
        }
        let above_held = self.held.keys().next_back().map_or(self.next_sequence(), |top| top.next());
        Some(BatchRange { lane: self.id, from: above_held.min(lowest.sequence), to: lowest })
    }

    fn lookup(&self, tip: Tip) -> Option<&VerifiedBatch> {
        let orphan = || self.orphans.get(&tip.sequence)?.iter().find(|batch| batch.id() == tip.batch);
        self.find(tip).or_else(orphan)
    }

    /// The batches at the places after `above` up to `to`, ascending, linked back from `to` by their parents; none unless all
    /// are here. Whether the first follows from `above` is for the caller to judge: a branch of a forked lane comes as it is.
    pub(crate) fn chain(&self, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        if above == Some(to) {
            return Some(Vec::new());
        }
        let first = above.map_or(Sequence::ZERO, |above| above.sequence.next());
        let mut chain = Vec::new();
        let mut at = to;
        while at.sequence >= first {
            let batch = self.lookup(at)?;
            chain.push(batch.clone());
            let Some(sequence) = at.sequence.previous() else { break };
            at = Tip { sequence, batch: batch.header().parent };
        }
        chain.reverse();
        Some(chain)
    }

    /// Whether `lower` lies on the chain that ends in `upper`, as far as it can be told: below the ordered tip all is one chain.
    pub(crate) fn covers(&self, upper: Tip, lower: Tip) -> bool {
        if lower.sequence > upper.sequence {
            return false;
        }
        if self.fork.is_none() {
            // One batch a place: holding the upper one is enough.
            return self.holds(upper) && self.holds(lower);
        }
        let mut at = upper;
        while at.sequence > lower.sequence {
            if self.ordered == Some(at) {
                return self.holds(lower);
            }
            let Some(batch) = self.find(at) else { return false };
            let Some(sequence) = at.sequence.previous() else { return false };
            at = Tip { sequence, batch: batch.header().parent };
        }
        at == lower
    }

    /// The highest tip that may be acknowledged: on the chain of what was, within the bytes that flow control allows.
    pub(crate) fn ackable(&self, lane_bytes: usize) -> Option<Tip> {
        if self.fork.is_some() {
            return None;
        }
        let mut tip = self.ordered;
        let mut bytes = 0_usize;
        for slot in self.held.values() {
            let Some(batch) = slot.first() else { break };
            bytes += batch.payload().bytes().len();
            if bytes > lane_bytes {
                break;
            }
            tip = Some(batch.tip());
        }
        // What is acknowledged stays so, whatever the limit says now.
        tip.max(self.acked)
    }

    /// Bytes held above the ordered tip.
    pub(crate) fn bytes(&self) -> usize {
        self.held.values().flatten().map(|batch| batch.payload().bytes().len()).sum()
    }

    /// The highest held batch of an unforked lane, or the ordered tip.
    pub(crate) fn top(&self) -> Option<Tip> {
        self.held.values().next_back().and_then(|slot| slot.first()).map(VerifiedBatch::tip).or(self.ordered)
    }

    /// All held batches, ascending.
    pub(crate) fn held(&self) -> impl Iterator<Item = &VerifiedBatch> {
        self.held.values().flatten()
    }

    /// Moves the ordered tip; what lies at or below it, or on another branch, goes.
    pub(crate) fn set_ordered(&mut self, tip: Tip) -> Vec<BatchId> {
        if self.ordered.is_some_and(|ordered| ordered.sequence >= tip.sequence) {
            return Vec::new();
        }
        let mut pruned: Vec<BatchId> = Vec::new();
        let above = self.held.split_off(&tip.sequence.next());
        pruned.extend(std::mem::replace(&mut self.held, above).into_values().flatten().map(|batch| batch.id()));
        let orphans = self.orphans.split_off(&tip.sequence.next());
        self.orphans = orphans;
        self.orphan_count = self.orphans.values().map(Vec::len).sum();
        self.ordered = Some(tip);
        self.drop_other_branches(&mut pruned);
        // One branch was ordered: acks speak of it from now on, unless the lane is closed.
        if self.acked.is_none_or(|acked| acked.sequence <= tip.sequence) {
            self.acked = Some(tip);
        }
        pruned
    }

    fn drop_other_branches(&mut self, pruned: &mut Vec<BatchId>) {
        let mut parents: Vec<BatchId> = self.ordered.map(|tip| tip.batch).into_iter().collect();
        for slot in self.held.values_mut() {
            let (keep, drop): (Vec<_>, Vec<_>) =
                slot.drain(..).partition(|batch| parents.contains(&batch.header().parent));
            pruned.extend(drop.iter().map(VerifiedBatch::id));
            parents = keep.iter().map(VerifiedBatch::id).collect();
            *slot = keep;
        }
        self.held.retain(|_, slot| !slot.is_empty());
    }
}
