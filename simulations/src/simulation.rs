//! A scenario under way: the cluster it describes, with its load, faults and misbehaviour on a timeline.

mod build;
mod faults;
mod finish;

pub use build::BuildError;
pub use finish::{Failure, Outcome, Verdict, quiet_guarded_panics};

use crate::cluster::{Cluster, ClusterConfig};
use crate::disk::Disk;
use crate::keys::Keys;
use crate::network::NodeIndex;
use crate::queue::{Instant, Queue};
use crate::rng::Rng;
use crate::scenario::{Scenario, Space};
use squad_types::{Height, NamespaceId, TxId};
use std::collections::BTreeMap;

/// Something that the timeline has in store.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The next of a load's transactions.
    Load { load: usize, sent: u64 },
    /// A fault begins.
    Begin { fault: usize },
    /// A fault is over.
    End { fault: usize },
    /// A copy of a disk is taken, for a fault later.
    Copy { fault: usize },
    /// A node begins to misbehave.
    Corrupt { at: usize },
    /// It behaves again.
    Redeem { at: usize },
    /// Limits are looked at.
    Check,
}

/// What a client sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// To which node first.
    pub node: NodeIndex,
    /// When.
    pub at: Instant,
    /// How many bytes.
    pub bytes: usize,
}

/// How often limits are looked at, in virtual milliseconds.
const CHECK_MS: u64 = 250;

/// A scenario under way.
pub struct Simulation {
    /// What it runs.
    pub scenario: Scenario,
    /// The cluster.
    pub cluster: Cluster,
    /// Every transaction that was sent.
    pub sent: BTreeMap<TxId, Sent>,
    timeline: Queue<Action>,
    start: Instant,
    copies: BTreeMap<usize, Disk>,
    /// Cuts that are open, by how many faults hold each.
    cuts: BTreeMap<(NodeIndex, NodeIndex), usize>,
    /// Faults that crash every proposer, with the last height that each has seen to.
    hunts: BTreeMap<usize, Height>,
    /// Nodes whose transactions are counted as promised, at the end.
    byzantine: Vec<bool>,
    rng: Rng,
}

impl Simulation {
    /// Makes the cluster; nothing runs yet.
    pub fn new(scenario: Scenario) -> Result<Self, BuildError> {
        Self::signing_with(Keys::default(), scenario)
    }

    /// The same, with what operators sign with.
    pub fn signing_with(keys: Keys, scenario: Scenario) -> Result<Self, BuildError> {
        let config = ClusterConfig { keys, ..build::config(&scenario)? };
        let mut cluster = Cluster::new(&config);
        cluster.strict = false;
        let mut rng = Rng::new(scenario.seed ^ 0x51ac_u64.rotate_left(32));
        build::nodes(&scenario, &mut cluster, &mut rng);
        let mut byzantine = vec![false; scenario.nodes()];
        let mut distrusted: Vec<NodeIndex> = scenario.byzantine.iter().map(|spec| spec.node).collect();
        distrusted.extend(&scenario.committee.twins);
        for node in distrusted {
            cluster.distrust(node);
            byzantine[node] = true;
        }
        for crash in scenario.fault.iter().filter_map(|fault| fault.crash.as_ref()) {
            if crash.disk != crate::scenario::DiskFate::Kept {
                cluster.invariants.doubt(cluster.address(crash.node));
            }
        }
        let twins = scenario.operators()..scenario.operators() + scenario.committee.twins.len();
        byzantine[twins].fill(true);
        let start = cluster.now();
        let mut simulation = Self {
            timeline: Queue::default(),
            start,
            copies: BTreeMap::new(),
            cuts: BTreeMap::new(),
            hunts: BTreeMap::new(),
            byzantine,
            sent: BTreeMap::new(),
            cluster,
            rng,
            scenario,
        };
        simulation.plan();
        Ok(simulation)
    }

