//! What a run leaves behind: a summary, and tables.

use crate::invariants::Most;
use crate::packet::Kind;
use crate::replay::Replay;
use crate::simulation::{Outcome, Simulation, Verdict};
use crate::table::{Column, Table};
use anyhow::Context as _;
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// Of times in microseconds.
    pub fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |per_mille: usize| {
            let place = (micros.len() * per_mille / 1_000).min(micros.len().saturating_sub(1));
            micros.get(place).map_or(0.0, |micros| *micros as f64 / 1_000.0)
        };
        Self { count: micros.len(), p50_ms: at(500), p90_ms: at(900), p99_ms: at(990), max_ms: at(1_000) }
    }
}

/// A run in a few figures.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The scenario's name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// `held`, `beyond` or `violated`.
    pub verdict: &'static str,
    /// What did not hold.
    pub what: String,
    /// A hash over everything that happened.
    pub trace: String,
    /// Virtual seconds.
    pub virtual_seconds: f64,
    /// Seconds that the run took.
    pub wall_seconds: f64,
    /// Events.
    pub events: u64,
    /// Messages that nodes handled.
    pub deliveries: u64,
    /// Those among them that carry batches: batches and answers.
    pub bulk_deliveries: u64,
    /// Seconds of a processor that the run took, where the system says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// The most memory that the whole run took, in MiB, where the system says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// The most that any one node held.
    pub most: Most,
    /// Decided heights.
    pub height: u64,
    /// Heights that took more than one round.
    pub later_rounds: usize,
    /// Transactions sent.
    pub sent: usize,
    /// Transactions refused when they were sent.
    pub refused: usize,
    /// Transactions ordered.
    pub ordered: usize,
    /// From sent to batched at an operator.
    pub batched: Times,
    /// From sent to secured by a quorum.
    pub secured: Times,
    /// From sent to ordered.
    pub ordering: Times,
    /// Bytes that all nodes sent.
    pub bytes: u64,
}

