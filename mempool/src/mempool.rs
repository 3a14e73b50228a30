//! The mempool: pool, lanes and acks of the epochs in force.

use crate::acks::Acks;
use crate::admission::Admission;
use crate::config::{EvmFacts, MempoolConfig, Source};
use crate::drain::Drain;
use crate::due::Due;
use crate::lane::{Inserted, Lane};
use crate::lanes::Lanes;
use crate::limits::{CERTIFICATE_HEIGHTS, LANE_BLOCKS, LaneLimits, MAX_AGE_DOUBLINGS, POOL_BLOCKS};
use crate::outcome::{MempoolStats, SealDue};
use crate::pool::{Pool, Room};
use crate::rejection::Rejection;
use squad_types::{
    AckMessage, BatchHeader, BatchId, BatchPair, ChainState, Committee, Epoch, IdentifiedTransaction, LaneId, Payload,
    Sequence, Signer, Timestamp, Tip, TxId, ValidatorIndex, Verified, VerifiedBatch,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Transactions before they are ordered. Pure: time is an argument, effects are return values.
#[derive(Debug)]
pub struct Mempool {
    pub(crate) config: MempoolConfig,
    pub(crate) admission: Admission,
    pub(crate) pool: Pool,
    pub(crate) lanes: Lanes,
    pub(crate) acks: BTreeMap<Epoch, Acks>,
    pub(crate) due: Due,
    pub(crate) drain: Drain,
    dropped: Vec<(TxId, Rejection)>,
    epoch: Epoch,
    /// Own batches up to here were reported as secured.
    pub(crate) reported: BTreeMap<Epoch, Sequence>,
    pub(crate) ack_news: AckNews,
    /// Something changed in a lane of this operator's: more of it may be secured.
    pub(crate) own_moved: bool,
    /// Lanes of which something is available, which are few while there is little to order.
    pub(crate) within_reach: BTreeSet<LaneId>,
    /// Lanes that hold something above their ordered tips.
    pub(crate) with_batches: BTreeSet<LaneId>,
}

/// Whether an ack has something new to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckNews {
    /// Nothing changed that an ack may say.
    None,
    /// Something changed: each lane has to be looked at.
    Unknown,
    /// Nothing changed since that was done, and an ack may leave at this time.
    At(Timestamp),
}

impl Mempool {
    /// An empty mempool with the lanes of one committee.
    pub fn new(config: MempoolConfig, committee: Arc<Committee>) -> Self {
        let drain = Drain::new(config.params.window_ms);
        let mut mempool = Self {
            admission: Admission::new(&config),
            pool: Pool::default(),
            config,
            lanes: Lanes::default(),
            acks: BTreeMap::new(),
            due: Due::default(),
            drain,
            dropped: Vec::new(),
            epoch: committee.epoch(),
            reported: BTreeMap::new(),
            ack_news: AckNews::None,
            own_moved: false,
            within_reach: BTreeSet::new(),
            with_batches: BTreeSet::new(),
        };
        mempool.open(committee);
        mempool
    }

    fn open(&mut self, committee: Arc<Committee>) {
        let epoch = committee.epoch();
        let limits = LaneLimits::new(&self.config.params, committee.len());
        let lanes = committee.members().iter().enumerate().map(|(at, member)| {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            let before = self.lanes.values().rev().find(|lane| lane.author == member.address);
            let promptness = before.map(|lane| lane.promptness).unwrap_or_default();
            Lane::new(id, member.address, committee.len(), limits, promptness)
        });
        let lanes = lanes.collect();
        self.lanes.open(epoch, lanes);
        self.acks.entry(epoch).or_insert_with(|| Acks::new(committee, self.config.me));
        self.epoch = epoch;
    }

