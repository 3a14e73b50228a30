//! A run's description: TOML, read strictly, and drawn or written by the campaign in the same form.
//!
//! Times are virtual milliseconds from the start of the run. Nodes are numbered: members, newcomers, twins, followers.

mod check;
mod draw;
mod fault;
mod misbehaviour;
mod parse;

pub use draw::{Profile, draw};
pub use fault::{
    ClockJump, Crash, CrashProposers, Cut, DiskFate, FaultSpec, L1Lag, Loss, OneNode, Partition, Slow, SlowCpu,
};
pub use misbehaviour::{BehaviourName, ByzantineSpec};
pub use parse::{Problem, Problems, parse};

use serde::{Deserialize, Serialize};
use squad_types::Params;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a few words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// The seed of everything random in the run.
    #[serde(default = "one")]
    pub seed: u64,
    /// How long load and faults last.
    pub duration_ms: u64,
    /// How long after that everything may take to be in order again, before the run counts as halted.
    #[serde(default = "settle")]
    pub settle_ms: u64,
    /// Who takes part.
    pub committee: CommitteeSpec,
    /// The protocol's parameters; what is not said has the value that operators' genesis files have by default.
    #[serde(default)]
    pub params: Params,
    /// How messages travel.
    #[serde(default)]
    pub network: NetworkSpec,
    /// What nodes run on.
    #[serde(default)]
    pub node: NodeSpec,
    /// What clients send.
    #[serde(default, skip_serializing_if = "is_default")]
    pub load: Vec<LoadSpec>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fault: Vec<FaultSpec>,
    /// Who misbehaves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub byzantine: Vec<ByzantineSpec>,
}

fn one() -> u64 {
    1
}

fn settle() -> u64 {
    20_000
}

/// How stake is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// One each.
    #[default]
    Equal,
    /// The k-th member has 1/k of the first one's.
    Zipf,
}

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitteeSpec {
    /// Members of the first committee.
    pub members: usize,
    /// How stake is spread among them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub distribution: Distribution,
    /// Each member's stake, in place of a distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stakes: Option<Vec<u64>>,
    /// Operators that are in no committee at first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub newcomers: usize,
    /// Nodes without a key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub followers: usize,
    /// Operators that run two nodes with one key, which makes them Byzantine.
    #[serde(default, skip_serializing_if = "is_default")]
    pub twins: Vec<usize>,
    /// Changes of stake.
    #[serde(default, skip_serializing_if = "is_default")]
    pub change: Vec<StakeChange>,
}

/// A new stake table from an epoch on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StakeChange {
    /// From which epoch on.
    pub epoch: u64,
    /// When the settlement layer has it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub at_ms: u64,
    /// Each operator's stake, members and newcomers; 0 is none.
    pub stakes: Vec<u64>,
}

/// Places in clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clusters {
    /// How many.
    pub count: usize,
    /// One way within one.
    pub near_ms: f64,
    /// One way between two.
    pub far_ms: f64,
    /// How much longer the slowest tenth takes, as a factor of at least 1.
    #[serde(default = "p90_factor")]
    pub p90_factor: f64,
}

fn p90_factor() -> f64 {
    1.1
}

/// A table of round-trip times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableFiles {
    /// The medians.
    pub p50: String,
    /// The 90th percentiles.
    pub p90: String,
}

/// How messages travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// One way between any two nodes, unless they have places.
    pub delay_ms: f64,
    /// And up to this much more, evenly spread.
    pub jitter_ms: f64,
    /// Messages lost, in a thousand.
    pub loss_per_mille: u32,
    /// Messages that come twice, in a thousand.
    pub duplicate_per_mille: u32,
    /// After how long a lost message is sent again, as streams do; without it, it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmit_ms: Option<f64>,
    /// Whether messages of one link keep their order.
    #[serde(skip_serializing_if = "is_default")]
    pub in_order: bool,
    /// The width of each node's connection upwards, in Mbit/s; without it, unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_mbit: Option<f64>,
    /// The same downwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_mbit: Option<f64>,
    /// Regions, or names of sets of them, in which nodes are by turns.
    #[serde(skip_serializing_if = "is_default")]
    pub regions: Vec<String>,
    /// A table of regions other than the shipped one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableFiles>,
    /// Clusters in which nodes are by turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Clusters>,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            delay_ms: 5.0,
            jitter_ms: 1.0,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            retransmit_ms: None,
            in_order: false,
            up_mbit: None,
            down_mbit: None,
            regions: Vec::new(),
            table: None,
            clusters: None,
        }
    }
}

