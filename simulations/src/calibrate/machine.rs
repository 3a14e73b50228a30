//! What of this machine the simulator has to be told, measured on it.

use anyhow::{Context as _, bail};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes of each write before a sync: what a vote's record takes.
const RECORD: usize = 512;
/// Records of the file that is synced; then it begins again.
const RECORDS: usize = 200;
/// Between two syncs: as votes come, with pauses, in which a disk and a processor may doze.
const SYNC_PAUSE: Duration = Duration::from_millis(10);
/// Parts into which what was measured is divided.
const PARTS: usize = 1_000;
/// Round trips that are measured.
const ROUND_TRIPS: usize = 300;
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores of the machine.
    pub cores: usize,
    /// An fdatasync after a small write into a file whose blocks are written, while the operators work, in microseconds: the
    /// shortest, the longest, and what divides all others into a thousand parts.
    pub sync_quantiles_us: Vec<u64>,
    /// How long an operator's thread waited for a core each time it got one, as the system counts it, in microseconds: the
    /// mean over all operators' threads while they work. Zero where the system does not say so.
    pub wake_us: u64,
    /// One way over loopback between two threads, in microseconds: half of the median round trip.
    pub loopback_us: u64,
    /// An idle operator's answer to a client's smallest question, in microseconds: the median round trip.
    pub client_us: u64,
}

impl Machine {
    /// Measures what does not depend on the load; the rest is added.
    pub(super) fn measure(cores: Option<usize>) -> anyhow::Result<Self> {
        let there = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            cores: cores.unwrap_or(there),
            sync_quantiles_us: Vec::new(),
            wake_us: 0,
            loopback_us: loopback().context("loopback")? / 2,
            client_us: 0,
        })
    }

    pub(super) fn text(&self) -> String {
        let [p50, p99, longest] = [50, 99, 100].map(|percent| percentile(&self.sync_quantiles_us, percent));
        format!(
            "measured under this load: fdatasync p50 {p50} µs, p99 {p99} µs, at most {longest} µs; an operator's thread waited {} µs \
             for a core each time\nmeasured before: loopback {} µs one way; a client's question {} µs; {} cores",
            self.wake_us, self.loopback_us, self.client_us, self.cores
        )
    }
}

/// Measures while the operators work.
pub(super) struct Probe {
    stop: Arc<AtomicBool>,
    path: PathBuf,
    syncs: JoinHandle<std::io::Result<Vec<u64>>>,
    operators: Vec<u64>,
    before: Waited,
}

impl Probe {
    /// Begins, with a file in a directory on the disk that operators use, and their process ids.
    pub(super) fn start(dir: &Path, operators: Vec<u64>) -> Self {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), dir.join("sync-test"));
        let (stopped, file) = (Arc::clone(&stop), path.clone());
        let syncs = thread::spawn(move || measure_syncs(&file, &stopped));
        let before = Waited::of(&operators);
        Self { stop, path, syncs, operators, before }
    }

    /// Ends, and adds what was measured.
    pub(super) fn end(self, machine: &mut Machine) -> anyhow::Result<()> {
        let waited = Waited::of(&self.operators).since(&self.before);
        self.stop.store(true, Ordering::Relaxed);
        let syncs = self.syncs.join().unwrap_or_else(|_| Err(std::io::Error::other("the measuring thread failed")));
        let _ = std::fs::remove_file(&self.path);
        let syncs = syncs.with_context(|| format!("cannot measure fdatasync with {}", self.path.display()))?;
        machine.sync_quantiles_us = quantiles(syncs, PARTS);
        machine.wake_us = waited;
        Ok(())
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The least and the largest of some values, and what divides them into so many parts; fewer, if there are fewer values.
fn quantiles(mut sorted: Vec<u64>, parts: usize) -> Vec<u64> {
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let parts = parts.min(last).max(1);
    (0..=parts).filter_map(|part| sorted.get(last * part / parts)).copied().collect()
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// As an operator's log: the blocks are written before, so that no metadata changes.
fn measure_syncs(path: &Path, stop: &AtomicBool) -> std::io::Result<Vec<u64>> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; RECORDS * RECORD], 0)?;
    file.sync_all()?;
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(SYNC_PAUSE);
        let started = Instant::now();
        file.write_all_at(&[1; RECORD], (took.len() % RECORDS * RECORD) as u64)?;
        file.sync_data()?;
        took.push(micros(started));
    }
    Ok(took)
}

