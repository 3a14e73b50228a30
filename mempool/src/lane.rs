//! One lane as this node sees it: the chain above its ordered tip, what waits for a batch before it, and who acknowledges what.

use crate::acks::Vector;
use crate::limits::{HISTORY_HEADERS, LaneLimits, MAX_FORKS, MAX_LANE_SPAN, MAX_ORPHANS};
use squad_types::{
    Address, BatchHeader, BatchId, BatchPair, BatchRange, LaneId, Sequence, Signed, Stake, Tip, VerifiedBatch,
    limits::{MAX_BATCH_BYTES, MAX_BATCH_BYTES_PER_RESPONSE},
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod flow;
mod prompt;
mod reached;

/// Batches that an answer has room for, however large they are.
const SURE_OF_AN_ANSWER: u64 = (MAX_BATCH_BYTES_PER_RESPONSE / MAX_BATCH_BYTES) as u64;

pub(crate) use prompt::Promptness;

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

#[derive(Debug)]
struct Held {
    batch: VerifiedBatch,
    /// Bytes of the chain up to and with this batch, counted from wherever this node began.
    total: u64,
}

/// The highest held tip that a validator acknowledged. It stays when a fork takes the lane out of later acks.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) tip: Tip,
    /// The ack that shows it; none while the validator's newest one does.
    pub(crate) older: Option<Arc<Vector>>,
}

/// How far a lane is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) certified: Option<Tip>,
    pub(crate) available: Option<Tip>,
}

/// A lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) author: Address,
    pub(crate) limits: LaneLimits,
    /// Batches that are certain to be ordered before the lane expires.
    pub(crate) turns: u64,
    /// The last ordered batch.
    pub(crate) ordered: Option<Tip>,
    ordered_total: u64,
    /// Headers of the ordered chain, the newest few.
    history: BTreeMap<Sequence, Signed<BatchHeader>>,
    /// Batches whose chain reaches down to the ordered tip.
    held: BTreeMap<Sequence, Vec<Held>>,
    /// Two batches were held at one place since the lane began.
    branched: bool,
    bytes: u64,
    orphans: BTreeMap<(Sequence, BatchId), VerifiedBatch>,
    orphan_bytes: usize,
    /// Dropped to make room, and not reported yet.
    evicted: Vec<BatchId>,
    /// The author forked it: nothing is acknowledged in it any more.
    pub(crate) fork: Option<BatchPair>,
    /// The highest batch that this node acknowledged.
    pub(crate) acked: Option<Tip>,
    /// The highest batch that the log says was acknowledged and that the store does not have: nothing beside it is acknowledged.
    pub(crate) promised: Option<Tip>,
    /// The ordered tip went past the own ack and it is not known whether on its chain: nothing more is acknowledged here.
    unsettled: bool,
    /// A tip with a learned certificate: its chain is never dropped to make room.
    pub(crate) pinned: Option<Tip>,
    /// Members of its committee.
    pub(crate) members: usize,
    /// By place in the committee; nothing while nobody has reached anything, as in most lanes while there is little to order.
    pub(crate) reached: Vec<Option<Reached>>,
    /// The same by tip, ascending: the weight of all who have reached it and nothing higher. These are few, as acks follow a lane.
    weights: Vec<(Tip, Stake)>,
    /// What comes of that, computed when something changed.
    pub(crate) reach: Reach,
    pub(crate) promptness: Promptness,
}

impl Lane {
    pub(crate) fn new(id: LaneId, author: Address, members: usize, limits: LaneLimits, promptness: Promptness) -> Self {
        Self {
            id,
            author,
            limits,
            turns: u64::MAX,
            ordered: None,
            ordered_total: 0,
            history: BTreeMap::new(),
            held: BTreeMap::new(),
            branched: false,
            bytes: 0,
            orphans: BTreeMap::new(),
            orphan_bytes: 0,
            evicted: Vec::new(),
            fork: None,
            acked: None,
            promised: None,
            unsettled: false,
            pinned: None,
            members,
            reached: Vec::new(),
            weights: Vec::new(),
            reach: Reach::default(),
            promptness,
        }
    }

    fn entry(&self, tip: Tip) -> Option<&Held> {
        self.held.get(&tip.sequence)?.iter().find(|held| held.batch.id() == tip.batch)
    }

