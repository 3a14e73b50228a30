//! `squad-sim campaign`, `shrink` and `sweep`.

use super::Ended;
use super::run::read;
use crate::campaign::{Campaign, Found, failure_file};
use crate::progress::{Done, Progress, note};
use crate::simulation::{Verdict, quiet_guarded_panics};
use crate::sweep::Sweep;
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::Path;

/// Runs a campaign.
pub(super) fn campaign(campaign: &Campaign, json: bool) -> anyhow::Result<Ended> {
    let shown = Progress::new("seeds", json);
    let progress = |found: &Found, total: u64| {
        let violated = found.violated.len() as u64;
        shown.tell(Done { runs: found.runs, total, violated, beyond: found.beyond });
    };
    quiet_guarded_panics();
    let found = campaign.run(&progress).with_context(|| format!("cannot write into {}", campaign.out.display()))?;
    shown.end();
    let text = if json {
        let summary = serde_json::json!({
            "runs": found.runs, "held": found.held, "beyond": found.beyond, "violated": found.violated,
            "virtual_ms": found.virtual_ms,
        });
        format!("{summary:#}\n")
    } else {
        let mut text = format!(
            "{} runs, {:.0} virtual seconds: {} held, {} went beyond what is promised, {} violated\n",
            found.runs,
            found.virtual_ms as f64 / 1e3,
            found.held,
            found.beyond,
            found.violated.len()
        );
        for seed in &found.violated {
            let _ = writeln!(text, "  seed {seed}: {}", campaign.out.join(format!("failure-{seed}.toml")).display());
        }
        text
    };
    Ok(Ended { text, held: found.violated.is_empty() })
}

/// Shrinks a failing scenario. It holds if it does fail.
pub(super) fn shrink(path: &Path) -> anyhow::Result<Ended> {
    let scenario = read(path)?;
    quiet_guarded_panics();
    let smaller = crate::shrink::shrink(&scenario, &mut |scenario, runs| {
        note(format_args!(
            "{runs} runs: {} ms, {} faults, {} misbehave, {} loads",
            scenario.duration_ms,
            scenario.fault.len(),
            scenario.byzantine.len(),
            scenario.load.len()
        ));
    });
    let Some((scenario, outcome, runs)) = smaller? else {
        return Ok(Ended { text: format!("{} does not fail\n", path.display()), held: false });
    };
    let Verdict::Violated(failure) = &outcome.verdict else { return Ok(Ended { text: String::new(), held: false }) };
    let what = failure.violation.to_string();
    let out = path.with_extension("small.toml");
    std::fs::write(&out, failure_file(&scenario, &outcome, &what))
        .with_context(|| format!("cannot write {}", out.display()))?;
    Ok(Ended::well(format!("{} after {runs} runs: {what}\n", out.display())))
}

/// Runs a sweep.
pub(super) fn sweep(
    path: &Path,
    set: &[String],
    seeds: (u64, u64),
    shard: (u64, u64),
    jobs: usize,
    out: &Path,
) -> anyhow::Result<Ended> {
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
    Ok(Ended { text: format!("{total} points in {}\n", out.join(crate::sweep::CSV).display()), held })
}
