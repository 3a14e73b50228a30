//! The ordinary life of a store.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;

use super::support::{IDENTITY, batch, block, body, id, key, open, open_with, small};
use crate::{
    BulkRecord, Committer, IndexState, LogRecord, Origin, PersistId, RealDisk, Record, Rejected, StorageError, Store,
    StoreIdentity, Stream, Write,
};

#[test]
fn a_log_comes_back_in_order_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<Bytes> = (0..300).map(|n| body(n, (n as usize * 7) % 500)).collect();
    {
        let (store, recovered) = open(dir.path());
        assert_eq!(recovered.origin, Origin::Fresh);
        let (mut log, _bulk) = store.writers().unwrap();
        for group in entries.chunks(7) {
            log.commit(&group.iter().cloned().map(LogRecord::Entry).collect::<Vec<_>>()).unwrap();
        }
        assert!(store.metrics().log.files_started > 2);
    }
    let (_store, recovered) = open(dir.path());
    assert_eq!(recovered.origin, Origin::Initialised);
    assert_eq!(recovered.records, entries);
    assert_eq!(recovered.checkpoint, None);
}

#[test]
fn a_checkpoint_replaces_what_came_before_and_frees_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let big = body(1, 100_000);
    {
        let (store, _) = open(dir.path());
        let (mut log, _bulk) = store.writers().unwrap();
        for n in 0..200 {
            log.commit(&[LogRecord::Entry(body(n, 300))]).unwrap();
        }
        let before = store.metrics().log.live_bytes;
        log.commit(&[
            LogRecord::Entry(body(201, 10)),
            LogRecord::Checkpoint(big.clone()),
            LogRecord::Entry(body(202, 10)),
        ])
        .unwrap();
        assert!(before > 60_000 && store.metrics().log.live_bytes < 120_000);
        log.commit(&vec![LogRecord::Entry(body(203, 400)); 30]).unwrap();
    }
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.checkpoint, Some(big));
    assert_eq!(recovered.records[0], body(202, 10));
    assert_eq!(recovered.records.len(), 31);
    let (mut log, _bulk) = store.writers().unwrap();
    log.commit(&[LogRecord::Checkpoint(body(5, 5))]).unwrap();
    drop((log, _bulk, store));
    let (_store, recovered) = open(dir.path());
    assert_eq!((recovered.checkpoint, recovered.records.len()), (Some(body(5, 5)), 0));
}

#[test]
fn batches_and_blocks_are_found_before_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let check = |store: &Store| {
        for n in 0..60 {
            let BulkRecord::Batch { key: at, id, body } = batch(n / 20, (n % 3) as u16, n, 900) else { panic!() };
            assert_eq!(store.batch(at.epoch, at.lane, at.sequence).unwrap(), [(id, body)]);
            assert_eq!(store.block(n).unwrap().as_ref(), Some(block(n, 200).body()));
        }
        assert_eq!((store.first_block().unwrap(), store.last_block().unwrap()), (Some(0), Some(59)));
        assert!(store.batch(0, 0, 999).unwrap().is_empty());
        assert_eq!(store.block(60).unwrap(), None);
        let blocks = store.blocks_from(10, 1000).unwrap();
        assert_eq!(blocks.iter().map(|block| block.height).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
        assert_eq!(store.blocks_from(59, 0).unwrap().len(), 1);
        let epoch = store.batches(key(1, 0, 0)..key(2, 0, 0), u64::MAX).unwrap();
        assert_eq!(epoch.len(), 20);
        assert!(epoch.is_sorted_by_key(|batch| batch.key));
    };
    {
        let (store, _) = open(dir.path());
        let (_log, mut bulk) = store.writers().unwrap();
        for n in 0..60 {
            bulk.commit(&[batch(n / 20, (n % 3) as u16, n, 900), block(n, 200)]).unwrap();
            if n % 17 == 0 {
                store.flush_index();
            }
        }
        check(&store);
        bulk.commit(&[batch(0, 0, 0, 900), block(0, 200)]).unwrap();
        assert_eq!(store.metrics().duplicates, 2);
    }
    let (store, recovered) = open(dir.path());
    assert!(matches!(recovered.index, IndexState::Sound { rolled_forward } if rolled_forward > 0));
    check(&store);
}

#[test]
fn forks_of_a_lane_lie_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (_log, mut bulk) = store.writers().unwrap();
    let fork = |n: u64| BulkRecord::Batch { key: key(1, 2, 3), id: id(n), body: body(n, 50) };
    bulk.commit(&[fork(2), fork(1), fork(2)]).unwrap();
    assert_eq!(store.batch(1, 2, 3).unwrap(), [(id(1), body(1, 50)), (id(2), body(2, 50))]);
}

#[test]
fn a_record_larger_than_a_file_gets_a_larger_file() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (store, _) = open(dir.path());
        let (mut log, mut bulk) = store.writers().unwrap();
        log.commit(&[LogRecord::Entry(body(1, 10)), LogRecord::Entry(body(2, 50_000))]).unwrap();
        bulk.commit(&[block(1, 10), block(2, 100_000), block(3, 10)]).unwrap();
    }
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.records, [body(1, 10), body(2, 50_000)]);
    assert_eq!(store.block(2).unwrap().as_ref(), Some(block(2, 100_000).body()));
}