    /// The batch at a tip, if it is held above the ordered tip.
    pub(crate) fn find(&self, tip: Tip) -> Option<&VerifiedBatch> {
        self.entry(tip).map(|held| &held.batch)
    }

    /// Whether a tip is the ordered one, below it, or held.
    pub(crate) fn holds(&self, tip: Tip) -> bool {
        self.ordered.is_some_and(|ordered| tip.sequence < ordered.sequence || tip == ordered)
            || self.find(tip).is_some()
    }

    fn next_sequence(&self) -> Sequence {
        self.ordered.map_or(Sequence::ZERO, |tip| tip.sequence.next())
    }

    fn follows_ordered(&self, header: &BatchHeader) -> bool {
        match header.sequence.previous() {
            None => self.ordered.is_none() && header.parent == BatchId::ZERO,
            Some(sequence) => self.ordered == Some(Tip { sequence, batch: header.parent }),
        }
    }

    /// The bytes of the chain below a batch; none unless it is held.
    fn total_below(&self, header: &BatchHeader) -> Option<u64> {
        if self.follows_ordered(header) {
            return Some(self.ordered_total);
        }
        self.entry(parent(header)?).map(|held| held.total)
    }

    /// The author's header of another batch known at a batch's place.
    pub(crate) fn rival(&self, batch: &VerifiedBatch) -> Option<Signed<BatchHeader>> {
        let at = batch.header().sequence;
        let held = self.held.get(&at).into_iter().flatten().map(|held| &held.batch);
        let orphans = self.orphans.range((at, BatchId::ZERO)..=(at, BatchId([0xff; 32]))).map(|(_, orphan)| orphan);
        let known = held.chain(orphans).find(|other| other.id() != batch.id()).map(|other| other.signed_header());
        let ordered = || self.history.get(&at).filter(|header| header.statement.id() != batch.id());
        known.or_else(ordered).cloned()
    }

    pub(crate) fn insert(&mut self, batch: VerifiedBatch) -> Inserted {
        let at = batch.header().sequence;
        if at < self.next_sequence() || self.find(batch.tip()).is_some() {
            return Inserted::Known;
        }
        if at.0 - self.next_sequence().0 >= MAX_LANE_SPAN {
            return Inserted::NoRoom;
        }
        let Some(below) = self.total_below(batch.header()) else { return self.keep_orphan(batch) };
        if !self.make_room(&batch) {
            return Inserted::NoRoom;
        }
        self.hold(batch.clone(), below);
        let mut stored = vec![batch];
        self.connect_orphans(at.next(), &mut stored);
        Inserted::Stored(stored)
    }

    fn hold(&mut self, batch: VerifiedBatch, below: u64) {
        let bytes = size(&batch) as u64;
        self.bytes += bytes;
        let slot = self.held.entry(batch.header().sequence).or_default();
        slot.push(Held { batch, total: below + bytes });
        self.branched |= slot.len() > 1;
    }

    /// Those that waited come in ascending order, so that each finds the one before it.
    fn connect_orphans(&mut self, from: Sequence, stored: &mut Vec<VerifiedBatch>) {
        let mut next = from;
        loop {
            let waiting: Vec<BatchId> = self
                .orphans
                .range((next, BatchId::ZERO)..=(next, BatchId([0xff; 32])))
                .map(|((_, id), _)| *id)
                .collect();
            let before = stored.len();
            for id in waiting {
                let Some(orphan) = self.orphans.get(&(next, id)).cloned() else { continue };
                let Some(below) = self.total_below(orphan.header()) else { continue };
                if !self.make_room(&orphan) {
                    continue;
                }
                self.drop_orphan((next, id));
                self.hold(orphan.clone(), below);
                stored.push(orphan);
            }
            if stored.len() == before {
                return;
            }
            next = next.next();
        }
    }

    /// Keeps a batch until the one before it comes. The lowest are kept: they connect first.
    fn keep_orphan(&mut self, batch: VerifiedBatch) -> Inserted {
        let key = (batch.header().sequence, batch.id());
        if self.orphans.contains_key(&key) {
            return Inserted::Orphan;
        }
        let places = self.orphans.range((key.0, BatchId::ZERO)..=(key.0, BatchId([0xff; 32]))).count();
        if places >= MAX_FORKS {
            return Inserted::NoRoom;
        }
        let bytes = size(&batch);
        while self.orphans.len() >= MAX_ORPHANS || self.orphan_bytes + bytes > self.limits.orphan_bytes {
            match self.orphans.last_key_value().map(|(last, _)| *last) {
                Some(last) if last > key => self.drop_orphan(last),
                _ => return Inserted::NoRoom,
            }
        }
        self.orphan_bytes += bytes;
        self.orphans.insert(key, batch);
        Inserted::Orphan
    }

