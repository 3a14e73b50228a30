//! Methods that read blocks, transactions and receipts.

use super::{
    RpcContext,
    args::{Args, Reply, internal},
    format::{self, Place, data, quantity},
    parse::{BlockId, block_number},
    pending_block,
    recent::Loaded,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn number(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(quantity(ctx.head().header.number))
}

fn load(ctx: &RpcContext, id: BlockId) -> Reply<Option<Arc<Loaded>>> {
    ctx.resolve(id)?.map(|number| ctx.loaded(number)).transpose()
}

fn block(ctx: &RpcContext, id: BlockId, full: bool) -> Reply {
    if id == BlockId::Pending {
        return pending_block::block(ctx, full);
    }
    let loaded = load(ctx, id)?;
    Ok(loaded.map_or(Value::Null, |block| format::block(&block.header, block.hash, &block.body, full)))
}

pub(super) fn by_number(ctx: &RpcContext, mut args: Args) -> Reply {
    let (id, full) = (args.need(block_number)?, args.flag()?);
    args.end()?;
    block(ctx, id, full)
}

pub(super) fn by_hash(ctx: &RpcContext, mut args: Args) -> Reply {
    let (hash, full) = (args.hash()?, args.flag()?);
    args.end()?;
    block(ctx, BlockId::Hash(hash), full)
}

fn count(ctx: &RpcContext, id: BlockId) -> Reply {
    if id == BlockId::Pending {
        return Ok(quantity(pending_block::present(ctx)?.body.transactions.len()));
    }
    Ok(load(ctx, id)?.map_or(Value::Null, |block| quantity(block.body.transactions.len())))
}

pub(super) fn count_by_number(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = args.need(block_number)?;
    args.end()?;
    count(ctx, id)
}

pub(super) fn count_by_hash(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    count(ctx, BlockId::Hash(hash))
}

fn uncles(ctx: &RpcContext, id: BlockId) -> Reply {
    Ok(ctx.resolve(id)?.map_or(Value::Null, |_| quantity(0u64)))
}

pub(super) fn uncles_by_number(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = args.need(block_number)?;
    args.end()?;
    uncles(ctx, id)
}

pub(super) fn uncles_by_hash(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    uncles(ctx, BlockId::Hash(hash))
}

pub(super) fn receipts(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = args.block_required()?;
    args.end()?;
    if id == BlockId::Pending {
        return pending_block::receipts(ctx);
    }
    let Some(block) = load(ctx, id)? else { return Ok(Value::Null) };
    let mut logs_before = 0;
    let pairs = block.body.transactions.iter().zip(&block.body.receipts).enumerate();
    let all = pairs.map(|(index, (tx, receipt))| {
        let place = Place { header: &block.header, hash: block.hash, index };
        let value = format::receipt(tx, receipt, place, logs_before);
        logs_before += receipt.logs.len();
        value
    });
    Ok(Value::Array(all.collect()))
}

/// Block and index of an executed transaction that the published head already covers.
pub(super) fn locate(ctx: &RpcContext, hash: B256) -> Reply<Option<(u64, usize)>> {
    let head = ctx.head().header.number;
    let place = ctx.chain.store.transaction(hash).map_err(internal)?;
    Ok(place.filter(|(number, _)| *number <= head).map(|(number, at)| (number, at as usize)))
}

pub(super) fn receipt(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    receipt_of(ctx, hash)
}

/// The receipt of a transaction; `null` if it is not executed.
pub(super) fn receipt_of(ctx: &RpcContext, hash: B256) -> Reply {
    let Some((number, index)) = locate(ctx, hash)? else { return Ok(Value::Null) };
    let block = ctx.loaded(number)?;
    let Loaded { header, hash, body } = &*block;
    let (Some(tx), Some(receipt)) = (body.transactions.get(index), body.receipts.get(index)) else {
        return Ok(Value::Null);
    };
    let logs_before = body.receipts[..index].iter().map(|receipt| receipt.logs.len()).sum();
    Ok(format::receipt(tx, receipt, Place { header, hash: *hash, index }, logs_before))
}

pub(super) fn transaction(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    if let Some((number, index)) = locate(ctx, hash)? {
        return at_index(ctx, BlockId::Number(number), index);
    }
    Ok(ctx.pending.get(&hash).as_ref().map_or(Value::Null, format::pending_transaction))
}

pub(super) fn raw_transaction(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    if let Some((number, index)) = locate(ctx, hash)? {
        let block = ctx.loaded(number)?;
        return Ok(block.body.transactions.get(index).map_or(Value::Null, |tx| data(&tx.raw)));
    }
    Ok(ctx.pending.get(&hash).map_or(Value::Null, |found| data(&found.envelope.encoded_2718())))
}

fn at_index(ctx: &RpcContext, id: BlockId, index: usize) -> Reply {
    if id == BlockId::Pending {
        return pending_block::transaction(ctx, index);
    }
    let Some(block) = load(ctx, id)? else { return Ok(Value::Null) };
    let place = Place { header: &block.header, hash: block.hash, index };
    let tx = block.body.transactions.get(index);
    Ok(tx.map_or(Value::Null, |tx| format::mined_transaction(tx, place)))
}

pub(super) fn by_number_and_index(ctx: &RpcContext, mut args: Args) -> Reply {
    let (id, index) = (args.need(block_number)?, args.number()?);
    args.end()?;
    at_index(ctx, id, usize::try_from(index).unwrap_or(usize::MAX))
}

pub(super) fn by_hash_and_index(ctx: &RpcContext, mut args: Args) -> Reply {
    let (hash, index) = (args.hash()?, args.number()?);
    args.end()?;
    at_index(ctx, BlockId::Hash(hash), usize::try_from(index).unwrap_or(usize::MAX))
}
