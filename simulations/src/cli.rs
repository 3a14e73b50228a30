//! The command line of `squad-sim`.

mod calibrate;
mod run;
mod search;

use crate::progress::note;
use crate::report::Lenience;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The shipped sequencer in virtual time: scenarios, campaigns of random plans, sweeps.
#[derive(Debug, Parser)]
#[command(name = "squad-sim", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario and say what became of it.
    Run {
        /// The scenario, a TOML file.
        scenario: PathBuf,
        /// Another seed than the file's.
        #[arg(long)]
        seed: Option<u64>,
        /// Write results into this directory: tables as CSV and as Parquet, the summary, the scenario as it was run.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Write every event into this file, one JSON object a line.
        #[arg(long)]
        trace: Option<PathBuf>,
        /// For the page that replays the run: the virtual milliseconds of which messages and votes are kept, such as
        /// 4000..7000; the whole run if it is not said.
        #[arg(long, value_parser = window, default_value = "0..86400000", hide_default_value = true)]
        window: (u64, u64),
        /// Print the summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a random plan for each of many seeds, with all faults and misbehaviour, and check all invariants.
    Campaign {
        /// The seeds, first and last, such as 1..1000.
        #[arg(long, value_parser = seeds)]
        seeds: (u64, u64),
        /// How large plans are: quick or full.
        #[arg(long, default_value = "quick", value_parser = ["quick", "full"])]
        profile: String,
        /// Which part of how many, such as 0/16: only the seeds whose remainder by the second is the first.
        #[arg(long, value_parser = shard, default_value = "0/1")]
        shard: (u64, u64),
        /// Threads; all cores if it is not said.
        #[arg(long)]
        jobs: Option<usize>,
        /// Where results go; what is there already is not run again.
        #[arg(long)]
        out: PathBuf,
        /// Run every so-many-th seed twice and compare; 0 for never.
        #[arg(long, default_value_t = 25)]
        twice: u64,
        /// End at the first violation.
        #[arg(long)]
        stop_at_first: bool,
        /// Print the summary as JSON, and no progress.
        #[arg(long)]
        json: bool,
    },
    /// Find the smallest plan that still fails as a scenario does. It is written beside it.
    Shrink {
        /// A scenario that fails, such as a campaign's failure-SEED.toml.
        scenario: PathBuf,
    },
    /// Run a scenario for each of several values and seeds.
    Sweep {
        /// The scenario, a TOML file.
        scenario: PathBuf,
        /// A key and its values, such as network.delay_ms=10,50,100. May be given several times: all combinations are run.
        #[arg(long = "set", required = true)]
        set: Vec<String>,
        /// The seeds, first and last, such as 1..20.
        #[arg(long, value_parser = seeds, default_value = "1..1")]
        seeds: (u64, u64),
        /// Which part of how many, such as 3/16.
        #[arg(long, value_parser = shard, default_value = "0/1")]
        shard: (u64, u64),
        /// Threads; all cores if it is not said.
        #[arg(long)]
        jobs: Option<usize>,
        /// Where results go; what is there already is not run again.
        #[arg(long)]
        out: PathBuf,
    },
    /// Make tables and plots of what run --out, sweep or campaign left in a directory; several shards of one sweep or
    /// campaign are merged first.
    Report {
        /// The directory, to which `report.html`, the plots and `replay.html` go; or those of all shards.
        #[arg(required = true)]
        directories: Vec<PathBuf>,
        /// Where shards are merged and the report goes.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Merge although runs are missing.
        #[arg(long)]
        missing: bool,
        /// Merge although shards overlap; a run that is there twice counts once.
        #[arg(long)]
        doubled: bool,
    },
    /// Run one workload over real processes and in the simulator, and say how near the simulator comes.
    Calibrate(calibrate::CalibrateArgs),
    /// Print the plan that a campaign would run for a seed.
    Plan {
        /// The seed.
        seed: u64,
        /// How large plans are: quick or full.
        #[arg(long, default_value = "quick", value_parser = ["quick", "full"])]
        profile: String,
    },
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not a range of seeds; expected first..last, such as 1..1000");
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    // A scenario and a table hold no larger ones.
    if last > i64::MAX as u64 {
        return Err(format!("{last} is too large a seed; the largest is {}", i64::MAX));
    }
    if first > last { Err(wrong()) } else { Ok((first, last)) }
}

fn window(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no stretch of a run; expected first..last in milliseconds, such as 4000..7000");
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first < last { Ok((first, last)) } else { Err(wrong()) }
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not a shard; expected part/parts with part below parts, such as 3/16");
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let (part, parts) = (part.parse().map_err(|_| wrong())?, parts.parse().map_err(|_| wrong())?);
    if part < parts { Ok((part, parts)) } else { Err(wrong()) }
}

fn report(directories: &[PathBuf], out: Option<&Path>, lenience: Lenience) -> anyhow::Result<PathBuf> {
    match (directories, out) {
        ([one], None) => crate::report::report(one),
        (_, Some(out)) => {
            crate::report::merge(directories, out, lenience)?;
            crate::report::report(out)
        }
        (_, None) => anyhow::bail!("{} directories; say with --out where to merge them", directories.len()),
    }
}

/// What a command ends with.
struct Ended {
    /// Goes to standard output.
    text: String,
    /// Whether everything held.
    held: bool,
}

impl Ended {
    fn well(text: String) -> Self {
        Self { text, held: true }
    }
}

/// Runs the command line. The status is 0 if everything held, 2 if not, 1 if it could not be run or nobody reads the output.
pub fn main() -> ExitCode {
    let ended = run(Args::parse().command).and_then(|ended| {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(ended.text.as_bytes()).and_then(|()| out.flush());
        written.context("cannot write to standard output: keep what reads it running, or send it to a file")?;
        Ok(ended.held)
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<Ended> {
    match command {
        Command::Run { scenario, seed, out, trace, window, json } => {
            run::run(&scenario, seed, out.as_deref(), trace.as_deref(), window, json)
        }
        Command::Campaign { seeds, profile, shard, jobs, out, twice, stop_at_first, json } => {
            let campaign = crate::campaign::Campaign {
                seeds: seeds.0..seeds.1 + 1,
                profile: run::profile(&profile),
                shard,
                jobs: jobs.unwrap_or_else(run::cores),
                out,
                twice,
                stop_at_first,
            };
            search::campaign(&campaign, json)
        }
        Command::Shrink { scenario } => search::shrink(&scenario),
        Command::Sweep { scenario, set, seeds, shard, jobs, out } => {
            search::sweep(&scenario, &set, seeds, shard, jobs.unwrap_or_else(run::cores), &out)
        }
        Command::Report { directories, out, missing, doubled } => {
            let page = report(&directories, out.as_deref(), Lenience { missing, doubled })?;
            Ok(Ended::well(format!("{}\n", page.display())))
        }
        Command::Calibrate(args) => calibrate::calibrate(args),
        Command::Plan { seed, profile } => {
            Ok(Ended::well(crate::scenario::draw(seed, run::profile(&profile)).to_toml()))
        }
    }
}
