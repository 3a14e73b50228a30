//! What recovery reads from the bulk store.

use crate::ledger::{Batches, WindowSource};
use squad_types::{Batch, Height, LaneId, OrderedBlock, Sequence, Tip, VerifiedBatch};

/// Read access to the durable bulk records of this node, used by [`Sequencer::recover`](crate::Sequencer::recover) only.
pub trait Store {
    /// The ordered block of a height.
    fn block(&self, height: Height) -> Option<OrderedBlock>;

    /// All batches of a lane from a sequence on, ascending by sequence; several at one sequence if its author forked.
    fn batches(&self, lane: LaneId, from: Sequence) -> Vec<Batch>;

    /// The same, up to and with a sequence. A lane may hold much more than one block covers: stores look up only what is asked for.
    fn batches_up_to(&self, lane: LaneId, from: Sequence, to: Sequence) -> Vec<Batch> {
        let mut batches = self.batches(lane, from);
        batches.retain(|batch| batch.header.statement.sequence <= to);
        batches
    }
}

/// The store as the ledger reads it.
pub(crate) struct Stored<'a>(pub(crate) &'a dyn Store);

impl WindowSource for Stored<'_> {
    fn block(&self, height: Height) -> Option<OrderedBlock> {
        self.0.block(height)
    }
}

impl Batches for Stored<'_> {
    fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        let first = above.map_or(Sequence::ZERO, |above| above.sequence.next());
        if to.sequence < first {
            return Some(Vec::new());
        }
        let stored = self.0.batches_up_to(lane, first, to.sequence);
        let (mut chain, mut wanted, mut at) = (Vec::new(), to.batch, to.sequence);
        loop {
            let found = stored
                .iter()
                .find(|batch| batch.header.statement.sequence == at && batch.header.statement.id() == wanted)?;
            wanted = found.header.statement.parent;
            chain.push(found.clone().from_own_store().ok()?);
            if at == first {
                break;
            }
            at = at.previous()?;
        }
        chain.reverse();
        Some(chain)
    }
}
