//! One file of records: its head block, its records, and the footer that closes it.
//!
//! ```text
//! 0          head block: what the file is, its number and tag; durable before the file gets its name
//! 4096       records
//! size-4096  footer: written and synced when the file is closed, after all its records are durable
//! ```
//! A file that is not the last of its stream always has a footer, so nothing in it can be a torn tail.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::key::Label;
use crate::record::{u32_at, u64_at};
use crate::scan::Scanner;

/// Bytes before the first record: one block, so that a torn head never touches a record.
pub(crate) const FILE_HEAD_BYTES: u64 = 4096;
/// Bytes kept for the footer.
pub(crate) const FOOTER_BYTES: u64 = 4096;

const HEAD_MAGIC: u64 = u64::from_le_bytes(*b"SQUADsg\n");
const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"SQUADft\n");
/// Layout of files and records; a directory written with another one is refused.
const FORMAT: u32 = 1;
const HEAD_ENCODED: usize = 48;
const FOOTER_ENCODED: usize = 72;

/// Which stream a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    Log = 1,
    Bulk = 2,
}

/// The head block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHead {
    pub(crate) stream: StreamKind,
    /// The first record is a checkpoint, so nothing before this file is needed.
    pub(crate) checkpoint: bool,
    pub(crate) number: u64,
    pub(crate) tag: u64,
    pub(crate) size: u64,
}

/// What the records of a file span, for pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) records: u64,
    /// Lowest and highest epoch of a batch.
    pub(crate) epochs: Option<(u64, u64)>,
    /// Lowest and highest height of a block.
    pub(crate) heights: Option<(u64, u64)>,
}

/// The closing block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Where the records end.
    pub(crate) end: u64,
    pub(crate) summary: Summary,
}

/// An open file of records.
pub(crate) struct RecordFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) head: FileHead,
}

/// A tag that no earlier use of the file has and that nobody outside can guess.
pub(crate) fn fresh_tag() -> u64 {
    // The standard library's hasher keys come from the operating system's randomness, with no further dependency.
    RandomState::new().build_hasher().finish()
}

impl Summary {
    pub(crate) fn add(&mut self, label: &Label) {
        let widen = |span: &mut Option<(u64, u64)>, value: u64| {
            *span = Some(span.map_or((value, value), |(low, high)| (low.min(value), high.max(value))));
        };
        self.records += 1;
        match label {
            Label::Batch(key, _) => widen(&mut self.epochs, key.epoch),
            Label::Block(height) => widen(&mut self.heights, *height),
            Label::Entry | Label::Checkpoint | Label::Mark => {}
        }
    }

    /// True if every batch is of an epoch below `epoch` and every block below `height`.
    pub(crate) fn is_below(&self, epoch: u64, height: u64) -> bool {
        self.epochs.is_none_or(|(_, high)| high < epoch) && self.heights.is_none_or(|(_, high)| high < height)
    }
}

impl FileHead {
    pub(crate) fn encode(&self) -> [u8; HEAD_ENCODED] {
        let mut bytes = [0; HEAD_ENCODED];
        bytes[..8].copy_from_slice(&HEAD_MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12] = self.stream as u8;
        bytes[13] = u8::from(self.checkpoint);
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.tag.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let short = "the file head is cut short";
        if u64_at(bytes, 0).ok_or(short)? != HEAD_MAGIC {
            return Err("the file head is not one of this store");
        }
        if u32_at(bytes, 40).ok_or(short)? != crc32c::crc32c(bytes.get(..40).ok_or(short)?) {
            return Err("the file head fails its checksum");
        }
        if u32_at(bytes, 8).ok_or(short)? != FORMAT {
            return Err("the file has a layout that this program does not know; run the program that wrote it");
        }
        let stream = match bytes[12] {
            1 => StreamKind::Log,
            2 => StreamKind::Bulk,
            _ => return Err("the file head names an unknown stream"),
        };
        Ok(Self {
            stream,
            checkpoint: bytes[13] == 1,
            number: u64_at(bytes, 16).ok_or(short)?,
            tag: u64_at(bytes, 24).ok_or(short)?,
            size: u64_at(bytes, 32).ok_or(short)?,
        })
    }
}

