//! Batches of all lanes: taking them in, finding them, and closing lanes that fork.

use crate::lane::Inserted;
use crate::mempool::{AckNews, Mempool};
use crate::outcome::{BatchFault, BatchOutcome};
use squad_types::{Address, BatchPair, BatchRange, Epoch, Evidence, LaneId, Tip, ValidatorIndex, VerifiedBatch};

impl Mempool {
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
        let Some(lane) = self.lanes.get_mut(id) else { return BatchOutcome::Refused(BatchFault::UnknownLane) };
        let (bytes, count) = (header.bytes as usize, header.count as usize);
        if bytes > lane.limits.batch_bytes || count > lane.limits.batch_transactions || count == 0 {
            return BatchOutcome::Refused(BatchFault::Size);
        }
        let rival = if lane.fork.is_none() { lane.rival(&batch) } else { None };
        let (tip, signed) = (batch.tip(), batch.signed_header().clone());
        let inserted = lane.insert(batch);
        let missing = lane.missing(tip);
        let stored = match &inserted {
            Inserted::Stored(stored) => stored.clone(),
            _ => Vec::new(),
        };
        self.note_stored(id, &stored);
        if let Some(first) = rival {
            return BatchOutcome::Fork { pair: Box::new(BatchPair { first, second: signed }), stored };
        }
        match (inserted, missing) {
            (Inserted::Known, _) => BatchOutcome::Known,
            (Inserted::NoRoom, _) => BatchOutcome::Refused(BatchFault::NoRoom),
            (Inserted::Orphan, Some(range)) => BatchOutcome::Missing(range),
            _ => BatchOutcome::Stored(stored),
        }
    }

    /// Acks that named these batches before they came count from now on.
    pub(crate) fn note_stored(&mut self, id: LaneId, stored: &[VerifiedBatch]) {
        let (Some(lane), Some(acks)) = (self.lanes.get_mut(id), self.acks.get(&id.epoch)) else { return };
        for batch in stored {
            for validator in acks.naming(id.author, batch.tip()) {
                let stake = acks.committee.stake(ValidatorIndex(validator as u16));
                lane.note(validator, stake, batch.tip());
            }
        }
        if !stored.is_empty() {
            self.ack_news = AckNews::Unknown;
            self.touch(id);
        }
    }

    /// Closes a forked lane; whether that is news. The caller has checked the pair.
    pub fn on_fork(&mut self, pair: &BatchPair) -> bool {
        let header = &pair.first.statement;
        let Some(id) = self.lane_of(&header.operator, header.epoch) else { return false };
        let Some(lane) = self.lanes.get_mut(id).filter(|lane| lane.fork.is_none()) else { return false };
        lane.fork = Some(pair.clone());
        self.ack_news = AckNews::Unknown;
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

    /// Whether a lane's batch is held, or ordered.
    pub fn holds(&self, lane: LaneId, tip: Tip) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.holds(tip))
    }

    /// What has to be fetched to hold a tip; none if it is held, or its lane is not in force.
    pub fn missing(&self, lane: LaneId, to: Tip) -> Option<BatchRange> {
        self.lanes.get(lane)?.missing(to)
    }

    /// Exactly the batches after `above` up to `to`, ascending; none unless all are held.
    pub fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        self.lanes.get(lane)?.chain(above, to)
    }
}
