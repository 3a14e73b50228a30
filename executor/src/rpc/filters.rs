//! Filters that are remembered between requests, for libraries that poll.

use super::{
    RpcContext,
    args::{Args, Reply, refused},
    filter::{Span, log_filter},
    format::data,
    logs,
    parse::{self, BlockId},
};
use crate::LogFilter;
use serde_json::Value;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A filter that nobody asks for is forgotten after this time, as in geth.
const LIFETIME: Duration = Duration::from_secs(300);
/// Hashes that one answer lists; the rest comes with the next.
const MAX_HASHES: usize = 10_000;

/// What a filter watches, and from where on it has something new.
#[derive(Debug, Clone)]
enum Watch {
    /// Logs of blocks from a number on.
    Logs { span: Span, filter: LogFilter, next: u64 },
    /// Blocks from a number on.
    Blocks { next: u64 },
    /// Pending transactions from an arrival on.
    Pending { next: u64 },
}

#[derive(Debug)]
struct Entry {
    watch: Watch,
    asked: Instant,
}

/// All remembered filters, a bounded number.
#[derive(Debug, Default)]
pub(super) struct Filters {
    entries: Mutex<HashMap<String, Entry>>,
}

impl Filters {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Entry>) -> T) -> T {
        // The map stays usable whatever a panicking holder left.
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn insert(&self, watch: Watch, most: usize) -> String {
        let (id, now) = (random_id(), Instant::now());
        self.with(|entries| {
            entries.retain(|_, entry| now.duration_since(entry.asked) < LIFETIME);
            while entries.len() >= most.max(1) {
                let oldest = entries.iter().min_by_key(|(_, entry)| entry.asked).map(|(id, _)| id.clone());
                let Some(oldest) = oldest else { break };
                entries.remove(&oldest);
            }
            entries.insert(id.clone(), Entry { watch, asked: now });
        });
        id
    }

    fn get(&self, id: &str) -> Reply<Watch> {
        let now = Instant::now();
        self.with(|entries| {
            let entry = entries.get_mut(id).filter(|entry| now.duration_since(entry.asked) < LIFETIME)?;
            entry.asked = now;
            Some(entry.watch.clone())
        })
        .ok_or_else(|| refused("filter not found"))
    }

    /// Moves a filter on, unless another request moved it further meanwhile.
    fn advance(&self, id: &str, to: u64) {
        self.with(|entries| {
            if let Some(entry) = entries.get_mut(id) {
                let (Watch::Logs { next, .. } | Watch::Blocks { next } | Watch::Pending { next }) = &mut entry.watch;
                *next = to.max(*next);
            }
        });
    }

    fn remove(&self, id: &str) -> bool {
        self.with(|entries| entries.remove(id).is_some())
    }
}

/// An id that nobody else guesses, written as a quantity.
pub(super) fn random_id() -> String {
    // Keyed by the system's randomness, afresh for each. A leading zero digit would be no quantity.
    let half = || u128::from(RandomState::new().hash_one(0u8));
    format!("{:#x}", (half() << 64) | half() | (1 << 127))
}

fn id(args: &mut Args) -> Reply<String> {
    args.need(|value| {
        parse::quantity(value)?;
        Ok(value.as_str().unwrap_or_default().to_ascii_lowercase())
    })
}

fn remember(ctx: &RpcContext, watch: Watch) -> Reply {
    Ok(Value::String(ctx.filters.insert(watch, ctx.limits.filters)))
}

pub(super) fn new_logs(ctx: &RpcContext, mut args: Args) -> Reply {
    let (span, filter) = args.need(log_filter)?;
    args.end()?;
    remember(ctx, Watch::Logs { span, filter, next: ctx.head().header.number + 1 })
}

pub(super) fn new_blocks(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    remember(ctx, Watch::Blocks { next: ctx.head().header.number + 1 })
}

pub(super) fn new_pending(ctx: &RpcContext, args: Args) -> Reply {
    args.end()?;
    remember(ctx, Watch::Pending { next: ctx.pending.arrivals() })
}

pub(super) fn changes(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = id(&mut args)?;
    args.end()?;
    let head = ctx.head().header.number;
    let (answer, next) = match ctx.filters.get(&id)? {
        Watch::Logs { span, filter, next } => new_log_matches(ctx, span, &filter, (next, head))?,
        Watch::Blocks { next } => {
            let last = head.min(next.saturating_add(MAX_HASHES as u64 - 1));
            let hashes: Reply<Vec<_>> =
                (next..=last).map(|number| Ok(data(ctx.header(number)?.1.as_slice()))).collect();
            (Value::Array(hashes?), last + 1)
        }
        Watch::Pending { next } => {
            let (hashes, next) = ctx.pending.arrived(next, MAX_HASHES);
            (hashes.iter().map(|hash| data(hash.as_slice())).collect(), next)
        }
    };
    ctx.filters.advance(&id, next);
    Ok(answer)
}

/// The logs of new blocks, and the block to go on from. Many blocks come in several answers.
fn new_log_matches(ctx: &RpcContext, span: Span, filter: &LogFilter, (next, head): (u64, u64)) -> Reply<(Value, u64)> {
    let none = Value::Array(Vec::new());
    let mut last = head.min(next.saturating_add(ctx.limits.log_blocks - 1));
    match span {
        // A named block is not new.
        Span::Block(_) => return Ok((none, next)),
        Span::Range(_, BlockId::Number(end)) => last = last.min(end),
        Span::Range(..) => {}
    }
    if last < next {
        return Ok((none, next));
    }
    let logs = logs::find(ctx, Span::Range(BlockId::Number(next), BlockId::Number(last)), filter)?;
    Ok((logs, last + 1))
}

pub(super) fn logs(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = id(&mut args)?;
    args.end()?;
    match ctx.filters.get(&id)? {
        Watch::Logs { span, filter, .. } => logs::find(ctx, span, &filter),
        Watch::Blocks { .. } | Watch::Pending { .. } => Err(refused("filter is no log filter")),
    }
}

pub(super) fn remove(ctx: &RpcContext, mut args: Args) -> Reply {
    let id = id(&mut args)?;
    args.end()?;
    Ok(Value::Bool(ctx.filters.remove(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_that_was_not_asked_for_longest_goes_first() {
        let filters = Filters::default();
        let first = filters.insert(Watch::Blocks { next: 1 }, 2);
        let second = filters.insert(Watch::Blocks { next: 1 }, 2);
        filters.get(&first).unwrap();
        let third = filters.insert(Watch::Blocks { next: 1 }, 2);
        assert!(filters.get(&second).is_err());
        assert!(filters.get(&first).is_ok() && filters.get(&third).is_ok());
        assert!(filters.remove(&first) && !filters.remove(&first));
    }

    #[test]
    fn ids_are_quantities() {
        assert!(parse::quantity(&Value::String(random_id())).is_ok());
    }
}
