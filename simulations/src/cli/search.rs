//! `squad-sim campaign`, `shrink` and `sweep`.

use super::run::read;
use crate::campaign::{Campaign, Found, failure_file};
use crate::progress::{Done, Progress};
use crate::simulation::Verdict;
use crate::sweep::Sweep;
use anyhow::Context as _;
use std::path::Path;

/// Runs a campaign. Whether everything held.
pub(super) fn campaign(campaign: &Campaign, json: bool) -> anyhow::Result<bool> {
    let shown = Progress::new("seeds", json);
    let progress = |found: &Found, total: u64| {
        let violated = found.violated.len() as u64;
        shown.tell(Done { runs: found.runs, total, violated, beyond: found.beyond });
    };
    // A panic of the code under test becomes a violation; its message is in the results.
    std::panic::set_hook(Box::new(|_| {}));
    let found = campaign.run(&progress).with_context(|| format!("cannot write into {}", campaign.out.display()))?;
    drop(std::panic::take_hook());
    shown.end();
    if json {
        let summary = serde_json::json!({
            "runs": found.runs, "held": found.held, "beyond": found.beyond, "violated": found.violated,
            "virtual_ms": found.virtual_ms,
        });
        println!("{summary:#}");
    } else {
        println!(
            "{} runs, {:.0} virtual seconds: {} held, {} went beyond what is promised, {} violated",
            found.runs,
            found.virtual_ms as f64 / 1e3,
            found.held,
            found.beyond,
            found.violated.len()
        );
        for seed in &found.violated {
            println!("  seed {seed}: {}", campaign.out.join(format!("failure-{seed}.toml")).display());
        }
    }
    Ok(found.violated.is_empty())
}

/// Shrinks a failing scenario. Whether it fails.
pub(super) fn shrink(path: &Path) -> anyhow::Result<bool> {
    let scenario = read(path)?;
    std::panic::set_hook(Box::new(|_| {}));
    let smaller = crate::shrink::shrink(&scenario, &mut |scenario, runs| {
        eprintln!(
            "{runs} runs: {} ms, {} faults, {} misbehave, {} loads",
            scenario.duration_ms,
            scenario.fault.len(),
            scenario.byzantine.len(),
            scenario.load.len()
        );
    });
    drop(std::panic::take_hook());
    let Some((scenario, outcome, runs)) = smaller? else {
        println!("{} does not fail", path.display());
        return Ok(false);
    };
    let Verdict::Violated(failure) = &outcome.verdict else { return Ok(false) };
    let out = path.with_extension("small.toml");
    std::fs::write(&out, failure_file(&scenario, &outcome, &failure.violation.to_string()))
        .with_context(|| format!("cannot write {}", out.display()))?;
    println!("{} after {runs} runs: {}", out.display(), failure.violation);
    Ok(true)
}

/// Runs a sweep. Whether everything held.
pub(super) fn sweep(
    path: &Path,
    set: &[String],
    seeds: (u64, u64),
    shard: (u64, u64),
    jobs: usize,
    out: &Path,
) -> anyhow::Result<bool> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let sweep = Sweep::new(&text, set, seeds.0..seeds.1 + 1, shard)?;
    let total = sweep.points.len();
    let shown = Progress::new("points", false);
    let held = sweep.run(jobs, out, &|done, violated| {
        if let Some(line) = violated {
            shown.note(line);
        }
        shown.tell(done);
    })?;
    shown.end();
    println!("{total} points in {}", out.join("sweep.csv").display());
    Ok(held)
}