    fn plan(&mut self) {
        let at = |ms: u64| self.start.plus_ms(ms);
        for (load, spec) in self.scenario.load.iter().enumerate() {
            // Not all at the same moment.
            let phase = self.rng.below((1e6 / spec.rate.max(1.0)) as u64 + 1);
            self.timeline.push(at(spec.from_ms).plus(phase), Action::Load { load, sent: 0 });
        }
        for (fault, spec) in self.scenario.fault.iter().enumerate() {
            if spec.crash.as_ref().is_some_and(|crash| crash.disk == crate::scenario::DiskFate::Stale) {
                let since = spec.crash.as_ref().map_or(0, |crash| crash.stale_since_ms);
                self.timeline.push(at(since), Action::Copy { fault });
            }
            self.timeline.push(at(spec.at_ms), Action::Begin { fault });
            if let Some(lasts) = spec.lasts_ms() {
                self.timeline.push(at(spec.at_ms + lasts), Action::End { fault });
            }
        }
        for (place, spec) in self.scenario.byzantine.iter().enumerate() {
            self.timeline.push(at(spec.from_ms), Action::Corrupt { at: place });
            if let Some(until) = spec.until_ms {
                self.timeline.push(at(until), Action::Redeem { at: place });
            }
        }
        self.timeline.push(at(CHECK_MS), Action::Check);
    }

    /// Microseconds since the start of the run.
    pub fn elapsed(&self) -> u64 {
        self.cluster.now().0 - self.start.0
    }

    /// Runs everything: load and faults, then the time in which all must come in order again.
    pub fn run(&mut self) -> Outcome {
        self.advance(self.start);
        self.cluster.start_all();
        let end = self.start.plus_ms(self.scenario.duration_ms);
        self.run_to(end);
        self.finish()
    }

    /// Runs to a moment, or to the first violation.
    pub(crate) fn run_to(&mut self, end: Instant) {
        while self.cluster.violation.is_none() {
            let next = self.timeline.next_at().map_or(end, |at| at.min(end));
            if self.cluster.step(next) {
                if !self.hunts.is_empty() {
                    self.hunt();
                }
                continue;
            }
            self.advance(next);
            if next >= end {
                return;
            }
        }
    }

    /// Performs what the timeline has up to a moment.
    fn advance(&mut self, now: Instant) {
        while self.timeline.next_at().is_some_and(|at| at <= now) && self.cluster.violation.is_none() {
            let Some((at, action)) = self.timeline.pop() else { return };
            match action {
                Action::Load { load, sent } => self.send(at, load, sent),
                Action::Begin { fault } => self.begin(fault),
                Action::End { fault } => self.end(fault),
                Action::Copy { fault } => self.copy(fault),
                Action::Corrupt { at: place } => self.corrupt(place),
                Action::Redeem { at: place } => self.cluster.redeem(self.scenario.byzantine[place].node),
                Action::Check => {
                    if let Err(violation) = self.cluster.invariants.check_bounds(&self.cluster.nodes) {
                        self.cluster.violated(violation);
                    }
                    self.timeline.push(at.plus_ms(CHECK_MS), Action::Check);
                }
            }
        }
    }

    fn send(&mut self, at: Instant, load: usize, sent: u64) {
        let spec = &self.scenario.load[load];
        let until = self.start.plus_ms(spec.until_ms.unwrap_or(self.scenario.duration_ms));
        if at >= until {
            return;
        }
        let (burst, bytes, copies) = (spec.burst as u64, spec.bytes, spec.copies);
        let namespace = NamespaceId(match spec.namespace {
            Space::Bytes => 1,
            Space::Lottery => 2,
        });
        let gap = (burst as f64 * 1e6 / spec.rate).max(1.0) as u64;
        let nodes: Vec<NodeIndex> =
            if spec.nodes.is_empty() { (0..self.scenario.committee.members).collect() } else { spec.nodes.clone() };
        for one in sent..sent + burst {
            let node = nodes[(one % nodes.len() as u64) as usize];
            let transaction = self.cluster.fresh_transaction(node, namespace, bytes);
            let mut id = None;
            for copy in 0..copies {
                let node = nodes[((one as usize) + copy) % nodes.len()];
                id = Some(self.cluster.submit_transaction(node, transaction.clone()));
            }
            if let Some(id) = id {
                self.sent.insert(id, Sent { node, at, bytes });
            }
        }
        self.timeline.push(at.plus(gap), Action::Load { load, sent: sent + burst });
    }
}
