//! Two programs, or one with two sets of options, under the same load: in turns, so that both see the same machine.
//!
//! A machine is not the same from minute to minute. So the two networks of a pair run one right after the other, pairs
//! take turns in which one comes first, and only ratios within a pair are compared. Both are loaded by this process.

use super::{BenchArgs, measure};
use crate::cli::note;
use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a network has to be ready.
const READY: Duration = Duration::from_secs(180);

/// What is compared: its name, and where a report has it.
const FIGURES: [(&str, &str); 11] = [
    ("achieved, tx/s", "/achieved_per_s"),
    ("CPU, µs/tx", "/operators/cpu_us_per_tx"),
    ("batched p50, ms", "/latency_ms/batched/p50"),
    ("batched p99, ms", "/latency_ms/batched/p99"),
    ("secured p50, ms", "/latency_ms/secured/p50"),
    ("secured p99, ms", "/latency_ms/secured/p99"),
    ("ordered p50, ms", "/latency_ms/ordered/p50"),
    ("ordered p99, ms", "/latency_ms/ordered/p99"),
    ("blocks/s", "/operators/blocks_per_s"),
    ("durable writes/s", "/operators/durable_writes_per_s"),
    ("bytes to peers/s", "/operators/bytes_to_peers_per_s"),
];

/// A program and the options of its devnet.
struct Side {
    program: PathBuf,
    options: Vec<String>,
}

impl Side {
    /// Words with spaces between. The first is the program, if it is no option.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split_whitespace().peekable();
        let program = match words.next_if(|word| !word.starts_with('-')) {
            Some(program) => program.into(),
            None => std::env::current_exe().context("the path of this program is not known: name it in --compare")?,
        };
        let options: Vec<String> = words.map(str::to_owned).collect();
        let ours = ["--dir", "--json", "--exit-after"];
        let taken = options.iter().find(|option| ours.contains(&option.split('=').next().unwrap_or_default()));
        ensure!(taken.is_none(), "--compare '{text}': {} is set for each run", taken.map_or("", String::as_str));
        Ok(Self { program, options })
    }

    /// Starts its devnet in `dir`, which must not be there yet, and waits until it is ready.
    async fn start(&self, dir: &Path) -> anyhow::Result<Network> {
        let program = self.program.display();
        let mut command = Command::new(&self.program);
        command.args(["devnet", "--json", "--dir"]).arg(dir);
        if !self.options.iter().any(|option| option.starts_with("--executors")) {
            command.args(["--executors", "0"]);
        }
        command.args(&self.options).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start '{program}', named in --compare"))?;
        let stdout = child.stdout.take();
        let network = Network { child: Some(child), dir: dir.into() };
        let (ready, is_ready) = oneshot::channel();
        // Read to its end: a devnet whose output nobody reads stops.
        std::thread::spawn(move || {
            let mut ready = Some(ready);
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["event"] == "ready"
                    && let Some(ready) = ready.take()
                {
                    // Whoever waited may have given up.
                    let _ = ready.send(());
                }
            }
        });
        match tokio::time::timeout(READY, is_ready).await {
            Ok(Ok(())) => Ok(network),
            Ok(Err(_)) => anyhow::bail!("'{program} devnet' ended before it was ready: see what it said above"),
            Err(_) => anyhow::bail!("'{program} devnet' is not ready after {} s", READY.as_secs()),
        }
    }
}

/// A running devnet. It ends, and its directory goes, with this.
struct Network {
    child: Option<Child>,
    dir: PathBuf,
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended.
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = child.wait();
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            note(format_args!("{} is left over: {error}", self.dir.display()));
        }
    }
}

/// Runs the pairs.
pub(super) async fn run(mut args: BenchArgs) -> anyhow::Result<(Value, String)> {
    let texts = std::mem::take(&mut args.compare);
    ensure!(texts.len() == 2, "--compare is given twice, once for each side; it was given {} times", texts.len());
    let sides = [Side::parse(&texts[0])?, Side::parse(&texts[1])?];
    let mut pairs = Vec::new();
    for pair in 0..args.pairs {
        let mut reports = [Value::Null, Value::Null];
        let first = (pair % 2) as usize;
        for side in [first, 1 - first] {
            let name = ["a", "b"][side];
            note(format_args!("pair {} of {}: {name}", pair + 1, args.pairs));
            let dir = args.dir.join(format!("bench-compare-{}-{pair}-{name}", std::process::id()));
            let network = sides[side].start(&dir).await?;
            let run = BenchArgs { devnet: Some(dir), ..args.clone() };
            reports[side] = measure(run).await.with_context(|| format!("side {name}, '{}'", texts[side]))?.0;
            tokio::task::spawn_blocking(move || drop(network)).await?;
        }
        pairs.push(reports);
    }
    Ok((as_json(&texts, &pairs), as_text(&texts, &pairs)))
}

fn figure(report: &Value, pointer: &str) -> Option<f64> {
    report.pointer(pointer)?.as_f64()
}

