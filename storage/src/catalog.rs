//! Where every batch and block lies: the index, and in memory what the index does not hold yet.
//!
//! A record appears here only once it is durable. Memory is asked before the index, and an entry leaves memory only
//! after the index has it, so a reader never misses a record that moves.

mod maintain;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::appender::{Appender, Volume};
use crate::index::{Index, Reach};
use crate::key::IndexKey;
use crate::segment::{RecordFile, Summary};

pub(crate) use crate::index::Location;
pub use maintain::{Pruned, Retention};
pub use read::{StoredBatch, StoredBlock};

/// Entries in memory from which on the index is brought up to date: about half a MiB.
pub(crate) const TAIL_ENTRIES: usize = 4096;

/// A live segment.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) file: Arc<RecordFile>,
    pub(crate) summary: Summary,
    /// Where its durable records end.
    pub(crate) end: u64,
    pub(crate) closed: bool,
}

/// Entries that the index does not hold yet.
#[derive(Default)]
pub(crate) struct Tail {
    pub(crate) entries: BTreeMap<IndexKey, Location>,
    /// Everything up to here is in the index or in `entries`.
    pub(crate) reach: Reach,
}

pub(crate) struct Catalog {
    segments: RwLock<BTreeMap<u64, Segment>>,
    tail: RwLock<Tail>,
    /// None if memory stands in for a failed index.
    index: RwLock<Option<Arc<Index>>>,
    /// The first damage met while rebuilding in memory; then "not found" cannot be told from "lost".
    damage: Mutex<Option<(PathBuf, u64)>>,
    /// One rebuild in memory at a time.
    repair: Mutex<()>,
    /// One change of the index at a time.
    maintenance: Mutex<()>,
    duplicates: AtomicU64,
    index_failures: AtomicU64,
    pruned_bytes: AtomicU64,
    /// Last, so that the directory's lock is released after the index is closed.
    pub(crate) volume: Arc<Volume>,
}

impl Catalog {
    pub(crate) fn new(
        volume: Arc<Volume>,
        segments: BTreeMap<u64, Segment>,
        tail: Tail,
        index: Option<Arc<Index>>,
    ) -> Self {
        Self {
            segments: RwLock::new(segments),
            tail: RwLock::new(tail),
            index: RwLock::new(index),
            damage: Mutex::new(None),
            repair: Mutex::new(()),
            maintenance: Mutex::new(()),
            duplicates: AtomicU64::new(0),
            index_failures: AtomicU64::new(0),
            pruned_bytes: AtomicU64::new(0),
            volume,
        }
    }

    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> Option<Arc<Index>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn maintenance(&self) -> MutexGuard<'_, ()> {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a segment that was just started.
    pub(crate) fn add_segment(&self, appender: &Appender, closed: bool) {
        let mut segments = self.segments_mut();
        if let Some(mut last) = segments.last_entry() {
            last.get_mut().closed = true;
        }
        let segment = Segment { file: appender.file.clone(), summary: appender.summary, end: appender.synced, closed };
        segments.insert(appender.number(), segment);
    }

    /// Makes durable records visible to readers.
    pub(crate) fn publish(&self, appender: &Appender, entries: Vec<(IndexKey, Location)>) {
        if let Some(segment) = self.segments_mut().get_mut(&appender.number()) {
            segment.summary = appender.summary;
            segment.end = appender.synced;
        }
        let mut tail = self.tail_mut();
        tail.entries.extend(entries);
        tail.reach = Reach { segment: appender.number(), tag: appender.file.head.tag, offset: appender.synced };
    }

    pub(crate) fn count_duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Relaxed)
    }

    pub(crate) fn index_failures(&self) -> u64 {
        self.index_failures.load(Relaxed)
    }

    pub(crate) fn pruned_bytes(&self) -> u64 {
        self.pruned_bytes.load(Relaxed)
    }

    /// True if the active segment is so full that the next file should be prepared.
    pub(crate) fn nears_rotation(&self) -> bool {
        self.segments().last_key_value().is_none_or(|(_, active)| active.end * 2 > active.file.head.size)
    }

    /// True if enough has gathered in memory to bring the index up to date.
    pub(crate) fn lags(&self) -> bool {
        self.unindexed() >= TAIL_ENTRIES && self.index().is_some()
    }

    pub(crate) fn unindexed(&self) -> usize {
        self.tail().entries.len()
    }
}
