//! What a node is told before it starts.

use crate::ledger::StakeTable;
use squad_mempool::PoolLimits;
use squad_types::{Committee, Genesis, Signer, Verifier};
use std::sync::Arc;

/// How much this node remembers of itself when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Its data directory was made just now, or it was stopped or killed and its log is here.
    Kept,
    /// Its directory says that it ran before, but its log is gone.
    Lost,
}

/// A node's configuration.
#[derive(Clone)]
pub struct Config {
    /// The network.
    pub genesis: Genesis,
    /// This operator's key; none for a follower, which never signs.
    pub signer: Option<Arc<dyn Signer>>,
    /// Checks certificates.
    pub verifier: Arc<dyn Verifier>,
    /// Where stakes come from.
    pub stakes: Arc<dyn StakeTable>,
    /// Limits of the pool.
    pub pool: PoolLimits,
    /// What survived.
    pub memory: Memory,
    /// Whether it asks its peers what they saw it sign before it signs. Without that it will contradict itself; for tests of who
    /// catches it.
    pub guarded: bool,
    /// A node this many heights behind starts from a snapshot instead of following every block.
    pub snapshot_gap: u64,
    /// Heights between two checkpoints of the write-ahead log.
    pub checkpoint_interval: u64,
    /// The genesis's committee, where nodes of one process share it; without it, a node makes its own.
    pub committee: Option<Arc<Committee>>,
}

impl Config {
    /// A configuration with the usual limits.
    pub fn new(
        genesis: Genesis,
        signer: Option<Arc<dyn Signer>>,
        verifier: Arc<dyn Verifier>,
        stakes: Arc<dyn StakeTable>,
    ) -> Self {
        Self {
            genesis,
            signer,
            verifier,
            stakes,
            pool: PoolLimits::default(),
            memory: Memory::Kept,
            guarded: true,
            snapshot_gap: 10_000,
            checkpoint_interval: 64,
            committee: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let operator = self.signer.as_ref().map(|signer| signer.address());
        f.debug_struct("Config")
            .field("network", &self.genesis.name)
            .field("operator", &operator)
            .finish_non_exhaustive()
    }
}
