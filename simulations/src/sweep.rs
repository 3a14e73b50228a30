//! One scenario for many values of its keys and many seeds; a table of what came out.

use crate::progress::Done;
use crate::results::Summary;
use crate::scenario::{Scenario, parse};
use crate::shards::Whole;
use crate::simulation::Simulation;
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One run of a sweep.
#[derive(Clone, Debug)]
pub struct Point {
    /// What stands in the table's first column: `key=value` for each key.
    pub label: String,
    /// What is run.
    pub scenario: Scenario,
}

/// A sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// All its runs, of this shard.
    pub points: Vec<Point>,
    /// What it is in all.
    whole: Whole,
}

impl Sweep {
    /// All combinations of the values, for every seed, of a scenario's text.
    pub fn new(text: &str, set: &[String], seeds: Range<u64>, shard: (u64, u64)) -> anyhow::Result<Self> {
        let base: toml::Table = toml::from_str(text).context("the scenario is no TOML")?;
        let mut tables = vec![(Vec::<String>::new(), base)];
        for setting in set {
            let (key, values) = setting.split_once('=').with_context(|| {
                format!("{setting:?} sets nothing; expected key=value,value, such as network.delay_ms=10,50")
            })?;
            let mut next = Vec::new();
            for (labels, table) in &tables {
                for value in values.split(',') {
                    let mut table = table.clone();
                    put(&mut table, key, value)?;
                    let mut labels = labels.clone();
                    labels.push(format!("{key}={value}"));
                    next.push((labels, table));
                }
            }
            tables = next;
        }
        let mut whole = Whole {
            what: "sweep".to_owned(),
            of: toml::from_str::<toml::Table>(text)?.to_string(),
            points: Vec::new(),
            first: seeds.start,
            last: seeds.end.saturating_sub(1),
        };
        let mut points = Vec::new();
        for (labels, table) in tables {
            let label = labels.join(" ");
            let text = toml::to_string(&table)?;
            let scenario = parse(&text).map_err(|problems| anyhow::anyhow!("with {label}: {problems}"))?;
            whole.points.push(label.clone());
            for seed in seeds.clone() {
                points.push(Point { label: label.clone(), scenario: Scenario { seed, ..scenario.clone() } });
            }
        }
        let (part, parts) = shard;
        let mut place = 0..;
        points.retain(|_| place.next().is_some_and(|place: u64| place % parts == part));
        Ok(Self { points, whole })
    }

    /// Runs what is not in the table yet. Whether everything held. `told` hears how far it is, and each violation's line.
    pub fn run(&self, jobs: usize, out: &Path, told: &(dyn Fn(Done, Option<&str>) + Sync)) -> anyhow::Result<bool> {
        std::fs::create_dir_all(out)?;
        self.whole.join(out)?;
        let path = out.join("sweep.csv");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let done: BTreeSet<(String, String)> = before
            .lines()
            .skip(1)
            .filter_map(|line| {
                let mut cells = line.split(',');
                Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
            })
            .collect();
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if before.is_empty() {
            writeln!(file, "{HEADER}")?;
        }
        let there = |point: &&Point| done.contains(&(point.label.clone(), point.scenario.seed.to_string()));
        let so_far = Done {
            runs: self.points.iter().filter(there).count() as u64,
            total: self.points.len() as u64,
            violated: before.matches(",violated,").count() as u64,
            beyond: before.matches(",beyond,").count() as u64,
        };
        told(so_far, None);
        let state = Mutex::new((file, so_far));
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    while let Some(point) = self.points.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if there(&point) {
                            continue;
                        }
                        let result = row(point).and_then(|(line, verdict)| {
                            let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            writeln!(state.0, "{line}")?;
                            state.1.runs += 1;
                            state.1.violated += u64::from(verdict == "violated");
                            state.1.beyond += u64::from(verdict == "beyond");
                            told(state.1, (verdict == "violated").then_some(line.as_str()));
                            Ok(())
                        });
                        if let Err(error) = result {
                            *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                            return;
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).1.violated == 0),
        }
    }
}

/// The first line of `sweep.csv`.
pub const HEADER: &str = "set,seed,verdict,height,later_rounds,sent,ordered,refused,batched_p50_ms,batched_p99_ms,secured_p50_ms,\
                      secured_p99_ms,ordered_p50_ms,ordered_p99_ms,bytes,trace,wall_seconds";

/// The column of the hash over a run.
pub const TRACE: usize = 15;

fn row(point: &Point) -> anyhow::Result<(String, &'static str)> {
    let mut simulation = Simulation::new(point.scenario.clone())?;
    let started = Instant::now();
    let outcome = simulation.run_guarded();
    let s = Summary::new(&simulation, &outcome, started.elapsed().as_secs_f64());
    let line = format!(
        "{},{},{},{},{},{},{},{},{:.3},{:.3},{:.3},{:.3},{:.3},{:.3},{},{},{:.3}",
        point.label,
        s.seed,
        s.verdict,
        s.height,
        s.later_rounds,
        s.sent,
        s.ordered,
        s.refused,
        s.batched.p50_ms,
        s.batched.p99_ms,
        s.secured.p50_ms,
        s.secured.p99_ms,
        s.ordering.p50_ms,
        s.ordering.p99_ms,
        s.bytes,
        s.trace,
        s.wall_seconds
    );
    Ok((line, s.verdict))
}

/// Puts a value at a dotted key.
fn put(table: &mut toml::Table, key: &str, value: &str) -> anyhow::Result<()> {
    // A number, a truth value or a quoted string as TOML has it; anything else is a string.
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut t| t.remove("value"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut steps: Vec<&str> = key.split('.').collect();
    let last = steps.pop().unwrap_or_default();
    let mut at = table;
    for step in steps {
        let entry = at.entry(step).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = entry.as_table_mut().with_context(|| format!("{step} in {key} is no table; lists cannot be set"))?;
    }
    // Integers stand for floats where floats are meant.
    let value = match (at.get(last), value) {
        (Some(toml::Value::Float(_)), toml::Value::Integer(number)) => toml::Value::Float(number as f64),
        (_, value) => value,
    };
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_column_of_the_hash_is_where_it_is_said_to_be() {
        assert_eq!(HEADER.split(',').position(|name| name == "trace"), Some(TRACE));
    }

    const BASE: &str = "duration_ms = 100\n[committee]\nmembers = 4\n[network]\ndelay_ms = 1.0\n";

    #[test]
    fn all_combinations_are_run_and_shards_share_them_out() {
        let set = ["network.delay_ms=10,50".to_owned(), "committee.members=4,7".to_owned()];
        let all = Sweep::new(BASE, &set, 1..4, (0, 1)).unwrap();
        assert_eq!(all.points.len(), 12);
        assert_eq!(all.points[0].scenario.network.delay_ms, 10.0);
        let parts: usize = (0..5).map(|part| Sweep::new(BASE, &set, 1..4, (part, 5)).unwrap().points.len()).sum();
        assert_eq!(parts, 12);
    }

    #[test]
    fn a_key_that_no_scenario_has_is_refused() {
        let error = Sweep::new(BASE, &["network.dleay_ms=1".to_owned()], 1..2, (0, 1)).unwrap_err().to_string();
        assert!(error.contains("dleay_ms"), "{error}");
    }
}
