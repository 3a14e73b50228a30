//! Reading JSON-RPC parameters; every mistake is a -32602, and every other refusal has its code here.

use super::parse::{self, BlockId, Parsed};
use alloy_primitives::{Address, B256, Bytes, U256};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::Value;

/// JSON-RPC's code for wrong parameters.
pub const INVALID_PARAMS: i32 = -32602;
/// The code that Ethereum's clients use for anything refused after parsing.
pub const SERVER_ERROR: i32 = -32000;
/// The code for a call that reverted, with the revert data attached.
pub const REVERTED: i32 = 3;
/// The code for an internal failure.
pub const INTERNAL: i32 = -32603;
/// The code for what is over a limit of this server (EIP-1474).
pub const LIMIT_EXCEEDED: i32 = -32005;
/// EIP-7966: forwarded, and not executed within the time asked for; the hash is attached.
pub const SYNC_TIMEOUT: i32 = 4;
/// EIP-7966: ordered but not executed, or not taken now; the hash is attached.
pub const SYNC_NOT_READY: i32 = 5;
/// EIP-7966: transactions with lower nonces are missing; the expected nonce is attached.
pub const SYNC_NONCE_GAP: i32 = 6;

pub(super) type Reply<T = Value> = Result<T, ErrorObjectOwned>;

fn error(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

pub(super) fn invalid(message: impl Into<String>) -> ErrorObjectOwned {
    error(INVALID_PARAMS, message)
}

pub(super) fn refused(message: impl Into<String>) -> ErrorObjectOwned {
    error(SERVER_ERROR, message)
}

pub(super) fn exceeded(message: impl Into<String>) -> ErrorObjectOwned {
    error(LIMIT_EXCEEDED, message)
}

pub(super) fn internal(failure: impl std::fmt::Display) -> ErrorObjectOwned {
    error(INTERNAL, failure.to_string())
}

/// The parameters of one request, taken one by one.
#[derive(Debug)]
pub(super) struct Args {
    values: std::vec::IntoIter<Value>,
    at: usize,
}

impl Args {
    pub(super) fn new(params: &Params<'_>) -> Reply<Self> {
        let values: Vec<Value> = match params.as_str() {
            None => Vec::new(),
            Some(text) if text.trim().is_empty() => Vec::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|_| invalid("invalid params: an array of positional parameters is expected"))?,
        };
        Ok(Self { values: values.into_iter(), at: 0 })
    }

    fn next(&mut self) -> Option<Value> {
        self.at += 1;
        self.values.next().filter(|value| !value.is_null())
    }

    /// A parameter that must be there, read by `read`.
    pub(super) fn need<T>(&mut self, read: impl FnOnce(&Value) -> Parsed<T>) -> Reply<T> {
        let at = self.at;
        self.maybe(read)?.ok_or_else(|| invalid(format!("missing value for required argument {at}")))
    }

    /// A parameter that may be left out or `null`, read by `read`.
    pub(super) fn maybe<T>(&mut self, read: impl FnOnce(&Value) -> Parsed<T>) -> Reply<Option<T>> {
        let at = self.at;
        self.next().as_ref().map(read).transpose().map_err(|why| invalid(format!("invalid argument {at}: {why}")))
    }

    pub(super) fn address(&mut self) -> Reply<Address> {
        self.need(parse::address)
    }

    pub(super) fn hash(&mut self) -> Reply<B256> {
        self.need(parse::hash)
    }

    pub(super) fn bytes(&mut self) -> Reply<Bytes> {
        self.need(parse::bytes)
    }

    pub(super) fn slot(&mut self) -> Reply<U256> {
        self.need(parse::slot)
    }

    pub(super) fn number(&mut self) -> Reply<u64> {
        self.need(parse::count)
    }

    pub(super) fn flag(&mut self) -> Reply<bool> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| "a boolean is expected".to_owned());
        Ok(self.maybe(read)?.unwrap_or_default())
    }

    pub(super) fn block_required(&mut self) -> Reply<BlockId> {
        self.need(parse::block)
    }

    pub(super) fn block(&mut self) -> Reply<BlockId> {
        Ok(self.maybe(parse::block)?.unwrap_or(BlockId::Latest))
    }

    /// Refuses parameters that the method does not take.
    pub(super) fn end(mut self) -> Reply<()> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(invalid(format!("too many arguments, want at most {}", self.at - 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::call_args, *};
    use serde_json::json;

    fn args(value: Value) -> Args {
        Args::new(&Params::new(Some(&value.to_string()))).unwrap()
    }

    #[test]
    fn every_mistake_is_code_32602() {
        assert_eq!(args(json!([])).address().unwrap_err().code(), INVALID_PARAMS);
        assert_eq!(args(json!(["0x12"])).address().unwrap_err().code(), INVALID_PARAMS);
        assert_eq!(args(json!([{"to": 5}])).need(call_args::call).unwrap_err().code(), INVALID_PARAMS);
        assert_eq!(args(json!([1, 2])).end().unwrap_err().code(), INVALID_PARAMS);
        assert!(Args::new(&Params::new(Some("{}"))).is_err());
    }
}
