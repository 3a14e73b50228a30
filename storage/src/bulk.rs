//! The segments: batches and blocks, each stored once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::appender::Appender;
use crate::catalog::{Catalog, Location};
use crate::error::StorageError;
use crate::key::{BatchKey, IndexKey, Label};
use crate::options::MAX_RECORD_BYTES;
use crate::record::{head_bytes, record_bytes};

/// A record of the segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkRecord {
    /// A batch. Several with different ids may lie at one key.
    Batch {
        /// Its place.
        key: BatchKey,
        /// Its id, which the caller guarantees to be of this body.
        id: [u8; 32],
        /// Its bytes.
        body: Bytes,
    },
    /// A block. The first one of a height stays; a second one at that height is not written.
    Block {
        /// Its height.
        height: u64,
        /// Its bytes.
        body: Bytes,
    },
}

impl BulkRecord {
    pub(crate) fn label(&self) -> Label {
        match self {
            Self::Batch { key, id, .. } => Label::Batch(*key, *id),
            Self::Block { height, .. } => Label::Block(*height),
        }
    }

    pub(crate) fn body(&self) -> &Bytes {
        match self {
            Self::Batch { body, .. } | Self::Block { body, .. } => body,
        }
    }
}

/// Appends to the segments. There is one per store.
///
/// A full disk leaves everything consistent: [`commit`](Self::commit) may be called again with the same group once
/// there is space. Any other error is final, for the log too.
pub struct BulkWriter {
    pub(crate) appender: Appender,
    pub(crate) catalog: Arc<Catalog>,
}

/// Records that go to the active segment in one write.
#[derive(Default)]
struct Run<'a> {
    records: Vec<(Label, &'a Bytes)>,
    keys: Vec<IndexKey>,
    bytes: u64,
}

impl BulkWriter {
    /// Writes a group and makes it durable: one write and one fdatasync, unless a segment fills up.
    ///
    /// What is stored already is not written again. When this returns, all records are durable and readable.
    pub fn commit(&mut self, group: &[BulkRecord]) -> Result<(), StorageError> {
        if self.appender.volume.is_stopped() {
            return Err(StorageError::Stopped);
        }
        for record in group {
            let bytes = record.body().len() as u64;
            if bytes > MAX_RECORD_BYTES {
                return Err(StorageError::TooLarge { bytes, limit: MAX_RECORD_BYTES });
            }
        }
        let result = self.commit_group(group);
        match &result {
            Ok(()) => self.appender.volume.counters.committed(),
            Err(error) if error.is_disk_full() => {}
            Err(_) => self.appender.volume.stop(),
        }
        result
    }

    fn commit_group(&mut self, group: &[BulkRecord]) -> Result<(), StorageError> {
        let mut run = Run::default();
        let mut pending = BTreeSet::new();
        for record in group {
            let label = record.label();
            let Some(key) = label.index_key() else {
                continue;
            };
            if pending.contains(&key) || self.catalog.holds(&label, &key)? {
                self.catalog.count_duplicate();
                continue;
            }
            let body = record.body();
            let bytes = record_bytes(&label, body.len() as u64);
            if !self.appender.fits(run.bytes, bytes) {
                self.write(&mut run)?;
                pending.clear();
                if !self.appender.fits(0, bytes) {
                    self.appender.rotate(body.len() as u64)?;
                    self.catalog.add_segment(&self.appender, false);
                }
            }
            pending.insert(key.clone());
            run.records.push((label, body));
            run.keys.push(key);
            run.bytes += bytes;
        }
        self.write(&mut run)
    }

    fn write(&mut self, run: &mut Run<'_>) -> Result<(), StorageError> {
        if run.records.is_empty() {
            return Ok(());
        }
        let run = std::mem::take(run);
        let position = self.appender.position;
        let offsets = match self.appender.append(&run.records) {
            Ok(offsets) => offsets,
            Err(error) => {
                // Nothing counts until it is synced: the next try overwrites from the same place.
                self.appender.position = position;
                return Err(error);
            }
        };
        self.appender.sync()?;
        let segment = self.appender.number();
        let entries =
            run.keys.into_iter().zip(run.records.iter().zip(offsets)).map(|(key, ((label, body), offset))| {
                let bytes = head_bytes(label) + body.len() as u64;
                (key, Location { segment, offset, bytes })
            });
        self.catalog.publish(&self.appender, entries.collect());
        Ok(())
    }

    /// Notes an orderly end; see [`LogWriter::finish`](crate::LogWriter::finish).
    pub fn finish(&mut self) -> Result<(), StorageError> {
        if self.appender.volume.is_stopped() {
            return Err(StorageError::Stopped);
        }
        self.appender.mark().inspect_err(|_| self.appender.volume.stop())?;
        self.catalog.publish(&self.appender, Vec::new());
        Ok(())
    }
}
