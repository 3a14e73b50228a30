//! Disk full, and pruning.

use std::sync::mpsc;

use super::model::{start, without_index};
use super::support::{batch, block, body, open};
use crate::testing::FaultDisk;
use crate::{
    BulkRecord, Committer, LogRecord, Options, PersistId, Record, Retention, StorageError, Store, Stream, Write,
};

fn all_below(height: u64) -> Retention {
    Retention { epoch: height / 10, height, max_bytes: 0 }
}

fn fill_up(disk: &FaultDisk, bulk: &mut crate::BulkWriter, mut next: u64) -> (u64, BulkRecord) {
    disk.set_capacity(Some(disk.used_bytes() + 40_000));
    loop {
        let record = block(next, 5000);
        match bulk.commit(std::slice::from_ref(&record)) {
            Ok(()) => next += 1,
            Err(error) => {
                assert!(matches!(&error, StorageError::DiskFull { needed: 32_768, .. }), "{error}");
                return (next, record);
            }
        }
    }
}

fn expect_blocks(store: &Store, heights: std::ops::Range<u64>) {
    assert_eq!(store.first_block().unwrap(), Some(heights.start));
    assert_eq!(store.last_block().unwrap(), Some(heights.end - 1));
    for height in heights {
        assert_eq!(store.block(height).unwrap().as_ref(), Some(block(height, 5000).body()));
    }
}

#[test]
fn a_full_disk_is_said_leaves_everything_consistent_and_passes() {
    let disk = FaultDisk::new(0);
    let (mut running, _) = start(&disk, &without_index()).unwrap();
    let (next, record) = fill_up(&disk, &mut running.bulk, 1);
    assert!(next > 5);
    expect_blocks(&running.store, 1..next);
    assert!(running.store.free_bytes().unwrap() < 32_768);
    // Smaller records find no room either: the segment was closed. The log goes on.
    assert!(running.bulk.commit(&[block(1000, 1)]).unwrap_err().is_disk_full());
    running.log.commit(&[LogRecord::Entry(body(1, 100))]).unwrap();
    assert!(!running.store.is_stopped());
    // Pruning makes room.
    let pruned = running.store.prune(all_below(next - 1)).unwrap();
    assert!(pruned.segments > 0);
    running.bulk.commit(&[record]).unwrap();
    drop(running);
    let disk = disk.power_cut(3);
    let (running, recovered) = start(&disk, &without_index()).unwrap();
    assert_eq!(recovered.records, [body(1, 100)]);
    assert_eq!(running.store.last_block().unwrap(), Some(next));
    assert_eq!(running.store.block(1000).unwrap(), None);
}

#[test]
fn a_directory_on_a_full_disk_opens_once_there_is_room() {
    let disk = FaultDisk::new(0);
    let (mut running, _) = start(&disk, &without_index()).unwrap();
    let (next, _) = fill_up(&disk, &mut running.bulk, 1);
    drop(running);
    // The last segment is closed, so that opening needs a new one.
    let disk = disk.process_kill();
    assert!(start(&disk, &without_index()).err().unwrap().is_disk_full());
    let disk = disk.power_cut(1);
    disk.set_capacity(None);
    let (running, _) = start(&disk, &without_index()).unwrap();
    expect_blocks(&running.store, 1..next);
}

#[test]
fn a_fresh_directory_below_the_free_space_mark_is_refused() {
    let disk = FaultDisk::new(0);
    disk.set_capacity(Some(1 << 20));
    let options = Options { free_space_mark: 1 << 20, ..without_index() };
    let error = start(&disk, &options).err().unwrap();
    assert!(matches!(error, StorageError::DiskFull { free: 1_048_000..=1_048_576, .. }), "{error}");
    disk.set_capacity(Some(2 << 20));
    let (running, _) = start(&disk, &options).unwrap();
    assert!(!running.store.low_on_space().unwrap());
    disk.set_capacity(Some(1 << 20));
    assert!(running.store.low_on_space().unwrap());
}

#[test]
fn a_full_log_stops_everything_and_nothing_is_reported_durable_after_it() {
    let disk = FaultDisk::new(0);
    let (mut running, _) = start(&disk, &without_index()).unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    let failed = (0..).find(|n| running.log.commit(&[LogRecord::Entry(body(*n, 500))]).is_err()).unwrap();
    assert!(running.store.is_stopped());
    assert!(matches!(running.log.commit(&[LogRecord::Entry(body(0, 1))]), Err(StorageError::Stopped)));
    assert!(matches!(running.bulk.commit(&[block(1, 1)]), Err(StorageError::Stopped)));
    drop(running);
    disk.set_capacity(None);
    let (_, recovered) = start(&disk.process_kill(), &without_index()).unwrap();
    assert_eq!(recovered.records.len() as u64, failed);
}