    /// Opens the lanes of a new epoch, keeps those of the epoch before, drops older ones.
    ///
    /// Returns the transactions of this operator's dropped lane that were never ordered; they are first in the pool again, to be
    /// sealed anew if this operator is in the new committee.
    pub fn start_epoch(&mut self, committee: Arc<Committee>) -> Vec<IdentifiedTransaction> {
        let epoch = committee.epoch();
        if self.acks.contains_key(&epoch) {
            return Vec::new();
        }
        self.open(committee);
        let expired = |at: Epoch| at.next() < epoch;
        let mut left = Vec::new();
        for lane in self.lanes.values().filter(|lane| expired(lane.id.epoch) && Some(lane.author) == self.config.me) {
            left.extend(lane.held().flat_map(|batch| batch.payload().transactions().iter().cloned()));
        }
        self.lanes.retain(|at| !expired(at));
        self.within_reach.retain(|id| !expired(id.epoch));
        self.with_batches.retain(|id| !expired(id.epoch));
        self.acks.retain(|at, _| !expired(*at));
        self.reported.retain(|at, _| !expired(*at));
        self.due.drop_lanes(|lane| !expired(lane.epoch));
        // What another lane's batch brought into the order meanwhile is done.
        left.retain(|tx: &IdentifiedTransaction| self.pool.knows(&tx.id));
        self.pool.put_back(self.admission.chain_time, &left);
        self.ack_news = AckNews::Unknown;
        left
    }

    /// Admits a transaction. It is answered for from here on: it leaves in a batch of this operator's.
    pub fn submit(
        &mut self,
        now: Timestamp,
        source: Source,
        tx: IdentifiedTransaction,
        evm: Option<EvmFacts>,
    ) -> Result<(), Rejection> {
        let max = self.own_lane().map_or(usize::MAX, |lane| lane.limits.batch_bytes);
        let room = self.pool_room();
        self.admission.admit(&mut self.pool, now, (max, room), source, tx, evm)
    }

    /// Whether it is in the pool, or in a batch of this operator's that is not ordered yet.
    pub fn has_taken(&self, id: &TxId) -> bool {
        self.pool.knows(id)
    }

    /// Bytes that the pool may hold: while the lane is full, no more than half of what is ordered in a second or two.
    fn pool_room(&self) -> usize {
        let most = self.config.pool.max_bytes;
        let Some(lane) = self.own_lane().filter(|lane| !self.may_seal(lane)) else { return most };
        let at_least = POOL_BLOCKS * self.share_of_a_block(lane);
        most.min(at_least.max(self.drain.of_late() / 2))
    }

    /// Tells each lane how many batches of it are certain to be ordered: `heights_left` is the fewest heights, the next one
    /// included, that can still order lanes of an epoch, and every one of them moves each lane of which something is due.
    pub fn limit_lanes(&mut self, heights_left: impl Fn(Epoch) -> u64) {
        let until_due = u64::from(self.config.params.inclusion_heights) + CERTIFICATE_HEIGHTS;
        for lane in self.lanes.values_mut() {
            lane.turns = heights_left(lane.id.epoch).saturating_sub(until_due);
        }
        if self.ack_news != AckNews::None {
            self.ack_news = AckNews::Unknown;
        }
    }

    fn own_lane(&self) -> Option<&Lane> {
        self.lanes.get(self.own_lane_id()?)
    }

    fn own_lane_id(&self) -> Option<LaneId> {
        let author = self.acks.get(&self.epoch)?.me()?;
        Some(LaneId { epoch: self.epoch, author })
    }

    /// Whether the own lane may grow. Pressure travels back: a lane that is not ordered fills up, then the pool, then clients
    /// are told to wait. While over a third of stake acknowledges own batches that are not here, this node has forgotten them
    /// and must not sign others in their places.
    fn may_seal(&self, lane: &Lane) -> bool {
        let top = lane.top().map(|tip| tip.sequence);
        let forgotten = self
            .acks
            .get(&lane.id.epoch)
            .is_some_and(|acks| acks.committee.is_honest_threshold(acks.stake_beyond(lane.id.author, top)));
        lane.takes_more() && self.drains(lane) && !forgotten
    }

