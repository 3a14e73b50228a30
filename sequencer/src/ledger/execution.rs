//! What a block orders: the new batches of its cut, each transaction once, by the policies of their namespaces.

use super::picked::{Picked, Place, look_up};
use super::policy;
use super::validity::{self, Rejection};
use super::window::Window;
use squad_types::hash::IdSet;
use squad_types::{
    BatchRange, ChainState, Committee, CutEntry, HeaderHash, Height, LaneId, NamespaceId, NamespaceLeaf, NamespaceSpec,
    Sequence, Timestamp, Tip, TxId, VerifiedBatch, merkle,
};
use std::sync::Arc;

/// The batches that one block newly covers in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lane.
    pub lane: LaneId,
    /// Its ordered tip before the block; none if this block covers its first batch.
    pub above: Option<Tip>,
    /// Its ordered tip after the block.
    pub to: Tip,
}

impl Span {
    pub(super) fn new(entry: &CutEntry, above: Option<Tip>) -> Self {
        Self { lane: entry.lane, above, to: entry.tip }
    }

    /// The first sequence that the block newly covers.
    pub fn from(&self) -> Sequence {
        self.above.map_or(Sequence::ZERO, |tip| tip.sequence.next())
    }

    /// How many batches it covers.
    pub(super) fn len(&self) -> u64 {
        (self.to.sequence.0.saturating_add(1)).saturating_sub(self.from().0)
    }

    /// As one asks a peer for it.
    pub fn range(&self) -> BatchRange {
        BatchRange { lane: self.lane, from: self.from(), to: self.to }
    }
}

/// Batches at hand.
pub trait Batches {
    /// The batches of `lane` after `above` up to and including `to`, ascending, linked back from `to` by their parents;
    /// none if one of them is missing here.
    ///
    /// Whether the first one follows from `above` is the ledger's to judge: a lane that was forked below `to` must come
    /// back as it is, not as missing, or a block on the wrong branch would be fetched for ever.
    fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>>;
}

/// One namespace's part of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceExecution {
    /// What the header commits to.
    pub leaf: NamespaceLeaf,
    /// Its transactions in their final order; never empty.
    pub transactions: Picked,
}

/// All that follows from a valid block: computed by whoever builds or judges it, taken in by whoever applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The block.
    pub block: HeaderHash,
    /// Its height.
    pub height: Height,
    /// Its namespaces' parts, ascending; only those that have one.
    pub namespaces: Vec<NamespaceExecution>,
    /// Positions in the interleaved batches that were left out, ascending.
    pub skipped: Vec<u32>,
    /// What was left out because it may not be ordered from its batch, with the reason; repeats are not among them.
    pub rejected: Vec<(TxId, Rejection)>,
    /// The batches newly covered, lane by lane, ascending.
    pub spans: Vec<Span>,
    /// The state after the block.
    pub state: Arc<ChainState>,
    /// The next epoch's committee, if this block fixes it.
    pub next_committee: Option<Arc<Committee>>,
}

impl Execution {
    /// The ids of everything that was ordered, namespace by namespace, in order.
    pub fn ids(&self) -> impl Iterator<Item = TxId> + '_ {
        self.namespaces.iter().flat_map(|namespace| namespace.transactions.iter().map(|tx| tx.id))
    }

    /// The ids of what may not be ordered from its batch any more.
    pub fn rejected_ids(&self) -> Vec<TxId> {
        self.rejected.iter().map(|(id, _)| *id).collect()
    }

    /// How many transactions were ordered.
    pub fn count(&self) -> usize {
        self.namespaces.iter().map(|namespace| namespace.transactions.len()).sum()
    }

    /// What the header commits to, namespace by namespace.
    pub fn leaves(&self) -> Vec<NamespaceLeaf> {
        self.namespaces.iter().map(|namespace| namespace.leaf).collect()
    }
}

/// How the positions to leave out are known.
#[derive(Clone, Copy)]
pub(super) enum Skips<'a> {
    /// By the window of what was ordered before.
    Window(&'a Window),
    /// By the list that a decided block came with. The header's roots tell whether it is true.
    Listed(&'a [u32]),
}

/// What the order of a block depends on beside its batches.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) namespaces: &'a [NamespaceSpec],
    /// Chain time after the block.
    pub(super) chain_time: Timestamp,
    /// Milliseconds of the exactly-once window.
    pub(super) window: u64,
    /// The parent's hash: what shuffles.
    pub(super) parent: HeaderHash,
}

/// The order of a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) namespaces: Vec<NamespaceExecution>,
    pub(super) skipped: Vec<u32>,
    pub(super) rejected: Vec<(TxId, Rejection)>,
}

/// Orders the transactions of interleaved batches.
pub(super) fn order(batches: Vec<VerifiedBatch>, skips: Skips, rules: Rules) -> Order {
    let batches = Arc::new(batches);
    let total = batches.iter().map(|batch| batch.payload().transactions().len()).sum();
    let mut seen = IdSet::with_capacity_and_hasher(total, Default::default());
    let mut parts: Vec<Vec<Place>> = vec![Vec::new(); rules.namespaces.len()];
    let (mut skipped, mut rejected) = (Vec::new(), Vec::new());
    let places = (0_u32..).zip(batches.iter()).flat_map(|(batch, content)| {
        (0_u32..).zip(content.payload().transactions()).map(move |(at, tx)| (Place { batch, at }, tx))
    });
    for (position, (place, identified)) in (0_u32..).zip(places) {
        let transaction = &identified.transaction;
        let registered = rules.namespaces.binary_search_by_key(&transaction.namespace, |spec| spec.id).ok();
        let spec = registered.and_then(|at| rules.namespaces.get(at));
        let fit = validity::check(transaction, spec, rules.chain_time, rules.window);
        let skip = match skips {
            Skips::Window(window) => {
                let repeated = window.contains(&identified.id) || !seen.insert(identified.id);
                if let (false, Err(why)) = (repeated, fit) {
                    rejected.push((identified.id, why));
                }
                repeated || fit.is_err()
            }
            Skips::Listed(listed) => {
                if let Err(why) = fit {
                    rejected.push((identified.id, why));
                }
                listed.binary_search(&position).is_ok()
            }
        };
        match registered {
            Some(at) if !skip => parts[at].push(place),
            _ => skipped.push(position),
        }
    }
    let whole = rules.namespaces.iter().zip(parts).filter(|(_, part)| !part.is_empty());
    let namespaces = whole.map(|(spec, part)| namespace(spec, rules.parent, &batches, part)).collect();
    Order { namespaces, skipped, rejected }
}

fn namespace(
    spec: &NamespaceSpec,
    parent: HeaderHash,
    batches: &Arc<Vec<VerifiedBatch>>,
    part: Vec<Place>,
) -> NamespaceExecution {
    let hint = |place: &Place| look_up(batches, *place).transaction.hint;
    let places = policy::arrange(spec.policy, spec.id, parent, part, hint);
    let transactions = Picked::new(Arc::clone(batches), places);
    NamespaceExecution { leaf: leaf(spec.id, &transactions), transactions }
}

/// A namespace's leaf, from ids that were computed when the batches arrived.
pub(super) fn leaf(namespace: NamespaceId, transactions: &Picked) -> NamespaceLeaf {
    let transactions_root = merkle::root(&transactions.leaves());
    NamespaceLeaf { namespace, count: transactions.len() as u32, transactions_root }
}
