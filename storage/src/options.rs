//! What an operator can tune, and the bounds that nobody can.

use std::path::PathBuf;

use crate::error::StorageError;
use crate::record::MAX_HEAD_BYTES;
use crate::segment::{FILE_HEAD_BYTES, FOOTER_BYTES};

/// Largest record, in bytes: a checkpoint carries the duplicate window, which is some tens of MiB at full load.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Smallest file that makes sense: head, footer and a few records.
const MIN_FILE_BYTES: u64 = FILE_HEAD_BYTES + FOOTER_BYTES + 4096;

/// Largest file; offsets and lengths in the index are checked against it.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// How much a stream's queue may hold before [`Committer::submit`](crate::Committer::submit) says it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of records. One larger record is still taken when the queue is empty.
    pub bytes: u64,
    /// Number of records.
    pub records: usize,
}

/// How a store is laid out. The defaults are for an operator's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Size of a log file in bytes, allocated at once.
    pub log_file_bytes: u64,
    /// Size of a segment file in bytes, allocated at once.
    pub segment_bytes: u64,
    /// Zero-filled files kept ready per stream; their space is not given back by pruning.
    pub spare_files: usize,
    /// Free-space mark in bytes: below it [`Store::low_on_space`](crate::Store::low_on_space) is true, no spare files are prepared, and a fresh
    /// directory is refused.
    pub free_space_mark: u64,
    /// Memory for the index's page cache, in bytes.
    pub index_cache_bytes: u64,
    /// Where the index lives; `index` in the data directory if none.
    pub index_dir: Option<PathBuf>,
    /// Check every byte of every segment at open, not only what the index does not cover yet.
    pub verify_everything: bool,
    /// Bounds of the log's queue.
    pub log_queue: QueueLimits,
    /// Bounds of the segments' queue.
    pub bulk_queue: QueueLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_file_bytes: 8 << 20,
            segment_bytes: 64 << 20,
            spare_files: 1,
            free_space_mark: 512 << 20,
            index_cache_bytes: 16 << 20,
            index_dir: None,
            verify_everything: false,
            log_queue: QueueLimits { bytes: 64 << 20, records: 65_536 },
            bulk_queue: QueueLimits { bytes: 64 << 20, records: 16_384 },
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        for (name, value) in [("log_file_bytes", self.log_file_bytes), ("segment_bytes", self.segment_bytes)] {
            if !(MIN_FILE_BYTES..=MAX_FILE_BYTES).contains(&value) || !value.is_multiple_of(4096) {
                return Err(StorageError::Option {
                    name,
                    value,
                    requirement: "a multiple of 4096 between 12288 and 1 GiB",
                });
            }
        }
        Ok(())
    }
}

/// The file size that holds a record of `bytes`, starting from the usual `default` size.
pub(crate) fn file_bytes_for(default: u64, bytes: u64) -> u64 {
    let needed = FILE_HEAD_BYTES + MAX_HEAD_BYTES as u64 + bytes + 8 + FOOTER_BYTES;
    default.max(needed.next_multiple_of(4096))
}