#[test]
fn a_committer_reports_every_write_durable_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (sender, receiver) = mpsc::channel();
    let committer = Committer::start(
        &store,
        move |stream, id| sender.send((stream, id)).unwrap(),
        |stream, error| panic!("{stream:?}: {error}"),
    )
    .unwrap();
    for n in 1..=500 {
        committer.submit(Write { id: PersistId(n), record: Record::Log(body(n, 100)) }).unwrap();
        let record = Record::Block { height: n, body: body(n, 300) };
        committer.submit(Write { id: PersistId(n * 2), record }).unwrap();
    }
    let again = committer.submit(Write { id: PersistId(500), record: Record::Log(Bytes::new()) });
    assert!(matches!(again, Err(Rejected::OutOfOrder { id: 500, last: 500 })));
    committer.close();
    let reports: Vec<_> = receiver.iter().collect();
    for (stream, last) in [(Stream::Log, 500), (Stream::Bulk, 1000)] {
        let marks: Vec<_> = reports.iter().filter(|(of, _)| *of == stream).map(|(_, id)| *id).collect();
        assert!(marks.is_sorted_by(|a, b| a < b));
        assert_eq!(marks.last(), Some(&PersistId(last)));
    }
    assert!(store.metrics().log.groups <= 500);
    drop(store);
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.records.len(), 500);
    assert_eq!(recovered.index, IndexState::Sound { rolled_forward: 0 });
    assert_eq!(store.last_block().unwrap(), Some(500));
}

#[test]
fn a_full_queue_hands_the_write_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small();
    options.log_queue = crate::QueueLimits { bytes: 1000, records: 1 };
    let (store, _) = open_with(dir.path(), options, Arc::new(RealDisk)).unwrap();
    // The report of the first write holds the log thread, so that the queue fills up.
    let (hold, held) = mpsc::channel::<()>();
    let (sender, first) = mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let committer = Committer::start(
        &store,
        move |_, id| {
            sender.send(id).unwrap();
            let _ = held.lock().unwrap().recv();
        },
        |_, error| panic!("{error}"),
    )
    .unwrap();
    let write = |n| Write { id: PersistId(n), record: Record::Log(body(n, 2000)) };
    committer.submit(write(1)).unwrap();
    assert_eq!(first.recv().unwrap(), PersistId(1));
    committer.submit(write(2)).unwrap();
    assert!(matches!(committer.submit(write(3)), Err(Rejected::Full(back)) if back == write(3)));
    drop(hold);
    committer.close();
}

#[test]
fn what_nobody_hurries_for_shares_the_group_of_what_somebody_does() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (sender, reports) = mpsc::channel();
    let committer = Committer::start(
        &store,
        move |stream, id| sender.send((stream, id)).unwrap(),
        |stream, error| panic!("{stream:?}: {error}"),
    )
    .unwrap();
    let write = |n| Write { id: PersistId(n), record: Record::Log(body(n, 100)) };
    for n in 1..=9 {
        committer.queue(write(n)).unwrap();
    }
    // The other stream's hurry is not this one's.
    committer.submit(Write { id: PersistId(1), record: Record::Block { height: 1, body: body(1, 300) } }).unwrap();
    assert_eq!(reports.recv().unwrap(), (Stream::Bulk, PersistId(1)));
    committer.submit(write(10)).unwrap();
    assert_eq!(reports.recv().unwrap(), (Stream::Log, PersistId(10)));
    assert_eq!(store.metrics().log.groups, 1);
    committer.queue(write(11)).unwrap();
    committer.close();
    assert_eq!(reports.recv().unwrap(), (Stream::Log, PersistId(11)), "the end is a hurry too");
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let second = open_with(dir.path(), small(), Arc::new(RealDisk));
    let error = second.err().unwrap();
    assert!(matches!(&error, StorageError::Locked { holder: Some(pid), .. } if *pid == std::process::id()));
    let writers = store.writers().unwrap();
    assert!(matches!(store.writers(), Err(StorageError::WritersTaken)));
    drop(store);
    assert!(open_with(dir.path(), small(), Arc::new(RealDisk)).is_err(), "the writers still hold it");
    drop(writers);
    open(dir.path());
}

#[test]
fn a_directory_of_another_network_or_operator_is_refused_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let network = StoreIdentity { network_id: [8; 32], ..IDENTITY };
    let operator = StoreIdentity { operator: [1; 20], ..IDENTITY };
    for (identity, found, expected) in [(network, "0707", "0808"), (operator, "0909", "0101")] {
        let refused = Store::open(dir.path(), identity, small(), Arc::new(RealDisk), &mut |_| {});
        let message = refused.err().unwrap().to_string();
        assert!(message.contains(found) && message.contains(expected), "{message}");
    }
    std::fs::remove_file(dir.path().join("identity")).unwrap();
    assert!(matches!(open_with(dir.path(), small(), Arc::new(RealDisk)), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_lost_log_is_told_from_a_fresh_directory_until_the_log_holds_something() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (store, recovered) = open(dir.path());
        assert_eq!(recovered.origin, Origin::Fresh);
        store.writers().unwrap().0.commit(&[LogRecord::Entry(body(1, 1))]).unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    assert_eq!(open(dir.path()).1.origin, Origin::LogLost);
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.origin, Origin::LogLost, "nothing was written since");
    store.writers().unwrap().0.commit(&[LogRecord::Checkpoint(body(1, 1))]).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).1.origin, Origin::Initialised);
}