impl Footer {
    pub(crate) fn encode(&self, tag: u64) -> [u8; FOOTER_ENCODED] {
        let (epoch_low, epoch_high) = self.summary.epochs.unwrap_or((u64::MAX, 0));
        let (height_low, height_high) = self.summary.heights.unwrap_or((u64::MAX, 0));
        let fields =
            [FOOTER_MAGIC, tag, self.end, self.summary.records, epoch_low, epoch_high, height_low, height_high];
        let mut bytes = [0; FOOTER_ENCODED];
        for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..64]);
        bytes[64..68].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], tag: u64) -> Option<Self> {
        let field = |index: usize| u64_at(bytes, index * 8);
        if field(0)? != FOOTER_MAGIC || field(1)? != tag || u32_at(bytes, 64)? != crc32c::crc32c(bytes.get(..64)?) {
            return None;
        }
        let span = |low: u64, high: u64| (low <= high).then_some((low, high));
        let summary =
            Summary { records: field(3)?, epochs: span(field(4)?, field(5)?), heights: span(field(6)?, field(7)?) };
        Some(Self { end: field(2)?, summary })
    }
}

impl RecordFile {
    /// Opens the file `number` of a stream and checks its head.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, stream: StreamKind, number: u64) -> Result<Self, StorageError> {
        let file = disk.open(path).map_err(|error| StorageError::io("open", path, error))?;
        let mut bytes = [0; HEAD_ENCODED];
        let read = file.read_at(&mut bytes, 0).map_err(|error| StorageError::io("read", path, error))?;
        let head = FileHead::decode(&bytes[..read]).map_err(|reason| StorageError::corrupt(path, 0, reason))?;
        if head.stream != stream || head.number != number {
            let reason = format!("the file head says {:?} file {}, the name says {number}", head.stream, head.number);
            return Err(StorageError::corrupt(path, 0, reason));
        }
        let size = file.size().map_err(|error| StorageError::io("stat", path, error))?;
        if size < head.size || head.size < FILE_HEAD_BYTES + FOOTER_BYTES {
            let reason = format!("the file has {size} bytes, its head says {}", head.size);
            return Err(StorageError::corrupt(path, size, reason));
        }
        Ok(Self { path: path.to_owned(), file, head })
    }

    /// Where the room for records ends.
    pub(crate) fn records_end(&self) -> u64 {
        self.head.size - FOOTER_BYTES
    }

    /// The footer, if the file is closed.
    pub(crate) fn footer(&self) -> Result<Option<Footer>, StorageError> {
        let mut bytes = [0; FOOTER_ENCODED];
        let read = self.read(&mut bytes, self.records_end())?;
        let footer = Footer::decode(&bytes[..read], self.head.tag);
        Ok(footer.filter(|footer| (FILE_HEAD_BYTES..=self.records_end()).contains(&footer.end)))
    }

    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, StorageError> {
        self.file.read_at(buffer, offset).map_err(|error| StorageError::io("read", &self.path, error))
    }

    pub(crate) fn write(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<(), StorageError> {
        let bytes = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        self.file
            .write_vectored_at(buffers, offset)
            .map_err(|error| StorageError::io_sized("write", &self.path, bytes, error))
    }

    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        // Never "disk full": after a failed fsync the kernel may have dropped the pages, and trying again proves nothing.
        self.file.sync_data().map_err(|source| StorageError::Io {
            operation: "fdatasync",
            path: self.path.clone(),
            source,
        })
    }

    /// Runs `work` on a scanner over the records from `start` to `end`.
    pub(crate) fn scan<T>(
        &self,
        start: u64,
        end: u64,
        work: impl FnOnce(&mut Scanner<'_>) -> std::io::Result<T>,
    ) -> Result<T, StorageError> {
        let source: &dyn DiskFile = &*self.file;
        let mut scanner = Scanner::new(&source, self.head.tag, start, end);
        work(&mut scanner).map_err(|error| StorageError::io("read", &self.path, error))
    }
}
