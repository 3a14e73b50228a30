//! What goes wrong, by itself.

use super::is_default;
use serde::{Deserialize, Serialize};

/// Something that goes wrong: a time and exactly one of the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// When.
    pub at_ms: u64,
    /// A node dies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
    /// A node stands still without noticing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<OneNode>,
    /// A link is cut one way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The network falls apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Messages are lost everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// A node's messages take longer, both ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_link: Option<Slow>,
    /// A node's syncs take longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_disk: Option<Slow>,
    /// A node's processor is slower, where work has costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_cpu: Option<SlowCpu>,
    /// A node's clock jumps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockJump>,
    /// A node's disk is nearly full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_low: Option<OneNode>,
    /// Stake tables are seen later than the settlement layer has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l1_lag: Option<L1Lag>,
    /// Whoever is to propose the next height dies, height after height, while less than a third of members is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_proposers: Option<CrashProposers>,
}

/// What a node finds when it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFate {
    /// What was synced, and some of what was not.
    #[default]
    Kept,
    /// Nothing, and nothing that says so.
    Lost,
    /// An earlier state.
    Stale,
}

/// A node dies and comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// Which.
    pub node: usize,
    /// How long it is down.
    pub down_ms: u64,
    /// What it finds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disk: DiskFate,
    /// Of a stale disk: from when it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stale_since_ms: u64,
    /// It dies before its so-many-th output from then on, not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_output: Option<u64>,
}

/// Proposers that die.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashProposers {
    /// How long each is down.
    pub down_ms: u64,
    /// For how long this goes on.
    pub for_ms: u64,
}

/// A node, for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneNode {
    /// Which.
    pub node: usize,
    /// How long.
    pub for_ms: u64,
}

/// A link that is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// What it sends is lost.
    pub from: usize,
    /// On the way to this one.
    pub to: usize,
    /// How long.
    pub for_ms: u64,
}

/// A network in parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its parts; who is in none of them reaches everybody.
    pub groups: Vec<Vec<usize>>,
    /// How long.
    pub for_ms: u64,
}

/// Loss everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Messages, in a thousand.
    pub per_mille: u32,
    /// How long.
    pub for_ms: u64,
}

/// Something that takes longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Which node.
    pub node: usize,
    /// How much longer.
    pub by_ms: u64,
    /// How long.
    pub for_ms: u64,
}

/// A slower processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowCpu {
    /// Which node.
    pub node: usize,
    /// What work costs, in percent of what it costs otherwise.
    pub percent: u64,
    /// How long.
    pub for_ms: u64,
}

/// A late view of the settlement layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Lag {
    /// Whose; everybody's if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// How much later.
    pub by_ms: u64,
    /// Whether it takes the table before for the newest, in place of knowing that it has not seen it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unaware: bool,
    /// How long.
    pub for_ms: u64,
}

/// A clock that jumps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockJump {
    /// Which node.
    pub node: usize,
    /// How far it is off afterwards.
    pub skew_ms: i64,
}

impl FaultSpec {
    /// In a few words, and how long it lasts in milliseconds.
    pub fn describe(&self) -> (String, u64) {
        let words = [
            self.crash.as_ref().map(|f| (format!("node {} dies", f.node), f.down_ms)),
            self.pause.as_ref().map(|f| (format!("node {} stands still", f.node), f.for_ms)),
            self.cut.as_ref().map(|f| (format!("{} does not reach {}", f.from, f.to), f.for_ms)),
            self.partition.as_ref().map(|f| (format!("partition into {}", f.groups.len()), f.for_ms)),
            self.loss.as_ref().map(|f| (format!("{} of 1000 lost", f.per_mille), f.for_ms)),
            self.slow_link.as_ref().map(|f| (format!("node {}'s links {} ms slower", f.node, f.by_ms), f.for_ms)),
            self.slow_disk.as_ref().map(|f| (format!("node {}'s disk {} ms slower", f.node, f.by_ms), f.for_ms)),
            self.slow_cpu.as_ref().map(|f| (format!("node {}'s work at {} %", f.node, f.percent), f.for_ms)),
            self.clock.as_ref().map(|f| (format!("node {}'s clock off by {} ms", f.node, f.skew_ms), 0)),
            self.disk_low.as_ref().map(|f| (format!("node {}'s disk nearly full", f.node), f.for_ms)),
            self.l1_lag.as_ref().map(|f| {
                let whose = f.node.map_or_else(|| "every node".to_owned(), |node| format!("node {node}"));
                (format!("{whose} sees the settlement layer {} ms late", f.by_ms), f.for_ms)
            }),
            self.crash_proposers.as_ref().map(|f| ("every proposer dies".to_owned(), f.for_ms)),
        ];
        words.into_iter().flatten().next().unwrap_or_default()
    }
}
