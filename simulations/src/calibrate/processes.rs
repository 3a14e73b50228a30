//! The workload over real processes: a devnet, and the load generator in front of it.

use super::compare::{LATENCIES, Latencies, TIERS};
use super::{Effort, Workload};
use crate::table::{Cell, Table};
use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use squad_types::{Genesis, Params};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// Seconds that a devnet lives beyond the load, should nobody end it.
const SPARE: u64 = 300;

/// A running devnet. It is killed when it goes out of scope, and its operators end with it.
pub(super) struct Devnet {
    child: Child,
    dir: PathBuf,
    ready: Value,
    /// Reads what it goes on to print.
    reader: Option<JoinHandle<()>>,
}

/// What the load generator says.
pub(super) struct Bench {
    /// Every latency.
    pub(super) latencies: PathBuf,
    pub(super) offered: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Transactions that go out together.
    pub(super) at_once: usize,
    pub(super) effort: Effort,
    /// What the operators say a durable write took on average, in microseconds.
    pub(super) sync_us: f64,
}

impl Devnet {
    /// Starts one in a directory that does not exist yet, and waits until it is ready.
    pub(super) fn start(squad: &Path, workload: &Workload, dir: &Path) -> anyhow::Result<Self> {
        ensure!(
            !dir.exists(),
            "{} is there already, from an earlier calibration: remove it, or give another --out",
            dir.display()
        );
        let mut command = program(squad);
        let seconds = workload.warmup + workload.duration + SPARE;
        command.args(["devnet", "--json", "--executors", "0"]);
        command.args(["--operators", &workload.operators.to_string(), "--exit-after", &seconds.to_string()]);
        if !workload.regions.is_empty() {
            command.args(["--regions", &workload.regions.join(",")]);
        }
        command.arg("--dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", squad.display()))?;
        let Some(stdout) = child.stdout.take() else { bail!("the devnet has no output") };
        let mut devnet = Self { child, dir: dir.to_owned(), ready: Value::Null, reader: None };
        devnet.wait(BufReader::new(stdout))?;
        Ok(devnet)
    }

    fn wait(&mut self, mut stdout: BufReader<ChildStdout>) -> anyhow::Result<()> {
        let mut line = String::new();
        stdout.read_line(&mut line).context("the devnet's output")?;
        self.ready = serde_json::from_str(&line).unwrap_or_default();
        ensure!(
            self.ready["event"] == "ready",
            "the devnet did not start: see its messages and {}",
            self.dir.display()
        );
        self.reader = Some(std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(drop)));
        Ok(())
    }

    /// The JSON-RPC address of an operator.
    pub(super) fn rpc(&self, operator: usize) -> anyhow::Result<&str> {
        self.ready["operators"][operator]["rpc"].as_str().context("the devnet does not say where its operators are")
    }

    /// The operators' process ids.
    pub(super) fn processes(&self) -> Vec<u64> {
        let operators = self.ready["operators"].as_array().into_iter().flatten();
        operators.filter_map(|operator| operator["pid"].as_u64()).collect()
    }

    /// The protocol's parameters.
    pub(super) fn params(&self) -> anyhow::Result<Params> {
        let path = self.dir.join("genesis.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let genesis: Genesis =
            serde_json::from_str(&text).with_context(|| format!("{} is no genesis", path.display()))?;
        Ok(genesis.params)
    }

    /// Offers the load to it and waits for all answers.
    pub(super) fn bench(&self, squad: &Path, workload: &Workload, out: &Path) -> anyhow::Result<Bench> {
        let latencies = out.join("latencies.csv");
        let mut command = program(squad);
        command.args(["bench", "--json", "--namespace", "bytes", "--devnet"]).arg(&self.dir);
        command.args(["--rate", &workload.rate.to_string(), "--size", &workload.bytes.to_string()]);
        command.args(["--duration", &workload.duration.to_string(), "--warmup", &workload.warmup.to_string()]);
        command.arg("--latencies").arg(&latencies);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot start {}", squad.display()))?;
        ensure!(output.status.success(), "the load generator failed ({}): see its messages", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        super::write(&out.join("bench.json"), &text)?;
        let said: Value = serde_json::from_str(&text).context("the load generator's output")?;
        let number = |key: &str| said[key].as_u64().with_context(|| format!("the load generator does not say {key}"));
        let figure = |key: &str| {
            let found = said["operators"][key].as_f64();
            found.with_context(|| format!("the load generator does not say {key}: it saw no operator's metrics"))
        };
        let blocks_per_s = figure("blocks_per_s")?;
        let cpu_us = figure("cpu_cores")? * 1e6 / blocks_per_s.max(1e-9) / workload.operators as f64;
        let refusals = said["rejected"].as_object().into_iter().flat_map(|codes| codes.values());
        Ok(Bench {
            refused: refusals.filter_map(|code| code["count"].as_u64()).sum(),
            effort: Effort { blocks_per_s, cpu_us },
            sync_us: figure("durable_write_mean_ms")? * 1e3,
            latencies,
            offered: number("offered")?,
            accepted: number("accepted")?,
            at_once: usize::try_from(number("transactions_at_once")?).unwrap_or(1),
        })
    }

    /// Asks it to end, and waits for that.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the devnet's process id")?;
        kill_process(pid, Signal::TERM).context("cannot stop the devnet")?;
        if let Some(reader) = self.reader.take() {
            // Its output ends with it.
            let _ = reader.join();
        }
        let status = self.child.wait().context("the devnet's end")?;
        ensure!(status.success(), "the devnet failed ({status}): see {}", self.dir.display());
        Ok(())
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // Has no effect on one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with nothing of this process's settings.
fn program(squad: &Path) -> Command {
    let mut command = Command::new(squad);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SQUAD_")) {
        command.env_remove(name);
    }
    command
}

/// Reads what the load generator wrote, and writes it once more as Parquet.
pub(super) fn read(path: &Path) -> anyhow::Result<Latencies> {
    let table = Table::read(&LATENCIES, path)?;
    if let (Some(directory), Some(name)) = (path.parent(), path.file_stem()) {
        table.write_parquet(directory, &name.to_string_lossy())?;
    }
    let mut latencies = Latencies::default();
    let tiers = table.column("tier").iter().filter_map(Cell::text);
    for (at, (tier, took)) in tiers.zip(table.column("latency_us").iter().filter_map(Cell::integer)).enumerate() {
        let place = TIERS.iter().position(|known| *known == tier);
        let place = place.with_context(|| format!("{}, line {}: {tier:?} is no tier", path.display(), at + 2))?;
        latencies[place].push(took);
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn latencies_are_read_by_tier_and_a_broken_line_is_named() {
        let path = std::env::temp_dir().join(format!("squad-latencies-{}.csv", std::process::id()));
        std::fs::write(&path, "due_us,target,tier,latency_us\n1,0,ordered,70\n2,1,batched,5\n").unwrap();
        assert_eq!(read(&path).unwrap(), [vec![5], vec![], vec![70]]);
        std::fs::write(&path, "due_us,target,tier,latency_us\n1,0,sorted,70\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2: \"sorted\""));
        std::fs::write(&path, "due_us,target,tier,latency_us\n1,0,ordered,7x\n").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("line 2: column latency_us"));
        std::fs::remove_file(path.with_extension("parquet")).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
