//! The threads that commit: one for the log, one for the segments, one for what is not urgent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::bulk::{BulkRecord, BulkWriter};
use crate::error::StorageError;
use crate::key::BatchKey;
use crate::log::{LogRecord, LogWriter};
use crate::options::{MAX_RECORD_BYTES, QueueLimits};
use crate::queue::{Queue, Refusal};
use crate::store::Store;

/// How long a full disk is left alone before a commit is tried again.
const RETRY_FULL_DISK: Duration = Duration::from_millis(250);

/// The caller's number of a write; grows from write to write in each stream. It is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// One of the two sequences of durable writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The write-ahead log.
    Log,
    /// Batches and blocks.
    Bulk,
}

/// What to make durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A log record.
    Log(Bytes),
    /// A log checkpoint; see [`LogRecord::Checkpoint`].
    Checkpoint(Bytes),
    /// A batch; see [`BulkRecord::Batch`].
    Batch {
        /// Its place.
        key: BatchKey,
        /// Its id.
        id: [u8; 32],
        /// Its bytes.
        body: Bytes,
    },
    /// A block; see [`BulkRecord::Block`].
    Block {
        /// Its height.
        height: u64,
        /// Its bytes.
        body: Bytes,
    },
}

impl Record {
    /// The stream that the record goes to.
    pub fn stream(&self) -> Stream {
        match self {
            Self::Log(_) | Self::Checkpoint(_) => Stream::Log,
            Self::Batch { .. } | Self::Block { .. } => Stream::Bulk,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Log(body) | Self::Checkpoint(body) | Self::Batch { body, .. } | Self::Block { body, .. } => {
                body.len() as u64
            }
        }
    }
}

/// A record to make durable and the number under which that is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Larger than every earlier one of the same stream.
    pub id: PersistId,
    /// The record.
    pub record: Record,
}

/// Why a write was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The queue of its stream is full; try again after the next durable report.
    #[error("the queue is full; try again after the next durable report")]
    Full(Write),
    /// Storage stopped, after a failure or because it was closed.
    #[error("storage stopped")]
    Stopped(Write),
    /// The number is not larger than the last one.
    #[error("write {id} comes after write {last}; numbers must grow")]
    OutOfOrder {
        /// The number given.
        id: u64,
        /// The last number of the stream.
        last: u64,
    },
    /// The record is over [`MAX_RECORD_BYTES`].
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

/// Called with a watermark: every write of the stream up to this number is durable.
type OnDurable = dyn Fn(Stream, PersistId) + Send + Sync;
/// Called when a stream fails. After any error but a full disk of [`Stream::Bulk`] nothing is reported durable any more.
type OnFailure = dyn Fn(Stream, StorageError) + Send + Sync;

/// A queue and the last number that went in; the lock keeps numbers and queue in the same order.
struct Inlet<T> {
    queue: Arc<Queue<(PersistId, T)>>,
    last: Mutex<Option<PersistId>>,
}

impl<T> Inlet<T> {
    fn new(limits: QueueLimits) -> Self {
        Self { queue: Arc::new(Queue::new(limits)), last: Mutex::new(None) }
    }

    fn push(&self, id: PersistId, bytes: u64, record: T) -> Result<(), Refused<T>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.filter(|last| *last >= id) {
            return Err(Refused::OutOfOrder(last));
        }
        self.queue.push((id, record), bytes).map_err(|((_, record), refusal)| Refused::Queue(record, refusal))?;
        *last = Some(id);
        Ok(())
    }
}

enum Refused<T> {
    OutOfOrder(PersistId),
    Queue(T, Refusal),
}

