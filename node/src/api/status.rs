//! What a node says of itself.

use serde::{Deserialize, Serialize};
use squad_types::{Address, Epoch, HeaderHash, Height, NamespaceId, NetworkId, Round, Stake, Timestamp};

/// Whether the node takes transactions and votes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Readiness {
    /// It is starting and has not recovered its state.
    #[default]
    Starting,
    /// It is behind and fetches blocks; it takes no transactions.
    CatchingUp {
        /// The height that it knows to be certified.
        target: Height,
    },
    /// It takes transactions.
    Ready,
    /// It takes no transactions, for a reason that does not pass by waiting for blocks.
    Refusing {
        /// Why, and what to do.
        reason: String,
    },
}

/// A peer that the node is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its libp2p id.
    pub peer_id: String,
    /// The operator it is bound to, if any.
    pub operator: Option<Address>,
    /// Its multiaddr.
    pub address: String,
    /// Round-trip time in milliseconds, once measured.
    pub round_trip_ms: Option<u64>,
}

/// One operator's lane in the current epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The lane's author.
    pub operator: Address,
    /// Its weight.
    pub stake: Stake,
    /// Batches above the ordered tip that this node knows.
    pub unordered_batches: u64,
    /// Their bytes.
    pub unordered_bytes: u64,
    /// Whether the lane was closed because its author forked it.
    pub closed: bool,
}

/// What passed through a namespace since this process started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceStatus {
    /// Its id.
    pub id: NamespaceId,
    /// Its name.
    pub name: String,
    /// Transactions ordered.
    pub ordered_transactions: u64,
    /// Bytes ordered.
    pub ordered_bytes: u64,
    /// Transactions that this operator took in.
    pub admitted_transactions: u64,
    /// Transactions that this operator refused.
    pub refused_transactions: u64,
}

/// Percentiles in milliseconds over the last while; zero where there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 90 of 100 are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
}

/// Times from a transaction's arrival here to each tier, and between blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Until durable in a signed batch.
    pub batched: Percentiles,
    /// Until a quorum holds its batch.
    pub secured: Percentiles,
    /// Until its position is certified.
    pub ordered: Percentiles,
    /// Between one block and the next.
    pub block_interval: Percentiles,
}

/// What the node holds and has handled since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Transactions admitted and not batched yet.
    pub pool_transactions: u64,
    /// Their bytes.
    pub pool_bytes: u64,
    /// Bytes in the own lane above its ordered tip.
    pub own_lane_bytes: u64,
    /// The most that may be there before submissions are answered with "busy".
    pub own_lane_limit_bytes: u64,
    /// Blocks decided since the process started.
    pub blocks: u64,
    /// Transactions ordered since the process started.
    pub ordered_transactions: u64,
}

/// The state of a node at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The program's version.
    pub version: String,
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: NetworkId,
    /// The node's operator.
    pub operator: Address,
    /// Whether the operator is in the committee of the current epoch.
    pub in_committee: bool,
    /// Members of the current committee.
    pub committee_size: u32,
    /// Whether it takes transactions.
    pub readiness: Readiness,
    /// The last decided height.
    pub height: Height,
    /// The lowest height whose blocks it can still serve.
    pub oldest_height: Height,
    /// The round of the height being decided.
    pub round: Round,
    /// The epoch of the height being decided.
    pub epoch: Epoch,
    /// The proposer of the height and round being decided.
    pub proposer: Option<Address>,
    /// Chain time at the tip, in milliseconds: validities are measured by it.
    pub chain_time: Timestamp,
    /// The hash of the last decided header.
    pub tip_hash: HeaderHash,
    /// The timestamp of the last decided header.
    pub tip_time: Timestamp,
    /// This node's clock when it answered.
    pub clock: Timestamp,
    /// Milliseconds since the process started.
    pub uptime_ms: u64,
    /// Connected peers.
    pub peers: Vec<PeerStatus>,
    /// The lanes of the current epoch.
    pub lanes: Vec<LaneStatus>,
    /// The namespaces.
    pub namespaces: Vec<NamespaceStatus>,
    /// What it holds and has handled.
    pub traffic: TrafficStatus,
    /// How long things take.
    pub latencies: Latencies,
    /// Proofs of misbehaviour that are kept.
    pub evidence: u32,
    /// Bytes free where the data directory lies, if known.
    pub disk_free_bytes: Option<u64>,
    /// Milliseconds by which this machine's clock is ahead of the other operators', as the stamps of their proposals
    /// show; none while too few have been seen.
    #[serde(default)]
    pub clock_skew_ms: Option<i64>,
    /// What the operator should see to, although the node runs.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl NodeStatus {
    /// Whether it takes transactions.
    pub fn is_ready(&self) -> bool {
        self.readiness == Readiness::Ready
    }
}
