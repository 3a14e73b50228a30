//! A stream of verified blocks that outlives its operators.

use super::ClientError;
use super::feed::Pump;
use super::operators::Operators;
use crate::{BlockVerifier, VerifiedBlock};
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Verified blocks that wait for the reader. A few hide the verification behind the reader's work; more would only cost
/// memory, since a block may take many MiB.
pub const BUFFERED_BLOCKS: usize = 4;

/// What a pump tells about itself.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The highest height that somebody proved.
    pub(super) proven: AtomicU64,
    /// The highest height handed out.
    pub(super) delivered: AtomicU64,
    pub(super) switches: AtomicU64,
    pub(super) falsehoods: AtomicU64,
}

/// Verified blocks of one namespace: every height from the start, each once, in order.
///
/// It reconnects, and changes to another operator when one ends, stalls, lags or serves something false. It ends only
/// with an error, after every operator served something false or cannot serve the height at all. Dropping it stops the
/// task behind it.
#[derive(Debug)]
pub struct Subscription {
    blocks: mpsc::Receiver<Result<VerifiedBlock, ClientError>>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
}

impl Subscription {
    pub(super) fn start(operators: Arc<Operators>, verifier: BlockVerifier) -> Self {
        let (sender, blocks) = mpsc::channel(BUFFERED_BLOCKS);
        let progress = Arc::new(Progress::default());
        let task = tokio::spawn(Pump::new(operators, verifier, sender, Arc::clone(&progress)).run());
        Self { blocks, progress, task }
    }

    /// The next block. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Nobody`], after which there is only [`ClientError::Ended`].
    pub async fn next(&mut self) -> Result<VerifiedBlock, ClientError> {
        self.blocks.recv().await.unwrap_or(Err(ClientError::Ended))
    }

    /// How many heights the reader is behind the highest that any operator has proven to be ordered.
    pub fn behind(&self) -> u64 {
        let delivered = self.progress.delivered.load(Ordering::Relaxed);
        self.highest_known().saturating_sub(delivered)
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

impl Stream for Subscription {
    type Item = Result<VerifiedBlock, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.blocks.poll_recv(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}
