//! A block source over several operators, none of which is trusted.

use crate::{
    Error, Result,
    source::{BlockSource, OrderedBlock},
};
use alloy_primitives::{Address, B256};
use squad_client::{BlockError, BlockVerifier, VerifiedBlock};
use squad_types::NamespaceBlock;
use std::{future::Future, time::Duration};
use tracing::warn;

/// First pause after an operator could not be reached; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Longest silence of an operator before another one is asked: a network makes a block a second even when idle.
const SILENCE: Duration = Duration::from_secs(15);

/// Why an operator's stream gives no block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedError {
    /// It cannot be reached, or it ended the stream.
    Gone(String),
    /// What it sent is no block.
    Malformed(String),
}

/// One operator's stream of a namespace's blocks, unverified.
pub trait Feed: Send + 'static {
    /// The next block. Cancelling must not lose one.
    ///
    /// # Errors
    /// Why there is none; another operator is tried.
    fn next(&mut self) -> impl Future<Output = Result<NamespaceBlock, FeedError>> + Send;

    /// Highest ordered height that this operator claims; 0 if unknown.
    fn highest_known(&self) -> u64 {
        0
    }
}

/// The operators that serve the namespace.
pub trait Operators: Send + Sync + 'static {
    /// A stream of one of them.
    type Feed: Feed;

    /// How many there are; at least one.
    fn count(&self) -> usize;

    /// A name of operator `index` for logs.
    fn name(&self, index: usize) -> String;

    /// Opens operator `index`'s stream from ordered `height` on.
    ///
    /// # Errors
    /// Why it cannot be opened now; another operator is tried.
    fn open(&self, index: usize, height: u64) -> impl Future<Output = Result<Self::Feed, String>> + Send;
}

/// Yields verified blocks, from whichever operator serves good ones.
///
/// An operator that ends its stream is left for the next one, after a pause once all have failed in turn. One that
/// serves a block that does not verify is left too; when every operator has failed in a row and at least one of them by
/// a bad block, that block is the error: going on would mean waiting for a majority that lies.
#[derive(Debug)]
pub struct OperatorSource<O: Operators> {
    operators: O,
    verifier: BlockVerifier,
    feed: Option<O::Feed>,
    at: usize,
    highest: u64,
    switches: u64,
    /// Operators that failed since the last good block.
    failed: usize,
    forged: Option<Error>,
    pause: Duration,
}

impl<O: Operators> OperatorSource<O> {
    /// Starts with the first operator, at the height that `verifier` expects.
    pub fn new(operators: O, verifier: BlockVerifier) -> Self {
        Self {
            operators,
            verifier,
            feed: None,
            at: 0,
            highest: 0,
            switches: 0,
            failed: 0,
            forged: None,
            pause: FIRST_PAUSE,
        }
    }

    /// One block or one failure of the current operator.
    async fn attempt(&mut self) -> Result<OrderedBlock, Failure> {
        let feed = match &mut self.feed {
            Some(feed) => feed,
            empty => {
                let opened = self.operators.open(self.at, self.verifier.next_height().0).await;
                empty.insert(opened.map_err(Failure::Gone)?)
            }
        };
        let block = match tokio::time::timeout(SILENCE, feed.next()).await {
            Ok(Ok(block)) => block,
            Ok(Err(FeedError::Gone(reason))) => return Err(Failure::Gone(reason)),
            Ok(Err(FeedError::Malformed(detail))) => {
                let (height, part) = (self.verifier.next_height().0, "form".to_owned());
                return Err(Failure::Bad(Error::Forged { height, part, detail }));
            }
            Err(_) => return Err(Failure::Gone(format!("no block for {} s", SILENCE.as_secs()))),
        };
        let claimed = feed.highest_known();
        let height = block.header.height.0;
        let block = self.verifier.verify(block).map_err(|error| Failure::Bad(refused(height, error)))?;
        self.highest = claimed.max(height);
        Ok(ordered(block))
    }

    /// Leaves the current operator; the error if there is nobody left to ask.
    async fn leave(&mut self, failure: Failure) -> Result<()> {
        let name = self.operators.name(self.at);
        match failure {
            Failure::Gone(reason) => warn!(operator = name, reason, "operator does not serve the namespace"),
            Failure::Bad(error) => {
                warn!(operator = name, %error, "operator served a bad block");
                self.forged.get_or_insert(error);
            }
        }
        self.feed = None;
        // What it claimed goes with it.
        self.highest = self.verifier.next_height().0.saturating_sub(1);
        self.failed += 1;
        let count = self.operators.count().max(1);
        if count > 1 {
            self.at = (self.at + 1) % count;
            self.switches += 1;
        }
        if self.failed >= count {
            if let Some(error) = self.forged.take() {
                return Err(error);
            }
            self.failed = 0;
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }
}

fn refused(height: u64, error: BlockError) -> Error {
    match error {
        BlockError::Height { expected, found } if found > expected => {
            Error::Gap { last: expected.0.saturating_sub(1), expected: expected.0, found: found.0 }
        }
        error => Error::Forged { height, part: error.part().to_owned(), detail: error.to_string() },
    }
}

/// What execution needs of a verified block.
fn ordered(block: VerifiedBlock) -> OrderedBlock {
    let header = block.header();
    OrderedBlock {
        height: header.height.0,
        timestamp_ms: header.timestamp.0,
        hash: B256::from(block.hash().0),
        parent_hash: B256::from(header.parent_hash.0),
        proposer: Address::from(header.proposer.0),
        checkpoint: block.checkpoint().to_bytes(),
        transactions: block.into_transactions().into_iter().map(|identified| identified.transaction.data).collect(),
    }
}

enum Failure {
    Gone(String),
    Bad(Error),
}

impl<O: Operators> BlockSource for OperatorSource<O> {
    async fn next(&mut self) -> Result<OrderedBlock> {
        loop {
            match self.attempt().await {
                Ok(block) => {
                    (self.failed, self.forged, self.pause) = (0, None, FIRST_PAUSE);
                    return Ok(block);
                }
                Err(failure) => self.leave(failure).await?,
            }
        }
    }

    fn highest_known(&self) -> u64 {
        self.highest
    }

    fn switches(&self) -> u64 {
        self.switches
    }
}
