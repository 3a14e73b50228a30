//! What the clients of a run see: when their own operator answers at each tier.

use super::TIERS;
use crate::network::NodeIndex;
use crate::queue::Instant;
use squad_sequencer::Output;
use squad_types::TxId;
use std::collections::BTreeMap;

/// When each node was first able to answer for each transaction, by tier.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<(NodeIndex, TxId), [Option<Instant>; TIERS.len()]>);

impl Clients {
    pub(crate) fn output(&mut self, at: Instant, node: NodeIndex, output: &Output) {
        match output {
            Output::Batched { batch, .. } => {
                batch.payload().transactions().iter().for_each(|tx| self.reached(at, node, tx.id, 0));
            }
            Output::Secured { batch, .. } => {
                batch.payload().transactions().iter().for_each(|tx| self.reached(at, node, tx.id, 1));
            }
            Output::Ordered(decision) => decision.execution.ids().for_each(|id| self.reached(at, node, id, 2)),
            _ => {}
        }
    }

    fn reached(&mut self, at: Instant, node: NodeIndex, id: TxId, tier: usize) {
        self.0.entry((node, id)).or_default()[tier].get_or_insert(at);
    }

    /// When a node had a transaction at each tier.
    pub fn times(&self, node: NodeIndex, id: &TxId) -> [Option<Instant>; TIERS.len()] {
        self.0.get(&(node, *id)).copied().unwrap_or_default()
    }
}
