//! `squad-sim calibrate`.

use super::Ended;
use crate::calibrate::{Calibration, Workload};
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;

/// Run one workload over real processes and in the simulator, and say how near the simulator comes.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// The program that operators run; the one beside this program if it is not given
    #[arg(long, value_name = "PATH")]
    squad: Option<PathBuf>,
    /// How many operators
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    operators: u16,
    /// Where operators are, in turns: AWS regions or sets of them, with commas between; next to each other if it is not
    /// given
    #[arg(long, value_delimiter = ',', value_name = "REGIONS")]
    regions: Vec<String>,
    /// Transactions a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Bytes of each
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    bytes: u32,
    /// Seconds that count
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    duration: u64,
    /// Seconds of the same load before them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: u64,
    /// Cores of each simulated operator; as many as this machine has if it is not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    cores: Option<u16>,
    /// The simulation's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the devnet lies, on the disk that is measured, and where results go
    #[arg(long)]
    out: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Runs both. It holds if the simulator comes near.
pub(super) fn calibrate(args: CalibrateArgs) -> anyhow::Result<Ended> {
    let squad = match args.squad {
        Some(path) => path,
        None => std::env::current_exe().context("cannot find this program's own file")?.with_file_name("squad"),
    };
    let calibration = Calibration {
        squad,
        workload: Workload {
            operators: args.operators.into(),
            regions: args.regions,
            rate: args.rate,
            bytes: args.bytes as usize,
            duration: args.duration,
            warmup: args.warmup,
        },
        cores: args.cores.map(usize::from),
        seed: args.seed,
        out: args.out,
    };
    let found = calibration.run()?;
    let text = if args.json { serde_json::to_string_pretty(&found)? + "\n" } else { found.text() };
    Ok(Ended { text, held: found.comparison.is_near() })
}
