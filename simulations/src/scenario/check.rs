//! What a scenario must mean, beyond its types.

use super::parse::Step;
use super::{FaultSpec, Scenario};
use crate::cluster::{ClusterConfig, max_transaction_bytes};
use crate::network::places::Places;
use squad_types::GenesisError;

/// A place in the document, and what is wrong there.
type Found = (Vec<Step>, String);

struct Checker<'a> {
    scenario: &'a Scenario,
    found: Vec<Found>,
}

/// Longest runs: days of virtual time are a mistake in the unit.
const MAX_MS: u64 = 24 * 3_600 * 1_000;

pub(super) fn check(scenario: &Scenario) -> Vec<Found> {
    let mut checker = Checker { scenario, found: Vec::new() };
    checker.committee();
    checker.params();
    checker.network();
    checker.loads();
    checker.faults();
    checker.byzantine();
    let duration = scenario.duration_ms;
    checker.want((1..=MAX_MS).contains(&duration), || {
        (vec![Step::Key("duration_ms")], format!("{duration} ms; expected 1 to {MAX_MS}"))
    });
    let (cores, interval) = (scenario.node.cores, scenario.node.checkpoint_interval);
    checker
        .want(cores >= 1, || (vec![Step::Key("node"), Step::Key("cores")], "0 cores; expected at least 1".to_owned()));
    if let Some(pair) = scenario.node.sync_quantiles_us.windows(2).find(|pair| pair[0] > pair[1]) {
        let what = format!("{} stands before {}; expected the shortest first", pair[0], pair[1]);
        checker.found.push((vec![Step::Key("node"), Step::Key("sync_quantiles_us")], what));
    }
    checker.want(scenario.node.machine_cores != Some(0), || {
        (vec![Step::Key("node"), Step::Key("machine_cores")], "0 cores; expected at least 1".to_owned())
    });
    checker.want(interval >= 1, || {
        (vec![Step::Key("node"), Step::Key("checkpoint_interval")], "0 heights; expected at least 1".to_owned())
    });
    checker.found
}

