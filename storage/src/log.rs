//! The write-ahead log: small records in order, and checkpoints that make what came before them superfluous.

use bytes::Bytes;

use crate::appender::Appender;
use crate::error::StorageError;
use crate::key::Label;
use crate::record::record_bytes;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// Comes back in order at recovery, until a later checkpoint is durable.
    Entry(Bytes),
    /// Stands for everything before it, which recovery then no longer yields.
    Checkpoint(Bytes),
}

/// Appends to the log. There is one per store.
///
/// Any error is final: the writer answers [`StorageError::Stopped`] from then on, and so does the writer of the segments.
pub struct LogWriter {
    pub(crate) appender: Appender,
    /// The oldest file that still exists.
    pub(crate) oldest: u64,
}

impl LogWriter {
    /// Writes a group and makes it durable: one write and one fdatasync, unless a file fills up or a checkpoint comes.
    ///
    /// When this returns, all records are durable, in order. On an error some prefix of them may be.
    pub fn commit(&mut self, group: &[LogRecord]) -> Result<(), StorageError> {
        if self.appender.volume.is_stopped() {
            return Err(StorageError::Stopped);
        }
        let result = self.commit_group(group);
        match &result {
            Ok(()) => self.appender.volume.counters.committed(),
            Err(_) => self.appender.volume.stop(),
        }
        result
    }

    fn commit_group(&mut self, group: &[LogRecord]) -> Result<(), StorageError> {
        let mut run: Vec<(Label, &Bytes)> = Vec::with_capacity(group.len());
        let mut pending = 0;
        for record in group {
            match record {
                LogRecord::Entry(body) => {
                    let bytes = record_bytes(&Label::Entry, body.len() as u64);
                    if !self.appender.fits(pending, bytes) {
                        self.write(&mut run)?;
                        pending = 0;
                        if !self.appender.fits(0, bytes) {
                            self.appender.rotate(body.len() as u64)?;
                        }
                    }
                    run.push((Label::Entry, body));
                    pending += bytes;
                }
                LogRecord::Checkpoint(body) => {
                    // What came before is made durable first, so that what survives is a prefix at every instant.
                    self.write(&mut run)?;
                    pending = 0;
                    self.checkpoint(body)?;
                }
            }
        }
        self.write(&mut run)
    }

    fn write(&mut self, run: &mut Vec<(Label, &Bytes)>) -> Result<(), StorageError> {
        if run.is_empty() {
            return Ok(());
        }
        self.appender.append(run)?;
        run.clear();
        self.appender.sync()
    }

    /// Starts a file with the checkpoint, and only when that is durable lets the older files go.
    fn checkpoint(&mut self, body: &Bytes) -> Result<(), StorageError> {
        let volume = self.appender.volume.clone();
        let next = self.appender.number() + 1;
        let mut sizes = vec![(self.appender.number(), self.appender.file.head.size)];
        self.appender = Appender::start(&volume, next, Some(body), 0)?;
        for number in self.oldest..next - 1 {
            let path = volume.path(number);
            let size = volume.disk.open(&path).and_then(|file| file.size());
            sizes.push((number, size.map_err(|error| StorageError::io("open", &path, error))?));
        }
        for (number, size) in sizes {
            volume.spares().release(&volume.path(number), size)?;
            volume.counters.released(size);
        }
        volume.sync_dir()?;
        self.oldest = next;
        Ok(())
    }

    /// Notes an orderly end. Not needed for safety; it lets the next start tell damage to the last records from a torn tail.
    pub fn finish(&mut self) -> Result<(), StorageError> {
        if self.appender.volume.is_stopped() {
            return Err(StorageError::Stopped);
        }
        self.appender.mark().inspect_err(|_| self.appender.volume.stop())
    }
}
