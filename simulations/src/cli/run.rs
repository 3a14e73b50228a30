//! `squad-sim run`.

use super::Ended;
use crate::campaign::failure_file;
use crate::progress::note;
use crate::replay::Recorder;
use crate::results::{Summary, write_forks, write_record, write_tables};
use crate::scenario::{Profile, Scenario, parse};
use crate::simulation::{Simulation, Verdict};
use crate::trace::Trace;
use anyhow::Context as _;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(super) fn profile(name: &str) -> Profile {
    if name == "full" { Profile::Full } else { Profile::Quick }
}

pub(super) fn read(path: &Path) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).map_err(|problems| anyhow::anyhow!("{} is no scenario:\n{problems}", path.display()))
}

/// Nodes whose states are printed after a violation.
const STATES_SHOWN: usize = 32;

/// Runs a scenario.
pub(super) fn run(
    path: &Path,
    seed: Option<u64>,
    out: Option<&Path>,
    trace: Option<&Path>,
    window: (u64, u64),
    json: bool,
) -> anyhow::Result<Ended> {
    let mut scenario = read(path)?;
    if let Some(seed) = seed {
        scenario.seed = seed;
    }
    if scenario.name.is_empty() {
        scenario.name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    }
    let mut simulation = Simulation::new(scenario)?;
    if let Some(path) = trace {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        simulation.cluster.watch.trace = Some(Trace::new(Box::new(BufWriter::new(file))));
    }
    if out.is_some() {
        let recorder =
            Recorder::new(&simulation.cluster, window.0.saturating_mul(1_000)..window.1.saturating_mul(1_000));
        simulation.cluster.watch.recorder = Some(Box::new(recorder));
    }
    let started = Instant::now();
    let outcome = simulation.run_guarded();
    if let Some(trace) = simulation.cluster.watch.trace.take() {
        trace.finish().context("the trace is not complete")?;
    }
    let summary = Summary::new(&simulation, &outcome, started.elapsed().as_secs_f64());
    if let Verdict::Violated(failure) = &outcome.verdict {
        note(format_args!("violated at event {}, {} µs after the start:", failure.event, failure.at_us));
        failure.states.iter().take(STATES_SHOWN).for_each(|state| note(format_args!("  {state}")));
        if let Some(more) = failure.states.len().checked_sub(STATES_SHOWN).filter(|more| *more > 0) {
            note(format_args!("  and {more} nodes more"));
        }
    }
    if let Some(out) = out {
        write_tables(&simulation, out)?;
        std::fs::write(out.join("summary.json"), serde_json::to_string_pretty(&summary)?)?;
        write_record(&simulation, &summary, out)?;
        write_forks(&simulation, out)?;
        if let Verdict::Violated(failure) = &outcome.verdict {
            let text = failure_file(&simulation.scenario, &outcome, &failure.violation.to_string());
            std::fs::write(out.join("failure.toml"), text)?;
        }
    }
    let text = if json { serde_json::to_string_pretty(&summary)? + "\n" } else { summary.text() };
    Ok(Ended { text, held: !matches!(outcome.verdict, Verdict::Violated(_)) })
}