/// What b has for each that a has; none where one has no such figure, or a has 0.
fn ratio([a, b]: &[Value; 2], pointer: &str) -> Option<f64> {
    let (a, b) = (figure(a, pointer)?, figure(b, pointer)?);
    (a != 0.0).then_some(b / a)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> Option<f64> {
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}

fn as_json(texts: &[String], pairs: &[[Value; 2]]) -> Value {
    let ratios = |pair: &[Value; 2]| -> serde_json::Map<String, Value> {
        FIGURES.into_iter().map(|(name, pointer)| (name.to_owned(), json!(ratio(pair, pointer)))).collect()
    };
    let medians: serde_json::Map<String, Value> = FIGURES
        .into_iter()
        .map(|(name, pointer)| {
            let ratios = sorted(pairs.iter().filter_map(|pair| ratio(pair, pointer)));
            (name.to_owned(), json!({ "median": median(&ratios), "least": ratios.first(), "most": ratios.last() }))
        })
        .collect();
    json!({
        "a": texts[0],
        "b": texts[1],
        "pairs": pairs.iter().map(|pair| json!({ "a": pair[0], "b": pair[1], "b_over_a": ratios(pair) })).collect::<Vec<_>>(),
        "b_over_a": medians,
    })
}

fn as_text(texts: &[String], pairs: &[[Value; 2]]) -> String {
    let named = |text: &String| if text.trim().is_empty() { "this program".to_owned() } else { text.clone() };
    let mut text = format!(
        "a: {}\nb: {}\n{} pairs of runs; medians, and b / a of each pair\n\n",
        named(&texts[0]),
        named(&texts[1]),
        pairs.len()
    );
    let _ = writeln!(text, "  {:<18}{:>12}{:>12}{:>10}{:>10}{:>10}", "", "a", "b", "b / a", "least", "most");
    for (name, pointer) in FIGURES {
        let side = |side: usize| median(&sorted(pairs.iter().filter_map(|pair| figure(&pair[side], pointer))));
        let ratios = sorted(pairs.iter().filter_map(|pair| ratio(pair, pointer)));
        let (Some(a), Some(b), Some(middle)) = (side(0), side(1), median(&ratios)) else { continue };
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let _ = writeln!(text, "  {name:<18}{a:>12.1}{b:>12.1}{middle:>10.3}{least:>10.3}{most:>10.3}");
    }
    for (name, at) in [("a", 0), ("b", 1)] {
        let lost: u64 = pairs.iter().map(|pair| missing(&pair[at])).sum();
        if lost > 0 {
            let _ = writeln!(text, "\n  {name}: {lost} transactions were refused, unsent or not answered");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Transactions of a run that were not accepted.
fn missing(report: &Value) -> u64 {
    let count = |key: &str| report[key].as_u64().unwrap_or_default();
    count("offered").saturating_sub(count("accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_program_and_options_or_this_program() {
        let side = Side::parse("./old/squad  --operators 7").unwrap();
        assert_eq!(
            (side.program, side.options),
            (PathBuf::from("./old/squad"), vec!["--operators".into(), "7".into()])
        );
        let this = std::env::current_exe().unwrap();
        for (text, options) in [("", 0), ("  ", 0), ("--operators 7", 2)] {
            let side = Side::parse(text).unwrap();
            assert_eq!((side.program, side.options.len()), (this.clone(), options));
        }
        for taken in ["squad --dir x", "--json", "squad --exit-after=3"] {
            let refused = Side::parse(taken).err().unwrap().to_string();
            assert!(refused.contains(taken) && refused.contains("is set for each run"), "{refused}");
        }
    }

    #[test]
    fn ratios_are_of_pairs_and_what_is_missing_is_left_out() {
        let report = |achieved: f64, p50: Option<f64>| json!({ "achieved_per_s": achieved, "offered": 10, "accepted": 9, "latency_ms": { "ordered": { "p50": p50 } } });
        let pairs = [
            [report(100.0, Some(10.0)), report(200.0, Some(5.0))],
            [report(50.0, Some(20.0)), report(75.0, None)],
            [report(0.0, Some(20.0)), report(75.0, Some(30.0))],
        ];
        let texts = ["".to_owned(), "new".to_owned()];
        let value = as_json(&texts, &pairs);
        assert_eq!(value["b_over_a"]["achieved, tx/s"], json!({ "median": 1.75, "least": 1.5, "most": 2.0 }));
        assert_eq!(value["b_over_a"]["ordered p50, ms"], json!({ "median": 1.0, "least": 0.5, "most": 1.5 }));
        assert_eq!(value["pairs"][1]["b_over_a"]["ordered p50, ms"], Value::Null);
        let text = as_text(&texts, &pairs);
        assert!(text.contains("a: this program\nb: new\n3 pairs"), "{text}");
        assert!(text.contains("a: 3 transactions were refused") && !text.contains("batched"), "{text}");
    }
}
