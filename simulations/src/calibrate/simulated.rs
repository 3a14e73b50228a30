//! The same workload in virtual time.

use super::compare::{LATENCIES, Latencies, TIERS};
use super::{Clients, Effort, Machine, Workload};
use crate::scenario::{CommitteeSpec, Costs, LoadSpec, NetworkSpec, NodeSpec, Scenario, Space};
use crate::simulation::{Simulation, Verdict};
use crate::table::Table;
use anyhow::{Context as _, bail};
use squad_types::Params;
use std::path::Path;

/// What a simulation needs to know.
pub(super) struct Run<'a> {
    pub(super) workload: &'a Workload,
    pub(super) machine: &'a Machine,
    pub(super) params: Params,
    /// Transactions that are sent together.
    pub(super) at_once: usize,
    /// What operators take for each message beyond the table of costs, in microseconds.
    pub(super) driver_us: u64,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Simulated {
    pub(super) latencies: Latencies,
    /// Transactions that count.
    pub(super) sent: usize,
    /// Of those, how many their clients saw ordered.
    pub(super) ordered: usize,
    /// And how many their operators refused.
    pub(super) refused: usize,
    pub(super) effort: Effort,
    /// Messages that an operator takes in a block.
    pub(super) messages: f64,
}

impl Run<'_> {
    fn scenario(&self) -> Scenario {
        let Workload { operators, regions, rate, bytes, duration, warmup } = self.workload;
        Scenario {
            name: "calibration".to_owned(),
            seed: self.seed,
            duration_ms: (warmup + duration) * 1_000,
            settle_ms: 20_000,
            committee: CommitteeSpec { members: *operators, ..CommitteeSpec::default() },
            params: self.params.clone(),
            network: NetworkSpec {
                delay_ms: self.machine.loopback_us as f64 / 1e3,
                jitter_ms: 0.0,
                // As a connection keeps its bytes in order.
                in_order: true,
                regions: regions.clone(),
                ..NetworkSpec::default()
            },
            node: NodeSpec {
                costs: Costs::Measured,
                cores: self.machine.cores,
                driver_us: self.driver_us,
                sync_quantiles_us: self.machine.sync_quantiles_us.clone(),
                // What others' work costs an operator is in them.
                wake_us: self.machine.wake_us,
                ..NodeSpec::default()
            },
            load: vec![LoadSpec {
                nodes: Vec::new(),
                rate: *rate as f64,
                bytes: *bytes,
                burst: self.at_once,
                copies: 1,
                namespace: Space::Bytes,
                from_ms: 0,
                until_ms: None,
            }],
            fault: Vec::new(),
            byzantine: Vec::new(),
        }
    }

    /// Runs it, and writes the scenario and each latency into a directory.
    pub(super) fn latencies(&self, out: &Path) -> anyhow::Result<Simulated> {
        let scenario = self.scenario();
        super::write(&out.join("scenario.toml"), &scenario.to_toml())?;
        let begins = crate::cluster::START.plus_ms(self.workload.warmup * 1_000);
        let mut simulation = Simulation::new(scenario)?;
        simulation.cluster.watch.clients = Some(Clients::default());
        let outcome = simulation.run_guarded();
        if let Verdict::Violated(failure) = &outcome.verdict {
            bail!("the simulation failed, {} µs after its start: {}", failure.at_us, failure.violation);
        }
        let clients = simulation.cluster.watch.clients.take().context("nobody watched for the clients")?;
        let cluster = &simulation.cluster;
        let nodes = cluster.nodes.len();
        let blocks = cluster.invariants.blocks().count().max(1) as f64;
        let cpu_us: u64 = (0..nodes).filter_map(|node| cluster.cpu_micros(node)).sum();
        let mut simulated = Simulated {
            latencies: Latencies::default(),
            sent: 0,
            ordered: 0,
            refused: 0,
            effort: Effort {
                blocks_per_s: blocks / (self.workload.warmup + self.workload.duration) as f64,
                cpu_us: cpu_us as f64 / nodes as f64 / blocks,
            },
            messages: cluster.traffic.handled_in_all() as f64 / nodes as f64 / blocks,
        };
        let mut table = Table::new(&LATENCIES);
        let mut sent: Vec<_> = simulation.sent.iter().filter(|(_, sent)| sent.at >= begins).collect();
        sent.sort_by_key(|(id, sent)| (sent.at, **id));
        for (id, sent) in sent {
            simulated.sent += 1;
            let times = clients.times(sent.node, id);
            simulated.ordered += usize::from(times[2].is_some());
            simulated.refused += usize::from(simulation.cluster.invariants.was_refused(id));
            for (tier, at) in times.into_iter().enumerate().filter_map(|(tier, at)| Some((tier, at?))) {
                // A client asks and is answered over loopback by programs that have to wake up for it.
                let took = at.0 - sent.at.0 + self.machine.client_us;
                simulated.latencies[tier].push(took);
                let due = sent.at.0 - crate::cluster::START.0;
                table.push([due.into(), sent.node.into(), TIERS[tier].into(), took.into()])?;
            }
        }
        table.write(out, "simulated")?;
        Ok(simulated)
    }
}
