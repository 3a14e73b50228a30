//! Cuts: which lanes a proposer moves, and whether a proposal moves those that are due.

use crate::limits::LaneLimits;
use crate::mempool::Mempool;
use squad_types::{ChainState, CutEntry, LaneId, Tip, VerifiedBatch};
use std::collections::BTreeMap;

struct Candidate {
    id: LaneId,
    batches: std::vec::IntoIter<VerifiedBatch>,
    tip: Option<Tip>,
}

/// How far a proposer cuts lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tips {
    /// As far as an honest threshold acknowledges them.
    Available,
    /// As far as this node holds them, where others have had a lane's batches in time so far. A validator that misses one has
    /// to wait or ask for it, so this is for heights at which all goes well.
    Held,
}

impl Mempool {
    /// The highest batch of a lane that may be cut fresh; certified if the lane is closed.
    fn cuttable(&self, id: LaneId, tips: Tips) -> Option<Tip> {
        let lane = self.lanes.get(id)?;
        if lane.fork.is_some() {
            return self.certified(id);
        }
        let held = if tips == Tips::Held { lane.prompt_tip() } else { None };
        self.available(id).max(held)
    }

    /// A vote waits for a batch of a lane that should be here.
    pub fn was_late(&mut self, lane: LaneId) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.was_late();
        }
    }

    /// Whether there is anything to order.
    pub fn has_cut(&self, state: &ChainState, tips: Tips) -> bool {
        // Only in these can anything be cuttable.
        let lanes = match tips {
            Tips::Available => &self.within_reach,
            Tips::Held => &self.with_batches,
        };
        let mut lanes = lanes.iter().chain(self.due.learned.keys());
        lanes.any(|id| {
            self.cuttable(*id, tips).is_some_and(|tip| state.tip(*id).is_none_or(|at| tip.sequence > at.sequence))
        })
    }

    /// A cut: one batch of each due lane first, then lane by lane in turns, as much as a block takes.
    pub fn propose_cut(&self, state: &ChainState, tips: Tips) -> Vec<CutEntry> {
        let due: Vec<LaneId> = self.due.due(self.config.params.inclusion_heights).map(|(lane, _)| lane).collect();
        let mut candidates: Vec<Candidate> = Vec::new();
        for id in self.lanes.ids() {
            if state.tips_of(id.epoch).is_none() {
                continue;
            }
            let Some(tip) = self.cuttable(id, tips) else { continue };
            let Some(batches) = self.chain(id, state.tip(id), tip) else { continue };
            candidates.push(Candidate { id, batches: batches.into_iter(), tip: None });
        }
        candidates.sort_by_key(|candidate| !due.contains(&candidate.id));
        let (mut bytes, mut count) = (0_usize, 0_usize);
        let (max_bytes, max_count) =
            (self.config.params.max_block_bytes as usize, self.config.params.max_block_transactions as usize);
        let mut open = true;
        while open {
            open = false;
            for candidate in &mut candidates {
                let Some(next) = candidate.batches.as_slice().first() else { continue };
                let (more, txs) = (next.payload().bytes().len(), next.payload().transactions().len());
                if bytes + more > max_bytes || count + txs > max_count {
                    // A lane's batches go in order: what does not fit closes it for this block.
                    candidate.batches = Vec::new().into_iter();
                    continue;
                }
                bytes += more;
                count += txs;
                candidate.tip = candidate.batches.next().map(|batch| batch.tip());
                open = true;
            }
        }
        let moved: BTreeMap<LaneId, Tip> = candidates.into_iter().filter_map(|c| Some((c.id, c.tip?))).collect();
        moved.into_iter().map(|(lane, tip)| CutEntry { lane, tip }).collect()
    }

    /// The inclusion rule: every lane with a due batch moves, and nothing due is left out unless the block is full.
    ///
    /// A soft rule: what is due is this node's own knowledge. Returns a lane that breaks it.
    pub fn check_due(&self, state: &ChainState, cut: &[CutEntry]) -> Result<(), LaneId> {
        let due = self.due.due(self.config.params.inclusion_heights);
        // What nobody could be shown is not asked of anybody.
        let due: Vec<(LaneId, Tip)> = due.filter(|(lane, tip)| self.knows_certificate(*lane, *tip)).collect();
        if due.is_empty() {
            return Ok(());
        }
        let full = self.is_full(state, cut);
        for (lane, tip) in due {
            if state.tips_of(lane.epoch).is_none() {
                continue;
            }
            let moved = cut.iter().find(|entry| entry.lane == lane).map(|entry| entry.tip);
            let enough = moved.is_some_and(|moved| full || moved.sequence >= tip.sequence);
            if !enough {
                return Err(lane);
            }
        }
        Ok(())
    }

    /// Whether a cut takes so much that one more batch of the largest size might not fit.
    fn is_full(&self, state: &ChainState, cut: &[CutEntry]) -> bool {
        // The largest batch of any lane in force.
        let limits =
            |pick: fn(&LaneLimits) -> usize| self.lanes.values().map(|lane| pick(&lane.limits)).max().unwrap_or(0);
        let (batch_bytes, batch_count) = (limits(|l| l.batch_bytes), limits(|l| l.batch_transactions));
        let (mut bytes, mut count) = (0_usize, 0_usize);
        for entry in cut {
            for batch in self.chain(entry.lane, state.tip(entry.lane), entry.tip).unwrap_or_default() {
                bytes += batch.payload().bytes().len();
                count += batch.payload().transactions().len();
            }
        }
        let params = &self.config.params;
        bytes + batch_bytes >= params.max_block_bytes as usize
            || count + batch_count >= params.max_block_transactions as usize
    }
}
