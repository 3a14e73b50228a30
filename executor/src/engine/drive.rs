//! From the client's own head to ours, block by block.

use super::{
    EngineConfig, EngineError, EngineMode, check_followable,
    client::{ClientBlock, EngineClient, FORKCHOICE, GET_PAYLOAD, Taken},
    payload::{Difference, NEW_PAYLOAD_V3, NEW_PAYLOAD_V4, Sealed},
};
use crate::chain::{ChainReader, Head};
use alloy_consensus::Header;
use alloy_primitives::B256;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// First pause after a failure that can pass; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Without a new block for so long, the head is said again: clients warn when they hear nothing, and one that was
/// started anew is noticed.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Blocks below its own head that a client is given again at most, to find the state that it has.
const FURTHEST_BACK: u64 = 1_024;
/// Blocks between two log lines while the client catches up.
const REPORT_EVERY: u64 = 1_000;

/// Feeds the chain of `reader` to the client of `config` until `shutdown` becomes true (or its sender is gone), or the
/// chain's writer is.
///
/// # Errors
/// [`EngineError`]s that do not pass by themselves; those that do are tried again, from the client's head as it is then.
pub async fn drive(
    reader: ChainReader,
    config: EngineConfig,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), EngineError> {
    check_followable(&reader.genesis, &config.mode)?;
    let (mode, heads) = (config.mode.clone(), reader.subscribe());
    let mut feeder = Feeder { client: EngineClient::new(config)?, mode, heads, reader, pause: FIRST_PAUSE };
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
        done = feeder.run() => done,
    }
}

struct Feeder {
    client: EngineClient,
    mode: EngineMode,
    reader: ChainReader,
    heads: watch::Receiver<Head>,
    pause: Duration,
}

