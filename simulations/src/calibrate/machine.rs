//! What of this machine the simulator has to be told, measured on it.

use anyhow::{Context as _, bail};
use serde::Serialize;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Files that an operator writes at once: its log, and its batches and blocks.
const STREAMS: usize = 2;
/// Syncs of each file that are measured.
const SYNCS: usize = 200;
/// Parts into which their distribution is divided.
const PARTS: usize = 1_000;
/// Bytes of each write before one: what a vote's record takes.
const RECORD: usize = 512;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(4);
/// Round trips that are measured.
const ROUND_TRIPS: usize = 300;
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores that all operators share.
    pub cores: usize,
    /// An fdatasync after a small write into a file whose blocks are written, in microseconds: what a tenth does not exceed.
    pub sync_p10_us: u64,
    /// Its median.
    pub sync_p50_us: u64,
    /// Its mean, which rare long ones make.
    pub sync_mean_us: u64,
    /// The shortest, the longest, and what divides all others into a thousand parts.
    pub sync_quantiles_us: Vec<u64>,
    /// One way over loopback between two threads, in microseconds: half of the median round trip.
    pub loopback_us: u64,
    /// An idle operator's answer to a client's smallest question, in microseconds: the median round trip.
    pub client_us: u64,
}

impl Machine {
    /// Measures, with files in a directory on the disk that operators will use.
    pub(super) fn measure(dir: &Path, operators: usize, cores: Option<usize>) -> anyhow::Result<Self> {
        let there = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let syncs = syncs(dir, STREAMS * operators)?;
        Ok(Self {
            cores: cores.unwrap_or(there),
            sync_p10_us: percentile(&syncs, 10),
            sync_p50_us: percentile(&syncs, 50),
            sync_mean_us: syncs.iter().sum::<u64>() / syncs.len().max(1) as u64,
            sync_quantiles_us: quantiles(&syncs, PARTS),
            loopback_us: loopback().context("loopback")? / 2,
            client_us: 0,
        })
    }

    pub(super) fn text(&self) -> String {
        format!(
            "measured: fdatasync p10 {} µs, p50 {} µs, mean {} µs, at most {} µs; loopback {} µs one way; a client's question \
             {} µs; {} cores",
            self.sync_p10_us,
            self.sync_p50_us,
            self.sync_mean_us,
            self.sync_quantiles_us.last().copied().unwrap_or_default(),
            self.loopback_us,
            self.client_us,
            self.cores
        )
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The least and the largest of sorted values, and what divides them into so many parts; fewer, if there are fewer values.
fn quantiles(sorted: &[u64], parts: usize) -> Vec<u64> {
    let last = sorted.len().saturating_sub(1);
    let parts = parts.min(last).max(1);
    (0..=parts).filter_map(|part| sorted.get(last * part / parts)).copied().collect()
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// How long syncs take, sorted, where as many files are written as all operators write.
fn syncs(dir: &Path, files: usize) -> anyhow::Result<Vec<u64>> {
    let paths: Vec<_> = (0..files).map(|file| dir.join(format!("sync-test-{file}"))).collect();
    let measured: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = paths.iter().map(|path| scope.spawn(|| measure_syncs(path))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut all = Vec::with_capacity(files * SYNCS);
    for (path, measured) in paths.iter().zip(measured) {
        let _ = std::fs::remove_file(path);
        let measured = measured.unwrap_or_else(|_| Err(std::io::Error::other("the measuring thread failed")));
        all.extend(measured.with_context(|| format!("cannot measure fdatasync with {}", path.display()))?);
    }
    all.sort_unstable();
    Ok(all)
}

/// As an operator's log: the blocks are written before, so that no metadata changes.
fn measure_syncs(path: &Path) -> std::io::Result<Vec<u64>> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; SYNCS * RECORD], 0)?;
    file.sync_all()?;
    let mut took = Vec::with_capacity(SYNCS);
    for at in 0..SYNCS {
        // As votes come: with pauses, in which a disk and a processor may doze.
        thread::sleep(PAUSE);
        let started = Instant::now();
        file.write_all_at(&[1; RECORD], (at * RECORD) as u64)?;
        file.sync_data()?;
        took.push(micros(started));
    }
    Ok(took)
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
        let dir = std::env::temp_dir().join(format!("squad-machine-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let machine = Machine::measure(&dir, 2, Some(3)).unwrap();
        assert_eq!((machine.cores, std::fs::read_dir(&dir).unwrap().count()), (3, 0));
        std::fs::remove_dir(&dir).unwrap();
        assert!(machine.sync_p10_us <= machine.sync_p50_us);
        let quantiles = &machine.sync_quantiles_us;
        assert!(quantiles.len() == 2 * STREAMS * SYNCS && quantiles.is_sorted(), "{quantiles:?}");
        let nowhere = Machine::measure(&dir.join("nowhere"), 1, None).unwrap_err();
        assert!(format!("{nowhere:#}").contains("nowhere"), "{nowhere:#}");
    }

    #[test]
    fn quantiles_begin_with_the_least_and_end_with_the_largest() {
        let sorted: Vec<u64> = (0..=1_000).collect();
        assert_eq!(quantiles(&sorted, 4), [0, 250, 500, 750, 1_000]);
        assert_eq!(quantiles(&[3, 9], 4), [3, 9]);
        assert_eq!((quantiles(&[3], 4), quantiles(&[], 4)), (vec![3, 3], vec![]));
    }

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(is_whole(answer));
        assert!((0..answer.len()).all(|length| !is_whole(&answer[..length])));
    }
}
