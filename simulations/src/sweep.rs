//! One scenario for many values of its keys and many seeds; a table of what came out.

use crate::progress::Done;
use crate::results::Summary;
use crate::scenario::{Scenario, parse};
use crate::shards::Whole;
use crate::simulation::Simulation;
use crate::table::{Cell, Column, Table};
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
            anyhow::ensure!(
                !setting.contains(char::is_control),
                "{setting:?} has more than one line; give one --set a key"
            );
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
        let before = before(out)?;
        let done: BTreeSet<(&str, u64)> = runs(&before).collect();
        let count =
            |verdict| before.column("verdict").iter().filter(|cell| cell.text() == Some(verdict)).count() as u64;
        let there = |point: &&Point| done.contains(&(point.label.as_str(), point.scenario.seed));
        let so_far = Done {
            runs: self.points.iter().filter(there).count() as u64,
            total: self.points.len() as u64,
            violated: count("violated"),
            beyond: count("beyond"),
        };
        let file = OpenOptions::new().append(true).open(out.join(CSV))?;
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
                            state.0.write_all(line.as_bytes())?;
                            state.1.runs += 1;
                            state.1.violated += u64::from(verdict == "violated");
                            state.1.beyond += u64::from(verdict == "beyond");
                            told(state.1, (verdict == "violated").then_some(line.trim_end()));
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
        if let Some(error) = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(error);
        }
        write_parquet(out)?;
        Ok(state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).1.violated == 0)
    }
}

/// The table's name.
const NAME: &str = "sweep";

/// The file that grows by a line a run.
pub const CSV: &str = "sweep.csv";

/// Its columns.
pub const COLUMNS: [Column; 17] = [
    Column::text("set"),
    Column::integer("seed"),
    Column::text("verdict"),
    Column::integer("height"),
    Column::integer("later_rounds"),
    Column::integer("sent"),
    Column::integer("ordered"),
    Column::integer("refused"),
    Column::number("batched_p50_ms"),
    Column::number("batched_p99_ms"),
    Column::number("secured_p50_ms"),
    Column::number("secured_p99_ms"),
    Column::number("ordered_p50_ms"),
    Column::number("ordered_p99_ms"),
    Column::integer("bytes"),
    Column::text("trace"),
    Column::number("wall_seconds"),
];

/// The runs that a table has: their points and seeds, row by row.
pub fn runs(table: &Table<17>) -> impl Iterator<Item = (&str, u64)> {
    let seeds = table.column("seed").iter().filter_map(Cell::integer);
    table.column("set").iter().filter_map(Cell::text).zip(seeds)
}

/// What stands in a directory's table, of which a line that was not written to the end is removed. Makes it if it is not
/// there. The Parquet file is of what the table was, and goes.
fn before(out: &Path) -> anyhow::Result<Table<17>> {
    let path = out.join(CSV);
    let parquet = out.join(NAME).with_extension("parquet");
    if parquet.exists() {
        std::fs::remove_file(&parquet).with_context(|| format!("cannot remove {}", parquet.display()))?;
    }
    let text = if path.exists() {
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        String::new()
    };
    let whole = match text.rfind('\n') {
        Some(end) => text[..=end].to_owned(),
        None => Table::header(&COLUMNS),
    };
    if whole != text {
        std::fs::write(&path, &whole).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Table::parse(&COLUMNS, &whole).with_context(|| format!("{} is no table of a sweep", path.display()))
}

/// Writes the table of a directory once more, as Parquet.
pub fn write_parquet(out: &Path) -> anyhow::Result<()> {
    Table::read(&COLUMNS, &out.join(CSV))?.write_parquet(out, NAME)
}

/// Runs a point. Its line, and what came of it.
fn row(point: &Point) -> anyhow::Result<(String, &'static str)> {
    let mut simulation = Simulation::new(point.scenario.clone())?;
    let started = Instant::now();
    let outcome = simulation.run_guarded();
    let s = Summary::new(&simulation, &outcome, started.elapsed().as_secs_f64());
    let mut table = Table::new(&COLUMNS);
    table.push([
        point.label.as_str().into(),
        s.seed.into(),
        s.verdict.into(),
        s.height.into(),
        s.later_rounds.into(),
        s.sent.into(),
        s.ordered.into(),
        s.refused.into(),
        s.batched.p50_ms.into(),
        s.batched.p99_ms.into(),
        s.secured.p50_ms.into(),
        s.secured.p99_ms.into(),
        s.ordering.p50_ms.into(),
        s.ordering.p99_ms.into(),
        s.bytes.into(),
        s.trace.as_str().into(),
        ((s.wall_seconds * 1e3).round() / 1e3).into(),
    ])?;
    Ok((table.line(0), s.verdict))
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