/// What Linux counts of threads, by their path: nanoseconds that each waited for a core, and how often it got one.
#[derive(Debug, Default)]
struct Waited(BTreeMap<PathBuf, (u64, u64)>);

impl Waited {
    fn of(processes: &[u64]) -> Self {
        let threads = processes.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
        let counted = |thread: PathBuf| {
            let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
            let mut figures = text.split_whitespace().skip(1).map_while(|figure| figure.parse().ok());
            Some((thread, (figures.next()?, figures.next()?)))
        };
        Self(threads.flatten().filter_map(|entry| counted(entry.ok()?.path())).collect())
    }

    /// Microseconds for each time, since an earlier count. Threads that have ended are not in it.
    fn since(&self, before: &Self) -> u64 {
        let (mut nanos, mut times) = (0, 0);
        for (thread, (waited, got)) in &self.0 {
            let (waited_before, got_before) = before.0.get(thread).copied().unwrap_or_default();
            nanos += waited.saturating_sub(waited_before);
            times += got.saturating_sub(got_before);
        }
        nanos / times.max(1) / 1_000
    }
}

/// A round trip of some bytes over loopback to another thread: the median.
fn loopback() -> std::io::Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut bytes = [0; 64];
        for _ in 0..ROUND_TRIPS {
            socket.read_exact(&mut bytes)?;
            socket.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut took = Vec::with_capacity(ROUND_TRIPS);
    let mut bytes = [7; 64];
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        socket.write_all(&bytes)?;
        socket.read_exact(&mut bytes)?;
        took.push(micros(started));
    }
    drop(socket);
    let _ = echo.join();
    took.sort_unstable();
    Ok(percentile(&took, 50))
}

/// How long an operator's answer to a client's smallest question takes on an open connection: the median.
pub(super) fn round_trip(rpc: &str) -> anyhow::Result<u64> {
    let host = rpc.strip_prefix("http://").with_context(|| format!("{rpc} is no address of an operator"))?;
    let mut socket = TcpStream::connect(host).with_context(|| format!("cannot connect to {rpc}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let question = format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut took = Vec::with_capacity(ROUND_TRIPS);
    let mut answer = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        socket.write_all(question.as_bytes())?;
        answer.clear();
        while !is_whole(&answer) {
            let mut part = [0; 4_096];
            let count = socket.read(&mut part).with_context(|| format!("{rpc} does not answer"))?;
            if count == 0 {
                bail!("{rpc} ended the connection");
            }
            answer.extend_from_slice(&part[..count]);
        }
        took.push(micros(started));
    }
    took.sort_unstable();
    Ok(percentile(&took, 50))
}

/// Whether an HTTP answer has its head and as many bytes as that says.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    answer.len() >= end + 4 + length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_machine_is_measured_and_nothing_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = Machine::measure(Some(3)).unwrap();
        let probe = Probe::start(dir.path(), vec![std::process::id().into()]);
        while !dir.path().join("sync-test").exists() {
            thread::yield_now();
        }
        probe.end(&mut machine).unwrap();
        assert_eq!((machine.cores, std::fs::read_dir(dir.path()).unwrap().count()), (3, 0));
        assert!(machine.sync_quantiles_us.is_sorted(), "{machine:?}");
        let nowhere = Probe::start(&dir.path().join("nowhere"), Vec::new()).end(&mut machine).unwrap_err();
        assert!(format!("{nowhere:#}").contains("nowhere"), "{nowhere:#}");
    }

    #[test]
    fn quantiles_begin_with_the_least_and_end_with_the_largest() {
        assert_eq!(quantiles((0..=1_000).rev().collect(), 4), [0, 250, 500, 750, 1_000]);
        assert_eq!(quantiles(vec![9, 3], 4), [3, 9]);
        assert_eq!((quantiles(vec![3], 4), quantiles(vec![], 4)), (vec![3, 3], vec![]));
    }

    #[test]
    fn waits_are_a_mean_over_what_threads_gained() {
        let waited = |all: &[(&str, u64, u64)]| {
            Waited(all.iter().map(|(thread, nanos, times)| (PathBuf::from(thread), (*nanos, *times))).collect())
        };
        let before = waited(&[("1", 5_000_000, 10), ("ended", 1, 1)]);
        let after = waited(&[("1", 6_000_000, 12), ("2", 2_000_000, 4)]);
        assert_eq!((after.since(&before), before.since(&before)), (500, 0));
    }

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(is_whole(answer));
        assert!((0..answer.len()).all(|length| !is_whole(&answer[..length])));
    }
}
