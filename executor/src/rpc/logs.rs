//! `eth_getLogs`, and finding the logs of a block for filters and subscriptions.

use super::{
    RpcContext,
    args::{Args, Reply, exceeded, internal, invalid, refused},
    filter::{Span, log_filter},
    format,
    parse::BlockId,
};
use crate::{Error, FoundLog, LogFilter, evm::StoredBody};
use alloy_consensus::Header;
use alloy_primitives::B256;
use serde_json::Value;

/// Bytes that a log takes in an answer besides its data, about.
const LOG_OVERHEAD: usize = 700;

pub(super) fn get(ctx: &RpcContext, mut args: Args) -> Reply {
    let (span, filter) = args.need(log_filter)?;
    args.end()?;
    find(ctx, span, &filter)
}

/// The logs that match in the blocks of `span`.
///
/// Blocks are looked at by their bloom; only those that may match are read whole.
pub(super) fn find(ctx: &RpcContext, span: Span, filter: &LogFilter) -> Reply {
    let (from, to) = match span {
        Span::Block(hash) => {
            let number = ctx.resolve(BlockId::Hash(hash))?.ok_or_else(|| refused("unknown block"))?;
            (number, number)
        }
        Span::Range(from, to) => match range(ctx, from, to)? {
            Some(range) => range,
            None => return Ok(Value::Array(Vec::new())),
        },
    };
    let store = &ctx.chain.store;
    let (mut found, mut refusal) = (Found::new(ctx), None);
    let scanned = store.scan_headers(from, to, |header| {
        if !filter.may_match(&header.logs_bloom) {
            return Ok(true);
        }
        let number = header.number;
        let body = store.body(number)?.ok_or_else(|| Error::Damaged(format!("body {number} is missing")))?;
        let logs = of_block(&header, header.hash_slow(), &body, filter);
        refusal = found.add(logs, (from, number)).err();
        Ok(refusal.is_none())
    });
    scanned.map_err(internal)?;
    refusal.map_or(Ok(Value::Array(found.logs)), Err)
}

/// First and last block of a range, within the limits; `None` if it lies above the head.
fn range(ctx: &RpcContext, from: BlockId, to: BlockId) -> Reply<Option<(u64, u64)>> {
    let head = ctx.head().header.number;
    let number = |id| match id {
        BlockId::Number(number) => number,
        BlockId::Earliest => 0,
        BlockId::Latest | BlockId::Pending | BlockId::Hash(_) => head,
    };
    let (from, to) = (number(from), number(to));
    if from > to {
        return Err(invalid(format!("invalid block range: fromBlock {from} is above toBlock {to}")));
    }
    if from > head {
        return Ok(None);
    }
    let (to, most) = (to.min(head), ctx.limits.log_blocks);
    if to - from >= most {
        let upto = from + most - 1;
        return Err(exceeded(format!(
            "a range of {} blocks is over the limit of {most}; try [{from:#x}, {upto:#x}]",
            to - from + 1
        )));
    }
    Ok(Some((from, to)))
}

/// What was found so far, within the limits.
struct Found {
    logs: Vec<Value>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Found {
    fn new(ctx: &RpcContext) -> Self {
        // Half of an answer: a log is written a little longer than estimated.
        let most_bytes = ctx.limits.response_bytes as usize / 2;
        Self { logs: Vec::new(), bytes: 0, most: ctx.limits.logs, most_bytes }
    }

    fn add(&mut self, logs: Vec<FoundLog>, (from, number): (u64, u64)) -> Reply<()> {
        for found in &logs {
            self.bytes += LOG_OVERHEAD + 2 * found.log.data.data.len();
            self.logs.push(format::log(found));
        }
        if self.logs.len() <= self.most && self.bytes <= self.most_bytes {
            return Ok(());
        }
        let (what, limit) =
            if self.logs.len() > self.most { ("results", self.most) } else { ("bytes", self.most_bytes) };
        let upto = number.saturating_sub(1).max(from);
        Err(exceeded(format!(
            "query returned more than {limit} {what}; try [{from:#x}, {upto:#x}], or name more topics"
        )))
    }
}

/// The logs of one block that match.
pub(super) fn of_block(header: &Header, hash: B256, body: &StoredBody, filter: &LogFilter) -> Vec<FoundLog> {
    let mut found = Vec::new();
    filter.collect(header, hash, body, &mut found);
    found
}