/// What work costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Costs {
    /// No time at all.
    #[default]
    None,
    /// As measured.
    Measured,
}

/// What nodes run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSpec {
    /// What work costs.
    pub costs: Costs,
    /// On how many cores.
    pub cores: usize,
    /// Cores of one machine that all nodes share; without it, each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_cores: Option<usize>,
    /// What the program around takes for each message that arrives, beyond the costs, in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub driver_us: u64,
    /// How long a sync of the disk takes, in microseconds.
    pub sync_us: u64,
    /// And up to this much more.
    pub sync_jitter_us: u64,
    /// In place of both: the shortest, the longest, and what divides all others into parts of equal probability; linear in
    /// between. `[100, 200, 9000]` has half of all syncs below 200.
    #[serde(skip_serializing_if = "is_default")]
    pub sync_quantiles_us: Vec<u64>,
    /// How long a thread that wakes up waits for a core on average, in microseconds: what others' work, also on the same
    /// machine, costs it. In place of `machine_cores`, where that is known.
    #[serde(skip_serializing_if = "is_default")]
    pub wake_us: u64,
    /// Each clock is off by up to this, to either side.
    pub skew_ms: u64,
    /// Each clock runs faster or slower by up to this, in millionths.
    pub drift_ppm: u64,
    /// How many heights behind a node starts from a snapshot.
    pub snapshot_gap: u64,
    /// Heights between two checkpoints of the log.
    pub checkpoint_interval: u64,
    /// Bytes of a node's pool, if not the usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_bytes: Option<usize>,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            costs: Costs::None,
            cores: 4,
            machine_cores: None,
            driver_us: 0,
            sync_us: 500,
            sync_jitter_us: 0,
            sync_quantiles_us: Vec::new(),
            wake_us: 0,
            skew_ms: 0,
            drift_ppm: 0,
            snapshot_gap: 10_000,
            checkpoint_interval: 64,
            pool_bytes: None,
        }
    }
}

/// Which of the network's namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Plain bytes in the order of arrival.
    #[default]
    Bytes,
    /// Plain bytes, shuffled in each block.
    Lottery,
}

/// What clients send, whether or not it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// To which nodes, by turns; all members if empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nodes: Vec<usize>,
    /// Transactions a second, in all.
    pub rate: f64,
    /// Bytes of each.
    pub bytes: usize,
    /// How many come at once.
    #[serde(default = "one_at_once", skip_serializing_if = "is_one")]
    pub burst: usize,
    /// To how many nodes each is sent.
    #[serde(default = "one_at_once", skip_serializing_if = "is_one")]
    pub copies: usize,
    /// In which namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: Space,
    /// From when on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from_ms: u64,
    /// Until when; the end of the run's duration if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

fn one_at_once() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_one(value: &usize) -> bool {
    *value == 1
}

impl Scenario {
    /// Nodes of operators, without twins.
    pub fn operators(&self) -> usize {
        self.committee.members + self.committee.newcomers
    }

    /// All nodes.
    pub fn nodes(&self) -> usize {
        self.operators() + self.committee.twins.len() + self.committee.followers
    }

    /// The first committee's stakes.
    pub fn stakes(&self) -> Vec<u64> {
        if let Some(stakes) = &self.committee.stakes {
            return stakes.clone();
        }
        let members = self.committee.members;
        match self.committee.distribution {
            Distribution::Equal => vec![1; members],
            Distribution::Zipf => (0..members).map(|at| 1_000 / (at as u64 + 1)).collect(),
        }
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# it cannot be written: {error}\n"))
    }
}
