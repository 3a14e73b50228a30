//! The follower: takes blocks from the source and applies them, until told to stop.

use crate::{
    Error, Result,
    chain::{Applied, Chain},
    pending::Pending,
    source::{BlockSource, OrderedBlock},
    status::Status,
    transaction::raw_hash,
};
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;
use tracing::{debug, info};

/// Follows `source` with `chain` until `shutdown` becomes true (or its sender is gone).
///
/// On a clean stop everything applied is durable.
///
/// # Errors
/// Whatever stops the rollup: a forged block, a gap, a fork, the database. It is also recorded in
/// `status`, so that RPC can go on answering what is known.
pub async fn follow<S: BlockSource>(
    chain: Chain,
    mut source: S,
    pending: Arc<Pending>,
    status: Arc<Status>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let mut chain = chain;
    let mut catching_up = Some(CatchingUp::new());
    let result = loop {
        let block = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
            block = source.next() => block,
        };
        status.observe(source.highest_known(), source.switches());
        let block = match block {
            Ok(block) => block,
            Err(error) => break Err(error),
        };
        let more_waits = source.highest_known() > block.height;
        // Execution is CPU work: off the async threads.
        let job = tokio::task::spawn_blocking(move || {
            let applied = chain.apply(&block, more_waits);
            (chain, block, applied)
        });
        let (returned, block, applied) = match job.await {
            Ok(done) => done,
            Err(error) => {
                let error = Error::Worker(error.to_string());
                status.halt(error.to_string());
                return Err(error);
            }
        };
        chain = returned;
        match applied {
            Ok(applied) => {
                report(&block, &applied, &pending);
                catching_up = catching_up.and_then(|so_far| so_far.after(&block, &applied, more_waits));
            }
            Err(error) => break Err(error),
        }
    };
    if let Err(error) = &result {
        status.halt(error.to_string());
    }
    // What was applied before a failure is sound and worth keeping; the first failure is the one to report.
    let flushed = chain.flush();
    result.and(flushed)
}

/// How much was executed since the start, until the network is caught up with.
#[derive(Debug)]
struct CatchingUp {
    since: Instant,
    blocks: u64,
    transactions: usize,
}

impl CatchingUp {
    fn new() -> Self {
        Self { since: Instant::now(), blocks: 0, transactions: 0 }
    }

    /// Counts a block; none once there was no further one at hand, which is said.
    fn after(mut self, block: &OrderedBlock, applied: &Applied, more_waits: bool) -> Option<Self> {
        if let Applied::Executed { transactions, .. } = applied {
            self.blocks += 1;
            self.transactions += transactions;
        }
        if more_waits {
            return Some(self);
        }
        let Self { since, blocks, transactions } = self;
        let seconds = since.elapsed().as_secs_f64();
        info!(height = block.height, ordered_blocks = blocks, transactions, seconds, "caught up with the network");
        None
    }
}

fn report(block: &OrderedBlock, applied: &Applied, pending: &Pending) {
    match applied {
        Applied::Repeated => debug!(height = block.height, "ordered block repeated, ignored"),
        Applied::Executed { blocks, transactions, skipped } => {
            if !block.transactions.is_empty() {
                let hashes: Vec<_> = block.transactions.iter().map(|raw| raw_hash(raw)).collect();
                pending.settle(hashes.iter());
                info!(height = block.height, blocks, transactions, skipped, "executed");
            }
        }
    }
}
