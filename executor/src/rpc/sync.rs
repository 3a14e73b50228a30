//! `eth_sendRawTransactionSync` (EIP-7966): send, and answer with the receipt.

use super::{
    RpcContext,
    args::{Args, Reply, SYNC_NONCE_GAP, SYNC_NOT_READY, SYNC_TIMEOUT, internal},
    blocks,
    format::{data, quantity},
    methods::Waiting,
    parse,
    submit::{NotTaken, hand_over},
};
use crate::transaction::raw_hash;
use alloy_primitives::B256;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Hands the transaction over and waits for its receipt.
///
/// Safe to repeat: a transaction that is under way already is waited for, and one that is executed already answers with
/// its receipt.
pub(super) fn send_raw_sync(ctx: &RpcContext, mut args: Args) -> Waiting<'_> {
    Box::pin(async move {
        let raw = args.bytes()?;
        let wanted = args.maybe(parse::count)?.map(Duration::from_millis);
        args.end()?;
        // By the EIP a time that is not allowed is replaced by the default.
        let most = ctx.limits.sync_timeout;
        let limit = wanted.filter(|wanted| !wanted.is_zero() && *wanted <= most).unwrap_or(most);
        let (deadline, hash) = (Instant::now() + limit, raw_hash(&raw));
        let since = ctx.head().ordered.height;
        let Ok(handed) = tokio::time::timeout_at(deadline, hand_over(ctx, raw)).await else {
            return Err(late(hash, limit));
        };
        match handed? {
            Ok(_) | Err(NotTaken::Known) => {}
            Err(NotTaken::Refused(error)) => {
                let executed = receipt(ctx, hash).await?;
                return if executed.is_null() { Err(error) } else { Ok(executed) };
            }
            Err(other) => {
                let message = other.message();
                return Err(match other {
                    NotTaken::Gap { expected, .. } => {
                        ErrorObjectOwned::owned(SYNC_NONCE_GAP, message, Some(quantity(expected)))
                    }
                    _ => not_ready(hash, message),
                });
            }
        }
        match tokio::time::timeout_at(deadline, outcome(ctx, hash, since)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(late(hash, limit)),
        }
    })
}

fn late(hash: B256, limit: Duration) -> ErrorObjectOwned {
    let text = format!("The transaction was added to the mempool but wasn't processed in {limit:?}.");
    ErrorObjectOwned::owned(SYNC_TIMEOUT, text, Some(data(hash.as_slice())))
}

fn not_ready(hash: B256, reason: String) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(SYNC_NOT_READY, reason, Some(data(hash.as_slice())))
}

/// Off the async threads: it reads the database.
async fn receipt(ctx: &RpcContext, hash: B256) -> Reply {
    let ctx = ctx.clone();
    let job = tokio::task::spawn_blocking(move || blocks::receipt_of(&ctx, hash));
    job.await.unwrap_or_else(|error| Err(internal(error)))
}

/// Waits for the receipt, or for the news that the transaction was ordered and skipped after height `since`.
async fn outcome(ctx: &RpcContext, hash: B256, since: u64) -> Reply {
    let mut heads = ctx.chain.subscribe();
    loop {
        heads.borrow_and_update();
        let found = receipt(ctx, hash).await?;
        if !found.is_null() {
            return Ok(found);
        }
        let skip = ctx.chain.store.skip(hash).map_err(internal)?;
        // An older one was of an earlier try.
        if let Some(skip) = skip.filter(|skip| skip.height > since) {
            let text = format!("The transaction was ordered but not executed: {}", skip.reason);
            return Err(not_ready(hash, text));
        }
        if heads.changed().await.is_err() {
            return Ok(Value::Null);
        }
    }
}