    fn drop_orphan(&mut self, key: (Sequence, BatchId)) {
        if let Some(orphan) = self.orphans.remove(&key) {
            self.orphan_bytes -= size(&orphan);
        }
    }

    /// Whether there is room for a batch. In a forked lane, branches that nobody needs give way: they can be fetched again.
    fn make_room(&mut self, batch: &VerifiedBatch) -> bool {
        if self.has_room(batch) {
            return true;
        }
        if self.fork.is_none() {
            return false;
        }
        let reached = self.reached.iter().flatten().map(|reached| reached.tip);
        let roots: Vec<Tip> = reached.chain(self.acked).chain(self.pinned).chain(parent(batch.header())).collect();
        let mut keep = BTreeSet::new();
        for root in roots {
            let mut at = Some(root);
            while let Some(held) = at.and_then(|tip| self.find(tip)) {
                if !keep.insert(held.id()) {
                    break;
                }
                at = parent(held.header());
            }
        }
        for slot in self.held.values_mut() {
            let (kept, dropped): (Vec<_>, Vec<_>) = slot.drain(..).partition(|held| keep.contains(&held.batch.id()));
            self.bytes -= dropped.iter().map(|held| size(&held.batch) as u64).sum::<u64>();
            self.evicted.extend(dropped.iter().map(|held| held.batch.id()));
            *slot = kept;
        }
        self.held.retain(|_, slot| !slot.is_empty());
        self.has_room(batch)
    }

    fn has_room(&self, batch: &VerifiedBatch) -> bool {
        let slot = self.held.get(&batch.header().sequence).map_or(0, Vec::len);
        // The batch that comes next in the order always fits, or the lane could stand still.
        let next = self.follows_ordered(batch.header()) && slot == 0;
        next || (slot < MAX_FORKS && self.bytes + size(batch) as u64 <= self.limits.kept_bytes)
    }

    /// What has to be fetched to hold a tip; none if it is held.
    pub(crate) fn missing(&self, to: Tip) -> Option<BatchRange> {
        if self.holds(to) {
            return None;
        }
        let mut lowest = to;
        while let Some(orphan) = self.orphans.get(&(lowest.sequence, lowest.batch)) {
            lowest = parent(orphan.header())?;
            if self.ordered.is_some_and(|ordered| lowest.sequence <= ordered.sequence) {
                // All of it is here; that it contradicts the order is not cured by fetching.
                return None;
            }
        }
        let above_held = self.held.keys().next_back().map_or(self.next_sequence(), |top| top.next());
        // Where a branch leaves what is held is not known. An answer begins with the lowest, which may be held: only as much is
        // asked for as one surely has room for, so that each brings the branch further down.
        let branch = lowest.sequence.minus(SURE_OF_AN_ANSWER - 1).max(self.next_sequence());
        let from = if above_held <= lowest.sequence { above_held } else { branch };
        Some(BatchRange { lane: self.id, from, to: lowest })
    }

