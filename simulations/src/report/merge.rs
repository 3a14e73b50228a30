//! Several directories, each with a part of a campaign or a sweep, into one.

use crate::shards::Whole;
use crate::sweep;
use crate::table::{Cell, Table};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What may be amiss with the parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lenience {
    /// Runs may be missing.
    pub missing: bool,
    /// A run may stand in several parts, if it came out the same.
    pub doubled: bool,
}

/// A run's line as it stands in its file, with its end.
struct Run {
    line: String,
    trace: String,
    place: PathBuf,
}

type Runs = BTreeMap<(String, u64), Run>;

/// Puts the parts together in `out`, as if one run had made them all.
pub fn merge(directories: &[PathBuf], out: &Path, lenience: Lenience) -> anyhow::Result<()> {
    anyhow::ensure!(
        directories.iter().all(|directory| directory != out),
        "{} is one of the directories to merge; give another one as --out",
        out.display()
    );
    let whole = whole(directories)?;
    let (mut runs, mut doubled) = (Runs::new(), Vec::new());
    for directory in directories {
        for (key, run) in read(&whole, directory)? {
            let Some(before) = runs.get(&key) else {
                runs.insert(key, run);
                continue;
            };
            anyhow::ensure!(
                before.trace == run.trace,
                "{} ran to trace {} in {} and to {} in {}: they are not of the same code",
                name(&key),
                before.trace,
                before.place.display(),
                run.trace,
                run.place.display()
            );
            doubled.push(format!("{} in {} and {}", name(&key), before.place.display(), run.place.display()));
        }
    }
    anyhow::ensure!(
        lenience.doubled || doubled.is_empty(),
        "{} runs are there twice: {}; leave a directory out, or say --doubled to count each once",
        doubled.len(),
        few(&doubled)
    );
    let missing: Vec<String> = whole.runs().filter(|key| !runs.contains_key(key)).map(|key| name(&key)).collect();
    anyhow::ensure!(
        lenience.missing || missing.is_empty(),
        "{} of {} runs are missing: {}; name the directories of all shards, or say --missing to do without",
        missing.len(),
        whole.runs().count(),
        few(&missing)
    );
    write(&whole, &runs, directories, out).with_context(|| format!("cannot write into {}", out.display()))
}

fn whole(directories: &[PathBuf]) -> anyhow::Result<Whole> {
    let mut all: Option<(Whole, &PathBuf)> = None;
    for directory in directories {
        let whole = Whole::read(directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let whole = whole.with_context(|| {
            format!("{} is no part of a campaign or sweep: it has no whole.json", directory.display())
        })?;
        match &mut all {
            Some((before, place)) => before.add(&whole).map_err(|what| {
                anyhow::anyhow!("{} and {} do not belong together: {what}", place.display(), directory.display())
            })?,
            None => all = Some((whole, directory)),
        }
    }
    all.map(|(whole, _)| whole).context("no directory to report on")
}

/// The file that holds a whole's runs.
fn file(whole: &Whole) -> &'static str {
    if whole.what == "campaign" { "results.jsonl" } else { sweep::CSV }
}

fn read(whole: &Whole, directory: &Path) -> anyhow::Result<Vec<((String, u64), Run)>> {
    let path = directory.join(file(whole));
    let run = |line: String, trace: &str| Run { line, trace: trace.to_owned(), place: directory.to_owned() };
    if whole.what == "campaign" {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // A torn last line is of a run that was not over.
        let lines = text.lines().filter_map(|line| Some((line, serde_json::from_str(line).ok()?)));
        let runs = lines.map(|(line, found): (&str, crate::campaign::Line)| {
            ((String::new(), found.seed), run(format!("{line}\n"), &found.trace))
        });
        return Ok(runs.collect());
    }
    let table = Table::read(&sweep::COLUMNS, &path)?;
    let traces = table.column("trace").iter().filter_map(Cell::text);
    let rows = sweep::runs(&table).zip(traces).enumerate();
    Ok(rows.map(|(row, ((point, seed), trace))| ((point.to_owned(), seed), run(table.line(row), trace))).collect())
}

fn write(whole: &Whole, runs: &Runs, directories: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    let header = if whole.what == "sweep" { Table::header(&sweep::COLUMNS) } else { String::new() };
    let text = runs.values().fold(header, |text, run| text + &run.line);
    std::fs::write(out.join(file(whole)), text)?;
    if whole.what == "sweep" {
        sweep::write_parquet(out)?;
    }
    whole.join(out)?;
    for directory in directories {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("failure-") && name.ends_with(".toml") {
                std::fs::copy(&path, out.join(name))?;
            }
        }
    }
    Ok(())
}

fn name((point, seed): &(String, u64)) -> String {
    if point.is_empty() { format!("seed {seed}") } else { format!("{point} with seed {seed}") }
}

/// The first few of many.
fn few(all: &[String]) -> String {
    let mut text = all.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > 5 {
        let _ = write!(text, " and {} more", all.len() - 5);
    }
    text
}
