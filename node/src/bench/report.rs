//! What a run found, for people and for programs.

use super::cost::Cost;
use super::schedule::Schedule;
use super::stream::{Outcome, Pace};
use serde_json::{Value, json};
use squad_types::{NamespaceKind, NamespaceSpec, Tier};
use std::fmt::Write as _;
use std::time::Duration;

/// Everything that is known after a run.
pub(super) struct Report<'a> {
    pub(super) args: &'a super::BenchArgs,
    pub(super) spec: &'a NamespaceSpec,
    pub(super) schedule: Schedule,
    pub(super) outcome: Outcome,
    pub(super) pace: Pace,
    /// What the measured time began and ended with.
    pub(super) cost: (Cost, Cost),
    /// How long it was.
    pub(super) measured: Duration,
    /// Transfers that an executor executed, the warm-up's included.
    pub(super) executed: Option<u64>,
    pub(super) targets: usize,
    pub(super) load_average: (Option<f64>, Option<f64>),
}

const TIERS: [Tier; 3] = [Tier::Batched, Tier::Secured, Tier::Ordered];

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl Report<'_> {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.as_secs_f64().max(f64::EPSILON)
    }

    fn offered(&self) -> u64 {
        self.outcome.tally.sent + self.outcome.tally.unsent
    }

    fn achieved(&self) -> f64 {
        self.per_second(self.outcome.tally.arrived)
    }

    /// CPU seconds of each operator in the measured time; none for one that is not there.
    fn cpu(&self) -> Vec<Option<f64>> {
        let (before, after) = &self.cost;
        before.cpu.iter().zip(&after.cpu).map(|(before, after)| Some(((*after)? - (*before)?).max(0.0))).collect()
    }

    /// CPU microseconds of all operators together for each transaction accepted.
    fn cpu_micros(&self) -> Option<f64> {
        let cpu = self.cpu().into_iter().collect::<Option<Vec<f64>>>()?;
        (!cpu.is_empty() && self.outcome.tally.arrived > 0)
            .then(|| cpu.iter().sum::<f64>() * 1e6 / self.outcome.tally.arrived as f64)
    }

    fn latencies(&self) -> impl Iterator<Item = (Tier, Value)> {
        TIERS.into_iter().filter_map(|tier| {
            let found = self.outcome.tally.latency(tier);
            let ms = |share| rounded(found.quantile_ms(share));
            (found.count() > 0).then(|| {
                let value = json!({
                    "count": found.count(),
                    "p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "max": rounded(found.max_ms()),
                });
                (tier, value)
            })
        })
    }

    fn operators(&self) -> Value {
        let (before, after) = &self.cost;
        let seconds = self.measured.as_secs_f64();
        let cpu = self.cpu();
        let total: f64 = cpu.iter().flatten().sum();
        let pids = self.pids();
        let processes = cpu.iter().zip(&after.resident).zip(&pids).map(|((cpu, resident), pid)| {
            json!({ "pid": pid, "cpu_seconds": cpu.map(rounded), "resident_mb": resident.map(|b| rounded(b / 1e6)) })
        });
        let mut value = json!({
            "cpu_us_per_tx": self.cpu_micros().map(rounded),
            "cpu_cores": (!cpu.is_empty()).then(|| rounded(total / seconds)),
            "processes": processes.collect::<Vec<_>>(),
        });
        if let Some((before, after)) = before.counters.zip(after.counters)
            && before.operators == after.operators
        {
            let writes = after.durable_writes - before.durable_writes;
            let took = after.durable_seconds - before.durable_seconds;
            value["durable_writes_per_s"] = json!(rounded(writes / seconds));
            value["durable_write_mean_ms"] = json!((writes > 0.0).then(|| rounded(took * 1_000.0 / writes)));
            value["blocks_per_s"] =
                json!(rounded((after.blocks - before.blocks) / seconds / f64::from(after.operators)));
            value["extra_rounds"] = json!(after.extra_rounds - before.extra_rounds);
            value["bytes_to_peers_per_s"] = json!(rounded((after.bytes_out - before.bytes_out) / seconds));
        }
        value
    }

    fn pids(&self) -> Vec<Option<u32>> {
        // Set by `run`, in the order of the costs.
        let mut pids: Vec<Option<u32>> = self.args.pids.iter().copied().map(Some).collect();
        pids.resize(self.cost.0.cpu.len(), None);
        pids
    }

    /// One object with everything.
    pub(super) fn json(&self) -> Value {
        let tally = &self.outcome.tally;
        let own = self.cost.1.own_cpu - self.cost.0.own_cpu;
        let rejected: serde_json::Map<String, Value> = tally
            .rejected
            .iter()
            .map(|(code, refusals)| (code.clone(), json!({ "count": refusals.count, "reason": refusals.reason })))
            .collect();
        let latencies: serde_json::Map<String, Value> =
            self.latencies().map(|(tier, value)| (tier.to_string(), value)).collect();
        let kind = match self.spec.kind {
            NamespaceKind::Evm { .. } => "evm",
            NamespaceKind::Opaque => "opaque",
        };
        json!({
            "namespace": self.spec.name,
            "kind": kind,
            "size": (kind == "opaque").then_some(self.args.size),
            "targets": self.targets,
            "streams": self.schedule.streams,
            "transactions_at_once": self.schedule.group,
            "tier": self.args.tier,
            "seconds": rounded(self.measured.as_secs_f64()),
            "warmup": self.args.warmup,
            "offered": self.offered(),
            "offered_per_s": rounded(self.per_second(self.offered())),
            "achieved_per_s": rounded(self.achieved()),
            "accepted": tally.accepted,
            "rejected": rejected,
            "unanswered": tally.unanswered(),
            "unsent": tally.unsent,
            "stray_answers": tally.stray,
            "executed": self.executed,
            "latency_ms": latencies,
            "operators": self.operators(),
            "generator": {
                "cpu_cores": rounded(own / self.measured.as_secs_f64()),
                "late_mean_ms": rounded(self.pace.mean.as_secs_f64() * 1_000.0),
                "late_max_ms": rounded(self.pace.latest.as_secs_f64() * 1_000.0),
                "broken_calls": self.outcome.broken,
            },
            "load_average": { "before": self.load_average.0, "after": self.load_average.1 },
        })
    }

    /// A table.
    pub(super) fn text(&self) -> String {
        let (tally, mut text) = (&self.outcome.tally, String::new());
        let what = match self.spec.kind {
            NamespaceKind::Evm { .. } => "signed transfers".to_owned(),
            NamespaceKind::Opaque => format!("transactions of {} bytes", self.args.size),
        };
        let _ = writeln!(
            text,
            "{what} to namespace '{}', {:.0} s after {} s of warm-up, {} calls to {} operators",
            self.spec.name,
            self.measured.as_secs_f64(),
            self.args.warmup,
            self.schedule.streams,
            self.targets
        );
        let _ = writeln!(text, "  offered      {:>12.0} tx/s", self.per_second(self.offered()));
        let _ = writeln!(text, "  achieved     {:>12.0} tx/s, {} accepted", self.achieved(), tally.accepted);
        if let Some(executed) = self.executed {
            let _ = writeln!(text, "  executed     {executed:>12} transfers, warm-up included");
        }
        for (name, count) in [("unanswered", tally.unanswered()), ("unsent", tally.unsent), ("stray", tally.stray)] {
            if count > 0 {
                let _ = writeln!(text, "  {name:<12} {count:>12}");
            }
        }
        for (code, refusals) in &tally.rejected {
            let _ = writeln!(text, "  rejected     {:>12} {code}: {}", refusals.count, refusals.reason);
        }
        for broken in &self.outcome.broken {
            let _ = writeln!(text, "  broken call  {broken}");
        }
        let _ = writeln!(text, "\n  latency, ms  {:>10}{:>10}{:>10}{:>10}{:>12}", "p50", "p90", "p99", "max", "count");
        for (tier, _) in self.latencies() {
            let found = tally.latency(tier);
            let ms = |share| found.quantile_ms(share);
            let (p50, p90, p99, max) = (ms(0.5), ms(0.9), ms(0.99), found.max_ms());
            let tier = tier.to_string();
            let _ = writeln!(text, "  {tier:<12} {p50:>10.1}{p90:>10.1}{p99:>10.1}{max:>10.1}{:>12}", found.count());
        }
        self.costs(&mut text);
        text
    }

    fn costs(&self, text: &mut String) {
        let operators = self.operators();
        if let Some(micros) = self.cpu_micros() {
            let cores = operators["cpu_cores"].as_f64().unwrap_or_default();
            let _ =
                writeln!(text, "\n  operators    {micros:.1} µs of CPU a transaction, all together; {cores:.2} cores");
        }
        if let Some(writes) = operators["durable_writes_per_s"].as_f64() {
            let blocks = operators["blocks_per_s"].as_f64().unwrap_or_default();
            let bytes = operators["bytes_to_peers_per_s"].as_f64().unwrap_or_default();
            let _ = writeln!(
                text,
                "               {blocks:.1} blocks/s, {writes:.0} durable writes/s, {:.1} MB/s to peers, all together",
                bytes / 1e6
            );
        }
        let own = (self.cost.1.own_cpu - self.cost.0.own_cpu) / self.measured.as_secs_f64();
        let _ = write!(
            text,
            "  this process {own:.2} cores; sent {:.2} ms late on average, {:.1} ms at most",
            self.pace.mean.as_secs_f64() * 1_000.0,
            self.pace.latest.as_secs_f64() * 1_000.0
        );
        if let Some(load) = self.load_average.1 {
            let _ = write!(text, "; load average {load:.1}");
        }
    }
}
