//! Writes on their way to the store, and how far each stream is durable.

use super::held::Durable;
use super::inbox::{Event, Inbox};
use super::stored::{StoredBlock, key};
use anyhow::Context as _;
use bytes::Bytes;
use squad_sequencer::ledger::Span;
use squad_sequencer::{After, LogRecord, PersistId, Write};
use squad_storage::{Committer, Record, Rejected, Store, Stream};
use squad_types::Encode;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What to tell the operator when less is free than there must be.
pub(crate) fn low_on_space(free: u64, mark: u64) -> String {
    format!(
        "the disk of the data directory is nearly full: {free} bytes are free, under the mark of {mark} (storage.min_free_bytes): \
         no transactions are taken and nothing is proposed, votes go on; free some space, and all goes on by itself"
    )
}

/// How long the log waits for the blocks that a checkpoint stands on. After it the checkpoint is left out, and the log
/// keeps what is before it: so a full disk, which stops the blocks, does not stop votes.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(250);

/// How long a write that nothing waits for stays queued, so that it shares the sync of one that something does wait for. A
/// checkpoint's blocks are waited for.
const LINGER: Duration = Duration::from_millis(50);

/// Writes kept here when a stream's own queue is full. Flow control keeps lanes far below; more than this is a disk that
/// does not follow at all.
const MAX_PENDING: usize = 65_536;

/// How far the committing threads have come; in their own numbers.
#[derive(Debug, Default)]
struct Marks {
    log: AtomicU64,
    bulk: AtomicU64,
    dead: AtomicBool,
}

struct Pending {
    id: u64,
    record: Record,
    /// A checkpoint: the write of the segments that must be durable before it, and until when it waits.
    bulk: Option<(u64, Instant)>,
}

/// One stream.
struct Outlet {
    stream: Stream,
    pending: VecDeque<Pending>,
    /// The last write that was asked for.
    last: u64,
    /// Everything up to this number was told to hurry.
    hurried: u64,
    /// Something waits for more than that.
    wanted: bool,
    /// Until when the oldest write that was not told to hurry stays queued.
    linger: Option<Instant>,
    /// The last number that the committer was given.
    submitted: u64,
    /// The last number that was given or left out.
    retired: u64,
    /// A write that is timed.
    timed: Option<(u64, Instant)>,
}

