//! `eth_subscribe`: new heads, logs and pending transactions over WebSocket.
//!
//! A subscription remembers the last block that it sent and reads the next from the database. So it never skips a block,
//! holds nothing in memory for a client that is slow, and has nothing to take back: what is ordered is final.

use super::{
    RpcContext,
    args::{Args, Reply, internal, invalid},
    filter::log_filter,
    format, logs,
};
use crate::LogFilter;
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink, types::Params};
use serde_json::Value;

/// Pending transactions that are sent in one go.
const PENDING_AT_ONCE: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Topic {
    Heads,
    Logs(LogFilter),
    Pending { whole: bool },
}

fn topic(params: &Params<'_>) -> Reply<Topic> {
    let mut args = Args::new(params)?;
    let kind = args.need(|value| value.as_str().map(str::to_owned).ok_or_else(|| "a string is expected".to_owned()))?;
    let topic = match kind.as_str() {
        "newHeads" => {
            // Some libraries send an empty object along.
            args.maybe(|_| Ok(()))?;
            Topic::Heads
        }
        "logs" => Topic::Logs(args.maybe(log_filter)?.map(|(_, filter)| filter).unwrap_or_default()),
        "newPendingTransactions" => Topic::Pending { whole: args.flag()? },
        other => {
            let known = "newHeads, logs and newPendingTransactions";
            return Err(invalid(format!("no subscription '{other:.64}'; there are {known}")));
        }
    };
    args.end()?;
    Ok(topic)
}

/// Serves one subscription until its client or the chain ends.
pub(super) async fn run(params: &Params<'_>, pending: PendingSubscriptionSink, ctx: &RpcContext) {
    let topic = match topic(params) {
        Ok(topic) => topic,
        Err(error) => return pending.reject(error).await,
    };
    // Taken before the client knows of the subscription, so that no block falls between.
    let (head, arrivals) = (ctx.head().header.number, ctx.pending.arrivals());
    // The connection is gone: nobody to tell.
    let Ok(sink) = pending.accept().await else { return };
    let served = match topic {
        Topic::Pending { whole } => transactions(ctx, &sink, arrivals, whole).await,
        topic => blocks(ctx, &sink, head, topic).await,
    };
    if let Err(error) = served {
        tracing::warn!(error = error.message(), "a subscription ended");
    }
}

/// Sends; `false` if the client is gone.
async fn send(sink: &SubscriptionSink, message: &Value) -> Reply<bool> {
    let message = serde_json::value::to_raw_value(message).map_err(internal)?;
    Ok(sink.send(message).await.is_ok())
}

async fn blocks(ctx: &RpcContext, sink: &SubscriptionSink, mut last: u64, topic: Topic) -> Reply<()> {
    let mut heads = ctx.chain.subscribe();
    loop {
        let head = heads.borrow_and_update().header.number;
        while last < head {
            last += 1;
            for message in messages(ctx, last, topic.clone()).await? {
                if !send(sink, &message).await? {
                    return Ok(());
                }
            }
        }
        tokio::select! {
            () = sink.closed() => return Ok(()),
            changed = heads.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// What block `number` has to say on `topic`.
async fn messages(ctx: &RpcContext, number: u64, topic: Topic) -> Reply<Vec<Value>> {
    let slot = ctx.reads.clone().acquire_owned().await.map_err(internal)?;
    let ctx = ctx.clone();
    let job = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        let block = ctx.loaded(number)?;
        Ok(match topic {
            Topic::Logs(filter) if filter.may_match(&block.header.logs_bloom) => {
                logs::of_block(&block.header, block.hash, &block.body, &filter).iter().map(format::log).collect()
            }
            Topic::Heads => vec![format::header(&block.header, block.hash)],
            Topic::Logs(_) | Topic::Pending { .. } => Vec::new(),
        })
    });
    job.await.unwrap_or_else(|error| Err(internal(error)))
}

async fn transactions(ctx: &RpcContext, sink: &SubscriptionSink, mut next: u64, whole: bool) -> Reply<()> {
    let mut changes = ctx.pending.subscribe();
    loop {
        changes.borrow_and_update();
        loop {
            let (hashes, after) = ctx.pending.arrived(next, PENDING_AT_ONCE);
            if after == next {
                break;
            }
            next = after;
            for hash in hashes {
                let message = match ctx.pending.get(&hash) {
                    Some(found) if whole => format::pending_transaction(&found),
                    // It was ordered meanwhile, and a block tells of it.
                    None if whole => continue,
                    _ => format::data(hash.as_slice()),
                };
                if !send(sink, &message).await? {
                    return Ok(());
                }
            }
        }
        tokio::select! {
            () = sink.closed() => return Ok(()),
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}
