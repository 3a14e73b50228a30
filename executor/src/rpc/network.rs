//! Methods about the network and this executor.

use super::{
    RpcContext,
    args::{Args, Reply, internal},
    format::{data, quantity},
};
use alloy_primitives::keccak256;
use serde_json::{Value, json};

/// Ordered blocks behind which the executor calls itself catching up.
const LAG_TOLERATED: u64 = 8;
/// Skips that one answer lists at most.
const MAX_SKIPS: usize = 1_000;

pub(super) fn chain_id(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(quantity(ctx.chain.genesis.chain_id))
}

pub(super) fn net_version(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(Value::String(ctx.chain.genesis.chain_id.to_string()))
}

pub(super) fn net_listening(_: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(Value::Bool(true))
}

pub(super) fn client_version(_: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(Value::String(format!("squad-executor/v{}/rust", env!("CARGO_PKG_VERSION"))))
}

pub(super) fn sha3(_: &RpcContext, mut args: Args) -> Reply {
    let bytes = args.bytes()?;
    args.end()?;
    Ok(data(keccak256(bytes).as_slice()))
}

pub(super) fn accounts(_: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(json!([]))
}

/// `false`, or where catch-up stands, in ordered heights.
pub(super) fn syncing(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    let (at, known) = (ctx.head().ordered.height, ctx.status.highest_known());
    if known.saturating_sub(at) <= LAG_TOLERATED {
        return Ok(Value::Bool(false));
    }
    Ok(json!({
        "startingBlock": quantity(0u64),
        "currentBlock": quantity(at),
        "highestBlock": quantity(known),
    }))
}

pub(super) fn status(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    let head = ctx.head();
    let known = ctx.status.highest_known().max(head.ordered.height);
    Ok(json!({
        "chainId": ctx.chain.genesis.chain_id,
        "orderedHeight": head.ordered.height,
        "orderedHash": head.ordered.hash,
        "orderedTimestampMs": head.ordered.timestamp_ms,
        "highestKnown": known,
        "lag": known - head.ordered.height,
        "evmHeight": head.header.number,
        "evmHash": head.hash,
        "stateRoot": head.header.state_root,
        "tier": "ordered",
        "sourceSwitches": ctx.status.switches(),
        "halted": ctx.status.halted(),
    }))
}

/// The EVM blocks that an ordered height made: `null` if it is not executed yet.
pub(super) fn evm_blocks(ctx: &RpcContext, mut args: Args) -> Reply {
    let height = args.number()?;
    args.end()?;
    if height > ctx.head().ordered.height {
        return Ok(Value::Null);
    }
    let (first, count) = ctx.chain.store.evm_blocks(height).map_err(internal)?.unwrap_or_default();
    let numbers = (0..u64::from(count)).map(|piece| quantity(first + piece));
    Ok(Value::Array(numbers.collect()))
}

fn skip(record: &crate::SkipRecord) -> Value {
    json!({
        "orderedHeight": record.height,
        "position": record.position,
        "hash": record.hash,
        "code": record.reason.code,
        "reason": record.reason.detail,
    })
}

/// Why a transaction was ordered but not executed; `null` if it was not skipped.
pub(super) fn skip_reason(ctx: &RpcContext, mut args: Args) -> Reply {
    let hash = args.hash()?;
    args.end()?;
    let record = ctx.chain.store.skip(hash).map_err(internal)?;
    Ok(record.as_ref().map_or(Value::Null, skip))
}

/// The transactions skipped at an ordered height.
pub(super) fn skipped_at(ctx: &RpcContext, mut args: Args) -> Reply {
    let height = args.number()?;
    args.end()?;
    let records = ctx.chain.store.skips_at(height, MAX_SKIPS).map_err(internal)?;
    Ok(Value::Array(records.iter().map(skip).collect()))
}