    fn lookup(&self, tip: Tip) -> Option<&VerifiedBatch> {
        self.find(tip).or_else(|| self.orphans.get(&(tip.sequence, tip.batch)))
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
            let Some(before) = parent(batch.header()) else { break };
            at = before;
        }
        chain.reverse();
        Some(chain)
    }

    /// The batch at `sequence` on the chain that ends in `from`, as far as it is held or remembered.
    fn ancestor(&self, from: Tip, sequence: Sequence) -> Option<BatchId> {
        let mut at = from;
        while at.sequence > sequence {
            let header = match self.find(at) {
                Some(batch) => batch.header(),
                None => &self.history.get(&at.sequence).filter(|header| header.statement.id() == at.batch)?.statement,
            };
            at = parent(header)?;
        }
        (at.sequence == sequence).then_some(at.batch)
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
            let Some(before) = self.find(at).and_then(|batch| parent(batch.header())) else { return false };
            at = before;
        }
        at == lower
    }

    /// Bytes held above the ordered tip.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The highest held batch of an unforked lane, or the ordered tip.
    pub(crate) fn top(&self) -> Option<Tip> {
        self.held.values().next_back().and_then(|slot| slot.first()).map(|held| held.batch.tip()).or(self.ordered)
    }

    /// All held batches, ascending.
    pub(crate) fn held(&self) -> impl Iterator<Item = &VerifiedBatch> {
        self.held.values().flatten().map(|held| &held.batch)
    }

    /// The held batches at one place.
    pub(crate) fn held_at(&self, sequence: Sequence) -> impl Iterator<Item = &VerifiedBatch> {
        self.held.get(&sequence).into_iter().flatten().map(|held| &held.batch)
    }

    /// Whether the held chain that ends in `upper` goes through `lower`.
    fn descends(&self, upper: Tip, lower: Tip) -> bool {
        let mut at = upper;
        while at.sequence > lower.sequence {
            let Some(before) = self.find(at).and_then(|batch| parent(batch.header())) else { return false };
            at = before;
        }
        at == lower
    }

    /// Moves the ordered tip; what lies at or below it, or on another branch, goes.
    pub(crate) fn set_ordered(&mut self, tip: Tip) -> Vec<BatchId> {
        if self.ordered.is_some_and(|ordered| ordered.sequence >= tip.sequence) {
            return Vec::new();
        }
        self.settle(tip);
        let mut pruned = std::mem::take(&mut self.evicted);
        self.remember(tip);
        let total = self.entry(tip).map(|held| held.total);
        let above = self.held.split_off(&tip.sequence.next());
        pruned.extend(std::mem::replace(&mut self.held, above).into_values().flatten().map(|held| held.batch.id()));
        let lowest = (tip.sequence.next(), BatchId::ZERO);
        self.orphans = self.orphans.split_off(&lowest);
        // One that would follow the new tip was never made durable as held: it is fetched again.
        self.orphans.retain(|_, orphan| parent(orphan.header()) != Some(tip));
        self.orphan_bytes = self.orphans.values().map(size).sum();
        self.ordered = Some(tip);
        self.drop_other_branches(&mut pruned);
        let first = self.held.values().flatten().next().map(|held| held.total - size(&held.batch) as u64);
        self.ordered_total = total.or(first).unwrap_or(self.ordered_total);
        self.bytes = self.held().map(|batch| size(batch) as u64).sum();
        let lost: Vec<bool> =
            self.reached.iter().map(|slot| slot.as_ref().is_some_and(|r| self.find(r.tip).is_none())).collect();
        self.reached.iter_mut().zip(lost).filter(|(_, lost)| *lost).for_each(|(slot, _)| *slot = None);
        let mut weights = std::mem::take(&mut self.weights);
        weights.retain(|(tip, _)| self.find(*tip).is_some());
        self.weights = weights;
        if self.weights.is_empty() {
            self.reached = Vec::new();
        }
        self.pinned = self.pinned.filter(|pinned| pinned.sequence > tip.sequence);
        pruned
    }

    /// Keeps the headers of what was just ordered.
    fn remember(&mut self, tip: Tip) {
        let mut at = Some(tip);
        while let Some(batch) = at.and_then(|tip| self.find(tip)) {
            let header = batch.signed_header().clone();
            at = parent(&header.statement);
            self.history.insert(header.statement.sequence, header);
        }
        while self.history.len() > HISTORY_HEADERS {
            self.history.pop_first();
        }
    }

    fn drop_other_branches(&mut self, pruned: &mut Vec<BatchId>) {
        let mut parents: Vec<BatchId> = self.ordered.map(|tip| tip.batch).into_iter().collect();
        for slot in self.held.values_mut() {
            let (keep, drop): (Vec<_>, Vec<_>) =
                slot.drain(..).partition(|held| parents.contains(&held.batch.header().parent));
            pruned.extend(drop.iter().map(|held| held.batch.id()));
            parents = keep.iter().map(|held| held.batch.id()).collect();
            *slot = keep;
        }
        self.held.retain(|_, slot| !slot.is_empty());
    }
}

fn size(batch: &VerifiedBatch) -> usize {
    batch.payload().bytes().len()
}

/// The tip that a header follows; none for the first of a lane.
pub(crate) fn parent(header: &BatchHeader) -> Option<Tip> {
    Some(Tip { sequence: header.sequence.previous()?, batch: header.parent })
}
