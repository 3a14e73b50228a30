//! The mempool: pool, lanes and acks of the epochs in force.

use crate::acks::{Acks, Taken};
use crate::availability;
use crate::config::{EvmFacts, MempoolConfig, Source};
use crate::due::Due;
use crate::lane::{Inserted, Lane};
use crate::outcome::{AckDue, AckFault, AckOutcome, BatchFault, BatchOutcome, MempoolStats, OrderedOutcome, SealDue};
use crate::pool::Pool;
use crate::rejection::Rejection;
use squad_types::{
    Ack, AckEntries, AckMessage, Address, BatchCertificate, BatchHeader, BatchId, BatchPair, BatchRange, ChainState,
    Committee, Epoch, Evidence, IdentifiedTransaction, LaneId, Payload, Sequence, Signer, Stake, Timestamp, Tip, TxId,
    ValidatorIndex, Verified, VerifiedBatch,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Transactions before they are ordered. Pure: time is an argument, effects are return values.
#[derive(Debug)]
pub struct Mempool {
    pub(crate) config: MempoolConfig,
    pool: Pool,
    pub(crate) lanes: BTreeMap<LaneId, Lane>,
    pub(crate) acks: BTreeMap<Epoch, Acks>,
    pub(crate) due: Due,
    chain_time: Timestamp,
    epoch: Epoch,
    /// Own batches up to here were reported as secured.
    reported: BTreeMap<Epoch, Sequence>,
    /// Something changed that an ack may say.
    ack_dirty: bool,
    /// Certified and available tips, computed when something changed.
    reach: BTreeMap<LaneId, Reach>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    certified: Option<Tip>,
    available: Option<Tip>,
}

impl Mempool {
    /// An empty mempool with the lanes of one committee.
    pub fn new(config: MempoolConfig, committee: Arc<Committee>) -> Self {
        let mut mempool = Self {
            pool: Pool::new(&config),
            config,
            lanes: BTreeMap::new(),
            acks: BTreeMap::new(),
            due: Due::default(),
            chain_time: Timestamp::ZERO,
            epoch: committee.epoch(),
            reported: BTreeMap::new(),
            ack_dirty: false,
            reach: BTreeMap::new(),
        };
        mempool.open(committee);
        mempool
    }

    fn open(&mut self, committee: Arc<Committee>) {
        let epoch = committee.epoch();
        for (at, member) in committee.members().iter().enumerate() {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            self.lanes.entry(id).or_insert_with(|| Lane::new(id, member.address));
        }
        self.acks.entry(epoch).or_insert_with(|| Acks::new(committee, self.config.me));
        self.epoch = epoch;
    }

    /// Opens the lanes of a new epoch, keeps those of the epoch before, drops older ones.
    ///
    /// Returns the transactions of this operator's dropped lane that were never ordered; they are first in the pool again.
    pub fn start_epoch(&mut self, committee: Arc<Committee>) -> Vec<IdentifiedTransaction> {
        let epoch = committee.epoch();
        if epoch <= self.epoch && self.acks.contains_key(&epoch) {
            return Vec::new();
        }
        self.open(committee);
        let expired = |lane: &LaneId| lane.epoch.next() < epoch;
        let mut left = Vec::new();
        for lane in self.lanes.values().filter(|lane| expired(&lane.id) && Some(lane.author) == self.config.me) {
            left.extend(lane.held().flat_map(|batch| batch.payload().transactions().iter().cloned()));
        }
        self.lanes.retain(|id, _| !expired(id));
        self.reach.retain(|id, _| !expired(id));
        self.acks.retain(|at, _| at.next() >= epoch);
        self.reported.retain(|at, _| at.next() >= epoch);
        self.due.drop_lanes(|lane| !expired(&lane));
        self.pool.put_back(self.chain_time, &left);
        self.ack_dirty = true;
        left
    }

    // --- admission and building ---

    /// Admits a transaction. It is answered for from here on: it leaves in a batch of this operator's.
    pub fn submit(
        &mut self,
        now: Timestamp,
        source: Source,
        tx: IdentifiedTransaction,
        evm: Option<EvmFacts>,
    ) -> Result<(), Rejection> {
        self.pool.submit(now, self.chain_time, source, tx, evm)
    }

    fn own_lane_id(&self) -> Option<LaneId> {
        let author = self.acks.get(&self.epoch)?.me()?;
        Some(LaneId { epoch: self.epoch, author })
    }

    fn max_batch_bytes(&self) -> usize {
        let members = self.acks.get(&self.epoch).map_or(1, |acks| acks.committee.len());
        self.config.params.max_batch_bytes(members)
    }

    /// Whether a batch has to be sealed: it is full, old enough, or nothing of this operator's is on its way.
    pub fn seal_due(&self, now: Timestamp) -> SealDue {
        let (Some(first_at), Some(id)) = (self.pool.first_at(), self.own_lane_id()) else { return SealDue::Never };
        let Some(lane) = self.lanes.get(&id) else { return SealDue::Never };
        // Pressure travels back: a lane that is not ordered fills up, then the pool, then clients are told to wait.
        if lane.fork.is_some() || lane.bytes() + self.max_batch_bytes() > self.config.params.lane_bytes as usize {
            return SealDue::Never;
        }
        let age = first_at.plus(self.config.params.batch_age_ms.into());
        let top = lane.top();
        let idle = top == lane.ordered || top == self.certified(id);
        if idle || now >= age || self.pool.bytes() >= self.max_batch_bytes() { SealDue::Now } else { SealDue::At(age) }
    }

    /// Seals a batch and appends it to the own lane. The caller makes it durable before the signature leaves.
    pub fn seal(&mut self, now: Timestamp, signer: &dyn Signer) -> Option<VerifiedBatch> {
        let id = self.own_lane_id()?;
        let transactions = self.pool.take(now, self.max_batch_bytes());
        if transactions.is_empty() {
            return None;
        }
        let payload = Payload::pack(transactions);
        let lane = self.lanes.get_mut(&id)?;
        let top = lane.top();
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
        lane.insert(batch.clone());
        self.touch(id);
        Some(batch)
    }

    // --- lanes ---

    /// A lane's id by what a header names.
    pub fn lane_of(&self, operator: &Address, epoch: Epoch) -> Option<LaneId> {
        let author = self.acks.get(&epoch)?.committee.index_of(operator)?;
        Some(LaneId { epoch, author })
    }

    /// Takes in a batch. What comes back as stored has to be made durable.
    pub fn on_batch(&mut self, batch: VerifiedBatch) -> BatchOutcome {
        let header = batch.header();
        let Some(id) = self.lane_of(&header.operator, header.epoch) else {
            return BatchOutcome::Refused(BatchFault::UnknownLane);
        };
        let max = self.acks.get(&id.epoch).map_or(0, |acks| self.config.params.max_batch_bytes(acks.committee.len()));
        if header.bytes as usize > max || header.count == 0 {
            return BatchOutcome::Refused(BatchFault::Size);
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return BatchOutcome::Refused(BatchFault::UnknownLane) };
        let rival =
            if lane.fork.is_none() { lane.rival(&batch).map(|rival| rival.signed_header().clone()) } else { None };
        let signed = batch.signed_header().clone();
        let tip = batch.tip();
        let inserted = lane.insert(batch);
        let missing = lane.missing(tip);
        let stored = match inserted {
            Inserted::Stored(stored) => stored,
            Inserted::Known => return BatchOutcome::Known,
            Inserted::NoRoom => return BatchOutcome::Refused(BatchFault::NoRoom),
            Inserted::Orphan => Vec::new(),
        };
        if !stored.is_empty() {
            self.touch(id);
        }
        match (rival, missing) {
            (Some(first), _) => BatchOutcome::Fork { pair: Box::new(BatchPair { first, second: signed }), stored },
            (None, Some(range)) if stored.is_empty() => BatchOutcome::Missing(range),
            _ => BatchOutcome::Stored(stored),
        }
    }

    /// Closes a forked lane; whether that is news. The caller has checked the pair.
    pub fn on_fork(&mut self, pair: &BatchPair) -> bool {
        let header = &pair.first.statement;
        let Some(id) = self.lane_of(&header.operator, header.epoch) else { return false };
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.fork.is_none()) else { return false };
        lane.fork = Some(pair.clone());
        self.touch(id);
        true
    }

    /// Closes lanes whose forks were found before a restart.
    pub fn close_forked(&mut self, evidence: &[Evidence]) {
        for evidence in evidence {
            if let Evidence::Batches(pair) = evidence {
                self.on_fork(pair);
            }
        }
    }

    /// Puts a batch back from the own store.
    pub fn restore_batch(&mut self, batch: VerifiedBatch) {
        let header = batch.header();
        let Some(id) = self.lane_of(&header.operator, header.epoch) else { return };
        let own = Some(header.operator) == self.config.me;
        let ids: Vec<TxId> =
            if own { batch.payload().transactions().iter().map(|tx| tx.id).collect() } else { Vec::new() };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Inserted::Stored(_) = lane.insert(batch) {
            self.pool.remember(ids);
            self.touch(id);
        }
    }

    /// Puts an own ack back from the log.
    pub fn restore_ack(&mut self, message: &AckMessage) {
        let epoch = message.ack.statement.epoch;
        let Some(tips) = self.acks.get_mut(&epoch).and_then(|acks| acks.restore(message)) else { return };
        for (at, tip) in tips.into_iter().enumerate() {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.acked = lane.acked.max(tip);
            }
            self.touch(id);
        }
    }

    /// Puts all lanes at their ordered tips.
    pub fn restore_ordered(&mut self, state: &ChainState) {
        self.chain_time = state.chain_time;
        for (id, lane) in &mut self.lanes {
            if let Some(tip) = state.tip(*id) {
                lane.set_ordered(tip);
            }
        }
        self.reach.clear();
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.touch(id));
    }

    /// Whether a lane's batch is held, or ordered.
    pub fn holds(&self, lane: LaneId, tip: Tip) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.holds(tip))
    }

    /// What has to be fetched to hold a tip; none if it is held, or its lane is not in force.
    pub fn missing(&self, lane: LaneId, to: Tip) -> Option<BatchRange> {
        self.lanes.get(&lane)?.missing(to)
    }

    /// Exactly the batches after `above` up to `to`, ascending; none unless all are held.
    pub fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        self.lanes.get(&lane)?.chain(above, to)
    }

    // --- acks ---

    fn ack_vector(&self, epoch: Epoch) -> Option<Vec<Option<Tip>>> {
        let acks = self.acks.get(&epoch)?;
        acks.me()?;
        let limit = self.config.params.lane_bytes as usize;
        let tip = |at: usize| self.lanes.get(&LaneId { epoch, author: ValidatorIndex(at as u16) })?.ackable(limit);
        Some((0..acks.committee.len()).map(tip).collect())
    }

    /// Whether an ack has something new to say, and when it may leave.
    pub fn ack_due(&mut self, now: Timestamp) -> AckDue {
        if !self.ack_dirty {
            return AckDue::Never;
        }
        let epochs: Vec<Epoch> = self.acks.keys().copied().collect();
        let mut earliest: Option<Timestamp> = None;
        for epoch in epochs {
            let Some(vector) = self.ack_vector(epoch) else { continue };
            let Some(acks) = self.acks.get(&epoch) else { continue };
            let said = acks.own().is_some_and(|own| own.tips == vector);
            let nothing = acks.own().is_none() && vector.iter().all(Option::is_none);
            if said || nothing {
                continue;
            }
            let at = acks.sent_at.map_or(Timestamp::ZERO, |sent| sent.plus(self.config.params.ack_interval_ms.into()));
            if at <= now {
                return AckDue::Now(epoch);
            }
            earliest = Some(earliest.map_or(at, |known| known.min(at)));
        }
        if earliest.is_none() {
            self.ack_dirty = false;
        }
        earliest.map_or(AckDue::Never, AckDue::At)
    }

    /// Signs the newest vector of an epoch. The caller makes it, and what it covers, durable before it leaves.
    pub fn make_ack(&mut self, now: Timestamp, epoch: Epoch, signer: &dyn Signer) -> Option<AckMessage> {
        let vector = self.ack_vector(epoch)?;
        for (at, tip) in vector.iter().enumerate() {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            if let (Some(lane), Some(tip)) = (self.lanes.get_mut(&id), tip) {
                lane.acked = lane.acked.max(Some(*tip));
            }
        }
        let domain = self.config.domain;
        let message = self.acks.get_mut(&epoch)?.sign(vector, now, &domain, signer);
        self.touch_epoch(epoch);
        message
    }

    /// One's own newest ack of an epoch, with its whole vector.
    pub fn full_ack(&self, epoch: Epoch) -> Option<AckMessage> {
        self.acks.get(&epoch)?.full()
    }

    /// One's own newest acks of the epochs in force.
    pub fn full_acks(&self) -> Vec<AckMessage> {
        self.acks.values().filter_map(Acks::full).collect()
    }

    /// The tips that the own newest ack of an epoch names.
    pub fn own_ack_tips(&self, epoch: Epoch) -> Vec<Option<Tip>> {
        self.acks.get(&epoch).and_then(Acks::own).map(|own| own.tips.clone()).unwrap_or_default()
    }

    /// Takes in a peer's ack.
    pub fn on_ack(&mut self, ack: Verified<Ack>, entries: AckEntries) -> AckOutcome {
        let (signer, epoch) = (ack.signer, ack.statement.epoch);
        let Some(acks) = self.acks.get_mut(&epoch) else { return AckOutcome::Stale };
        let Some(validator) = acks.committee.index_of(&signer) else { return AckOutcome::Refused(AckFault::Stranger) };
        if acks.me() == Some(validator) {
            return AckOutcome::Stale;
        }
        let before = match acks.take(validator, ack, entries) {
            Taken::News(before) => before,
            Taken::Stale => return AckOutcome::Stale,
            Taken::NeedFull => return AckOutcome::NeedFull,
            Taken::Malformed => return AckOutcome::Refused(AckFault::Vector),
        };
        let Some(after) = acks.vector(validator).cloned() else { return AckOutcome::Stale };
        let mut unknown = Vec::new();
        let mut changed = Vec::new();
        for (at, tip) in after.tips.iter().enumerate() {
            let old = before.as_ref().and_then(|before| before.tips.get(at).copied().flatten());
            if old == *tip {
                continue;
            }
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            changed.push(id);
            if let Some(tip) = tip
                && !self.holds(id, *tip)
            {
                unknown.push((id, *tip));
            }
        }
        let evidence =
            before.and_then(|before| crate::contradiction::between(self, validator, &before, &after).map(Box::new));
        changed.into_iter().for_each(|id| self.touch(id));
        AckOutcome::Advanced { unknown, evidence }
    }

    /// Whether prevoting a cut with this tip would contradict an own ack: the two lie on different chains, and no certificate
    /// shows that the network holds this one.
    pub fn contradicts_own_ack(&self, lane: LaneId, tip: Tip) -> bool {
        let Some(state) = self.lanes.get(&lane) else { return false };
        let Some(acked) = state.acked else { return false };
        let one_chain = acked == tip || state.covers(acked, tip) || state.covers(tip, acked);
        !one_chain && !self.knows_certificate(lane, tip)
    }

    // --- availability ---

    fn touch(&mut self, id: LaneId) {
        self.ack_dirty = true;
        let (Some(lane), Some(acks)) = (self.lanes.get(&id), self.acks.get(&id.epoch)) else { return };
        let above = |tip: &Tip| lane.ordered.is_none_or(|ordered| tip.sequence > ordered.sequence);
        let certified = availability::reached(lane, acks, |stake| acks.committee.is_quorum(stake)).filter(above);
        let available =
            availability::reached(lane, acks, |stake| acks.committee.is_honest_threshold(stake)).filter(above);
        self.reach.insert(id, Reach { certified, available });
    }

    fn touch_epoch(&mut self, epoch: Epoch) {
        let ids: Vec<LaneId> = self.lanes.keys().filter(|id| id.epoch == epoch).copied().collect();
        ids.into_iter().for_each(|id| self.touch(id));
    }

    /// The highest batch of a lane, above the ordered tip and held, that a quorum acknowledges.
    pub fn certified(&self, lane: LaneId) -> Option<Tip> {
        let learned = self
            .due
            .learned
            .get(&lane)
            .and_then(BatchCertificate::tip)
            .filter(|tip| self.lanes.get(&lane).is_some_and(|lane| lane.find(*tip).is_some()));
        self.reach.get(&lane).and_then(|reach| reach.certified).max(learned)
    }

    /// The highest batch of a lane, above the ordered tip and held, that somebody honest holds: over a third acknowledges it.
    pub fn available(&self, lane: LaneId) -> Option<Tip> {
        self.reach.get(&lane).and_then(|reach| reach.available).max(self.certified(lane))
    }

    /// Whether over a third of stake beside `without` acknowledges a tip.
    pub fn is_available_without(&self, lane: LaneId, tip: Tip, without: &Address) -> bool {
        let (Some(state), Some(acks)) = (self.lanes.get(&lane), self.acks.get(&lane.epoch)) else { return false };
        let stake: Stake = availability::stake_above(state, acks, tip, acks.committee.index_of(without));
        acks.committee.is_honest_threshold(stake)
    }

    /// Whether a certificate is known that covers a tip.
    pub fn knows_certificate(&self, lane: LaneId, tip: Tip) -> bool {
        let Some(state) = self.lanes.get(&lane) else { return false };
        self.certified(lane).is_some_and(|certified| state.covers(certified, tip))
            || self.due.learned.get(&lane).and_then(BatchCertificate::tip) == Some(tip)
    }

    /// The certificate of a held batch, from the acks known; none while no quorum covers it.
    pub fn certificate(&self, lane: LaneId, tip: Tip) -> Option<BatchCertificate> {
        let (state, acks) = (self.lanes.get(&lane)?, self.acks.get(&lane.epoch)?);
        if let Some(learned) = self.due.learned.get(&lane).filter(|learned| learned.tip() == Some(tip)) {
            return Some(learned.clone());
        }
        availability::certificate(state, acks, tip)
    }

    /// Takes in a certificate that was checked. Returns forks that it shows.
    pub fn on_certificate(&mut self, certificate: BatchCertificate) -> Vec<BatchPair> {
        let Some(tip) = certificate.tip() else { return Vec::new() };
        let lane = certificate.lane;
        let Some(state) = self.lanes.get(&lane) else { return Vec::new() };
        if state.ordered.is_some_and(|ordered| ordered.sequence >= tip.sequence) {
            return Vec::new();
        }
        let rivals = certificate.headers.iter().filter_map(|signed| {
            let at = signed.statement.sequence;
            let rival =
                state.held().find(|batch| batch.header().sequence == at && batch.id() != signed.statement.id())?;
            Some(BatchPair { first: rival.signed_header().clone(), second: signed.clone() })
        });
        let forks: Vec<BatchPair> = if state.fork.is_none() { rivals.take(1).collect() } else { Vec::new() };
        if self.due.learned.get(&lane).and_then(BatchCertificate::tip).is_none_or(|known| known < tip) {
            self.due.learned.insert(lane, certificate);
        }
        self.touch(lane);
        forks
    }

    /// Own batches that became certified since the last call, with their certificates.
    pub fn newly_secured(&mut self) -> Vec<(VerifiedBatch, BatchCertificate)> {
        let mut secured = Vec::new();
        let own: Vec<LaneId> =
            self.acks.values().filter_map(|a| Some(LaneId { epoch: a.committee.epoch(), author: a.me()? })).collect();
        for id in own {
            let Some(certified) = self.certified(id) else { continue };
            let from = self.reported.get(&id.epoch).copied();
            if from.is_some_and(|from| certified.sequence <= from) {
                continue;
            }
            let Some(lane) = self.lanes.get(&id) else { continue };
            let news = lane.held().filter(|batch| {
                let at = batch.header().sequence;
                from.is_none_or(|from| at > from) && at <= certified.sequence && lane.covers(certified, batch.tip())
            });
            for batch in news {
                if let Some(certificate) = self.certificate(id, batch.tip()) {
                    secured.push((batch.clone(), certificate));
                }
            }
            self.reported.insert(id.epoch, certified.sequence);
        }
        secured
    }

    /// Whether anything held is not ordered yet.
    pub fn has_unordered(&self) -> bool {
        self.lanes.values().any(|lane| lane.held().next().is_some())
    }

    /// A block was ordered: prunes what it covers and moves the inclusion rule on.
    pub fn on_ordered(
        &mut self,
        state: &ChainState,
        voted: bool,
        committed: &[TxId],
        expired: &[TxId],
    ) -> OrderedOutcome {
        self.chain_time = state.chain_time;
        let mut outcome = OrderedOutcome::default();
        self.pool.forget(committed.iter().chain(expired));
        let ids: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in ids {
            if let (Some(tip), Some(lane)) = (state.tip(id), self.lanes.get_mut(&id))
                && lane.ordered != Some(tip)
            {
                outcome.pruned.extend(lane.set_ordered(tip));
                self.touch(id);
            }
            let ordered = self.lanes.get(&id).and_then(|lane| lane.ordered);
            let certified = self.certified(id);
            if self.due.pass(id, certified, ordered, voted)
                && let Some(certificate) = certified.and_then(|tip| self.certificate(id, tip))
            {
                outcome.left_out.push(certificate);
            }
        }
        outcome
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
