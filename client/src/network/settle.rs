//! What became of a transaction whose answer got lost with a connection.

use super::bulk::{BulkOptions, BulkOutcome};
use super::operators::Operators;
use super::submit::POLL;
use squad_types::TxId;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Transactions asked for at a time: after a lost connection there may be thousands.
pub(super) const ASKED_AT_ONCE: usize = 32;

/// A transaction that was sent again, and refused: perhaps only because the first time it was taken.
pub(super) struct Lost {
    pub(super) id: TxId,
    /// What is told if no operator knows it.
    pub(super) refusal: BulkOutcome,
    /// Whether it is known to be on its way, so that asking again makes sense.
    pub(super) on_its_way: bool,
}

/// Asks the operators in turn until one has it at its tier, the refusal is believed, or the submission's time is over.
pub(super) async fn settle(
    operators: Arc<Operators>,
    options: BulkOptions,
    lost: Lost,
    asked: Arc<Semaphore>,
) -> BulkOutcome {
    let until = Instant::now() + operators.config().submit_timeout;
    loop {
        for index in 0..operators.len() {
            // The semaphore is never closed.
            let _permit = asked.acquire().await;
            let question = operators.confirmation(index, lost.id, options.wait);
            let answer = tokio::time::timeout(operators.config().call_timeout, question).await;
            if let Ok(Ok(confirmation)) = answer {
                let confirmation = if options.with_confirmation { confirmation } else { bytes::Bytes::new() };
                return BulkOutcome::Accepted { tier: options.wait, confirmation };
            }
        }
        if !lost.on_its_way || Instant::now() >= until {
            return lost.refusal;
        }
        tokio::time::sleep(POLL).await;
    }
}
