//! `squad doctor`: looks at everything that keeps a node from running well, and says what to do about it.

mod machine;
mod node;
mod settlement;

use super::{NodeArgs, Output, clock};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// `squad doctor`
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The node to look at, configured as for `squad node`.
    #[command(flatten)]
    pub node: Box<NodeArgs>,
    /// Other operators' JSON-RPC, to compare the clock with; with commas between
    #[arg(long, value_delimiter = ',', value_name = "URLS")]
    pub compare: Vec<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// The node runs, but not as it should.
    Warn,
    /// The node does not run.
    Fail,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// What was found, and unless it is fine, what to do.
    pub(super) detail: String,
}

pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Ok, detail: detail.into() }
}

pub(super) fn warn(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Warn, detail: detail.into() }
}

pub(super) fn fail(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Fail, detail: detail.into() }
}

pub(super) async fn run(args: DoctorArgs, output: Output) -> anyhow::Result<ExitCode> {
    let checks = examine(args).await;
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    output.result(&serde_json::json!({ "verdict": worst, "checks": checks }), || {
        let line = |check: &Check| {
            let mark = match check.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            format!("{mark}  {:<11}{}", check.name, check.detail)
        };
        checks.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if worst == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(args: DoctorArgs) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(offset_ms) = args.node.insecure_clock_offset_ms {
        clock::pretend(offset_ms);
    }
    match args.node.load() {
        Err(error) => checks.push(fail("config", error.to_string())),
        Ok(config) => {
            checks.push(ok("config", format!("data in {}", config.data_dir.display())));
            checks.extend(node::examine(&config).await);
            checks.push(machine::disk(&config.data_dir, config.min_free_bytes));
        }
    }
    checks.push(machine::files());
    checks.push(machine::clock(&args.compare).await);
    checks
}

#[cfg(test)]
mod tests;
