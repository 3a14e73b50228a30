//! The simulator against real processes: one workload in both, and their latencies side by side.
//!
//! `processes` starts a devnet and the load generator and reads what clients measured; `machine` measures what of this
//! machine the simulator has to be told; `simulated` runs the same in virtual time and looks at it as those clients would;
//! `compare` sets the two side by side.

mod clients;
mod compare;
mod machine;
mod processes;
mod simulated;

pub use clients::Clients;
pub use compare::{Comparison, Row, TIERS, Within};
pub use machine::Machine;
use machine::Probe;

use crate::report;
use anyhow::{Context as _, ensure};
use processes::Devnet;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is run in both.
#[derive(Clone, Debug, Serialize)]
pub struct Workload {
    /// Operators of equal stake.
    pub operators: usize,
    /// Where they are, in turns; next to each other if there are none.
    pub regions: Vec<String>,
    /// Transactions a second.
    pub rate: u64,
    /// Bytes of each.
    pub bytes: usize,
    /// Seconds that count.
    pub duration: u64,
    /// Seconds of the same load before them.
    pub warmup: u64,
}

/// A calibration.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The program that operators run.
    pub squad: PathBuf,
    /// What is run.
    pub workload: Workload,
    /// Cores of each simulated operator; as many as there are if it is not said.
    pub cores: Option<usize>,
    /// The simulation's seed.
    pub seed: u64,
    /// Where everything goes.
    pub out: PathBuf,
}

/// What agreement on a block takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Effort {
    /// Blocks a second.
    pub blocks_per_s: f64,
    /// Processor time of one operator for one block, in microseconds.
    pub cpu_us: f64,
}

/// What a calibration found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What was run.
    pub workload: Workload,
    /// What was measured of the machine.
    pub machine: Machine,
    /// What operators' processes say that a durable write took on average, in microseconds.
    pub process_sync_us: f64,
    /// Blocks and processor time of the processes.
    pub processes: Effort,
    /// The same in the simulator by its table of costs alone.
    pub table: Effort,
    /// What was added for each message that arrives, in microseconds, so that processor times agree.
    pub driver_us: u64,
    /// Blocks and processor time of the simulator with that.
    pub simulator: Effort,
    /// Transactions that count and were sent to the processes.
    pub offered: u64,
    /// Of those, how many were answered as they should.
    pub accepted: u64,
    /// And how many an operator refused, for instance because it was catching up.
    pub refused: u64,
    /// Transactions that count and were sent in the simulation.
    pub simulated: usize,
    /// Of those, how many were ordered.
    pub simulated_ordered: usize,
    /// And how many a simulated operator refused.
    pub simulated_refused: usize,
    /// The latencies.
    pub comparison: Comparison,
}

impl Calibration {
    /// Runs both and writes what came of it into the directory.
    pub fn run(&self) -> anyhow::Result<Found> {
        ensure!(
            self.squad.is_file(),
            "there is no program {}: build it (cargo build --release -p squad-node), or say with --squad where it is",
            self.squad.display()
        );
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make the directory {}", self.out.display()))?;
        let mut machine = Machine::measure(self.cores)?;
        let devnet = Devnet::start(&self.squad, &self.workload, &self.out.join("devnet"))?;
        machine.client_us = machine::round_trip(devnet.rpc(0)?)?;
        let probe = Probe::start(&self.out, devnet.processes());
        let bench = devnet.bench(&self.squad, &self.workload, &self.out);
        probe.end(&mut machine)?;
        let bench = bench?;
        let params = devnet.params()?;
        devnet.stop()?;
        let measured = processes::read(&bench.latencies)?;

        let mut run = simulated::Run {
            workload: &self.workload,
            machine: &machine,
            params,
            at_once: bench.at_once,
            driver_us: 0,
            seed: self.seed,
        };
        // The table's costs were measured part by part. What processes take beyond them is taken from their processor
        // time; latencies are not looked at.
        let table = run.latencies(&self.out)?;
        let beyond = (bench.effort.cpu_us - table.effort.cpu_us) / table.messages.max(1.0);
        run.driver_us = beyond.max(0.0).round() as u64;
        let simulated = run.latencies(&self.out)?;
        let comparison = Comparison::new(measured, simulated.latencies);
        let found = Found {
            workload: self.workload.clone(),
            process_sync_us: bench.sync_us,
            processes: bench.effort,
            table: table.effort,
            driver_us: run.driver_us,
            simulator: simulated.effort,
            machine,
            offered: bench.offered,
            accepted: bench.accepted,
            refused: bench.refused,
            simulated: simulated.sent,
            simulated_ordered: simulated.ordered,
            simulated_refused: simulated.refused,
            comparison,
        };
        self.write(&found)?;
        Ok(found)
    }

    fn write(&self, found: &Found) -> anyhow::Result<()> {
        write(&self.out.join("calibration.json"), &serde_json::to_string_pretty(found)?)?;
        found.comparison.quantiles()?.write(&self.out, "calibration")?;
        report::report(&self.out).map(|_| ())
    }
}

impl Found {
    /// For a terminal.
    pub fn text(&self) -> String {
        let Workload { operators, rate, bytes, duration, .. } = &self.workload;
        let place = match self.workload.regions.as_slice() {
            [] => "next to each other".to_owned(),
            regions => format!("in {}", regions.join(", ")),
        };
        let Self { processes, table, simulator, .. } = self;
        format!(
            "{operators} operators {place}, {rate} transactions/s of {bytes} bytes, {duration} s\n{}\n{}\n{}\n{}",
            self.machine.text(),
            format_args!(
                "an operator's processor time a block: processes {:.0} µs, the table of costs {:.0} µs, with {} µs more a \
                 message {:.0} µs; blocks/s: {:.1}, {:.1}, {:.1}; processes say a durable write took {:.0} µs",
                processes.cpu_us,
                table.cpu_us,
                self.driver_us,
                simulator.cpu_us,
                processes.blocks_per_s,
                table.blocks_per_s,
                simulator.blocks_per_s,
                self.process_sync_us
            ),
            format_args!(
                "processes: {} of {} answered, {} refused; simulator: {} of {} ordered, {} refused",
                self.accepted,
                self.offered,
                self.refused,
                self.simulated_ordered,
                self.simulated,
                self.simulated_refused
            ),
            self.comparison.text()
        )
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
