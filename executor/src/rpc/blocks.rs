//! Methods that read blocks, transactions and receipts.

use super::{
    RpcContext,
    args::{Args, BlockId, Reply, internal},
    format::{self, Place, quantity},
};
use crate::evm::StoredBody;
use alloy_consensus::Header;
use alloy_primitives::B256;
use serde_json::Value;

pub(super) fn number(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(quantity(ctx.head().header.number))
}

fn load(ctx: &RpcContext, id: BlockId) -> Reply<Option<(Header, B256, StoredBody)>> {
    let Some(number) = ctx.resolve(id)? else { return Ok(None) };
    let (header, hash) = ctx.header(number)?;
    Ok(Some((header, hash, ctx.body(number)?)))
}

fn answer(ctx: &RpcContext, id: BlockId, full: bool) -> Reply {
    let loaded = load(ctx, id)?;
    Ok(loaded.map_or(Value::Null, |(header, hash, body)| format::block(&header, hash, &body, full)))
}

pub(super) fn by_number(ctx: &RpcContext, mut args: Args) -> Reply {
    let (id, full) = (args.block_required()?, args.flag()?);
    args.end()?;
    answer(ctx, id, full)
}

pub(super) fn by_hash(ctx: &RpcContext, mut args: Args) -> Reply {
    let (hash, full) = (args.hash()?, args.flag()?);
    args.end()?;
    answer(ctx, BlockId::Hash(hash), full)
}

pub(super) fn transaction_count(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = args.block_required()?;
    args.end()?;
    let loaded = load(ctx, id)?;
    Ok(loaded.map_or(Value::Null, |(_, _, body)| quantity(body.transactions.len())))
}

pub(super) fn receipts(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = args.block_required()?;
    args.end()?;
    let Some((header, hash, body)) = load(ctx, id)? else { return Ok(Value::Null) };
    let all = (0..body.receipts.len()).map(|index| receipt_at(&header, hash, &body, index));
    Ok(Value::Array(all.collect()))
}

fn receipt_at(header: &Header, hash: B256, body: &StoredBody, index: usize) -> Value {
    let (Some(tx), Some(receipt)) = (body.transactions.get(index), body.receipts.get(index)) else {
        return Value::Null;
    };
    let logs_before = body.receipts[..index].iter().map(|receipt| receipt.logs.len()).sum();
    format::receipt(tx, receipt, Place { header, hash, index }, logs_before)
}

/// Block and index of an executed transaction that the published head already covers.
fn locate(ctx: &RpcContext, hash: B256) -> Reply<Option<(u64, usize)>> {
    let head = ctx.head().header.number;
    let place = ctx.chain.store.transaction(hash).map_err(internal)?;
    Ok(place.filter(|(number, _)| *number <= head).map(|(number, at)| (number, at as usize)))
}

pub(super) fn receipt(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    let Some((number, index)) = locate(ctx, hash)? else { return Ok(Value::Null) };
    let (header, block_hash) = ctx.header(number)?;
    Ok(receipt_at(&header, block_hash, &ctx.body(number)?, index))
}

pub(super) fn transaction(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    if let Some((number, index)) = locate(ctx, hash)? {
        return at_index(ctx, BlockId::Number(number), index);
    }
    let pending = ctx.pending.get(&hash);
    Ok(pending.map_or(Value::Null, |(tx, sender)| format::transaction(&tx, sender, None)))
}

fn at_index(ctx: &RpcContext, id: BlockId, index: usize) -> Reply {
    let Some((header, hash, body)) = load(ctx, id)? else { return Ok(Value::Null) };
    let place = Place { header: &header, hash, index };
    let tx = body.transactions.get(index);
    Ok(tx.map_or(Value::Null, |tx| format::mined_transaction(tx, place)))
}

pub(super) fn transaction_at(ctx: &RpcContext, mut args: Args) -> Reply {
    let (id, index) = (args.block_required()?, args.number()?);
    args.end()?;
    at_index(ctx, id, usize::try_from(index).unwrap_or(usize::MAX))
}