/// Commits writes in groups. A group begins when its stream is told to [`hurry`](Self::hurry), or once the fdatasync before it
/// ends, and is whatever is queued by then.
///
/// Order holds within a stream, not between the two. Dropping it commits what is queued and ends the threads.
pub struct Committer {
    log: Inlet<LogRecord>,
    bulk: Inlet<BulkRecord>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Reports {
    store: Store,
    durable: Box<OnDurable>,
    failure: Box<OnFailure>,
    failed: AtomicBool,
    housekeeping: Queue<()>,
    committing: AtomicU64,
}

impl Reports {
    /// Reports the failure that stops everything, once.
    fn fatal(&self, stream: Stream, error: StorageError) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            (self.failure)(stream, error);
        }
    }

    fn nudge(&self) {
        if self.store.wants_maintenance() {
            // Full means that one is waiting already, closed that the end is near.
            let _ = self.housekeeping.push((), 0);
            self.housekeeping.hurry();
        }
    }

    /// Ends the housekeeping when the second of the two committing threads ends.
    fn ended(&self) {
        if self.committing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.housekeeping.close();
        }
    }
}

impl Committer {
    /// Takes the store's writers and starts the threads.
    ///
    /// `durable` and `failure` are called from those threads and must be quick. `failure` is called once for the
    /// failure that stops everything (any error of the log; any error of the segments but a full disk), and at the
    /// beginning of each time that the segments wait for space.
    pub fn start(
        store: &Store,
        durable: impl Fn(Stream, PersistId) + Send + Sync + 'static,
        failure: impl Fn(Stream, StorageError) + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        let (log_writer, bulk_writer) = store.writers()?;
        let log = Inlet::new(store.options().log_queue);
        let bulk = Inlet::new(store.options().bulk_queue);
        let reports = Arc::new(Reports {
            store: store.clone(),
            durable: Box::new(durable),
            failure: Box::new(failure),
            failed: AtomicBool::new(false),
            housekeeping: Queue::new(QueueLimits { bytes: 0, records: 1 }),
            committing: AtomicU64::new(2),
        });
        let mut committer = Self { log, bulk, threads: Vec::new() };
        let (queue, shared) = (committer.log.queue.clone(), reports.clone());
        committer.spawn("squad-log", move || run_log(log_writer, &queue, &shared))?;
        let (queue, shared) = (committer.bulk.queue.clone(), reports.clone());
        committer.spawn("squad-segments", move || run_bulk(bulk_writer, &queue, &shared))?;
        reports.nudge();
        committer.spawn("squad-storage", move || run_housekeeping(&reports))?;
        Ok(committer)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StorageError> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread =
            spawned.map_err(|source| StorageError::Io { operation: "start of a thread", path: name.into(), source })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Queues a write and has it committed; never blocks.
    pub fn submit(&self, write: Write) -> Result<(), Rejected> {
        let stream = write.record.stream();
        self.queue(write)?;
        self.hurry(stream);
        Ok(())
    }

    /// Has everything committed that is queued in a stream.
    pub fn hurry(&self, stream: Stream) {
        match stream {
            Stream::Log => self.log.queue.hurry(),
            Stream::Bulk => self.bulk.queue.hurry(),
        }
    }

    /// Queues a write that nobody waits for yet; never blocks. It is committed when its stream is told to
    /// [`hurry`](Self::hurry), for this or for any other write, or is closed; not before.
    pub fn queue(&self, write: Write) -> Result<(), Rejected> {
        let (id, bytes) = (write.id, write.record.bytes());
        if bytes > MAX_RECORD_BYTES {
            return Err(Rejected::TooLarge { bytes, limit: MAX_RECORD_BYTES });
        }
        let refused = |record: Record, refusal: Refusal| match refusal {
            Refusal::Full => Rejected::Full(Write { id, record }),
            Refusal::Closed => Rejected::Stopped(Write { id, record }),
        };
        let disorder = |last: PersistId| Rejected::OutOfOrder { id: id.0, last: last.0 };
        match write.record {
            Record::Log(body) => self.push_log(id, bytes, LogRecord::Entry(body)),
            Record::Checkpoint(body) => self.push_log(id, bytes, LogRecord::Checkpoint(body)),
            Record::Batch { key, id: batch, body } => {
                self.push_bulk(id, bytes, BulkRecord::Batch { key, id: batch, body })
            }
            Record::Block { height, body } => self.push_bulk(id, bytes, BulkRecord::Block { height, body }),
        }
        .map_err(|refusal| match refusal {
            Refused::OutOfOrder(last) => disorder(last),
            Refused::Queue(record, refusal) => refused(record, refusal),
        })
    }

    fn push_log(&self, id: PersistId, bytes: u64, record: LogRecord) -> Result<(), Refused<Record>> {
        self.log.push(id, bytes, record).map_err(|refused| match refused {
            Refused::OutOfOrder(last) => Refused::OutOfOrder(last),
            Refused::Queue(LogRecord::Entry(body), refusal) => Refused::Queue(Record::Log(body), refusal),
            Refused::Queue(LogRecord::Checkpoint(body), refusal) => Refused::Queue(Record::Checkpoint(body), refusal),
        })
    }

    fn push_bulk(&self, id: PersistId, bytes: u64, record: BulkRecord) -> Result<(), Refused<Record>> {
        self.bulk.push(id, bytes, record).map_err(|refused| match refused {
            Refused::OutOfOrder(last) => Refused::OutOfOrder(last),
            Refused::Queue(BulkRecord::Batch { key, id, body }, refusal) => {
                Refused::Queue(Record::Batch { key, id, body }, refusal)
            }
            Refused::Queue(BulkRecord::Block { height, body }, refusal) => {
                Refused::Queue(Record::Block { height, body }, refusal)
            }
        })
    }

    /// Commits what is queued, ends the threads and brings the index up to date.
    ///
    /// Writes that wait for space on a full disk are given up.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.log.queue.close();
        self.bulk.queue.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a storage thread panicked");
            }
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Splits a group into its last number and its records.
fn split<T>(group: Vec<(PersistId, T)>) -> (Option<PersistId>, Vec<T>) {
    let last = group.last().map(|(id, _)| *id);
    (last, group.into_iter().map(|(_, record)| record).collect())
}

/// Tells the caller if a committing thread ends by a panic, which would otherwise look like a slow disk.
struct PanicReport<'a, T> {
    stream: Stream,
    queue: &'a Queue<(PersistId, T)>,
    reports: &'a Reports,
}