impl Feeder {
    async fn run(&mut self) -> Result<(), EngineError> {
        loop {
            match self.feed().await {
                Err(error) if error.passes() => {
                    warn!(%error, "execution client: trying again");
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
                ended => return ended,
            }
        }
    }

    /// Feeds until something fails; `Ok` when the chain has no writer any more and all of it is fed.
    async fn feed(&mut self) -> Result<(), EngineError> {
        let head = self.meet().await?;
        let (said, mut last) = (head.number(), self.settle(head).await?);
        info!(head = said, from = last.0, "execution client: going on above its head");
        loop {
            let head = self.heads.borrow_and_update().header.number;
            while last.0 < head {
                let number = last.0 + 1;
                let block = self.sealed(number).await?;
                // Up to its own head it has built all blocks, or was given them.
                if number > said {
                    self.compare_built(&block).await?;
                }
                // If it is only kept, the next call fails.
                self.client.new_payload(&block).await?;
                if number >= said {
                    self.client.set_head(number, block.hash).await?;
                }
                last = (number, block.hash);
                self.pause = FIRST_PAUSE;
                if number % REPORT_EVERY == 0 {
                    info!(number, behind = head - number, "execution client: fed");
                }
            }
            match tokio::time::timeout(HEARTBEAT, self.heads.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => self.client.set_head(last.0, last.1).await?,
            }
        }
    }

    /// Has the client build the block above its head, if it shall; what it builds must be the block that we have.
    async fn compare_built(&mut self, block: &Sealed) -> Result<(), EngineError> {
        let built = match self.mode {
            EngineMode::Payload => return Ok(()),
            EngineMode::OpAttributes => {
                let attributes = block.op_attributes(&self.reader.genesis);
                self.client.build(attributes, block).await?
            }
            EngineMode::TestingBuildBlock { .. } => self.client.testing_build(block).await?,
        };
        match block.first_difference(&built) {
            None => Ok(()),
            Some(Difference { field, ours, theirs }) => {
                Err(EngineError::Differs { number: block.number, field, ours, theirs })
            }
        }
    }

    /// Says to the client that its head is still the one; the highest block up to there that it has executed.
    ///
    /// After a kill, a client's head may be above its state. It then lacks the state for its own head, and has to be
    /// given the blocks between again.
    async fn settle(&mut self, head: ClientBlock) -> Result<(u64, B256), EngineError> {
        let mut number = head.number();
        if number == 0 {
            return Ok((number, head.hash));
        }
        match self.client.set_head(number, head.hash).await {
            Err(EngineError::Syncing { .. }) => {}
            other => return other.map(|()| (number, head.hash)),
        }
        let lowest = number.saturating_sub(FURTHEST_BACK).max(1);
        loop {
            let block = self.sealed(number).await?;
            match self.client.new_payload(&block).await {
                Ok(Taken::Executed) => return Ok((number, block.hash)),
                Ok(Taken::Kept) | Err(EngineError::Syncing { .. }) if number > lowest => number -= 1,
                Ok(Taken::Kept) => return Err(EngineError::Syncing { number }),
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that the client is of this rollup; its head, which is a block of ours.
    async fn meet(&mut self) -> Result<ClientBlock, EngineError> {
        let new_payload = if self.reader.genesis.hardfork.has_requests() { NEW_PAYLOAD_V4 } else { NEW_PAYLOAD_V3 };
        let needed = match self.mode {
            EngineMode::OpAttributes => &[new_payload, FORKCHOICE, GET_PAYLOAD][..],
            EngineMode::Payload | EngineMode::TestingBuildBlock { .. } => &[new_payload, FORKCHOICE],
        };
        self.client.check_offers(needed).await?;
        let (ours, theirs) = (self.reader.genesis.chain_id, self.client.chain_id().await?);
        if ours != theirs {
            let (ours, theirs) = (ours.to_string(), theirs.to_string());
            return Err(EngineError::OtherNetwork { what: "chain id", ours, theirs });
        }
        let ours = self.header(0).await?.1;
        let theirs = self.client.block(0).await?.map(|block| block.hash);
        if theirs != Some(ours) {
            let theirs = theirs.map_or("missing".to_owned(), |hash| hash.to_string());
            return Err(EngineError::OtherNetwork { what: "genesis hash", ours: ours.to_string(), theirs });
        }
        let head = self.client.head().await?;
        self.check_ahead(head).await?;
        let ours = self.header(head.number()).await?.1;
        if ours != head.hash {
            return Err(EngineError::Forked { number: head.number(), ours, theirs: head.hash });
        }
        Ok(head)
    }

    /// Waits until our chain is as long as the client's: its data may be older than ours, after a restore from nothing.
    async fn check_ahead(&mut self, head: ClientBlock) -> Result<(), EngineError> {
        let ours = self.heads.borrow().header.number;
        if ours >= head.number() {
            return Ok(());
        }
        info!(theirs = head.number(), ours, "execution client: ahead of us; waiting to catch up");
        let number = head.number();
        let caught_up = self.heads.wait_for(|ours| ours.header.number >= number).await.map(drop);
        caught_up.map_err(|_| EngineError::Store("the chain ended before it reached the client's head".into()))
    }

    async fn header(&self, number: u64) -> Result<(Header, B256), EngineError> {
        self.read(move |reader| {
            let header = reader.store.header(number).map_err(|error| error.to_string())?;
            let header = header.ok_or_else(|| format!("block {number} is missing"))?;
            let hash = header.hash_slow();
            Ok((header, hash))
        })
        .await
    }

    async fn sealed(&self, number: u64) -> Result<Sealed, EngineError> {
        let (header, hash) = self.header(number).await?;
        self.read(move |reader| {
            let body = reader.store.body(number).map_err(|error| error.to_string())?;
            let body = body.ok_or_else(|| format!("the body of block {number} is missing"))?;
            Sealed::new(&header, hash, &body)
        })
        .await
    }

    /// Reads the database off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(ChainReader) -> Result<T, String> + Send + 'static,
    ) -> Result<T, EngineError> {
        let reader = self.reader.clone();
        let job = tokio::task::spawn_blocking(move || read(reader)).await;
        job.map_err(|error| EngineError::Store(error.to_string()))?.map_err(EngineError::Store)
    }
}
