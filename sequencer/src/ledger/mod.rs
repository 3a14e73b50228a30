//! The ledger: the decided chain, and what may come next on it. Plain functions of plain values, no messages.
//!
//! A cut's batches are read in their canonical `interleave`, each transaction once (`window`, `validity`), ordered by
//! its namespace's `policy` and committed to by the header (`execution`). `build` makes a block, `judge` tells
//! whether it may be decided, `apply` makes it the tip; `state`, `committees` and `turns` say how epochs and
//! proposers change with it. `confirm` and `recompute` serve what was ordered.

mod apply;
mod build;
mod chain_time;
mod committees;
mod confirm;
mod execution;
mod interleave;
mod judge;
mod picked;
mod policy;
mod recompute;
mod rules;
mod snapshot;
mod stakes;
mod state;
mod turns;
mod validity;
mod window;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use apply::Applied;
pub use build::{BuildError, Draft};
pub use committees::CommitteeRule;
pub use confirm::{batched_confirmation, namespace_block, ordered_confirmation, secured_confirmation};
pub use execution::{Batches, Execution, NamespaceExecution, Span};
pub use judge::{Judgement, SoftRefusal};
pub use picked::Picked;
pub use recompute::{RecomputeError, recompute, spans_of};
pub use rules::{InvalidBlock, MAX_BLOCK_BATCHES};
pub use snapshot::SnapshotError;
pub use stakes::{GenesisStakeTable, StakeTable};
pub use turns::Proposers;
pub use validity::Rejection;
pub use window::WindowBase;