impl Outlet {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: VecDeque::new(),
            last: 0,
            hurried: 0,
            wanted: false,
            linger: None,
            submitted: 0,
            retired: 0,
            timed: None,
        }
    }

    fn push(&mut self, id: PersistId, record: Record, bulk: Option<(u64, Instant)>) {
        self.last = id.0;
        self.linger.get_or_insert_with(|| Instant::now() + LINGER);
        self.pending.push_back(Pending { id: id.0, record, bulk });
    }

    /// Has everything committed up to the last write; what cannot be handed over yet is, as soon as it is.
    fn hurry(&mut self, committer: &Committer) {
        (self.wanted, self.linger, self.hurried) = (false, None, self.last);
        self.commit(committer);
    }

    fn commit(&mut self, committer: &Committer) {
        committer.hurry(self.stream);
        self.timed.get_or_insert_with(|| (self.submitted, Instant::now()));
    }

    /// Hands over what can be.
    fn hand_over(&mut self, committer: &Committer, bulk_mark: u64) -> anyhow::Result<()> {
        let before = self.submitted;
        while let Some(first) = self.pending.front() {
            if let Some((stands_on, until)) = first.bulk
                && bulk_mark < stands_on
            {
                if Instant::now() < until {
                    break;
                }
                tracing::warn!("a checkpoint of the log is left out: the blocks it stands on are not durable yet");
                self.retired = first.id;
                self.pending.pop_front();
                continue;
            }
            let Some(Pending { id, record, bulk }) = self.pending.pop_front() else { break };
            match committer.queue(squad_storage::Write { id: squad_storage::PersistId(id), record }) {
                Ok(()) => (self.submitted, self.retired) = (id, id),
                Err(Rejected::Full(write)) => {
                    self.pending.push_front(Pending { id, record: write.record, bulk });
                    anyhow::ensure!(
                        self.pending.len() < MAX_PENDING,
                        "the disk does not follow: {MAX_PENDING} writes wait for it"
                    );
                    // Room comes of nothing else.
                    self.wanted = true;
                    break;
                }
                // The failure itself is on its way.
                Err(Rejected::Stopped(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        // Told to hurry before it could be handed over.
        if self.submitted > before && self.hurried > before {
            self.commit(committer);
        }
        Ok(())
    }

    /// A stream's mark, where what was left out counts as written once everything before it is.
    fn effective(&self, mark: u64) -> u64 {
        if mark >= self.submitted { self.retired.max(mark) } else { mark }
    }
}

/// The way to the disk.
pub(crate) struct Disk {
    committer: Committer,
    marks: Arc<Marks>,
    log: Outlet,
    bulk: Outlet,
    durable: Durable,
    fsync: prometheus::HistogramVec,
}

impl Disk {
    /// Starts the committing threads.
    pub(crate) fn start(store: &Store, inbox: &Inbox, fsync: prometheus::HistogramVec) -> anyhow::Result<Self> {
        let marks = Arc::new(Marks::default());
        let (to, events) = (Arc::clone(&marks), inbox.clone());
        let durable = move |stream, id: squad_storage::PersistId| {
            let mark = if stream == Stream::Log { &to.log } else { &to.bulk };
            mark.fetch_max(id.0, Ordering::AcqRel);
            events.event(Event::Durable);
        };
        let (to, events) = (Arc::clone(&marks), inbox.clone());
        let failure = move |stream, error: squad_storage::StorageError| {
            if stream == Stream::Bulk && error.is_disk_full() {
                tracing::error!(%error, "no room for batches and blocks: votes go on, nothing is accepted until there is");
                return;
            }
            to.dead.store(true, Ordering::Release);
            events.event(Event::Failed(error.to_string()));
        };
        let committer = Committer::start(store, durable, failure).context("storage does not start")?;
        Ok(Self {
            committer,
            marks,
            log: Outlet::new(Stream::Log),
            bulk: Outlet::new(Stream::Bulk),
            durable: Durable::default(),
            fsync,
        })
    }

    /// Queues a write. `spans` are those of the block, if it is one. A batch's bytes on the wire come back.
    pub(crate) fn persist(&mut self, id: PersistId, write: Write, spans: &[Span]) -> anyhow::Result<Option<Bytes>> {
        let mut wire = None;
        match write {
            Write::Log(record) => self.log.push(id, Record::Log(record.to_bytes()), None),
            Write::Checkpoint(checkpoint) => {
                // The tag says so when it is read back.
                let bytes = LogRecord::Checkpoint(checkpoint).to_bytes();
                let wait = Instant::now() + CHECKPOINT_WAIT;
                self.log.push(id, Record::Checkpoint(bytes), Some((self.bulk.last, wait)));
                self.bulk.wanted = true;
            }
            Write::Batch { lane, batch } => {
                let message = batch.message();
                // The bytes after the message's tag are those that are stored.
                let record = Record::Batch {
                    key: key(lane, batch.header().sequence),
                    id: batch.id().0,
                    body: message.slice(1..),
                };
                self.bulk.push(id, record, None);
                wire = Some(message);
            }
            Write::Block(block) => self.bulk.push(id, block_record(&StoredBlock::new(block, spans)), None),
        }
        self.hand_over()?;
        Ok(wire)
    }

    fn hand_over(&mut self) -> anyhow::Result<()> {
        let bulk_mark = self.marks.bulk.load(Ordering::Acquire);
        self.bulk.hand_over(&self.committer, bulk_mark)?;
        self.log.hand_over(&self.committer, bulk_mark)
    }

    /// Takes note that something waits for these writes: the next [`flush`](Self::flush) has them synced.
    pub(crate) fn want(&mut self, after: &After) {
        for (outlet, id) in [(&mut self.log, after.log), (&mut self.bulk, after.bulk)] {
            outlet.wanted |= id.is_some_and(|id| id.0 > outlet.hurried);
        }
    }

    /// Hands over what can be, and has synced what is waited for or has lingered; an error means that the disk does not follow,
    /// or failed.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.hand_over()?;
        for outlet in [&mut self.bulk, &mut self.log] {
            if outlet.wanted || outlet.linger.is_some_and(|until| until <= Instant::now()) {
                outlet.hurry(&self.committer);
            }
        }
        Ok(())
    }

    /// Takes note of what became durable; whether that is news.
    pub(crate) fn advance(&mut self) -> bool {
        let (log, bulk) = (self.marks.log.load(Ordering::Acquire), self.marks.bulk.load(Ordering::Acquire));
        for (outlet, mark, name) in [(&mut self.log, log, "log"), (&mut self.bulk, bulk, "bulk")] {
            if let Some((_, since)) = outlet.timed.take_if(|(id, _)| mark >= *id) {
                self.fsync.with_label_values(&[name]).observe(since.elapsed().as_secs_f64());
            }
        }
        let log = PersistId(self.log.effective(log));
        let bulk = PersistId(self.bulk.effective(bulk));
        let news = std::mem::replace(&mut self.durable, Durable { log, bulk }) != self.durable;
        news && !self.is_dead()
    }

    /// How far the streams are durable.
    pub(crate) fn durable(&self) -> Durable {
        self.durable
    }

    /// Whether the disk failed: then nothing may leave any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.marks.dead.load(Ordering::Acquire)
    }

    /// When a checkpoint has waited long enough, or a write has lingered, if one does.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let checkpoint = self.log.pending.front().and_then(|first| first.bulk).map(|(_, until)| until);
        [checkpoint, self.log.linger, self.bulk.linger].into_iter().flatten().min()
    }

    /// Makes everything durable that was queued, and ends the threads.
    pub(crate) fn close(mut self) {
        // What does not fit the queues any more is lost as in a crash, which recovery is made for.
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the last writes are lost");
        }
        self.committer.close();
    }
}

fn block_record(block: &StoredBlock) -> Record {
    Record::Block { height: block.ordered.block.header().height.0, body: block.to_bytes() }
}
