//! What must survive a power cut: a write-ahead log, segments of batches and blocks, and an index over them.
//!
//! The **log** and the **segments** are the truth. Both are files of checksummed records, written by group commit with
//! one fdatasync per group. The **index** (sled) only says where in the segments a batch or block lies; it is never
//! trusted, every answer is checked against the record it points at, and it is rebuilt from the segments whenever it
//! is lost, old or damaged.
//!
//! The data path, file by file: [`committer`](Committer) takes writes from the node's driver and groups them;
//! [`LogWriter`] and [`BulkWriter`] turn a group into one write and one fdatasync; `appender` places records in files
//! and moves to the next one; `record` frames a record; `scan` reads records back and tells a torn tail from
//! corruption; `catalog` knows where everything lies and answers reads.
//!
//! Everything here is synchronous and knows nothing of the protocol: it stores opaque bytes under small keys.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod appender;
mod bulk;
mod catalog;
mod committer;
mod disk;
mod error;
mod identity;
mod index;
mod key;
mod log;
mod metrics;
mod options;
mod queue;
mod record;
mod recovery;
mod scan;
mod segment;
mod spares;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use bulk::{BulkRecord, BulkWriter};
pub use catalog::{Pruned, Retention, StoredBatch, StoredBlock};
pub use committer::{Committer, PersistId, Record, Rejected, Stream, Write};
pub use disk::{Disk, DiskFile, DiskLock, RealDisk};
pub use error::StorageError;
pub use identity::{Origin, StoreIdentity};
pub use index::IndexState;
pub use key::BatchKey;
pub use log::{LogRecord, LogWriter};
pub use metrics::{Metrics, StreamMetrics};
pub use options::{MAX_RECORD_BYTES, Options, QueueLimits};
pub use recovery::{Progress, Recovered, Stage, TornTail};
pub use scan::{ScanReport, scan_bytes};
pub use store::Store;
