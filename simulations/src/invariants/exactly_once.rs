//! Exactly once: no transaction stands in two blocks, or twice in one.

use super::{Held, Observed, holds};
use crate::queue::Instant;
use squad_mempool::Rejection;
use squad_sequencer::Output;
use squad_types::{Height, TxId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct ExactlyOnce {
    ordered: BTreeMap<TxId, (Height, Instant)>,
    rejected: BTreeSet<TxId>,
    counted: BTreeSet<Height>,
}

impl ExactlyOnce {
    pub(super) fn observe(&mut self, observed: &Observed<'_>) -> Held {
        if let Output::Dropped { transaction, rejection: Rejection::Expired { until, chain_time } } = observed.output {
            holds!(
                until <= chain_time,
                "exactly_once",
                "{transaction} is dropped at {chain_time}, valid until {until}"
            );
            self.rejected.insert(*transaction);
        }
        let Output::Ordered(decision) = observed.output else { return Ok(()) };
        let height = decision.block.block.header().height;
        if !self.counted.insert(height) {
            return Ok(());
        }
        for id in decision.execution.ids() {
            let before = self.ordered.insert(id, (height, observed.at));
            holds!(before.is_none(), "exactly_once", "{id} is ordered at height {height} and at {before:?}");
        }
        self.rejected.extend(decision.execution.rejected_ids());
        Ok(())
    }

    pub(super) fn ordered_at(&self, id: &TxId) -> Option<Instant> {
        self.ordered.get(id).map(|(_, at)| *at)
    }

    pub(super) fn was_rejected(&self, id: &TxId) -> bool {
        self.rejected.contains(id)
    }

    pub(super) fn count(&self) -> usize {
        self.ordered.len()
    }
}
