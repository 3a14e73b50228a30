//! An open-loop load generator.
//!
//! `targets` finds the operators, `schedule` says when which transaction is due, `load` makes them, `stream` sends them
//! and reads the answers, `tally` counts those, `cost` looks at the operators' processes, `report` prints. `compare` does
//! all that for two networks in turns.
//!
//! Open loop: what is due is sent whatever became of what was sent before, and its latency counts from when it was due.
//! So operators that stall for a second show that second in the latencies of everything that was due in it. An answer
//! comes once, at the tier that its transaction waits for; therefore a sample of the transactions waits for the lower
//! tiers. Achieved is the rate at which accepting answers arrived.

mod args;
mod compare;
mod cost;
mod histogram;
mod latencies;
mod load;
mod report;
mod schedule;
mod stream;
mod tally;
mod targets;

pub use args::BenchArgs;

use crate::cli::line;
use cost::Cost;
use latencies::Latencies;
use load::{Load, Opaque, Senders};
use report::Report;
use schedule::Schedule;
use squad_types::{NamespaceKind, NamespaceSpec};
use std::time::{Duration, Instant};
use stream::Calls;
use targets::{ChainClock, Targets};

/// How long answers may take after the last transaction: longer than an operator lets a submission wait for its tier.
const LAST_ANSWERS: Duration = Duration::from_secs(20);
/// How long an executor has to execute what was ordered last.
const LAST_EXECUTION: Duration = Duration::from_secs(5);
/// Time for the calls to open before the first transaction is due.
const OPENING: Duration = Duration::from_millis(200);

/// Offers load to operators and prints what became of it.
///
/// # Errors
/// Targets that cannot be reached, an unknown namespace, more than can be made beforehand.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    let json = args.json;
    let (value, text) = if args.compare.is_empty() { measure(args).await? } else { compare::run(args).await? };
    if json { line(value) } else { line(text) }
}

async fn measure(mut args: BenchArgs) -> anyhow::Result<(serde_json::Value, String)> {
    let targets = Targets::find(&args)?;
    let (spec, window) = targets.namespace(&args.namespace).await?;
    let latencies = args.latencies.as_deref().map(Latencies::create).transpose()?;
    let each = per_target(&args, &spec, targets.urls.len());
    let calls = Calls::new(&targets.urls, each, latencies.is_some())?;
    let schedule = Schedule::new(&args, calls.len(), args.size);
    let (load, senders) = prepare(&args, &spec, &targets, &schedule, calls.len()).await?;
    let validity = match spec.kind {
        // Most of the window: the operators' chain time may be ahead of the last that was heard.
        NamespaceKind::Opaque => Some((ChainClock::start(&targets.urls).await?, window * 8 / 10)),
        NamespaceKind::Evm { .. } => None,
    };
    let load_before = cost::load_average();
    let start = Instant::now() + OPENING;
    let open = calls.open(schedule, start);
    let pacing = calls.pace(schedule, load, &spec, validity, start);

    let began = start + schedule.warmup();
    tokio::time::sleep_until(began.into()).await;
    let before = Cost::look(&targets.pids, &targets.metrics).await;
    tokio::time::sleep_until((start + schedule.end()).into()).await;
    let after = Cost::look(&targets.pids, &targets.metrics).await;
    let (pace, sent, unsent) = pacing.await?;
    calls.close();
    // What is not answered by then counts as unanswered.
    let _ = tokio::time::timeout(LAST_ANSWERS, open.join_all()).await;

    let mut outcome = calls.outcome();
    (outcome.tally.sent, outcome.tally.unsent) = (sent, unsent);
    if let Some(file) = latencies {
        file.write(outcome.tally.each.as_deref().unwrap_or_default(), targets.urls.len())?;
    }
    let executed = match &senders {
        Some(senders) => executed(senders, schedule.groups() * schedule.group).await?,
        None => None,
    };
    args.pids.clone_from(&targets.pids);
    let report = Report {
        args: &args,
        spec: &spec,
        schedule,
        outcome,
        pace,
        cost: (before, after),
        measured: schedule.end() - schedule.warmup(),
        executed,
        targets: targets.urls.len(),
        load_average: (load_before, cost::load_average()),
    };
    Ok((report.json(), report.text()))
}

/// Calls to each target: as asked for, but no more than there are accounts to send transfers from.
fn per_target(args: &BenchArgs, spec: &NamespaceSpec, targets: usize) -> u32 {
    match spec.kind {
        NamespaceKind::Opaque => args.streams,
        NamespaceKind::Evm { .. } => {
            let most = squad_executor::dev_accounts().len() / targets.max(1);
            args.streams.min(u32::try_from(most).unwrap_or(u32::MAX)).max(1)
        }
    }
}

async fn prepare(
    args: &BenchArgs,
    spec: &NamespaceSpec,
    targets: &Targets,
    schedule: &Schedule,
    streams: usize,
) -> anyhow::Result<(Load, Option<Senders>)> {
    match spec.kind {
        NamespaceKind::Opaque => Ok((Load::Opaque(Opaque::new(args.size)), None)),
        NamespaceKind::Evm { chain_id } => {
            let senders = Senders::find(streams, targets.executor.as_deref()).await?;
            let load = senders.sign(schedule, chain_id)?;
            Ok((load, Some(senders)))
        }
    }
}

/// Transfers executed by the time that the executor has caught up, or has had time to.
async fn executed(senders: &Senders, expected: u64) -> anyhow::Result<Option<u64>> {
    let end = Instant::now() + LAST_EXECUTION;
    loop {
        let executed = senders.executed().await?;
        if executed.is_none_or(|executed| executed >= expected) || Instant::now() > end {
            return Ok(executed);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests;
