//! `squad status`

use super::Output;
use super::remote::{Remote, RemoteArgs};
use crate::api::{NodeStatus, Percentiles, Readiness};
use clap::Args;

/// `squad status`
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The operator.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

pub(super) async fn run(args: StatusArgs, output: Output) -> anyhow::Result<()> {
    let status: NodeStatus = Remote::new(&args.remote.rpc)?.call("squad_status", Vec::new()).await?;
    output.result(&status, || describe(&status))
}

fn percentiles(name: &str, value: Percentiles) -> String {
    format!("  {name:<15}{:>9.1}{:>9.1}{:>9.1}", value.p50, value.p90, value.p99)
}

fn describe(status: &NodeStatus) -> String {
    let readiness = match &status.readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::Starting => "starting".to_owned(),
        Readiness::CatchingUp { target } => format!("catching up to height {target}"),
        Readiness::Refusing { reason } => format!("refusing transactions: {reason}"),
    };
    let member = if status.in_committee { "in the committee" } else { "not in the committee" };
    let age = status.clock.since(status.tip_time);
    let mut lines = vec![
        format!("{}  {}  {readiness}", status.network, status.network_id),
        format!("operator {}, {member} of {}", status.operator, status.committee_size),
        format!("height {}  round {}  epoch {}  last block {age} ms ago", status.height, status.round, status.epoch),
        format!(
            "peers {}  evidence {}  ordered since start {}",
            status.peers.len(),
            status.evidence,
            status.traffic.ordered_transactions
        ),
        format!(
            "pool {} transactions, {} bytes; own lane {} of {} bytes",
            status.traffic.pool_transactions,
            status.traffic.pool_bytes,
            status.traffic.own_lane_bytes,
            status.traffic.own_lane_limit_bytes
        ),
        format!("  {:<15}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p90", "p99"),
        percentiles("batched", status.latencies.batched),
        percentiles("secured", status.latencies.secured),
        percentiles("ordered", status.latencies.ordered),
        percentiles("between blocks", status.latencies.block_interval),
    ];
    lines.extend(status.namespaces.iter().map(|namespace| {
        format!(
            "namespace {} {}: {} ordered, {} taken here, {} refused",
            namespace.id,
            namespace.name,
            namespace.ordered_transactions,
            namespace.admitted_transactions,
            namespace.refused_transactions
        )
    }));
    lines.extend(status.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}
