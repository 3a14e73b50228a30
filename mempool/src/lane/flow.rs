//! How far a lane may go: flow control for its author, and what this node may acknowledge without ever contradicting itself.

use super::Lane;
use crate::limits::MAX_LANE_BATCHES;
use squad_types::{BatchId, Sequence, Tip};

impl Lane {
    /// The highest tip that may be acknowledged: on the chain of what was, and as far as flow control allows.
    ///
    /// What is acknowledged stays so, whatever the limits say now; in a closed lane, nothing is.
    pub(crate) fn ackable(&self) -> Option<Tip> {
        if self.fork.is_some() {
            return None;
        }
        let above = self.acked.filter(|acked| self.ordered.is_none_or(|ordered| acked.sequence > ordered.sequence));
        // An ack whose batch is not here, or not known to be under the ordered tip, is all that can be said.
        if self.unsettled || above.is_some_and(|acked| self.find(acked).is_none()) {
            return self.acked;
        }
        if self.promised.is_some_and(|promised| self.find(promised).is_none()) {
            return above.or(self.ordered);
        }
        let mut tip = above.or(self.ordered);
        let from = tip.map_or(Sequence::ZERO, |tip| tip.sequence.next());
        for (sequence, slot) in self.held.range(from..) {
            let [held] = slot.as_slice() else { break };
            let follows = held.batch.header().parent == tip.map_or(BatchId::ZERO, |tip| tip.batch);
            let span = sequence.0 - self.next_sequence().0;
            // The batch that comes next in the order always has the bytes, or the lane could stand still.
            let fits = span == 0 || held.total - self.ordered_total <= self.limits.acked_bytes;
            if !follows || !fits || span >= self.most_batches() {
                break;
            }
            tip = Some(held.batch.tip());
        }
        tip
    }

    /// Whether the author may add a batch: flow control, and nothing of its own that it has forgotten.
    pub(crate) fn takes_more(&self) -> bool {
        let top = self.top();
        let batches = self.held.len() as u64;
        let room = self.bytes == 0 || self.bytes + self.limits.batch_bytes as u64 <= self.limits.acked_bytes;
        let all_here = self.orphans.is_empty() && self.acked.map(|tip| tip.sequence) <= top.map(|tip| tip.sequence);
        self.fork.is_none() && room && batches < self.most_batches() && all_here
    }

    /// Batches above the ordered tip that are sealed or acknowledged.
    fn most_batches(&self) -> u64 {
        self.turns.min(MAX_LANE_BATCHES)
    }

    /// How much of that is taken, in quarters.
    pub(crate) fn quarters_taken(&self) -> u32 {
        (4 * self.held.len() as u64 / self.most_batches().max(1)).min(4) as u32
    }

    /// An own ack read back from the log.
    pub(crate) fn restore_acked(&mut self, tip: Tip) {
        let below = self.ordered.filter(|ordered| tip.sequence <= ordered.sequence);
        match below {
            Some(ordered) if self.ancestor(ordered, tip.sequence) == Some(tip.batch) => {}
            Some(_) => {
                self.acked = Some(tip);
                self.unsettled = true;
            }
            None => self.acked = self.acked.max(Some(tip)),
        }
    }

    /// Sees to it that acks go on only where the order and the own ack are on one chain.
    pub(super) fn settle(&mut self, tip: Tip) {
        if let Some(promised) = self.promised.filter(|promised| promised.sequence <= tip.sequence) {
            self.promised = None;
            if self.ancestor(tip, promised.sequence) != Some(promised.batch) {
                (self.acked, self.unsettled) = (Some(promised), true);
                return;
            }
        }
        let Some(acked) = self.acked else {
            self.acked = Some(tip);
            return;
        };
        let before = self.ordered.filter(|ordered| acked.sequence <= ordered.sequence);
        let one_chain = match before {
            _ if acked.sequence >= tip.sequence => self.ancestor(acked, tip.sequence) == Some(tip.batch),
            // The own ack was settled under the tip before this one.
            Some(ordered) => !self.unsettled && self.ancestor(tip, ordered.sequence) == Some(ordered.batch),
            None => self.ancestor(tip, acked.sequence) == Some(acked.batch),
        };
        self.unsettled = !one_chain;
        if one_chain && acked.sequence <= tip.sequence {
            self.acked = Some(tip);
        }
    }
}
