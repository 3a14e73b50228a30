//! Counters for the node's metrics page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one stream since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamMetrics {
    /// Records written.
    pub records: u64,
    /// Bytes written, heads and padding included.
    pub bytes: u64,
    /// Calls of fdatasync.
    pub fsyncs: u64,
    /// Groups committed; records over groups is the gain of group commit.
    pub groups: u64,
    /// New files started.
    pub files_started: u64,
    /// Bytes in live files, spare ones not counted.
    pub live_bytes: u64,
}

/// Counters of a store since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// The write-ahead log; its `live_bytes` shrink at a checkpoint.
    pub log: StreamMetrics,
    /// Batches and blocks.
    pub bulk: StreamMetrics,
    /// Batches and blocks that were already stored and not written again.
    pub duplicates: u64,
    /// Records in memory that the index does not hold yet.
    pub unindexed: u64,
    /// Times that the index failed while running and was replaced by memory.
    pub index_failures: u64,
    /// Bytes of segments given back to the file system by pruning.
    pub pruned_bytes: u64,
}

#[derive(Default)]
pub(crate) struct StreamCounters {
    records: AtomicU64,
    bytes: AtomicU64,
    fsyncs: AtomicU64,
    groups: AtomicU64,
    files_started: AtomicU64,
    live_bytes: AtomicU64,
}

impl StreamCounters {
    pub(crate) fn written(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn synced(&self) {
        self.fsyncs.fetch_add(1, Relaxed);
    }

    pub(crate) fn committed(&self) {
        self.groups.fetch_add(1, Relaxed);
    }

    pub(crate) fn started(&self, bytes: u64) {
        self.files_started.fetch_add(1, Relaxed);
        self.live(bytes);
    }

    pub(crate) fn live(&self, bytes: u64) {
        self.live_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn released(&self, bytes: u64) {
        self.live_bytes.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> StreamMetrics {
        StreamMetrics {
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            fsyncs: self.fsyncs.load(Relaxed),
            groups: self.groups.load(Relaxed),
            files_started: self.files_started.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
        }
    }
}
