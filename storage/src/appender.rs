//! Places records at the end of a stream's last file.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::disk::{Disk, DiskLock};
use crate::error::StorageError;
use crate::key::Label;
use crate::metrics::StreamCounters;
use crate::options::{MAX_RECORD_BYTES, file_bytes_for};
use crate::record::{Head, record_bytes};
use crate::segment::{FILE_HEAD_BYTES, FileHead, Footer, RecordFile, StreamKind, Summary, fresh_tag};
use crate::spares::Spares;

/// Bodies up to this size are copied beside their heads: fewer buffers per write cost less than the copy.
const COPY_BELOW: usize = 4096;

/// Bytes that the system keeps or forgets together. Where its pages are longer, it leaves out those that are named in part.
const PAGE_BYTES: u64 = 4096;

/// What all files of a stream share.
pub(crate) struct Volume {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) stream: StreamKind,
    pub(crate) file_bytes: u64,
    pub(crate) spares: Mutex<Spares>,
    pub(crate) counters: StreamCounters,
    /// Set by the first failure of either stream; nothing is written or reported durable after it.
    pub(crate) stopped: Arc<AtomicBool>,
    /// Held as long as anybody can write into the directory.
    pub(crate) _lock: Arc<dyn DiskLock>,
}

impl Volume {
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(self.stream, number))
    }

    pub(crate) fn spares(&self) -> MutexGuard<'_, Spares> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sync_dir(&self) -> Result<(), StorageError> {
        self.disk.sync_dir(&self.dir).map_err(|source| StorageError::Io {
            operation: "fsync",
            path: self.dir.clone(),
            source,
        })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Number of the file that a name stands for, if it is one of this stream.
    pub(crate) fn number(stream: StreamKind, name: &str) -> Option<u64> {
        let number = name.strip_prefix(prefix(stream))?.parse().ok()?;
        (file_name(stream, number) == name).then_some(number)
    }
}

fn prefix(stream: StreamKind) -> &'static str {
    match stream {
        StreamKind::Log => "log-",
        StreamKind::Bulk => "segment-",
    }
}

fn file_name(stream: StreamKind, number: u64) -> String {
    format!("{}{number:016}", prefix(stream))
}

/// The last file of a stream, open for appending.
pub(crate) struct Appender {
    pub(crate) volume: Arc<Volume>,
    pub(crate) file: Arc<RecordFile>,
    /// Where the next record goes.
    pub(crate) position: u64,
    /// Everything before it is durable.
    pub(crate) synced: u64,
    /// The system was told of everything before it that it need not be kept in memory: whole pages.
    pub(crate) forgotten: u64,
    pub(crate) summary: Summary,
    /// The footer is written; the next record goes to the next file, even if starting that one failed.
    pub(crate) closed: bool,
}

/// A buffer of a write: staged bytes or a body that is not copied.
enum Piece<'a> {
    Staged(std::ops::Range<usize>),
    Body(&'a Bytes),
}

fn head_of(label: Label, body: &Bytes, synced_to: u64) -> Result<Head, StorageError> {
    match u32::try_from(body.len()) {
        Ok(body_len) if u64::from(body_len) <= MAX_RECORD_BYTES => {
            Ok(Head { label, body_len, body_crc: crc32c::crc32c(body), synced_to })
        }
        _ => Err(StorageError::TooLarge { bytes: body.len() as u64, limit: MAX_RECORD_BYTES }),
    }
}

impl Appender {
    /// Starts file `number`: its head, and a checkpoint if given, are durable before the file has its name.
    pub(crate) fn start(
        volume: &Arc<Volume>,
        number: u64,
        checkpoint: Option<&Bytes>,
        record: u64,
    ) -> Result<Self, StorageError> {
        let body = checkpoint.map_or(record, |body| body.len() as u64);
        if body > MAX_RECORD_BYTES {
            return Err(StorageError::TooLarge { bytes: body, limit: MAX_RECORD_BYTES });
        }
        let size = file_bytes_for(volume.file_bytes, body);
        let (spare, file) = volume.spares().take(size)?;
        let head = FileHead { stream: volume.stream, checkpoint: checkpoint.is_some(), number, tag: fresh_tag(), size };
        let path = volume.path(number);
        let under_old_name = RecordFile { path: spare.clone(), file: file.clone(), head };
        let mut block = vec![0; FILE_HEAD_BYTES as usize];
        let encoded = head.encode();
        block[..encoded.len()].copy_from_slice(&encoded);
        under_old_name.write(&[IoSlice::new(&block)], 0)?;
        let mut appender = Self {
            volume: volume.clone(),
            file: Arc::new(under_old_name),
            position: FILE_HEAD_BYTES,
            synced: FILE_HEAD_BYTES,
            forgotten: FILE_HEAD_BYTES,
            summary: Summary::default(),
            closed: false,
        };
        if let Some(body) = checkpoint {
            appender.append(&[(Label::Checkpoint, body)])?;
        }
        appender.sync()?;
        volume.disk.rename(&spare, &path).map_err(|error| StorageError::io("rename", &spare, error))?;
        volume.sync_dir()?;
        volume.counters.started(size);
        appender.file = Arc::new(RecordFile { path, file, head });
        Ok(appender)
    }

