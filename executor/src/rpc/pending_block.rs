//! What is secured and not ordered yet, shown as the block that may come next.
//!
//! Over two thirds of stake hold these transactions and will get them ordered; where they will stand, and what else the
//! next blocks hold, is open. So the block has no hash, no roots and no gas used, and says `"tier": "secured"`.

use super::{
    RpcContext,
    args::{Args, Reply},
    format::{self, quantity},
};
use crate::{evm::next_base_fee, pending::PendingTransaction};
use alloy_consensus::Header;
use alloy_primitives::B256;
use serde_json::{Value, json};
use squad_types::Tier;

/// Pending transactions that an answer lists at most.
const MAX_LISTED: usize = 1_000;

/// The secured transactions that are not executed yet, each sender's by nonce.
pub(super) fn upcoming(ctx: &RpcContext) -> Reply<Vec<PendingTransaction>> {
    waiting(ctx, Tier::Secured)
}

fn waiting(ctx: &RpcContext, least: Tier) -> Reply<Vec<PendingTransaction>> {
    let mut found = ctx.pending.list(least, MAX_LISTED);
    let mut failure = None;
    // One that was executed a moment ago may not be forgotten yet.
    found.retain(|pending| match super::blocks::locate(ctx, *pending.envelope.tx_hash()) {
        Ok(place) => place.is_none(),
        Err(error) => {
            failure = Some(error);
            false
        }
    });
    failure.map_or(Ok(found), Err)
}

pub(super) fn transactions(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(waiting(ctx, Tier::Batched)?.iter().map(format::pending_transaction).collect())
}

pub(super) fn block(ctx: &RpcContext, full: bool) -> Reply {
    let (head, genesis) = (ctx.head(), &ctx.chain.genesis);
    let header = Header {
        parent_hash: head.hash,
        number: head.header.number + 1,
        gas_limit: genesis.gas_limit,
        // The least that it can be: there is no clock here.
        timestamp: head.header.timestamp,
        base_fee_per_gas: Some(next_base_fee(genesis, &head.header)),
        withdrawals_root: head.header.withdrawals_root,
        ..Header::default()
    };
    let mut out = format::fields(&header, B256::ZERO);
    for unknown in ["hash", "nonce", "miner"] {
        out.insert(unknown.into(), Value::Null);
    }
    for left_out in ["stateRoot", "receiptsRoot", "mixHash", "logsBloom", "parentBeaconBlockRoot"] {
        out.insert(left_out.into(), format::data(&vec![0; if left_out == "logsBloom" { 256 } else { 32 }]));
    }
    let transactions: Vec<Value> = upcoming(ctx)?
        .iter()
        .map(|pending| match full {
            true => format::pending_transaction(pending),
            false => format::data(pending.envelope.tx_hash().as_slice()),
        })
        .collect();
    out.insert("transactions".into(), Value::Array(transactions));
    out.insert("size".into(), quantity(0u64));
    out.insert("uncles".into(), json!([]));
    out.insert("withdrawals".into(), json!([]));
    out.insert("tier".into(), json!(Tier::Secured));
    Ok(Value::Object(out))
}