#[test]
fn a_committer_waits_for_space_and_goes_on() {
    let disk = FaultDisk::new(0);
    let options = without_index();
    let (store, _) = super::support::open_with("/data".as_ref(), options, std::sync::Arc::new(disk.clone())).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 1000));
    let (durable, reports) = mpsc::channel();
    let (failure, failures) = mpsc::channel();
    let committer = Committer::start(
        &store,
        move |stream, id| durable.send((stream, id)).unwrap_or_default(),
        move |stream, error| drop(failure.send((stream, error))),
    )
    .unwrap();
    for n in 1..=30 {
        committer.submit(Write { id: PersistId(n), record: Record::Block { height: n, body: body(n, 3000) } }).unwrap();
    }
    let (stream, error) = failures.recv().unwrap();
    assert!(stream == Stream::Bulk && error.is_disk_full());
    disk.set_capacity(None);
    let done = reports.iter().find(|report| *report == (Stream::Bulk, PersistId(30)));
    assert!(done.is_some());
    committer.close();
    assert_eq!(store.last_block().unwrap(), Some(30));
    assert!(failures.try_recv().is_err());
}

#[test]
fn a_failure_of_the_log_is_reported_once_and_nothing_is_durable_after_it() {
    let disk = FaultDisk::new(0);
    let (store, _) =
        super::support::open_with("/data".as_ref(), without_index(), std::sync::Arc::new(disk.clone())).unwrap();
    let (durable, reports) = mpsc::channel();
    let (failure, failures) = mpsc::channel();
    let committer = Committer::start(
        &store,
        move |stream, id| durable.send((stream, id)).unwrap_or_default(),
        move |stream, error| drop(failure.send((stream, error))),
    )
    .unwrap();
    // Housekeeping works at the same time: a fault at the next operation of all might be its.
    disk.fail_file("log-", crate::testing::Fault::Error);
    let write = |n| Write { id: PersistId(n), record: Record::Log(body(n, 10)) };
    committer.submit(write(1)).unwrap();
    let (stream, error) = failures.recv().unwrap();
    assert!(stream == Stream::Log && matches!(error, StorageError::Io { .. }), "{error}");
    let batch = Record::Block { height: 1, body: body(1, 10) };
    drop(committer.submit(Write { id: PersistId(1), record: batch }));
    drop(committer.submit(write(2)));
    committer.close();
    assert_eq!(reports.iter().count(), 0);
    assert_eq!(failures.iter().count(), 0, "one failure, reported once");
}

#[test]
fn pruning_gives_space_back_keeps_what_is_needed_and_nothing_old_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_on_disk = || -> u64 {
        let files = std::fs::read_dir(dir.path().join("segments")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let (store, _) = open(dir.path());
    let (log, mut bulk) = store.writers().unwrap();
    for n in 0..100 {
        bulk.commit(&[batch(n / 10, 0, n, 1500), block(n, 1000)]).unwrap();
    }
    store.maintain().unwrap();
    let before = bytes_on_disk();
    assert_eq!(store.prune(Retention { epoch: 10, height: 100, max_bytes: u64::MAX }).unwrap().segments, 0);
    let pruned = store.prune(all_below(50)).unwrap();
    assert!(pruned.freed_bytes > 0);
    assert_eq!(bytes_on_disk(), before - pruned.freed_bytes);
    assert_eq!(store.metrics().pruned_bytes, pruned.freed_bytes);
    let first = store.first_block().unwrap().unwrap();
    assert!((1..=50).contains(&first));
    // A budget in bytes prunes only as much as needed.
    let budget = pruned.kept_bytes - 1;
    let second = store.prune(Retention { max_bytes: budget, ..all_below(100) }).unwrap();
    assert_eq!(second.segments, 1);
    // The recycled file is used again and again; its old records stay gone.
    for n in 100..160 {
        bulk.commit(&[block(n, 1000)]).unwrap();
    }
    store.prune(all_below(120)).unwrap();
    let first = store.first_block().unwrap().unwrap();
    let contents = store.index_contents().unwrap();
    drop((store, log, bulk));
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(store.index_contents().unwrap(), contents);
    assert_eq!(store.first_block().unwrap(), Some(first));
    assert_eq!(store.blocks_from(first, u64::MAX).unwrap().len() as u64, 160 - first);
    for n in 0..100 {
        assert!(store.batch(n / 10, 0, n).unwrap().is_empty());
    }
}
