//! Keeping the index up to date, preparing spare files, and letting old segments go.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::{Catalog, Location};
use crate::error::StorageError;
use crate::index::{Contents, Fault, Reach};
use crate::key::IndexKey;
use crate::segment::{FILE_HEAD_BYTES, RecordFile};
use crate::spares::Released;

/// What may be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Batches of epochs below this one are not needed.
    pub epoch: u64,
    /// Blocks below this height are not needed.
    pub height: u64,
    /// Nothing is pruned while the segments take no more bytes than this; 0 prunes all that is not needed.
    pub max_bytes: u64,
}

/// What was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Segments removed.
    pub segments: u64,
    /// Bytes given back to the file system.
    pub freed_bytes: u64,
    /// Bytes of segments kept as spare files for the next ones.
    pub recycled_bytes: u64,
    /// Bytes that live segments still take; over `max_bytes` if they hold what is needed.
    pub kept_bytes: u64,
}

impl Catalog {
    /// Removes the oldest segments that hold nothing needed any more.
    ///
    /// Segments go whole and oldest first, each removal durable before the next, so that what is left has no gap.
    pub(crate) fn prune(&self, retention: Retention) -> Result<Pruned, StorageError> {
        let _one = self.maintenance();
        let mut pruned = Pruned::default();
        loop {
            let kept = self.volume.counters.live_bytes();
            pruned.kept_bytes = kept;
            let oldest = self.segments().first_key_value().map(|(number, segment)| (*number, segment.clone()));
            let Some((number, segment)) = oldest else {
                break;
            };
            let droppable = segment.closed && segment.summary.is_below(retention.epoch, retention.height);
            if kept <= retention.max_bytes || !droppable || self.volume.is_stopped() {
                break;
            }
            let keys = keys_of(&segment.file, segment.end)?;
            self.segments_mut().remove(&number);
            let size = segment.file.head.size;
            let released = match self.release(&segment.file) {
                Ok(released) => released,
                Err(error) => {
                    // Still there, as far as anybody knows: going on with the next one would leave a gap.
                    self.segments_mut().insert(number, segment);
                    return Err(error);
                }
            };
            self.volume.counters.released(size);
            match released {
                Released::Recycled => pruned.recycled_bytes += size,
                Released::Unlinked => pruned.freed_bytes += size,
            }
            pruned.segments += 1;
            self.forget(number, keys);
        }
        self.pruned_bytes.fetch_add(pruned.freed_bytes, Relaxed);
        Ok(pruned)
    }

    fn release(&self, file: &RecordFile) -> Result<Released, StorageError> {
        // The lock is held until the renaming is durable, so that nobody writes into the file before.
        let mut spares = self.volume.spares();
        let released = spares.release(&file.path, file.head.size)?;
        self.volume.sync_dir().inspect_err(|_| self.volume.stop())?;
        Ok(released)
    }

    /// Removes the entries of a pruned segment. The file goes first: entries without a file are harmless and are
    /// dropped at the next open, a file without entries would hide records.
    fn forget(&self, number: u64, keys: Vec<IndexKey>) {
        {
            let mut tail = self.tail_mut();
            for key in &keys {
                if tail.entries.get(key).is_some_and(|location| location.segment == number) {
                    tail.entries.remove(key);
                }
            }
        }
        let Some(index) = self.index() else { return };
        // The checkpoint that goes with the removal must not run ahead of entries that are still in memory.
        let Some(reach) = self.index_tail() else {
            return;
        };
        let stale: Result<Vec<IndexKey>, Fault> = keys
            .into_iter()
            .filter_map(|key| match index.get(&key) {
                Ok(Some(location)) if location.segment == number => Some(Ok(key)),
                Ok(_) => None,
                Err(fault) => Some(Err(fault)),
            })
            .collect();
        if let Err(fault) = stale.and_then(|keys| index.apply(&[], &keys, reach)) {
            tracing::error!(fault = fault.0, "the index failed while pruning; it will be rebuilt at the next start");
            index.distrust();
        }
    }

    /// Brings the index up to date if enough has gathered, or always with `all`.
    pub(crate) fn maintain_index(&self, all: bool) {
        if all || self.lags() {
            let _one = self.maintenance();
            self.index_tail();
        }
    }

    /// Moves the entries in memory into the index and says how far that reaches; none if the index is gone or failed.
    /// The caller holds the maintenance lock.
    fn index_tail(&self) -> Option<Reach> {
        let index = self.index()?;
        let (entries, reach): (Vec<(IndexKey, Location)>, _) = {
            let tail = self.tail();
            (tail.entries.iter().map(|(key, location)| (key.clone(), *location)).collect(), tail.reach)
        };
        if let Err(fault) = index.apply(&entries, &[], reach).and_then(|()| index.flush()) {
            // Memory keeps the entries; the next read that meets the fault replaces the index.
            tracing::error!(fault = fault.0, "the index could not be brought up to date");
            index.distrust();
            return None;
        }
        let mut tail = self.tail_mut();
        for (key, location) in entries {
            if tail.entries.get(&key) == Some(&location) {
                tail.entries.remove(&key);
            }
        }
        Some(reach)
    }

    /// All entries of the index in key order, after bringing it up to date; none if memory stands in for it.
    pub(crate) fn index_contents(&self) -> Option<Contents> {
        self.maintain_index(true);
        self.index()?.contents().ok()
    }
}

/// The index keys of all records of a segment, by their heads.
pub(crate) fn keys_of(file: &RecordFile, end: u64) -> Result<Vec<IndexKey>, StorageError> {
    let mut keys = BTreeMap::new();
    file.scan(FILE_HEAD_BYTES, end, |scanner| {
        while let Some((offset, head)) = scanner.skip()? {
            if let Some(key) = head.label.index_key() {
                keys.insert(key, offset);
            }
        }
        Ok(())
    })?;
    Ok(keys.into_keys().collect())
}