    /// Whether what this lane holds is about to be ordered: within a second or two at the rate of late, or within the next few
    /// blocks if that is more. What waited longer would expire in it.
    fn drains(&self, lane: &Lane) -> bool {
        let room = (LANE_BLOCKS * self.share_of_a_block(lane)).max(self.drain.of_late());
        lane.bytes() == 0 || lane.bytes() + lane.limits.batch_bytes <= room
    }

    /// Bytes that a lane gets in a block if all are full.
    fn share_of_a_block(&self, lane: &Lane) -> usize {
        (self.config.params.max_block_bytes as usize / lane.members.max(1)).max(lane.limits.batch_bytes)
    }

    /// Whether there is anything to seal, or to say of what was not.
    pub fn has_to_seal(&self) -> bool {
        self.pool.first_at().is_some() || !self.dropped.is_empty()
    }

    /// Whether a batch has to be sealed: it is full, old enough, or nothing of this operator's is on its way.
    pub fn seal_due(&self, now: Timestamp) -> SealDue {
        let Some(first_at) = self.pool.first_at() else { return SealDue::Never };
        let Some(lane) = self.own_lane() else { return SealDue::Never };
        if !self.may_seal(lane) {
            return SealDue::Never;
        }
        // From half on, the fuller the lane, the larger its batches: what is left has to last until some are ordered.
        let crowded = lane.quarters_taken().saturating_sub(1).min(MAX_AGE_DOUBLINGS);
        let age = first_at.plus(u64::from(self.config.params.batch_age_ms) << crowded);
        let top = lane.top();
        let idle = top == lane.ordered || (crowded == 0 && top == self.certified(lane.id));
        let full = self.pool.bytes() >= lane.limits.batch_bytes || self.pool.count() >= lane.limits.batch_transactions;
        if idle || full || now >= age { SealDue::Now } else { SealDue::At(age) }
    }

    /// Seals a batch and appends it to the own lane. The caller makes it durable before the signature leaves.
    ///
    /// None if there is nothing to seal, no lane to seal it in, or flow control holds it back.
    pub fn seal(&mut self, _now: Timestamp, signer: &dyn Signer) -> Option<VerifiedBatch> {
        let lane = self.own_lane().filter(|lane| lane.author == signer.address() && self.may_seal(lane))?;
        let (id, top, limits) = (lane.id, lane.top(), lane.limits);
        let (bytes, count) = (limits.batch_bytes, limits.batch_transactions);
        let taken = self.pool.take(&Room { bytes, count, chain_time: self.admission.chain_time });
        self.admission.release(taken.entries.iter().chain(taken.dropped.iter().map(|(entry, _)| entry)));
        self.dropped.extend(taken.dropped.into_iter().map(|(entry, why)| (entry.transaction.id, why)));
        if taken.entries.is_empty() {
            return None;
        }
        let payload = Payload::pack(taken.entries.into_iter().map(|entry| entry.transaction).collect());
        let header = BatchHeader {
            operator: signer.address(),
            epoch: id.epoch,
            sequence: top.map_or(Sequence::ZERO, |top| top.sequence.next()),
            parent: top.map_or(BatchId::ZERO, |top| top.batch),
            payload: payload.digest(),
            transactions_root: payload.root(),
            count: payload.transactions().len() as u32,
            bytes: payload.bytes().len() as u32,
        };
        let signed = Verified::sign(header, &self.config.domain, signer).into_signed();
        let batch = VerifiedBatch::assemble(signed, payload);
        let inserted = self.lanes.get_mut(id)?.insert(batch.clone());
        debug_assert!(
            matches!(inserted, Inserted::Stored(_)),
            "a batch that is signed is the lane's head from then on"
        );
        self.note_stored(id, std::slice::from_ref(&batch));
        Some(batch)
    }

    /// Transactions that were admitted and that no batch can carry any more, since the last call.
    pub fn take_dropped(&mut self) -> Vec<(TxId, Rejection)> {
        std::mem::take(&mut self.dropped)
    }

