//! What a cluster is made of.

use crate::cpu::CostTable;
use crate::keys::Keys;
use crate::network::places::Places;
use crate::network::{Links, NodeIndex};
use crate::rng::Durations;
use squad_sequencer::Config;
use squad_types::limits::MAX_TRANSACTION_BYTES;
use squad_types::{
    Address, Genesis, Member, NamespaceId, NamespaceKind, NamespaceSpec, OrderingPolicy, Params, Signer as _, Stake,
    Timestamp, WriteAccess,
};

/// What a cluster is made of.
#[derive(Clone)]
pub struct ClusterConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// The first committee's stakes, one a member.
    pub stakes: Vec<u64>,
    /// Operators beyond the committee: they run and follow, and join if the stake table lets them.
    pub newcomers: usize,
    /// Operators that run a second node with the same key and a disk of its own. These nodes come after the newcomers.
    pub twins: Vec<NodeIndex>,
    /// Nodes without a key. They come last, and each is connected to [`FOLLOWER_PEERS`] operators.
    pub followers: usize,
    /// Parameters.
    pub params: Params,
    /// How links behave.
    pub links: Links,
    /// Where the nodes are; without it, all links are alike.
    pub places: Option<Places>,
    /// The width of each node's connection, up and down, in bytes a second; without it, no message waits for another.
    pub bandwidth: Option<(u64, u64)>,
    /// What work costs, and on how many cores; without it, work takes no time.
    pub cpu: Option<(CostTable, usize)>,
    /// Cores of one machine that all nodes share, where work takes time; without it, nobody waits for another's.
    pub shared_cores: Option<usize>,
    /// How long syncs take, in microseconds.
    pub sync_times: Durations,
    /// How long a thread that wakes up waits for a core, in microseconds; without it, not at all.
    pub wake_times: Option<Durations>,
    /// Changes of stake.
    pub stake_changes: Vec<StakeTableChange>,
    /// What operators sign with.
    pub keys: Keys,
    /// A node this many heights behind starts from a snapshot.
    pub snapshot_gap: u64,
    /// Heights between two checkpoints.
    pub checkpoint_interval: u64,
}

/// A change of stake.
#[derive(Clone, Debug)]
pub struct StakeTableChange {
    /// The first epoch that it is for.
    pub epoch: u64,
    /// When the settlement layer has it, in milliseconds from the start.
    pub at_ms: u64,
    /// The whole table from then on, by node.
    pub table: Vec<(NodeIndex, u64)>,
}

/// Operators that a follower is connected to.
pub const FOLLOWER_PEERS: usize = 3;

impl ClusterConfig {
    /// `members` of equal stake on a quick network.
    pub fn equal(seed: u64, members: usize) -> Self {
        let params = Params {
            idle_interval_ms: 200,
            propose_timeout_ms: 200,
            vote_timeout_ms: 100,
            timeout_step_ms: 100,
            ..Params::default()
        };
        Self {
            seed,
            stakes: vec![1; members],
            newcomers: 0,
            twins: Vec::new(),
            followers: 0,
            params,
            links: Links::default(),
            places: None,
            bandwidth: None,
            cpu: None,
            shared_cores: None,
            sync_times: Durations::Even(500, 0),
            wake_times: None,
            stake_changes: Vec::new(),
            keys: Keys::Hashed,
            snapshot_gap: 10_000,
            checkpoint_interval: 16,
        }
    }

    /// Operators' nodes, without twins.
    pub fn operators(&self) -> usize {
        self.stakes.len() + self.newcomers
    }

    /// All nodes.
    pub fn nodes(&self) -> usize {
        self.operators() + self.twins.len() + self.followers
    }

    /// The network's genesis.
    pub fn genesis(&self) -> Genesis {
        Genesis {
            name: "simulated".to_owned(),
            time: Timestamp(super::START.0 / 1_000),
            params: self.params.clone(),
            namespaces: namespaces(max_transaction_bytes(&self.params, self.stakes.len())),
            validators: self.members(self.stakes.iter().copied().enumerate()),
            settlement: None,
        }
    }

    /// The operator that a node of its own number runs for.
    pub(super) fn address(&self, node: NodeIndex) -> Address {
        self.keys.signer(node).address()
    }

    /// Members in the order of a committee, from nodes with their stakes.
    pub(super) fn members(&self, stakes: impl Iterator<Item = (NodeIndex, u64)>) -> Vec<Member> {
        let member = |(node, stake)| Member { address: self.address(node), stake: Stake(stake) };
        let mut members: Vec<Member> = stakes.map(member).collect();
        members.sort_by_key(|member| member.address);
        members
    }

    pub(super) fn adjust(&self, config: &mut Config) {
        config.snapshot_gap = self.snapshot_gap;
        config.checkpoint_interval = self.checkpoint_interval;
    }
}

/// The largest transaction that simulated networks take: as large as the protocol allows, if it fits a batch.
pub fn max_transaction_bytes(params: &Params, members: usize) -> usize {
    MAX_TRANSACTION_BYTES.min(params.max_batch_bytes(members).saturating_sub(64))
}

/// The namespaces of a simulated network: plain bytes in order, and plain bytes shuffled.
pub fn namespaces(max_transaction_bytes: usize) -> Vec<NamespaceSpec> {
    let spec = |id: u32, name: &str, policy: OrderingPolicy| NamespaceSpec {
        id: NamespaceId(id),
        name: name.to_owned(),
        kind: NamespaceKind::Opaque,
        policy,
        access: WriteAccess::Everybody,
        max_transaction_bytes: max_transaction_bytes as u32,
        quota_bytes_per_second: 1 << 30,
    };
    vec![spec(1, "bytes", OrderingPolicy::Fifo), spec(2, "lottery", OrderingPolicy::Shuffled)]
}

/// Whether a follower hears a node, of which those below `operators` are operators: [`FOLLOWER_PEERS`] of these.
pub(super) fn hears(follower: usize, node: usize, operators: usize) -> bool {
    // A step that divides the number of operators would come to the same one again.
    let stride = if operators.is_multiple_of(7) { 5 } else { 7 };
    node < operators && (0..FOLLOWER_PEERS).any(|step| (follower + step * stride) % operators == node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_hears_as_many_operators_as_it_should() {
        for operators in 1..200 {
            for follower in operators..operators + 20 {
                let heard = (0..follower + 2).filter(|node| hears(follower, *node, operators)).count();
                assert_eq!(heard, FOLLOWER_PEERS.min(operators), "{operators} operators, follower {follower}");
            }
        }
    }
}