    pub(crate) fn number(&self) -> u64 {
        self.file.head.number
    }

    /// True if a record fits behind `pending` further bytes.
    pub(crate) fn fits(&self, pending: u64, record: u64) -> bool {
        !self.closed && self.position + pending + record <= self.file.records_end()
    }

    /// Writes records that fit, in one go, and returns their offsets. They are durable after [`sync`](Self::sync).
    pub(crate) fn append(&mut self, records: &[(Label, &Bytes)]) -> Result<Vec<u64>, StorageError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let mut offsets = Vec::with_capacity(records.len());
        let mut staged = Vec::new();
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        let mut position = self.position;
        let mut staged_from = 0;
        for (label, body) in records {
            let head = head_of(*label, body, self.synced)?;
            staged.extend_from_slice(head.encode(self.file.head.tag, position).as_slice());
            if body.len() < COPY_BELOW {
                staged.extend_from_slice(body);
            } else {
                pieces.push(Piece::Staged(staged_from..staged.len()));
                pieces.push(Piece::Body(body));
                staged_from = staged.len();
            }
            let record = record_bytes(label, body.len() as u64);
            let padding = record - head.head_bytes() - body.len() as u64;
            staged.extend(std::iter::repeat_n(0, padding as usize));
            offsets.push(position);
            position += record;
        }
        debug_assert!(position <= self.file.records_end(), "the caller checked that the records fit");
        pieces.push(Piece::Staged(staged_from..staged.len()));
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Staged(range) => IoSlice::new(&staged[range.clone()]),
                Piece::Body(body) => IoSlice::new(body),
            })
            .collect();
        self.file.write(&slices, self.position)?;
        self.volume.counters.written(records.len() as u64, position - self.position);
        self.position = position;
        for (label, _) in records {
            self.summary.add(label);
        }
        Ok(offsets)
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync()?;
        self.volume.counters.synced();
        // What was written is in memory already, where it is needed. Kept by the system as well, a node's own writes would
        // fill all memory there is, and each page of it costs more to get than to write.
        self.file.file.forget(self.forgotten..self.position);
        self.forgotten = self.position / PAGE_BYTES * PAGE_BYTES;
        self.synced = self.position;
        Ok(())
    }

    /// Closes the file with a footer. All its records must be durable before.
    pub(crate) fn close(&mut self) -> Result<(), StorageError> {
        debug_assert_eq!(self.synced, self.position, "a footer must never be durable before the records it covers");
        if self.closed {
            return Ok(());
        }
        let footer = Footer { end: self.position, summary: self.summary };
        let bytes = footer.encode(self.file.head.tag);
        self.file.write(&[IoSlice::new(&bytes)], self.file.records_end())?;
        self.file.sync()?;
        self.volume.counters.synced();
        self.closed = true;
        Ok(())
    }

    /// Moves to the next file, large enough for a record with a body of `body` bytes.
    pub(crate) fn rotate(&mut self, body: u64) -> Result<(), StorageError> {
        self.close()?;
        *self = Self::start(&self.volume, self.number() + 1, None, body)?;
        Ok(())
    }

    /// Notes durably that everything before is durable, so that damage to it is told from a torn tail.
    pub(crate) fn mark(&mut self) -> Result<(), StorageError> {
        let body = Bytes::new();
        if self.fits(0, record_bytes(&Label::Mark, 0)) {
            self.append(&[(Label::Mark, &body)])?;
            self.sync()?;
        }
        Ok(())
    }
}