impl Checker<'_> {
    fn want(&mut self, holds: bool, otherwise: impl FnOnce() -> Found) {
        if !holds {
            self.found.push(otherwise());
        }
    }

    fn node(&mut self, path: Vec<Step>, node: usize, below: usize, what: &str) {
        self.want(node < below, || (path, format!("node {node}; expected {what}, 0 to {}", below.saturating_sub(1))));
    }

    fn committee(&mut self) {
        let spec = &self.scenario.committee;
        let at = |key| vec![Step::Key("committee"), Step::Key(key)];
        let (members, operators) = (spec.members, self.scenario.operators());
        self.want((1..=256).contains(&members), || (at("members"), format!("{members} members; expected 1 to 256")));
        self.want(spec.followers <= 2_000, || (at("followers"), format!("{}; expected at most 2000", spec.followers)));
        if let Some(stakes) = &spec.stakes {
            self.want(stakes.len() == members && !stakes.contains(&0), || {
                (at("stakes"), format!("{stakes:?}; expected {members} stakes above 0"))
            });
        }
        for twin in spec.twins.clone() {
            self.node(at("twins"), twin, operators, "an operator");
        }
        for (place, change) in spec.change.clone().into_iter().enumerate() {
            let path = |key| vec![Step::Key("committee"), Step::Key("change"), Step::At(place), Step::Key(key)];
            self.want(change.epoch >= 2, || {
                (
                    path("epoch"),
                    format!("{}; expected 2 or later, since two epochs are fixed at the start", change.epoch),
                )
            });
            let duration = self.scenario.duration_ms;
            self.want(change.at_ms < duration, || {
                (path("at_ms"), format!("{} ms; expected a time before the end at {duration}", change.at_ms))
            });
            let some = change.stakes.iter().any(|stake| *stake > 0);
            self.want(change.stakes.len() == operators && some, || {
                (path("stakes"), format!("{} stakes; expected {operators}, one above 0", change.stakes.len()))
            });
        }
    }

    fn params(&mut self) {
        let mut config = ClusterConfig::equal(0, 1);
        config.stakes = self.scenario.stakes();
        config.params = self.scenario.params.clone();
        let path = |key| vec![Step::Key("params"), Step::Key(key)];
        match config.genesis().check() {
            Ok(()) => {}
            Err(GenesisError::Param { name, value, expected }) => {
                self.found.push((path(name), format!("{value}; expected {expected}")));
            }
            Err(error) => self.found.push((vec![Step::Key("params")], format!("no genesis: {error}"))),
        }
    }

    fn network(&mut self) {
        let spec = &self.scenario.network;
        let at = |key| vec![Step::Key("network"), Step::Key(key)];
        let times = [
            ("delay_ms", Some(spec.delay_ms)),
            ("jitter_ms", Some(spec.jitter_ms)),
            ("retransmit_ms", spec.retransmit_ms),
        ];
        for (key, time) in times {
            let Some(time) = time else { continue };
            self.want((0.0..=60_000.0).contains(&time), || {
                (at(key), format!("{time}; expected 0 to 60000 milliseconds"))
            });
        }
        for (key, share) in [("loss_per_mille", spec.loss_per_mille), ("duplicate_per_mille", spec.duplicate_per_mille)]
        {
            self.want(share <= 1_000, || (at(key), format!("{share}; expected 0 to 1000")));
        }
        for (key, width) in [("up_mbit", spec.up_mbit), ("down_mbit", spec.down_mbit)] {
            self.want(width.is_none_or(|width| width > 0.0 && width < 1e6), || {
                (at(key), format!("{}; expected Mbit/s above 0", width.unwrap_or_default()))
            });
        }
        let both = spec.up_mbit.is_some() == spec.down_mbit.is_some();
        self.want(both, || (at("up_mbit"), "only one of up_mbit and down_mbit; expected both or none".to_owned()));
        let one = spec.clusters.is_none() || (spec.regions.is_empty() && spec.table.is_none());
        self.want(one, || (at("clusters"), "clusters and regions; expected one of them".to_owned()));
        if let Some(clusters) = spec.clusters.clone() {
            let good = (1..=self.scenario.nodes()).contains(&clusters.count)
                && clusters.near_ms >= 0.0
                && clusters.far_ms >= 0.0
                && clusters.p90_factor >= 1.0;
            self.want(good, || {
                let nodes = self.scenario.nodes();
                (
                    at("clusters"),
                    format!("expected 1 to {nodes} clusters, times of 0 or more, and a factor of 1 or more"),
                )
            });
        }
        if spec.table.is_none() && !spec.regions.is_empty() {
            let known = Places::aws(1, &spec.regions);
            self.want(known.is_ok(), || {
                (at("regions"), known.err().map(|error| error.to_string()).unwrap_or_default())
            });
        }
    }

    fn loads(&mut self) {
        for (place, load) in self.scenario.load.clone().into_iter().enumerate() {
            let at = |key| vec![Step::Key("load"), Step::At(place), Step::Key(key)];
            self.want(load.rate > 0.0 && load.rate <= 1e6, || {
                (at("rate"), format!("{}; expected transactions a second, above 0 and at most 1000000", load.rate))
            });
            let most = max_transaction_bytes(&self.scenario.params, self.scenario.committee.members);
            self.want((8..=most).contains(&load.bytes), || {
                (at("bytes"), format!("{}; expected 8 to {most}, which fits a batch", load.bytes))
            });
            self.want((1..=10_000).contains(&load.burst), || {
                (at("burst"), format!("{}; expected 1 to 10000", load.burst))
            });
            let operators = self.scenario.operators();
            self.want((1..=operators).contains(&load.copies), || {
                (at("copies"), format!("{}; expected 1 to {operators}", load.copies))
            });
            for node in load.nodes.iter().copied() {
                self.node(at("nodes"), node, operators, "an operator");
            }
        }
    }

    fn faults(&mut self) {
        for (place, fault) in self.scenario.fault.clone().into_iter().enumerate() {
            let path = |steps: &[&'static str]| {
                let mut path = vec![Step::Key("fault"), Step::At(place)];
                path.extend(steps.iter().map(|key| Step::Key(key)));
                path
            };
            let duration = self.scenario.duration_ms;
            self.want(fault.at_ms < duration, || {
                (path(&["at_ms"]), format!("{} ms; expected a time before the end at {duration}", fault.at_ms))
            });
            let count = fault.kinds().len();
            self.want(count == 1, || {
                let known = "crash, pause, cut, partition, loss, slow_link, slow_disk, slow_cpu, clock, \
                             disk_low, l1_lag, crash_proposers";
                (path(&[]), format!("a fault of {count} kinds; expected exactly one of {known}"))
            });
            for (key, nodes) in fault.kinds() {
                for node in nodes {
                    self.node(path(&[key]), node, self.scenario.nodes(), "a node");
                }
            }
            if let Some(loss) = &fault.loss {
                self.want(loss.per_mille <= 1_000, || {
                    (path(&["loss", "per_mille"]), format!("{}; expected 0 to 1000", loss.per_mille))
                });
            }
            if let Some(crash) = &fault.crash {
                self.want(crash.stale_since_ms <= fault.at_ms, || {
                    let since = crash.stale_since_ms;
                    (path(&["crash"]), format!("a disk from {since} ms; expected one from before {} ms", fault.at_ms))
                });
            }
        }
    }

    fn byzantine(&mut self) {
        for (place, spec) in self.scenario.byzantine.clone().into_iter().enumerate() {
            let at = |key| vec![Step::Key("byzantine"), Step::At(place), Step::Key(key)];
            self.node(at("node"), spec.node, self.scenario.operators(), "an operator");
        }
    }
}

impl FaultSpec {
    /// The nodes that it is about; none if it is about all.
    pub fn nodes(&self) -> Vec<usize> {
        self.kinds().into_iter().flat_map(|(_, nodes)| nodes).collect()
    }

    /// The kinds that are set, with the nodes that each names.
    fn kinds(&self) -> Vec<(&'static str, Vec<usize>)> {
        let all = [
            ("crash", self.crash.as_ref().map(|fault| vec![fault.node])),
            ("pause", self.pause.as_ref().map(|fault| vec![fault.node])),
            ("cut", self.cut.as_ref().map(|fault| vec![fault.from, fault.to])),
            ("partition", self.partition.as_ref().map(|fault| fault.groups.concat())),
            ("loss", self.loss.as_ref().map(|_| Vec::new())),
            ("slow_link", self.slow_link.as_ref().map(|fault| vec![fault.node])),
            ("slow_disk", self.slow_disk.as_ref().map(|fault| vec![fault.node])),
            ("slow_cpu", self.slow_cpu.as_ref().map(|fault| vec![fault.node])),
            ("clock", self.clock.as_ref().map(|fault| vec![fault.node])),
            ("disk_low", self.disk_low.as_ref().map(|fault| vec![fault.node])),
            ("l1_lag", self.l1_lag.as_ref().map(|fault| fault.node.into_iter().collect())),
            ("crash_proposers", self.crash_proposers.as_ref().map(|_| Vec::new())),
        ];
        all.into_iter().filter_map(|(key, nodes)| Some((key, nodes?))).collect()
    }
}
