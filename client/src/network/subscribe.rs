//! A stream of verified blocks that outlives its operators.

use super::ClientError;
use super::client::now;
use super::feed::Pump;
use super::operators::Operators;
use crate::{BlockVerifier, VerifiedBlock};
use futures::Stream;
use squad_types::{Height, Timestamp};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Verified blocks that wait for the reader. A few hide the verification behind the reader's work; more would only cost
/// memory, since a block may take many MiB.
pub const BUFFERED_BLOCKS: usize = 4;

/// Nobody serves at the moment.
const NOBODY: usize = usize::MAX;

/// What a pump and its reader tell about themselves.
#[derive(Debug)]
pub(super) struct Progress {
    operators: Arc<Operators>,
    started: Instant,
    /// The highest height that somebody proved.
    pub(super) proven: AtomicU64,
    /// The highest height handed to the reader.
    delivered: AtomicU64,
    /// Its timestamp, in milliseconds since the Unix epoch; 0 before the first.
    delivered_time: AtomicU64,
    /// When a verified block came last, in milliseconds since `started`.
    came: AtomicU64,
    serving: AtomicUsize,
    pub(super) switches: AtomicU64,
    pub(super) falsehoods: AtomicU64,
}

impl Progress {
    fn new(operators: Arc<Operators>, next: Height) -> Self {
        Self {
            operators,
            started: Instant::now(),
            proven: AtomicU64::new(0),
            delivered: AtomicU64::new(next.0.saturating_sub(1)),
            delivered_time: AtomicU64::new(0),
            came: AtomicU64::new(0),
            serving: AtomicUsize::new(NOBODY),
            switches: AtomicU64::new(0),
            falsehoods: AtomicU64::new(0),
        }
    }

    /// An operator sent a block that holds.
    pub(super) fn came(&self, operator: usize, height: u64) {
        self.proven.fetch_max(height, Ordering::Relaxed);
        self.came.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.serving.store(operator, Ordering::Relaxed);
    }

    /// The operator that served was left.
    pub(super) fn left(&self) {
        self.serving.store(NOBODY, Ordering::Relaxed);
        self.switches.fetch_add(1, Ordering::Relaxed);
    }

    fn delivered(&self, block: &VerifiedBlock) {
        self.delivered.store(block.height().0, Ordering::Relaxed);
        self.delivered_time.store(block.timestamp().0, Ordering::Relaxed);
    }
}

/// How fresh what a reader has is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// The height handed to the reader last; before the first, the one below the start.
    pub height: Height,
    /// Heights between it and the highest one that any operator has proven to be ordered.
    pub behind: u64,
    /// How long ago that block was made, by its timestamp and this machine's clock; none before the first. An idle
    /// network makes a block each second, so minutes mean that the reader, every operator asked, or the network stands.
    pub age: Option<Duration>,
    /// How long no verified block came from any operator.
    pub silent: Duration,
    /// The operator that serves now; none while nobody does.
    pub operator: Option<String>,
}

impl Staleness {
    /// Whether the newest block that the reader has is older than `limit`, or none came for that long.
    pub fn exceeds(&self, limit: Duration) -> bool {
        self.age.unwrap_or(self.silent) > limit
    }
}

/// A view of a subscription that can be kept where the subscription itself is not: in a health check, or a metric.
#[derive(Clone, Debug)]
pub struct Monitor {
    progress: Arc<Progress>,
}

impl Monitor {
    /// How fresh what the reader has is now.
    pub fn staleness(&self) -> Staleness {
        let progress = &self.progress;
        let time = progress.delivered_time.load(Ordering::Relaxed);
        let came = Duration::from_millis(progress.came.load(Ordering::Relaxed));
        let serving = progress.serving.load(Ordering::Relaxed);
        Staleness {
            height: Height(progress.delivered.load(Ordering::Relaxed)),
            behind: self.behind(),
            age: (time > 0).then(|| Duration::from_millis(now().since(Timestamp(time)))),
            silent: progress.started.elapsed().saturating_sub(came),
            operator: (serving != NOBODY).then(|| progress.operators.url(serving).to_owned()),
        }
    }

    /// How many heights the reader is behind the highest that any operator has proven to be ordered.
    pub fn behind(&self) -> u64 {
        self.highest_known().saturating_sub(self.progress.delivered.load(Ordering::Relaxed))
    }

    /// The highest height that an operator has proven to be ordered; 0 before the first.
    pub fn highest_known(&self) -> u64 {
        self.progress.proven.load(Ordering::Relaxed)
    }

    /// How often an operator was left for another one, or tried anew.
    pub fn switches(&self) -> u64 {
        self.progress.switches.load(Ordering::Relaxed)
    }

    /// How many things were served that did not pass verification.
    pub fn falsehoods(&self) -> u64 {
        self.progress.falsehoods.load(Ordering::Relaxed)
    }
}

/// Verified blocks of one namespace: every height from the start, each once, in order.
///
/// It reconnects, and changes to another operator when one ends, stalls, lags or serves something false. It ends only
/// with an error, after every operator served something false or cannot serve the height at all. Dropping it stops the
/// task behind it.
#[derive(Debug)]
pub struct Subscription {
    blocks: mpsc::Receiver<Result<VerifiedBlock, ClientError>>,
    monitor: Monitor,
    task: JoinHandle<()>,
}

impl Subscription {
    pub(super) fn start(operators: Arc<Operators>, verifier: BlockVerifier) -> Self {
        let (sender, blocks) = mpsc::channel(BUFFERED_BLOCKS);
        let progress = Arc::new(Progress::new(Arc::clone(&operators), verifier.next_height()));
        let task = tokio::spawn(Pump::new(operators, verifier, sender, Arc::clone(&progress)).run());
        Self { blocks, monitor: Monitor { progress }, task }
    }

    /// The next block. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Nobody`], after which there is only [`ClientError::Ended`].
    pub async fn next(&mut self) -> Result<VerifiedBlock, ClientError> {
        let next = self.blocks.recv().await.unwrap_or(Err(ClientError::Ended));
        self.note(&next);
        next
    }

    fn note(&self, next: &Result<VerifiedBlock, ClientError>) {
        if let Ok(block) = next {
            self.monitor.progress.delivered(block);
        }
    }

    /// A view of this subscription for somebody else. It outlives the subscription and then stands still, but for time.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// As [`Monitor::staleness`].
    pub fn staleness(&self) -> Staleness {
        self.monitor.staleness()
    }

    /// As [`Monitor::behind`].
    pub fn behind(&self) -> u64 {
        self.monitor.behind()
    }

    /// As [`Monitor::highest_known`].
    pub fn highest_known(&self) -> u64 {
        self.monitor.highest_known()
    }

    /// As [`Monitor::switches`].
    pub fn switches(&self) -> u64 {
        self.monitor.switches()
    }

    /// As [`Monitor::falsehoods`].
    pub fn falsehoods(&self) -> u64 {
        self.monitor.falsehoods()
    }
}

impl Stream for Subscription {
    type Item = Result<VerifiedBlock, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.blocks.poll_recv(context);
        if let Poll::Ready(Some(next)) = &next {
            self.note(next);
        }
        next
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}