impl Summary {
    /// Of a run that is over.
    pub fn new(simulation: &Simulation, outcome: &Outcome, wall_seconds: f64) -> Self {
        let invariants = &simulation.cluster.invariants;
        let (mut batched, mut secured, mut ordered) = (Vec::new(), Vec::new(), Vec::new());
        for (id, sent) in &simulation.sent {
            let since = |at: Option<crate::queue::Instant>| at.map(|at| at.0.saturating_sub(sent.at.0));
            batched.extend(since(invariants.batched_at(id)));
            secured.extend(since(invariants.secured_at(id)));
            ordered.extend(since(invariants.ordered_at(id)));
        }
        let bulk = [Kind::Batch, Kind::Response];
        let (verdict, what) = match &outcome.verdict {
            Verdict::Held => ("held", String::new()),
            Verdict::Beyond(why) => ("beyond", why.clone()),
            Verdict::Violated(failure) => ("violated", failure.violation.to_string()),
        };
        Self {
            name: simulation.scenario.name.clone(),
            seed: simulation.scenario.seed,
            verdict,
            what,
            trace: format!("{:016x}", outcome.trace),
            virtual_seconds: outcome.virtual_us as f64 / 1e6,
            wall_seconds,
            events: outcome.events,
            deliveries: outcome.deliveries,
            bulk_deliveries: bulk.iter().map(|kind| simulation.cluster.traffic.deliveries[kind.index()]).sum(),
            cpu_seconds: cpu_seconds(),
            memory_mib: memory_mib(),
            most: invariants.most(),
            height: outcome.height,
            later_rounds: invariants.decided_rounds().filter(|round| round.0 > 0).count(),
            sent: simulation.sent.len(),
            refused: invariants.refused_in_all(),
            ordered: invariants.ordered_count(),
            batched: Times::of(batched),
            secured: Times::of(secured),
            ordering: Times::of(ordered),
            bytes: simulation.cluster.traffic.by_kind.iter().map(|amount| amount.bytes).sum(),
        }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let times = |times: &Times| {
            format!(
                "p50 {:>8.1} ms   p90 {:>8.1} ms   p99 {:>8.1} ms   max {:>8.1} ms   ({})",
                times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms, times.count
            )
        };
        let _ = writeln!(out, "{} (seed {}): {}", self.name, self.seed, self.verdict);
        if !self.what.is_empty() {
            let _ = writeln!(out, "  {}", self.what);
        }
        let _ = writeln!(out, "  heights   {} ({} took more than one round)", self.height, self.later_rounds);
        let _ =
            writeln!(out, "  sent      {} transactions, {} ordered, {} refused", self.sent, self.ordered, self.refused);
        let _ = writeln!(out, "  batched   {}", times(&self.batched));
        let _ = writeln!(out, "  secured   {}", times(&self.secured));
        let _ = writeln!(out, "  ordered   {}", times(&self.ordering));
        let (bulk, most) = (self.bulk_deliveries, &self.most);
        let _ = writeln!(
            out,
            "  network   {} messages handled, {bulk} of them with batches; {} bytes sent",
            self.deliveries, self.bytes
        );
        let _ = writeln!(
            out,
            "  a node    held at most {} bytes in its pool, {} in lanes, {} records since a checkpoint, {} outputs that wait, \
             {} proofs",
            most.pool_bytes, most.lane_bytes, most.log_records, most.waiting, most.evidence
        );
        let _ = writeln!(
            out,
            "  run       {:.3} virtual s in {:.3} s, {} events, trace {}",
            self.virtual_seconds, self.wall_seconds, self.events, self.trace
        );
        if let (Some(cpu), Some(memory)) = (self.cpu_seconds, self.memory_mib) {
            let per_second = self.deliveries as f64 / cpu.max(1e-9);
            let _ = writeln!(out, "  cost      {cpu:.3} s of a processor, {per_second:.0} deliveries/s, {memory} MiB");
        }
        out
    }
}

/// Processor time of this thread so far: a run is one thread.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// The most memory of this process so far.
fn memory_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.split_whitespace().next()?.parse::<u64>().ok()? / 1_024)
}

