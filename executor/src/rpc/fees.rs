//! Fee suggestions and fee history.

use super::{
    RpcContext,
    args::{Args, Reply, invalid, refused},
    format::quantity,
    parse::{Parsed, block_number, list},
};
use crate::evm::next_base_fee;
use alloy_consensus::{Header, Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use serde_json::{Value, json};

/// The tip suggested, in wei: order does not follow fees here, so a token one is enough.
const SUGGESTED_TIP: u64 = 1_000_000;
/// Blocks that one `eth_feeHistory` covers at most, as geth.
const MAX_FEE_HISTORY: u64 = 1_024;
/// Percentiles that one request names at most, as geth.
const MAX_PERCENTILES: usize = 100;

/// A legacy price: a quarter above the next base fee, because blocks may follow each other
/// faster than the transaction arrives and each can raise the fee by an eighth.
pub(super) fn gas_price(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    let next = u128::from(next_base_fee(&ctx.chain.genesis, &ctx.head().header));
    Ok(quantity(next + next / 4 + u128::from(SUGGESTED_TIP)))
}

pub(super) fn tip(_: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(quantity(SUGGESTED_TIP))
}

pub(super) fn blob_base_fee(_: &RpcContext, args: Args) -> Reply {
    args.end()?;
    Ok(quantity(1u64))
}

fn percentiles(value: &Value) -> Parsed<Vec<f64>> {
    list(value, |value| value.as_f64().ok_or_else(|| "numbers are expected".to_owned()))
}

pub(super) fn history(ctx: &RpcContext, mut args: Args) -> Reply {
    let (count, newest) = (args.number()?, args.need(block_number)?);
    let percentiles = args.maybe(percentiles)?.unwrap_or_default();
    args.end()?;
    if percentiles.len() > MAX_PERCENTILES {
        return Err(invalid(format!("over the query limit {MAX_PERCENTILES} of percentiles")));
    }
    let in_order = percentiles.windows(2).all(|pair| pair[0] <= pair[1]);
    if !in_order || percentiles.iter().any(|value| !(0.0..=100.0).contains(value)) {
        return Err(invalid("invalid reward percentile: they rise from 0 to 100"));
    }
    let newest = ctx.resolve(newest)?.ok_or_else(|| refused("request beyond head block"))?;
    let count = count.min(MAX_FEE_HISTORY).min(newest + 1);
    if count == 0 {
        return Ok(json!({"oldestBlock": "0x0", "baseFeePerGas": [], "gasUsedRatio": []}));
    }
    let oldest = newest + 1 - count;
    let (mut fees, mut ratios, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    for number in oldest..=newest {
        let (header, _) = ctx.header(number)?;
        fees.push(quantity(header.base_fee_per_gas.unwrap_or_default()));
        ratios.push(json!(header.gas_used as f64 / header.gas_limit.max(1) as f64));
        if !percentiles.is_empty() {
            rewards.push(block_rewards(ctx, &header, &percentiles)?);
        }
        if number == newest {
            fees.push(quantity(next_base_fee(&ctx.chain.genesis, &header)));
        }
    }
    let blobs = count as usize;
    let mut out = json!({
        "oldestBlock": quantity(oldest),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "baseFeePerBlobGas": vec!["0x1"; blobs + 1],
        "blobGasUsedRatio": vec![0; blobs],
    });
    if !percentiles.is_empty() {
        out["reward"] = Value::Array(rewards);
    }
    Ok(out)
}

/// The tips at the given percentiles of the block's gas.
fn block_rewards(ctx: &RpcContext, header: &Header, percentiles: &[f64]) -> Reply {
    let body = ctx.body(header.number)?;
    let base_fee = header.base_fee_per_gas.unwrap_or_default();
    let mut tips: Vec<(u128, u64)> = Vec::with_capacity(body.receipts.len());
    for (tx, receipt) in body.transactions.iter().zip(&body.receipts) {
        let envelope = TxEnvelope::decode_2718_exact(&tx.raw);
        let tip = envelope.ok().and_then(|tx| tx.effective_tip_per_gas(base_fee));
        tips.push((tip.unwrap_or_default(), receipt.gas_used));
    }
    tips.sort_unstable();
    let at = |percentile: &f64| -> Value {
        let target = (header.gas_used as f64 * percentile / 100.0) as u64;
        let mut sum = 0;
        let found = tips.iter().find(|(_, gas)| {
            sum += gas;
            sum >= target
        });
        quantity(found.or(tips.last()).map_or(0, |(tip, _)| *tip))
    };
    Ok(Value::Array(percentiles.iter().map(at).collect()))
}
