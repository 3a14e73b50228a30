//! Transactions by their places in a block's batches.

use squad_types::{Digest, IdentifiedTransaction, VerifiedBatch};
use std::sync::Arc;

/// Where a transaction lies: its batch, and its place in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) batch: u32,
    pub(super) at: u32,
}

/// Transactions of a block's batches in an order of their own. It holds places, not transactions, of which a block has
/// tens of thousands.
#[derive(Clone)]
pub struct Picked {
    batches: Arc<Vec<VerifiedBatch>>,
    places: Vec<Place>,
}

impl Picked {
    /// All places must lie in `batches`.
    pub(super) fn new(batches: Arc<Vec<VerifiedBatch>>, places: Vec<Place>) -> Self {
        Self { batches, places }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The transactions in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &IdentifiedTransaction> + Clone {
        self.places.iter().map(|place| look_up(&self.batches, *place))
    }

    /// Their ids, as merkle leaves.
    pub fn leaves(&self) -> Vec<Digest> {
        self.iter().map(|tx| Digest(tx.id.0)).collect()
    }
}

pub(super) fn look_up(batches: &[VerifiedBatch], place: Place) -> &IdentifiedTransaction {
    &batches[place.batch as usize].payload().transactions()[place.at as usize]
}

impl<'a> IntoIterator for &'a Picked {
    type Item = &'a IdentifiedTransaction;
    type IntoIter = Box<dyn Iterator<Item = &'a IdentifiedTransaction> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl PartialEq for Picked {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Picked {}

impl std::fmt::Debug for Picked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
