//! What a group commit costs: append and one fdatasync, for votes (200 bytes) and batches (512 KiB).
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use squad_storage::{BatchKey, BulkRecord, LogRecord, Options, RealDisk, Retention, Store, StoreIdentity};

const VOTE: usize = 200;
const BATCH: usize = 512 << 10;

fn open(dir: &std::path::Path) -> Store {
    let identity = StoreIdentity { network_id: [1; 32], operator: [2; 20] };
    let options = Options { free_space_mark: 0, ..Options::default() };
    let (store, _) = Store::open(dir, identity, options, Arc::new(RealDisk), &mut |_| {}).expect("a store");
    store.maintain().expect("spare files");
    store
}

fn log(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let (mut log, _bulk) = store.writers().expect("the writers");
    let vote = LogRecord::Entry(Bytes::from(vec![7; VOTE]));
    let mut group = criterion.benchmark_group("log");
    for records in [1, 16, 256] {
        let votes = vec![vote.clone(); records];
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("{records} of {VOTE} bytes"), |bencher| {
            bencher.iter(|| log.commit(black_box(&votes)).expect("a commit"));
        });
        log.commit(&[LogRecord::Checkpoint(Bytes::new())]).expect("a checkpoint");
    }
    group.finish();
}

fn segments(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let (_log, mut bulk) = store.writers().expect("the writers");
    let body = Bytes::from(vec![7; BATCH]);
    let mut sequence = 0;
    let mut group = criterion.benchmark_group("segments");
    for records in [1, 8] {
        group.throughput(Throughput::Bytes((records * BATCH) as u64));
        group.bench_function(format!("{records} of {BATCH} bytes"), |bencher| {
            bencher.iter_batched(
                || {
                    // Keeps the disk from filling up, outside the measurement.
                    let all = Retention { epoch: u64::MAX, height: u64::MAX, max_bytes: 256 << 20 };
                    store.prune(all).expect("room");
                    (0..records)
                        .map(|_| {
                            sequence += 1;
                            let key = BatchKey { epoch: 0, lane: 0, sequence };
                            BulkRecord::Batch { key, id: [3; 32], body: body.clone() }
                        })
                        .collect::<Vec<_>>()
                },
                |batches| bulk.commit(black_box(&batches)).expect("a commit"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, log, segments);
criterion_main!(benches);