impl<T> Drop for PanicReport<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.queue.close();
            self.reports.fatal(self.stream, StorageError::Stopped);
        }
        self.reports.ended();
    }
}

fn run_log(mut writer: LogWriter, queue: &Queue<(PersistId, LogRecord)>, reports: &Reports) {
    let _report = PanicReport { stream: Stream::Log, queue, reports };
    while let Some(group) = queue.take_all() {
        let (last, records) = split(group);
        if let Err(error) = writer.commit(&records) {
            reports.fatal(Stream::Log, error);
            queue.close();
            break;
        }
        if let Some(last) = last {
            (reports.durable)(Stream::Log, last);
        }
        reports.nudge();
    }
    if !reports.store.is_stopped()
        && let Err(error) = writer.finish()
    {
        reports.fatal(Stream::Log, error);
    }
}

fn run_bulk(mut writer: BulkWriter, queue: &Queue<(PersistId, BulkRecord)>, reports: &Reports) {
    let _report = PanicReport { stream: Stream::Bulk, queue, reports };
    'groups: while let Some(group) = queue.take_all() {
        let (last, records) = split(group);
        let mut waiting = false;
        while let Err(error) = writer.commit(&records) {
            if !error.is_disk_full() {
                reports.fatal(Stream::Bulk, error);
                queue.close();
                break 'groups;
            }
            if !std::mem::replace(&mut waiting, true) {
                (reports.failure)(Stream::Bulk, error);
            }
            if queue.wait_closed(RETRY_FULL_DISK) {
                break 'groups;
            }
        }
        if let Some(last) = last {
            (reports.durable)(Stream::Bulk, last);
        }
        reports.nudge();
    }
    if !reports.store.is_stopped()
        && let Err(error) = writer.finish()
    {
        reports.fatal(Stream::Bulk, error);
    }
}

fn run_housekeeping(reports: &Reports) {
    while reports.housekeeping.take_all().is_some() {
        if let Err(error) = reports.store.maintain() {
            tracing::warn!(%error, "spare files could not be prepared; commits create files when they need them");
        }
    }
    reports.store.flush_index();
}
