//! A real process that writes, killed at random points.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};

use bytes::Bytes;

use super::support::{body, id, key, open, open_with, small};
use crate::testing::Random;
use crate::{Committer, Options, PersistId, QueueLimits, RealDisk, Record, Rejected, Store, Stream, Write};

const DIR_VARIABLE: &str = "SQUAD_STORAGE_KILLED_WRITER";
const KILLS: u64 = 12;

fn length(n: u64) -> usize {
    (n * 7919 % 1500) as usize
}

/// Every so often a checkpoint, which is its number.
fn log_record(n: u64) -> Record {
    match n % 97 {
        0 => Record::Checkpoint(Bytes::copy_from_slice(&n.to_be_bytes())),
        _ => Record::Log(body(n, length(n))),
    }
}

fn bulk_record(n: u64) -> Record {
    match n % 2 {
        0 => Record::Block { height: n, body: body(n, length(n)) },
        _ => Record::Batch { key: key(n / 100, 0, n), id: id(n), body: body(n, length(n)) },
    }
}

/// The number of the last log record, after checking all of them.
fn check_log(checkpoint: Option<Bytes>, records: &[Bytes]) -> u64 {
    let start = checkpoint.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()));
    for (n, record) in (start + 1..).zip(records) {
        assert_eq!(record, &body(n, length(n)), "log record {n}");
    }
    start + records.len() as u64
}

/// The number of the last batch or block, after checking all of them.
fn check_bulk(store: &Store) -> u64 {
    for n in 1.. {
        let found = match bulk_record(n) {
            Record::Block { height, .. } => store.block(height).unwrap(),
            _ => store.batch(n / 100, 0, n).unwrap().pop().map(|(_, body)| body),
        };
        match found {
            Some(found) => assert_eq!(found, body(n, length(n)), "segment record {n}"),
            None => return n - 1,
        }
    }
    unreachable!()
}

/// The child: goes on from what it finds, says what is durable, and never ends by itself.
#[test]
fn the_writer_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    // Short queues, so that groups stay small and there are many of them.
    let queue = QueueLimits { bytes: 1 << 20, records: 16 };
    let options = Options { log_queue: queue, bulk_queue: queue, ..small() };
    let (store, recovered) = open_with(Path::new(&dir), options, Arc::new(RealDisk)).unwrap();
    let mut next = [check_log(recovered.checkpoint, &recovered.records), check_bulk(&store)];
    let (room, has_room) = mpsc::channel();
    let committer = Committer::start(
        &store,
        move |stream, id| {
            // One write, so that a line is whole or missing.
            let line = format!("\ndurable {} {}\n", stream as u8, id.0);
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            let _ = room.send(());
        },
        |stream, error| panic!("{stream:?}: {error}"),
    )
    .unwrap();
    let records: [fn(u64) -> Record; 2] = [log_record, bulk_record];
    loop {
        for (next, record) in next.iter_mut().zip(records) {
            match committer.submit(Write { id: PersistId(*next + 1), record: record(*next + 1) }) {
                Ok(()) => *next += 1,
                Err(Rejected::Full(_)) => has_room.recv().unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Runs the child until it said something `lines` times, kills it, and returns the watermarks it gave.
fn run_and_kill(dir: &Path, lines: u64) -> [u64; 2] {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::kill::the_writer_that_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut marks = [0; 2];
    let mut said = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        let Some(mark) = line.strip_prefix("durable ") else { continue };
        let Some((stream, number)) = mark.split_once(' ') else { continue };
        let stream = usize::from(stream != (Stream::Log as u8).to_string());
        marks[stream] = number.parse().unwrap();
        said += 1;
        if said == lines {
            // SIGKILL; what it said before is still in the pipe.
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success() && said >= lines, "the child ended by itself: {status}");
    marks
}

#[test]
fn a_killed_writer_loses_nothing_it_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(5);
    let mut last = [0, 0];
    for _ in 0..KILLS {
        let marks = run_and_kill(dir.path(), 1 + random.below(25));
        let (store, recovered) = open(dir.path());
        let found = [check_log(recovered.checkpoint, &recovered.records), check_bulk(&store)];
        for stream in 0..2 {
            assert!(found[stream] >= marks[stream].max(last[stream]), "{found:?} after {marks:?} and {last:?}");
        }
        last = found;
    }
    assert!(last[0] > KILLS && last[1] > KILLS);
}
