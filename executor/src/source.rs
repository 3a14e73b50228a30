//! Where ordered blocks come from and where transactions go: the seam to the network.

use crate::{Error, Result};
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use squad_types::Tier;
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::mpsc;

/// What one ordered block holds for the followed namespace, after verification.
///
/// Whoever builds one vouches that the commit certificate, the header and the namespace proof
/// were checked against the followed committee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedBlock {
    /// Height in the network's order.
    pub height: u64,
    /// The header's timestamp in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// Hash of the ordered header.
    pub hash: B256,
    /// Hash of the ordered header below.
    pub parent_hash: B256,
    /// The proposing operator's address.
    pub proposer: Address,
    /// The namespace's transactions in their final order.
    pub transactions: Vec<Bytes>,
    /// What the source needs to go on after this block; stored with it and handed back on the next start.
    pub checkpoint: Bytes,
}

/// A stream of verified ordered blocks of one namespace, in height order.
pub trait BlockSource: Send + 'static {
    /// The next block; waits for it. The first has the height asked for when the source was
    /// opened, each later one the height after.
    ///
    /// Cancelling the future must not lose a block.
    ///
    /// # Errors
    /// [`Error::Forged`] if what came fails verification and no other operator serves a good
    /// block, [`Error::Source`] if nobody serves the namespace any more. Either is final.
    fn next(&mut self) -> impl Future<Output = Result<OrderedBlock>> + Send;

    /// Highest ordered height that the source knows of; 0 if none. Advice only: it measures lag.
    fn highest_known(&self) -> u64 {
        0
    }

    /// How often the source left an operator that lied or lagged.
    fn switches(&self) -> u64 {
        0
    }
}

/// Why an operator refused a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Refused for what it is; sending it again will not help.
    Rejected(String),
    /// Nobody could take it now; it may pass later.
    Busy(String),
    /// It was to come after another one, which is not where it was sent to.
    OutOfTurn(String),
}

/// Raw transactions of one sender that somebody answered for and that are not executed yet, by nonce, up to the one below.
pub type Earlier = Arc<dyn Fn() -> Vec<Bytes> + Send + Sync>;

/// What a transaction is to come after, so that it never stands before a lower nonce of its sender and is skipped for it.
#[derive(Clone)]
pub enum Behind {
    /// All lower nonces are executed.
    Nothing,
    /// The one below was submitted before and has no answer yet. The one operator that is asked takes this one behind that
    /// one or not at all; any refusal but [`Refusal::Rejected`] says that nobody has taken it.
    OnItsWay(Bytes),
    /// Somebody answered for the one below, which comes first here. An operator that does not hold that one is given all of
    /// those that are not executed yet before this one, since the operator that took them may be gone.
    AnsweredFor(Bytes, Earlier),
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::OnItsWay(raw) => f.debug_tuple("OnItsWay").field(raw).finish(),
            Self::AnsweredFor(raw, _) => f.debug_tuple("AnsweredFor").field(raw).finish_non_exhaustive(),
        }
    }
}

/// The answer to a transaction that was handed over.
pub type Submission = Pin<Box<dyn Future<Output = Result<Tier, Refusal>> + Send>>;

/// Hands a wallet's transaction to the operators.
pub trait Forwarder: Send + Sync + 'static {
    /// Hands raw transaction bytes over; the answer comes when they are secured, with that tier, or when an operator took
    /// responsibility and could not say more in time, with tier batched. To be called from within a runtime.
    ///
    /// They are on their way when this returns: what is submitted later to the same operator arrives later.
    fn submit(&self, raw: Bytes, behind: Behind) -> Submission;
}

/// A source fed by a channel, for tests and in-process use.
#[derive(Debug)]
pub struct ChannelSource {
    blocks: mpsc::Receiver<OrderedBlock>,
    highest: u64,
}

impl ChannelSource {
    /// A sender and the source that yields what is sent, at most `capacity` blocks ahead.
    pub fn new(capacity: usize) -> (mpsc::Sender<OrderedBlock>, Self) {
        let (sender, blocks) = mpsc::channel(capacity);
        (sender, Self { blocks, highest: 0 })
    }
}

impl BlockSource for ChannelSource {
    async fn next(&mut self) -> Result<OrderedBlock> {
        let closed = || Error::Source("the channel of ordered blocks is closed".into());
        let block = self.blocks.recv().await.ok_or_else(closed)?;
        self.highest = self.highest.max(block.height);
        Ok(block)
    }

    fn highest_known(&self) -> u64 {
        self.highest
    }
}

/// A forwarder that passes transactions into a channel, for tests and in-process use. What is in the channel counts as
/// secured.
#[derive(Debug, Clone)]
pub struct ChannelForwarder {
    /// Where transactions go.
    pub transactions: mpsc::Sender<Bytes>,
}

impl Forwarder for ChannelForwarder {
    fn submit(&self, raw: Bytes, _: Behind) -> Submission {
        use mpsc::error::TrySendError;
        let answer = self.transactions.try_send(raw).map(|()| Tier::Secured).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Busy("the queue is full; retry".into()),
            TrySendError::Closed(_) => Refusal::Busy("no operator listens".into()),
        });
        Box::pin(std::future::ready(answer))
    }
}