    /// Puts a batch back from the own store. One beside it at its place closes the lane again: the proof may not have been durable.
    pub fn restore_batch(&mut self, batch: VerifiedBatch) {
        let header = batch.header();
        let Some(id) = self.lane_of(&header.operator, header.epoch) else { return };
        let own = Some(header.operator) == self.config.me;
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if let (None, Some(first)) = (&lane.fork, lane.rival(&batch)) {
            lane.fork = Some(BatchPair { first, second: batch.signed_header().clone() });
        }
        let Inserted::Stored(stored) = lane.insert(batch) else { return };
        if own {
            let ids = |batch: &VerifiedBatch| batch.payload().transactions().iter().map(|tx| tx.id).collect::<Vec<_>>();
            self.pool.remember(stored.iter().flat_map(ids));
        }
        self.note_stored(id, &stored);
    }

    /// How far this operator's own lanes reach, by epoch.
    pub fn own_tops(&self) -> BTreeMap<Epoch, Sequence> {
        let own = self.lanes.values().filter(|lane| Some(lane.author) == self.config.me);
        own.filter_map(|lane| Some((lane.id.epoch, lane.top()?.sequence))).collect()
    }

    /// Puts an own ack back from the log. Restore the ordered tips and batches before it.
    pub fn restore_ack(&mut self, message: &AckMessage) {
        let epoch = message.ack.statement.epoch;
        let lanes = &self.lanes;
        let held = |(at, tip): (usize, &Option<Tip>)| {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            tip.is_none_or(|tip| lanes.get(id).is_some_and(|lane| lane.holds(tip)))
        };
        let Some(acks) = self.acks.get_mut(&epoch) else { return };
        // An ack leaves only once what it covers is durable: after a crash, one whose batches are gone was never seen by anybody,
        // and is not said again. It still binds, should it be the batches that were lost, and not only the last writes.
        let Some((tips, news)) = acks.restore(message, |tips| tips.iter().enumerate().all(held)) else { return };
        let me = acks.me();
        for (at, tip) in tips.iter().copied().enumerate() {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            if let (Some(lane), Some(tip)) = (self.lanes.get_mut(id), tip) {
                // What of the own lane is gone never left; if it did, peers show its headers before anything is signed.
                if lane.holds(tip) {
                    lane.restore_acked(tip);
                } else if Some(id.author) != me {
                    lane.promised = lane.promised.max(Some(tip));
                }
            }
            self.touch(id);
        }
        self.ack_news = AckNews::Unknown;
        if let Some((me, news)) = me.zip(news) {
            self.note_news(epoch, me, &news);
        }
    }

    /// Puts all lanes at their ordered tips.
    pub fn restore_ordered(&mut self, state: &ChainState) {
        self.admission.chain_time = state.chain_time;
        for lane in self.lanes.values_mut() {
            if let Some(tip) = state.tip(lane.id) {
                lane.set_ordered(tip);
            }
        }
        self.within_reach.clear();
        self.with_batches.clear();
        self.ack_news = AckNews::Unknown;
        let ids: Vec<LaneId> = self.lanes.ids().collect();
        ids.into_iter().for_each(|id| self.touch(id));
    }

    /// Forgets transactions that were ordered or expired, wherever they wait.
    pub(crate) fn forget<'a>(&mut self, ids: impl IntoIterator<Item = &'a TxId>) {
        let waiting = self.pool.forget(ids);
        self.admission.release(&waiting);
    }

    /// Whether anything held is not ordered yet.
    pub fn has_unordered(&self) -> bool {
        self.lanes.values().any(|lane| lane.held().next().is_some())
    }

    /// Numbers for status and metrics.
    pub fn stats(&self) -> MempoolStats {
        MempoolStats {
            pool_bytes: self.pool.bytes(),
            pool_transactions: self.pool.count(),
            lane_bytes: self.lanes.values().map(Lane::bytes).sum(),
            lanes_closed: self.lanes.values().filter(|lane| lane.fork.is_some()).count(),
        }
    }
}
