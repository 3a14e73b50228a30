//! What a decided block changes.

use crate::mempool::{AckNews, Mempool};
use crate::outcome::OrderedOutcome;
use squad_types::{ChainState, LaneId, TxId};

impl Mempool {
    /// A block was ordered: prunes what it covers and moves the inclusion rule on.
    pub fn on_ordered(
        &mut self,
        state: &ChainState,
        voted: bool,
        committed: &[TxId],
        expired: &[TxId],
    ) -> OrderedOutcome {
        self.admission.chain_time = state.chain_time;
        let mut outcome = OrderedOutcome::default();
        self.forget(committed.iter().chain(expired));
        let heights = self.config.params.inclusion_heights;
        let ids: Vec<LaneId> = self.lanes.ids().collect();
        for id in ids {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.one_height_on();
            }
            if let (Some(tip), Some(lane)) = (state.tip(id), self.lanes.get_mut(id))
                && lane.ordered != Some(tip)
            {
                let before = lane.bytes();
                outcome.pruned.extend(lane.set_ordered(tip));
                if Some(lane.author) == self.config.me {
                    self.drain.note(state.chain_time, before.saturating_sub(lane.bytes()));
                }
                self.ack_news = AckNews::Unknown;
                self.touch(id);
            }
            let ordered = self.lanes.get(id).and_then(|lane| lane.ordered);
            let certified = self.certified(id);
            if self.due.pass(id, certified, ordered, voted, heights)
                && let Some(certificate) = certified.and_then(|tip| self.certificate(id, tip))
            {
                outcome.left_out.push(certificate);
            }
        }
        outcome
    }
}
