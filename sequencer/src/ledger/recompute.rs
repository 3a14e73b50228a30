//! What a stored block ordered, computed again from its batches without the window of its time.

use super::execution::{self, Batches, NamespaceExecution, Rules, Skips, Span};
use super::interleave::interleave;
use super::judge::reaches;
use super::window::{Window, WindowBase, WindowBlock};
use super::{Ledger, WindowSource};
use squad_types::limits::MAX_CHAIN_TIME_STEP_MS;
use squad_types::{BatchRange, Height, NamespaceSpec, OrderedBlock, Timestamp, VerifiedBatch, namespace};

/// Why a stored block cannot be read again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecomputeError {
    /// Batches are not in the store.
    #[error("{} ranges of batches of height {height} are not in the store", .ranges.len())]
    Missing {
        /// The block.
        height: Height,
        /// What is missing.
        ranges: Vec<BatchRange>,
    },
    /// The block's batches and skipped positions do not give its header's root.
    #[error("the stored batches of height {0} do not give its header's namespaces root")]
    Root(Height),
    /// A block of the window is not in the store, or is another one.
    #[error("the block of height {0} is not in the store, or is not the one that the chain goes through")]
    Block(Height),
}

/// Recomputes a block's namespaces from its batches and `skipped`. `spans` say where each of its lanes stood before.
pub fn recompute(
    ordered: &OrderedBlock,
    spans: &[Span],
    namespaces: &[NamespaceSpec],
    batches: &dyn Batches,
) -> Result<Vec<NamespaceExecution>, RecomputeError> {
    let header = ordered.block.header();
    let (mut lanes, mut ranges): (Vec<Vec<VerifiedBatch>>, _) = (Vec::new(), Vec::new());
    for span in spans {
        match batches.chain(span.lane, span.above, span.to).filter(|chain| reaches(chain, span)) {
            Some(chain) => lanes.push(chain),
            None => ranges.push(span.range()),
        }
    }
    if !ranges.is_empty() {
        return Err(RecomputeError::Missing { height: header.height, ranges });
    }
    // Validity by chain time was judged when it was ordered: here the list decides, and the root shows that it is true.
    let rules = Rules { namespaces, chain_time: Timestamp::ZERO, window: 0, parent: header.parent_hash };
    let order = execution::order(interleave(header.height.0, lanes), Skips::Listed(&ordered.skipped), rules).namespaces;
    let leaves: Vec<_> = order.iter().map(|part| part.leaf).collect();
    if namespace::namespaces_root(&leaves) != header.namespaces_root {
        return Err(RecomputeError::Root(header.height));
    }
    Ok(order)
}

/// The spans of a block whose lanes stood at `base` before.
pub fn spans_of(ordered: &OrderedBlock, base: &WindowBase) -> Vec<Span> {
    ordered.block.cut().iter().map(|entry| Span::new(entry, base.tips.get(&entry.lane).copied())).collect()
}

impl Ledger {
    /// Rebuilds the window from one's own stored blocks, from the height of `base` up to the tip.
    ///
    /// Every block is checked to lie on the chain of the tip, and what it ordered against its `namespaces_root`.
    pub fn rebuild_window(
        &mut self,
        base: &WindowBase,
        source: &dyn WindowSource,
        batches: &dyn Batches,
    ) -> Result<(), RecomputeError> {
        let blocks = self.blocks_down_to(base.from, source)?;
        let mut window = Window::new(self.params.window_ms.into(), base.clone());
        let mut tips = base.clone();
        for (ordered, chain_time) in blocks.into_iter().rev() {
            let header = ordered.block.header();
            let spans = spans_of(&ordered, &tips);
            let parts = recompute(&ordered, &spans, &self.namespaces, batches)?;
            let ids = parts.iter().flat_map(|part| part.transactions.iter().map(|tx| tx.id));
            let cut = ordered.block.cut().to_vec();
            window.push(WindowBlock {
                height: header.height,
                epoch: header.epoch,
                chain_time,
                cut,
                ids: ids.collect(),
            });
            tips.pass(header.height, header.epoch, chain_time, ordered.block.cut());
        }
        self.window = window;
        Ok(())
    }

    /// The tip and the blocks below it with their chain times, newest first, each the parent of the one before.
    fn blocks_down_to(
        &self,
        from: Height,
        source: &dyn WindowSource,
    ) -> Result<Vec<(OrderedBlock, Timestamp)>, RecomputeError> {
        let mut blocks: Vec<(OrderedBlock, Timestamp)> = Vec::new();
        let (mut hash, mut chain_time) = (self.tip_hash, self.state.chain_time);
        let mut above: Option<Timestamp> = None;
        for height in (from.0.max(1)..=self.height().0).rev().map(Height) {
            let ordered = source.block(height).filter(|ordered| ordered.block.hash() == hash);
            let ordered = ordered.ok_or(RecomputeError::Block(height))?;
            let timestamp = ordered.block.header().timestamp;
            if let Some(above) = above {
                chain_time = chain_time.minus(above.since(timestamp).min(MAX_CHAIN_TIME_STEP_MS));
            }
            hash = ordered.block.header().parent_hash;
            above = Some(timestamp);
            blocks.push((ordered, chain_time));
        }
        Ok(blocks)
    }
}
