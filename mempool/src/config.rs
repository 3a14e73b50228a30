//! What a mempool is told.

use squad_types::{Address, Domain, NamespaceSpec, Params};

/// Who sent a transaction, as the driver hashes it: a client address or a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u64);

/// What an Ethereum transaction's signature shows, found by the node, which knows Ethereum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvmFacts {
    /// Who signed it.
    pub sender: Address,
    /// The chain id it is signed for; none without replay protection.
    pub chain_id: Option<u64>,
    /// The fee a unit of gas, in wei, capped at 2^64 − 1.
    pub fee: u64,
}

/// Limits of the pool of transactions that are not in a batch yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Bytes in all.
    pub max_bytes: usize,
    /// Transactions in all.
    pub max_transactions: usize,
    /// Bytes of one namespace, so that a flooded one leaves room for the others.
    pub max_namespace_bytes: usize,
    /// Bytes a second that one source may submit.
    pub source_bytes_per_second: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_transactions: 256 * 1024,
            max_namespace_bytes: 32 << 20,
            source_bytes_per_second: 256 << 20,
        }
    }
}

/// A mempool's configuration.
#[derive(Clone, Debug)]
pub struct MempoolConfig {
    /// This operator; none for a follower.
    pub me: Option<Address>,
    /// The network's parameters.
    pub params: Params,
    /// Its namespaces, ascending.
    pub namespaces: Vec<NamespaceSpec>,
    /// What statements are signed for.
    pub domain: Domain,
    /// Limits of the pool.
    pub pool: PoolLimits,
}
