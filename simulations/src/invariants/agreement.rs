//! Agreement: no two nodes decide two blocks at one height, and every node's heights follow one another.

use super::Observed;
use crate::network::NodeIndex;
use squad_sequencer::Output;
use squad_types::{HeaderHash, Height, Round};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Agreement {
    decided: BTreeMap<Height, (HeaderHash, Round)>,
    seen: BTreeMap<NodeIndex, usize>,
}

impl Agreement {
    pub(super) fn observe(&mut self, observed: &Observed<'_>) {
        let Output::Ordered(decision) = observed.output else { return };
        *self.seen.entry(observed.node).or_default() += 1;
        let block = &decision.block.block;
        let height = block.header().height;
        let (known, _) = *self.decided.entry(height).or_insert((block.hash(), decision.block.certificate.round));
        assert_eq!(known, block.hash(), "agreement: node {} decides another block at height {height}", observed.node);
        if let Some((parent, _)) = height.previous().and_then(|before| self.decided.get(&before)) {
            assert_eq!(block.header().parent_hash, *parent, "total order: height {height} does not follow its parent");
        }
    }

    pub(super) fn seen_by(&self, node: NodeIndex) -> usize {
        self.seen.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn rounds(&self) -> impl Iterator<Item = Round> + '_ {
        self.decided.values().map(|(_, round)| *round)
    }
}