use squad_types::hash::blake3;
use squad_types::{
    ChainState, Committee, Digest, Domain, Encode, Epoch, Genesis, GenesisError, Header, HeaderHash, Height, L1Anchor,
    NamespaceSpec, OrderedBlock, Params, Timestamp, TxId, ValidatorIndex,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use window::Window;

/// Committees kept: the next one, the current one, and enough before to check certificates that come late.
const KEPT_COMMITTEES: usize = 64;

/// Ordered blocks of one's own store.
pub trait WindowSource {
    /// The decided block at a height, if it is stored.
    fn block(&self, height: Height) -> Option<OrderedBlock>;
}

/// The decided chain: its tip, the state after it, the committees around it, and what was ordered lately.
///
/// Guarantee: two ledgers of one genesis to which the same blocks were applied are equal, and judge alike.
#[derive(Clone, Debug)]
pub struct Ledger {
    domain: Domain,
    params: Params,
    namespaces: Vec<NamespaceSpec>,
    params_hash: Digest,
    genesis_time: Timestamp,
    committees: BTreeMap<Epoch, Arc<Committee>>,
    starts: BTreeMap<Epoch, Height>,
    tip: Option<OrderedBlock>,
    tip_hash: HeaderHash,
    state: Arc<ChainState>,
    window: Window,
}

fn genesis_parts(genesis: &Genesis) -> Result<Ledger, GenesisError> {
    genesis.check()?;
    let committee = genesis.committee()?;
    let state = state::at_genesis(&committee);
    Ok(Ledger {
        domain: Domain::new(genesis.network_id()),
        params: genesis.params.clone(),
        namespaces: genesis.namespaces.clone(),
        params_hash: genesis.params.hash(&genesis.namespaces),
        genesis_time: genesis.time,
        committees: [(Epoch::ZERO, Arc::new(committee))].into(),
        starts: [(Epoch::ZERO, Height(1))].into(),
        tip: None,
        tip_hash: genesis.parent_hash(),
        window: Window::new(genesis.params.window_ms.into(), WindowBase::after(Height::ZERO, &state)),
        state: Arc::new(state),
    })
}

impl Ledger {
    /// The ledger before the first block.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis_parts(genesis)
    }

    /// The tip's height; zero before the first block.
    pub fn height(&self) -> Height {
        self.tip_header().map_or(Height::ZERO, |header| header.height)
    }

    /// The hash that the next block names as its parent.
    pub fn tip_hash(&self) -> HeaderHash {
        self.tip_hash
    }

    /// The tip's header; none before the first block.
    pub fn tip_header(&self) -> Option<&Header> {
        self.tip.as_ref().map(|tip| tip.block.header())
    }

    /// The tip; none before the first block.
    pub fn tip(&self) -> Option<&OrderedBlock> {
        self.tip.as_ref()
    }

    /// The tip's timestamp, or the genesis's.
    pub fn tip_time(&self) -> Timestamp {
        self.tip_header().map_or(self.genesis_time, |header| header.timestamp)
    }

    /// The state after the tip.
    pub fn state(&self) -> &ChainState {
        &self.state
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The namespaces, ascending by id.
    pub fn namespaces(&self) -> &[NamespaceSpec] {
        &self.namespaces
    }

    /// The network's signing domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// An epoch's committee: the next one's (once the first block of the current epoch fixed it), and those of recent epochs.
    pub fn committee(&self, epoch: Epoch) -> Option<&Arc<Committee>> {
        self.committees.get(&epoch)
    }

    /// Takes another's committee in place of its own, if they are equal.
    pub fn share(&mut self, committee: &Arc<Committee>) {
        if let Some(own) = self.committees.get_mut(&committee.epoch()).filter(|own| *own == committee) {
            *own = Arc::clone(committee);
        }
    }

    /// All committees kept, ascending by epoch.
    pub fn committees(&self) -> impl Iterator<Item = &Arc<Committee>> {
        self.committees.values()
    }

    /// The committee that decides a height: the next one, or one of a recent epoch.
    pub fn committee_at(&self, height: Height) -> Option<&Arc<Committee>> {
        let next = self.height().next();
        if height >= next {
            return self.committee(self.epoch_of_next()).filter(|_| height == next);
        }
        let (epoch, _) = self.starts.iter().rev().find(|(_, start)| **start <= height)?;
        self.committee(*epoch)
    }

    /// The epoch of the next block.
    pub fn epoch_of_next(&self) -> Epoch {
        if self.epoch_ends() { self.state.epoch.next() } else { self.state.epoch }
    }

    /// Whether the next block is the first of another epoch.
    pub fn starts_epoch_next(&self) -> bool {
        self.epoch_ends()
    }

    /// Whether an epoch may end within a tenth of its heights and chain time: what is taken in now might not be ordered in it.
    pub fn epoch_ends_soon(&self) -> bool {
        let tenth_before = |all: u32| all - all / 10;
        state::epoch_ends(
            &self.state,
            self.height(),
            tenth_before(self.params.epoch_heights),
            tenth_before(self.params.epoch_ms),
        )
    }

    /// The highest epoch that a height at or above the next one can be of.
    pub fn latest_epoch_of(&self, height: Height) -> Epoch {
        let next = self.height().next();
        let start = if self.epoch_ends() { next } else { self.state.epoch_start };
        let more = height.max(next).0.saturating_sub(start.0) / u64::from(self.params.epoch_heights.max(1));
        self.epoch_of_next().plus(more)
    }

    /// Members of the next block's committee whose last turns as proposer failed, as far as its proposers may know.
    pub fn failed_turns(&self) -> BTreeSet<ValidatorIndex> {
        if self.epoch_ends() {
            return BTreeSet::new();
        }
        turns::at_the_back(&self.state.failed_turns, self.height().next().0)
    }

    /// What seeds the rotation of proposers in the next block's epoch.
    pub fn epoch_seed(&self) -> Digest {
        let epoch = self.epoch_of_next();
        let mut bytes = b"proposer rotation".to_vec();
        self.domain.network().encode(&mut bytes);
        self.committee(epoch).map(|committee| committee.hash()).unwrap_or_default().encode(&mut bytes);
        Digest(blake3(&bytes))
    }

    /// Whether every transaction that the next block could repeat is known here. Always so for a ledger that started at
    /// genesis; one that started from a snapshot follows blocks for a window of chain time first.
    pub fn window_is_complete(&self) -> bool {
        self.window.is_complete(self.state.chain_time)
    }

    /// Whether the transaction was ordered within the window.
    pub fn remembers(&self, id: &TxId) -> bool {
        self.window.contains(id)
    }

    /// Where the window begins: what [`Ledger::rebuild_window`] needs beside stored blocks.
    pub fn window_base(&self) -> &WindowBase {
        self.window.base()
    }

    /// How many transactions the window remembers.
    pub fn window_len(&self) -> usize {
        self.window.len()
    }

    /// The block of the settlement layer that the tip names.
    pub fn anchor(&self) -> L1Anchor {
        self.tip_header().map(|tip| tip.l1_anchor).unwrap_or_default()
    }

    /// Whether the next block is the first one of an epoch, the very first included: it fixes the next epoch's committee.
    pub(crate) fn opens_epoch(&self) -> bool {
        self.tip.is_none() || self.epoch_ends()
    }

    /// Whether the current epoch ended with the tip.
    fn epoch_ends(&self) -> bool {
        state::epoch_ends(&self.state, self.height(), self.params.epoch_heights, self.params.epoch_ms)
    }
}

/// Equal if at the same tip with the same memory. Older committees may differ.
impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        self.tip_hash == other.tip_hash && self.state == other.state && self.window == other.window
    }
}
