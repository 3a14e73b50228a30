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
    /// Cores that each simulated operator has; what is there is shared among them if it is not said.
    pub cores: Option<usize>,
    /// The simulation's seed.
    pub seed: u64,
    /// Where everything goes.
    pub out: PathBuf,
}

/// What a calibration found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What was run.
    pub workload: Workload,
    /// What was measured of the machine.
    pub machine: Machine,
    /// Transactions that count and were sent to the processes.
    pub offered: u64,
    /// Of those, how many were answered as they should.
    pub accepted: u64,
    /// Transactions that count and were sent in the simulation.
    pub simulated: usize,
    /// Of those, how many were ordered.
    pub simulated_ordered: usize,
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
        let mut machine = Machine::measure(&self.out, self.workload.operators, self.cores)?;
        let devnet = Devnet::start(&self.squad, &self.workload, &self.out.join("devnet"))?;
        machine.client_us = machine::round_trip(devnet.rpc(0)?)?;
        let bench = devnet.bench(&self.squad, &self.workload, &self.out)?;
        let params = devnet.params()?;
        devnet.stop()?;
        let measured = processes::read(&bench.latencies)?;

        let run = simulated::Run {
            workload: &self.workload,
            machine: &machine,
            params,
            at_once: bench.at_once,
            seed: self.seed,
        };
        let simulated = run.latencies(&self.out)?;
        let comparison = Comparison::new(measured, simulated.latencies);
        let found = Found {
            workload: self.workload.clone(),
            machine,
            offered: bench.offered,
            accepted: bench.accepted,
            simulated: simulated.sent,
            simulated_ordered: simulated.ordered,
            comparison,
        };
        self.write(&found)?;
        Ok(found)
    }

    fn write(&self, found: &Found) -> anyhow::Result<()> {
        write(&self.out.join("calibration.json"), &serde_json::to_string_pretty(found)?)?;
        write(&self.out.join("calibration.csv"), &found.comparison.csv())?;
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
        format!(
            "{operators} operators {place}, {rate} transactions/s of {bytes} bytes, {duration} s\n{}\n{}\n{}",
            self.machine.text(),
            format_args!(
                "processes: {} of {} answered; simulator: {} of {} ordered",
                self.accepted, self.offered, self.simulated_ordered, self.simulated
            ),
            self.comparison.text()
        )
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