/// Writes a run's tables into a directory. Where transactions stand is known if the run was recorded.
///
/// # Errors
/// What writing gives.
pub fn write_tables(simulation: &Simulation, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the directory {}", out.display()))?;
    transactions(simulation)?.write(out, "transactions")?;
    blocks(simulation)?.write(out, "blocks")?;
    messages(simulation)?.write(out, "messages")?;
    nodes(simulation)?.write(out, "nodes")?;
    let path = out.join("scenario.toml");
    std::fs::write(&path, simulation.scenario.to_toml()).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the forks of a run into a directory, if there were any: what an investigation would begin with.
pub fn write_forks(simulation: &Simulation, out: &Path) -> io::Result<()> {
    let forks = simulation.cluster.invariants.forks();
    if forks.is_empty() {
        return Ok(());
    }
    std::fs::write(out.join("forks.json"), serde_json::to_string_pretty(forks)?)
}

/// Writes what a page needs to replay a run into a directory, if the run was recorded.
pub fn write_record(simulation: &Simulation, summary: &Summary, out: &Path) -> io::Result<()> {
    let Some(recorder) = &simulation.cluster.watch.recorder else { return Ok(()) };
    let text = serde_json::to_string(&Replay::new(simulation, recorder, summary))?;
    std::fs::write(out.join("replay.json"), text)
}

fn since_start(at: crate::queue::Instant) -> u64 {
    at.0.saturating_sub(crate::cluster::START.0)
}

/// Times are since the start. What was never reached is empty; where a transaction stands is, too, if nobody recorded it.
const TRANSACTIONS: [Column; 10] = [
    Column::integer("sent_us"),
    Column::integer("node"),
    Column::integer("bytes"),
    Column::integer("batched_us").or_empty(),
    Column::integer("secured_us").or_empty(),
    Column::integer("ordered_us").or_empty(),
    Column::text("id"),
    Column::integer("namespace").or_empty(),
    Column::integer("height").or_empty(),
    Column::integer("position").or_empty(),
];

fn transactions(simulation: &Simulation) -> anyhow::Result<Table<10>> {
    let invariants = &simulation.cluster.invariants;
    let recorder = simulation.cluster.watch.recorder.as_ref();
    let mut sent: Vec<_> = simulation.sent.iter().collect();
    sent.sort_by_key(|(id, sent)| (sent.at, **id));
    let mut table = Table::new(&TRANSACTIONS);
    for (id, sent) in sent {
        let placed = recorder.and_then(|recorder| recorder.placed(id));
        table.push([
            since_start(sent.at).into(),
            sent.node.into(),
            sent.bytes.into(),
            invariants.batched_at(id).map(since_start).into(),
            invariants.secured_at(id).map(since_start).into(),
            invariants.ordered_at(id).map(since_start).into(),
            id.to_string().into(),
            placed.map(|placed| placed.namespace.0).into(),
            placed.map(|placed| placed.height.0).into(),
            placed.map(|placed| placed.position).into(),
        ])?;
    }
    Ok(table)
}

/// A proposer is empty if it is no operator of this network.
const BLOCKS: [Column; 6] = [
    Column::integer("height"),
    Column::integer("round"),
    Column::integer("proposer").or_empty(),
    Column::integer("decided_us"),
    Column::integer("transactions"),
    Column::integer("bytes"),
];

fn blocks(simulation: &Simulation) -> anyhow::Result<Table<6>> {
    let mut table = Table::new(&BLOCKS);
    for block in simulation.cluster.invariants.blocks() {
        table.push([
            block.height.0.into(),
            block.round.0.into(),
            simulation.cluster.node_of(&block.proposer).into(),
            since_start(block.at).into(),
            block.transactions.into(),
            block.bytes.into(),
        ])?;
    }
    Ok(table)
}

const MESSAGES: [Column; 4] =
    [Column::text("kind"), Column::integer("sent"), Column::integer("bytes"), Column::integer("handled")];

fn messages(simulation: &Simulation) -> anyhow::Result<Table<4>> {
    let traffic = &simulation.cluster.traffic;
    let mut table = Table::new(&MESSAGES);
    for kind in Kind::ALL {
        let amount = traffic.by_kind[kind.index()];
        let handled = traffic.deliveries[kind.index()];
        table.push([kind.name().into(), amount.messages.into(), amount.bytes.into(), handled.into()])?;
    }
    Ok(table)
}

/// Processor time is empty if work costs nothing.
const NODES: [Column; 11] = [
    Column::integer("node"),
    Column::integer("height"),
    Column::integer("up_messages"),
    Column::integer("up_bytes"),
    Column::integer("down_messages"),
    Column::integer("down_bytes"),
    Column::integer("syncs"),
    Column::integer("cpu_us").or_empty(),
    Column::integer("most_inputs_waiting"),
    Column::integer("most_up_backlog"),
    Column::integer("most_down_backlog"),
];

fn nodes(simulation: &Simulation) -> anyhow::Result<Table<11>> {
    let cluster = &simulation.cluster;
    let mut table = Table::new(&NODES);
    for (node, state) in cluster.nodes.iter().enumerate() {
        let (up, down) = (cluster.traffic.up[node], cluster.traffic.down[node]);
        let (most_up, most_down) = cluster.most_backlog(node);
        table.push([
            node.into(),
            cluster.height(node).0.into(),
            up.messages.into(),
            up.bytes.into(),
            down.messages.into(),
            down.bytes.into(),
            state.disk.syncs.into(),
            cluster.cpu_micros(node).into(),
            cluster.most_waiting(node).into(),
            most_up.into(),
            most_down.into(),
        ])?;
    }
    Ok(table)
}
