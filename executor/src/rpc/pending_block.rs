//! The pending block: what is secured and not ordered yet, on the head's state.
//!
//! Over two thirds of stake hold these transactions and will get them ordered; where they will stand, and what else the
//! next blocks hold, is open. So the block has no hash and no state root, says `"tier": "secured"`, and is a forecast. It
//! is made when somebody asks, from a snapshot: ordered blocks do not wait for it.

use super::{
    RpcContext,
    args::{Args, Reply, internal},
    format::{self, Place, quantity},
    state::unreadable,
};
use crate::{
    MAX_PENDING, SenderTransaction,
    evm::{PendingBlock, StoredTransaction, Upcoming},
    pending::PendingTransaction,
    state::{Layered, StateView},
};
use alloy_consensus::{Header, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::B256;
use serde_json::{Value, json};
use squad_types::Tier;
use std::sync::{Arc, Mutex, PoisonError};

/// Pending transactions that `squad_pendingTransactions` lists at most.
const MAX_LISTED: usize = 1_000;

/// The pending block as far as it was looked at. One at a time works on it; it is begun anew on every ordered block, so
/// each secured transaction runs at most once on each, and together they have the gas of one block.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<On>>);

#[derive(Debug)]
struct On {
    /// The ordered block after which it comes.
    ordered: (u64, B256),
    /// The first arrival that was not looked at.
    next: u64,
    upcoming: Upcoming,
    shown: Arc<PendingBlock>,
}

/// The pending block as of now.
pub(super) fn present(ctx: &RpcContext) -> Reply<Arc<PendingBlock>> {
    // What a panicking holder was working on it had taken out.
    let mut progress = ctx.upcoming.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (head, genesis) = (ctx.head(), &ctx.chain.genesis);
    let ordered = (head.ordered.height, head.ordered.hash);
    let same = progress.as_ref().filter(|before| before.ordered == ordered);
    let (hashes, next) = ctx.pending.arrived(same.map_or(0, |before| before.next), MAX_PENDING);
    if let Some(before) = same.filter(|before| before.next == next) {
        return Ok(before.shown.clone());
    }
    // Opened for this, and dropped with it: the database keeps what a snapshot sees.
    let base = ctx.chain.state_at(head.header.number).map_err(unreadable)?;
    let arrived = hashes.iter().filter_map(|hash| ctx.pending.get(hash));
    let arrived = arrived.map(|found| SenderTransaction { envelope: found.envelope, sender: found.sender });
    let mut upcoming = match progress.take() {
        Some(before) if before.ordered == ordered => before.upcoming,
        _ => Upcoming::new(genesis, &head, base.clone()).map_err(internal)?,
    };
    upcoming.extend(genesis, base.clone(), arrived).map_err(internal)?;
    let shown = Arc::new(upcoming.shown(genesis, base).map_err(internal)?);
    *progress = Some(On { ordered, next, upcoming, shown: shown.clone() });
    Ok(shown)
}

/// Header and state of the pending block.
pub(super) fn state(ctx: &RpcContext) -> Reply<(Header, Layered<StateView>)> {
    let block = present(ctx)?;
    let view = ctx.chain.state_at(block.header.number - 1).map_err(unreadable)?;
    Ok((block.header.clone(), Layered::new(view, block.changes.clone())))
}

/// Everything that was forwarded and is not executed yet, each sender's by nonce.
pub(super) fn transactions(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    let mut found = ctx.pending.list(Tier::Batched, MAX_LISTED);
    let mut failure = None;
    // One that was executed a moment ago may not be forgotten yet.
    found.retain(|pending| match super::blocks::locate(ctx, *pending.envelope.tx_hash()) {
        Ok(place) => place.is_none(),
        Err(error) => {
            failure = Some(error);
            false
        }
    });
    failure.map_or(Ok(found.iter().map(format::pending_transaction).collect()), Err)
}

/// A transaction of the pending block.
pub(super) fn transaction(ctx: &RpcContext, index: usize) -> Reply {
    Ok(present(ctx)?.body.transactions.get(index).map_or(Value::Null, secured))
}

fn secured(tx: &StoredTransaction) -> Value {
    TxEnvelope::decode_2718_exact(&tx.raw).map_or(Value::Null, |envelope| {
        format::pending_transaction(&PendingTransaction { envelope, sender: tx.sender, tier: Tier::Secured })
    })
}

/// The block as Ethereum's clients show a pending one.
pub(super) fn block(ctx: &RpcContext, full: bool) -> Reply {
    let block = present(ctx)?;
    let (header, body) = (&block.header, &block.body);
    let mut out = format::fields(header, B256::ZERO);
    for unknown in ["hash", "nonce", "miner"] {
        out.insert(unknown.into(), Value::Null);
    }
    let transaction = |tx: &StoredTransaction| if full { secured(tx) } else { format::data(tx.hash.as_slice()) };
    out.insert("transactions".into(), body.transactions.iter().map(transaction).collect());
    out.insert("size".into(), quantity(format::size(header, body)));
    out.insert("uncles".into(), json!([]));
    out.insert("withdrawals".into(), json!([]));
    out.insert("tier".into(), json!(Tier::Secured));
    Ok(Value::Object(out))
}

/// What its transactions do if they run as they stand there.
pub(super) fn receipts(ctx: &RpcContext) -> Reply {
    let block = present(ctx)?;
    let mut logs_before = 0;
    let pairs = block.body.transactions.iter().zip(&block.body.receipts).enumerate();
    let all = pairs.map(|(index, (tx, receipt))| {
        let place = Place { header: &block.header, hash: B256::ZERO, index };
        let mut value = format::receipt(tx, receipt, place, logs_before);
        logs_before += receipt.logs.len();
        value["blockHash"] = Value::Null;
        for log in value["logs"].as_array_mut().into_iter().flatten() {
            log["blockHash"] = Value::Null;
        }
        value["tier"] = json!(Tier::Secured);
        value
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, ChannelForwarder, Genesis, OrderedBlock, dev_accounts, pending::Pending, status::Status};
    use alloy_primitives::{Address, U256};

    fn secure(ctx: &RpcContext, nonce: u64) -> bytes::Bytes {
        let raw = dev_accounts()[0].transfer(1516, nonce, Address::repeat_byte(7), U256::ONE);
        let tx = SenderTransaction::decode(&raw, 1516).unwrap();
        ctx.pending.insert(tx.envelope, tx.sender, Tier::Secured);
        raw.0
    }

    #[test]
    fn is_made_once_for_all_who_ask_and_anew_for_every_ordered_block() {
        let dir = tempfile::tempdir().unwrap();
        let mut chain = Chain::open(dir.path(), Genesis::devnet(), b"").unwrap();
        let (pending, status) = (Arc::new(Pending::default()), Arc::new(Status::default()));
        let (transactions, _forwarded) = tokio::sync::mpsc::channel(1);
        let ctx = RpcContext::new(chain.reader(), pending, status, ChannelForwarder { transactions });
        let count = || present(&ctx).unwrap().body.transactions.len();
        assert_eq!(count(), 0);
        let first = secure(&ctx, 0);
        let one = present(&ctx).unwrap();
        assert_eq!(one.body.transactions.len(), 1);
        assert!(Arc::ptr_eq(&one, &present(&ctx).unwrap()), "nothing came in between");
        secure(&ctx, 1);
        assert_eq!(count(), 2);

        // An empty block changes nothing but the time; one with the first transaction leaves the second.
        let mut block = OrderedBlock {
            height: 1,
            timestamp_ms: 5_000,
            hash: B256::repeat_byte(1),
            parent_hash: B256::ZERO,
            proposer: Address::ZERO,
            transactions: Vec::new(),
            checkpoint: bytes::Bytes::new(),
        };
        chain.apply(&block, false).unwrap();
        let again = present(&ctx).unwrap();
        assert_eq!((again.header.number, again.header.timestamp, again.body.transactions.len()), (1, 5, 2));
        (block.height, block.hash, block.parent_hash) = (2, B256::repeat_byte(2), block.hash);
        block.transactions = vec![first];
        chain.apply(&block, false).unwrap();
        let next = present(&ctx).unwrap();
        assert_eq!((next.header.number, next.body.transactions.len()), (2, 1));
        assert_eq!(next.header.parent_hash, chain.head().hash);
    }
}
