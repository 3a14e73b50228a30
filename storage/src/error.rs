//! What can go wrong between a record and the disk.

use std::io;
use std::path::{Path, PathBuf};

/// Every failure of this crate. Messages name the file, the value and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process, or another store of this process, holds the directory.
    #[error("data directory {} is in use by another process{}; stop it or choose another directory", path.display(), holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The process id that the holder left in the lock file, if it could be read.
        holder: Option<u32>,
    },
    /// The directory belongs to another network or another operator.
    #[error("data directory {} belongs to {field} {found}, but this node runs for {field} {expected}; choose the right directory or configuration", path.display())]
    Foreign {
        /// The data directory.
        path: PathBuf,
        /// `network` or `operator`.
        field: &'static str,
        /// The value in the directory, in hex.
        found: String,
        /// The value that the caller asked for, in hex.
        expected: String,
    },
    /// Bytes that were durable are not what was written. Nothing was changed.
    #[error("{} is corrupt at offset {offset}: {reason}; restore the file from a copy, or remove the data directory to start as an operator that lost its state", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What was expected there.
        reason: String,
    },
    /// There is no room for a file that is needed. What was written before stays consistent.
    #[error("no space for {needed} bytes at {} ({free} bytes free); free some space or lower the retention", path.display())]
    DiskFull {
        /// The file that could not be allocated or written.
        path: PathBuf,
        /// Bytes asked for.
        needed: u64,
        /// Bytes free on that file system, as far as known.
        free: u64,
    },
    /// The operating system refused a file operation.
    #[error("{operation} of {} failed: {source}", path.display())]
    Io {
        /// What was tried: `open`, `write`, `fdatasync` …
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// One record is larger than any file may hold.
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The size of the record in bytes.
        bytes: u64,
        /// [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES).
        limit: u64,
    },
    /// An option has a value that cannot work.
    #[error("storage option {name} is {value}, but must be {requirement}")]
    Option {
        /// The field of [`Options`](crate::Options).
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it has to be.
        requirement: &'static str,
    },
    /// An earlier write or fsync failed; nothing is written any more. Restart the process to recover what is durable.
    #[error("storage stopped after an earlier failure; restart to recover what is durable")]
    Stopped,
    /// The writers of this store were already handed out.
    #[error("the writers of this store were already taken")]
    WritersTaken,
}

impl StorageError {
    /// Wraps an operating system error, telling a full disk apart.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::io_sized(operation, path, 0, source)
    }

    pub(crate) fn io_sized(operation: &'static str, path: &Path, needed: u64, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull { path: path.to_owned(), needed, free: 0 };
        }
        Self::Io { operation, path: path.to_owned(), source }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), offset, reason: reason.into() }
    }

    /// True if the disk was full: the write may be tried again once space is free.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
