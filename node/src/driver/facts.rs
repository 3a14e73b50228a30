//! A node's condition, as its own thread sees it.

use crate::api::LaneStatus;
use squad_sequencer::Status;
use squad_sequencer::ledger::Span;
use squad_types::{Committee, Evidence, HeaderHash, LaneId, Sequence, Timestamp, VerifiedBatch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A node's condition at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) status: Status,
    pub(crate) tip_hash: HeaderHash,
    pub(crate) tip_time: Timestamp,
    pub(crate) committee: Option<Arc<Committee>>,
    pub(crate) lanes: Vec<LaneStatus>,
    /// Bytes of this operator's batches that are not ordered.
    pub(crate) own_lane_bytes: u64,
    pub(crate) evidence: Vec<Evidence>,
    /// How far this machine's clock is ahead of the others', if they show it.
    pub(crate) clock_skew_ms: Option<i64>,
    /// What the operator should see to.
    pub(crate) warnings: Vec<String>,
}

/// Batches above the ordered tips, lane by lane, as they were written down here.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    batches: BTreeMap<LaneId, VecDeque<(Sequence, u64)>>,
    closed: BTreeSet<LaneId>,
}

impl Lanes {
    pub(crate) fn add(&mut self, lane: LaneId, batch: &VerifiedBatch) {
        let header = batch.header();
        self.batches.entry(lane).or_default().push_back((header.sequence, header.bytes.into()));
    }

    pub(crate) fn close(&mut self, lane: LaneId) {
        self.closed.insert(lane);
    }

    pub(crate) fn ordered(&mut self, spans: &[Span]) {
        for span in spans {
            if let Some(lane) = self.batches.get_mut(&span.lane) {
                lane.retain(|(sequence, _)| *sequence > span.to.sequence);
            }
        }
    }

    /// Forgets the lanes of epochs that are over.
    pub(crate) fn expire(&mut self, current: squad_types::Epoch) {
        self.batches.retain(|lane, _| lane.epoch.next() >= current);
        self.closed.retain(|lane| lane.epoch.next() >= current);
    }

    /// Batches and bytes of a lane that are not ordered.
    pub(crate) fn unordered(&self, lane: LaneId) -> (u64, u64) {
        let lane = self.batches.get(&lane);
        lane.map_or((0, 0), |lane| (lane.len() as u64, lane.iter().map(|(_, bytes)| bytes).sum()))
    }

    /// The lanes of a committee.
    pub(crate) fn status(&self, committee: &Committee) -> Vec<LaneStatus> {
        let lane = |(at, member): (usize, &squad_types::Member)| {
            let id = LaneId { epoch: committee.epoch(), author: squad_types::ValidatorIndex(at as u16) };
            let (unordered_batches, unordered_bytes) = self.unordered(id);
            let closed = self.closed.contains(&id);
            LaneStatus { operator: member.address, stake: member.stake, unordered_batches, unordered_bytes, closed }
        };
        committee.members().iter().enumerate().map(lane).collect()
    }
}
