//! Which logs somebody asks for: the filter object of `eth_getLogs`, `eth_newFilter` and `eth_subscribe`.

use super::parse::{BlockId, Fields, Parsed, address, block_number, hash, list};
use crate::LogFilter;
use alloy_primitives::B256;
use serde_json::Value;

/// Addresses, and alternatives at one topic's position, that a filter names at most (as geth).
const MAX_ALTERNATIVES: usize = 1_000;
/// Topics of a log at most, by the EVM's opcodes.
const MAX_TOPICS: usize = 4;

/// Where to look for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// Blocks from one to another, both included.
    Range(BlockId, BlockId),
    /// One block.
    Block(B256),
}

/// Reads a filter object.
pub(super) fn log_filter(value: &Value) -> Parsed<(Span, LogFilter)> {
    let fields = Fields::of(value)?;
    let (from, to) = (fields.read("fromBlock", block_number)?, fields.read("toBlock", block_number)?);
    let span = match fields.read("blockHash", hash)? {
        Some(_) if from.is_some() || to.is_some() => {
            return Err("cannot specify both blockHash and fromBlock/toBlock, choose one or the other".into());
        }
        Some(hash) => Span::Block(hash),
        None => Span::Range(from.unwrap_or(BlockId::Latest), to.unwrap_or(BlockId::Latest)),
    };
    let addresses = fields.read("address", |value| one_or_many(value, address))?.unwrap_or_default();
    let topics = fields.read("topics", topics)?.unwrap_or_default();
    Ok((span, LogFilter { addresses, topics }))
}

fn one_or_many<T>(value: &Value, read: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    let values = if value.is_array() { list(value, read)? } else { vec![read(value)?] };
    if values.len() > MAX_ALTERNATIVES {
        return Err(format!("{} alternatives are over the limit of {MAX_ALTERNATIVES}", values.len()));
    }
    Ok(values)
}

fn topics(value: &Value) -> Parsed<Vec<Vec<B256>>> {
    let position = |value: &Value| match value {
        Value::Null => Ok(Vec::new()),
        // A null among the alternatives takes anything.
        Value::Array(values) if values.iter().any(Value::is_null) => Ok(Vec::new()),
        value => one_or_many(value, hash),
    };
    let topics = list(value, position)?;
    if topics.len() > MAX_TOPICS {
        return Err(format!("{} positions are over the limit of {MAX_TOPICS}", topics.len()));
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, Log};
    use serde_json::json;

    fn filter(value: Value) -> LogFilter {
        log_filter(&value).unwrap().1
    }

    fn log(address: u8, topics: &[u8]) -> Log {
        let topics = topics.iter().map(|topic| B256::repeat_byte(*topic)).collect();
        Log::new_unchecked(Address::repeat_byte(address), topics, Default::default())
    }

    #[test]
    fn positions_take_one_many_or_anything() {
        let topic = |byte| json!(B256::repeat_byte(byte));
        let wanted = filter(json!({"topics": [null, [topic(1), topic(2)]]}));
        assert!(wanted.matches(&log(9, &[7, 1])));
        assert!(wanted.matches(&log(9, &[7, 2, 3])));
        assert!(!wanted.matches(&log(9, &[7, 3])));
        assert!(!wanted.matches(&log(9, &[1])));
        assert!(filter(json!({})).matches(&log(9, &[])));
        let from = filter(json!({"address": [Address::repeat_byte(1), Address::repeat_byte(2)]}));
        assert!(from.matches(&log(2, &[])) && !from.matches(&log(3, &[])));
    }

    #[test]
    fn contradictions_and_too_many_alternatives_are_refused() {
        assert!(log_filter(&json!({"blockHash": B256::ZERO, "toBlock": "latest"})).is_err());
        assert!(log_filter(&json!({"topics": [null, null, null, null, null]})).is_err());
        assert!(log_filter(&json!({"address": vec![Address::ZERO; MAX_ALTERNATIVES + 1]})).is_err());
        assert!(log_filter(&json!([])).is_err());
    }
}
