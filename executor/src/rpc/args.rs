//! Reading JSON-RPC parameters the way Ethereum writes them; every mistake is a -32602.

use crate::evm::CallRequest;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Bytes, U256};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::{Map, Value};

/// JSON-RPC's code for wrong parameters.
pub const INVALID_PARAMS: i32 = -32602;
/// The code that Ethereum's clients use for anything refused after parsing.
pub const SERVER_ERROR: i32 = -32000;
/// The code for a call that reverted, with the revert data attached.
pub const REVERTED: i32 = 3;
/// The code for an internal failure.
pub const INTERNAL: i32 = -32603;

pub(super) type Reply<T = Value> = Result<T, ErrorObjectOwned>;

pub(super) fn invalid(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS, message, None::<()>)
}

pub(super) fn refused(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(SERVER_ERROR, message, None::<()>)
}

pub(super) fn internal(error: impl std::fmt::Display) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INTERNAL, error.to_string(), None::<()>)
}

/// Which block a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockId {
    /// The head; `pending`, `safe` and `finalized` mean it too, since what is ordered is final.
    Latest,
    /// Like latest, but counts what was forwarded and not yet ordered.
    Pending,
    /// Block 0.
    Earliest,
    /// A height of this chain.
    Number(u64),
    /// A block hash.
    Hash(B256),
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

    fn required(&mut self) -> Reply<Value> {
        let at = self.at;
        self.next().ok_or_else(|| invalid(format!("missing value for required argument {at}")))
    }

    fn wrong(&self, why: impl std::fmt::Display) -> ErrorObjectOwned {
        invalid(format!("invalid argument {}: {why}", self.at.saturating_sub(1)))
    }

    pub(super) fn address(&mut self) -> Reply<Address> {
        let value = self.required()?;
        address(&value).map_err(|why| self.wrong(why))
    }

    pub(super) fn hash(&mut self) -> Reply<B256> {
        let value = self.required()?;
        fixed::<32>(&value).map(B256::from).map_err(|why| self.wrong(why))
    }

    pub(super) fn bytes(&mut self) -> Reply<Bytes> {
        let value = self.required()?;
        bytes(&value).map_err(|why| self.wrong(why))
    }

    /// A storage slot: a quantity or up to 32 bytes, leading zeros allowed.
    pub(super) fn slot(&mut self) -> Reply<U256> {
        let value = self.required()?;
        slot(&value).map_err(|why| self.wrong(why))
    }

    /// A quantity, also as a JSON number (as geth takes it).
    pub(super) fn number(&mut self) -> Reply<u64> {
        let value = self.required()?;
        if let Some(number) = value.as_u64() {
            return Ok(number);
        }
        quantity(&value).and_then(small).map_err(|why| self.wrong(why))
    }

    pub(super) fn flag(&mut self) -> Reply<bool> {
        match self.next() {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong("a boolean is expected")),
        }
    }

    pub(super) fn percentiles(&mut self) -> Reply<Vec<f64>> {
        let Some(value) = self.next() else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| self.wrong("an array of numbers is expected"))?;
        let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
        numbers.ok_or_else(|| self.wrong("an array of numbers is expected"))
    }

    pub(super) fn block_required(&mut self) -> Reply<BlockId> {
        let value = self.required()?;
        block(&value).map_err(|why| self.wrong(why))
    }

    pub(super) fn block(&mut self) -> Reply<BlockId> {
        match self.next() {
            None => Ok(BlockId::Latest),
            Some(value) => block(&value).map_err(|why| self.wrong(why)),
        }
    }

    pub(super) fn call(&mut self) -> Reply<CallRequest> {
        let value = self.required()?;
        let Value::Object(fields) = value else {
            return Err(self.wrong("a transaction object is expected"));
        };
        call(&fields).map_err(|why| self.wrong(why))
    }

    /// Refuses parameters that the method does not take.
    pub(super) fn end(mut self) -> Reply<()> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(invalid(format!("too many arguments, want at most {}", self.at - 1))),
        }
    }
}

type Parsed<T> = Result<T, String>;

fn digits(value: &Value) -> Parsed<&str> {
    let text = value.as_str().ok_or("a hex string is expected")?;
    text.strip_prefix("0x").ok_or_else(|| "hex string without 0x prefix".to_owned())
}

fn quantity(value: &Value) -> Parsed<U256> {
    let digits = digits(value)?;
    if digits.is_empty() {
        return Err("empty hex string".into());
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("hex number with leading zero digits".into());
    }
    U256::from_str_radix(digits, 16).map_err(|_| "invalid hex number".into())
}

fn small(value: U256) -> Parsed<u64> {
    u64::try_from(value).map_err(|_| "hex number above 64 bits".into())
}

fn wide(value: U256) -> Parsed<u128> {
    u128::try_from(value).map_err(|_| "hex number above 128 bits".into())
}

fn bytes(value: &Value) -> Parsed<Bytes> {
    hex::decode(digits(value)?).map(Bytes::from).map_err(|error| format!("invalid hex: {error}"))
}

fn fixed<const N: usize>(value: &Value) -> Parsed<[u8; N]> {
    let bytes = bytes(value)?;
    <[u8; N]>::try_from(bytes.as_ref()).map_err(|_| format!("hex string has {} bytes, want {N}", bytes.len()))
}

fn address(value: &Value) -> Parsed<Address> {
    fixed::<20>(value).map(Address::from)
}

fn slot(value: &Value) -> Parsed<U256> {
    let digits = digits(value)?;
    if digits.is_empty() || digits.len() > 64 {
        return Err("a slot has 1 to 64 hex digits".into());
    }
    U256::from_str_radix(digits, 16).map_err(|_| "invalid hex number".into())
}

fn block(value: &Value) -> Parsed<BlockId> {
    if let Value::Object(fields) = value {
        // EIP-1898
        return match (fields.get("blockHash"), fields.get("blockNumber")) {
            (Some(hash), None) => Ok(BlockId::Hash(fixed::<32>(hash)?.into())),
            (None, Some(number)) => Ok(BlockId::Number(small(quantity(number)?)?)),
            _ => Err("either blockHash or blockNumber is expected".into()),
        };
    }
    match value.as_str() {
        Some("latest" | "safe" | "finalized") => Ok(BlockId::Latest),
        Some("pending") => Ok(BlockId::Pending),
        Some("earliest") => Ok(BlockId::Earliest),
        Some(text) if text.len() == 66 => Ok(BlockId::Hash(fixed::<32>(value)?.into())),
        _ => Ok(BlockId::Number(small(quantity(value)?)?)),
    }
}

fn call(fields: &Map<String, Value>) -> Parsed<CallRequest> {
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let named = |name: &'static str| move |why: String| format!("{name}: {why}");
    let number =
        |name: &'static str| -> Parsed<Option<U256>> { field(name).map(quantity).transpose().map_err(named(name)) };
    let price =
        |name: &'static str| -> Parsed<Option<u128>> { number(name)?.map(wide).transpose().map_err(named(name)) };
    let who =
        |name: &'static str| -> Parsed<Option<Address>> { field(name).map(address).transpose().map_err(named(name)) };
    if let Some(kind) = number("type")?
        && (kind == U256::from(3) || kind == U256::from(4) || kind > U256::from(4))
    {
        return Err(format!("type: calls of transaction type {kind} are not supported"));
    }
    if field("blobVersionedHashes").is_some() || field("authorizationList").is_some() {
        return Err("blobs and authorizations are not supported in calls".into());
    }
    let data = field("data").map(bytes).transpose().map_err(named("data"))?;
    let input = field("input").map(bytes).transpose().map_err(named("input"))?;
    if let (Some(data), Some(input)) = (&data, &input)
        && data != input
    {
        return Err("both data and input are set and differ; use input".into());
    }
    let (legacy, cap) = (price("gasPrice")?, price("maxFeePerGas")?);
    let tip = price("maxPriorityFeePerGas")?;
    if legacy.is_some() && (cap.is_some() || tip.is_some()) {
        return Err("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".into());
    }
    if let Some(id) = number("chainId")? {
        small(id).map_err(named("chainId"))?;
    }
    Ok(CallRequest {
        from: who("from")?,
        to: who("to")?,
        // More gas than fits means "as much as allowed".
        gas: number("gas")?.map(|gas| gas.saturating_to::<u64>()),
        max_fee_per_gas: legacy.or(cap),
        max_priority_fee_per_gas: tip.or(cap.map(|_| 0)),
        value: number("value")?,
        input: input.or(data).unwrap_or_default(),
        nonce: number("nonce")?.map(small).transpose().map_err(named("nonce"))?,
        access_list: match field("accessList") {
            None => AccessList::default(),
            Some(list) => access_list(list).map_err(named("accessList"))?,
        },
    })
}

fn access_list(value: &Value) -> Parsed<AccessList> {
    let items = value.as_array().ok_or("an array is expected")?;
    let item = |item: &Value| -> Parsed<AccessListItem> {
        let who = item.get("address").ok_or("an item lacks its address")?;
        let keys = match item.get("storageKeys") {
            None | Some(Value::Null) => Vec::new(),
            Some(keys) => {
                let keys = keys.as_array().ok_or("storageKeys is not an array")?;
                keys.iter().map(|key| fixed::<32>(key).map(B256::from)).collect::<Parsed<_>>()?
            }
        };
        Ok(AccessListItem { address: address(who)?, storage_keys: keys })
    };
    items.iter().map(item).collect::<Parsed<Vec<_>>>().map(AccessList)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args(value: Value) -> Args {
        Args::new(&Params::new(Some(&value.to_string()))).unwrap()
    }

    #[test]
    fn quantities_are_strict() {
        assert_eq!(quantity(&json!("0x0")), Ok(U256::ZERO));
        assert_eq!(quantity(&json!("0xff")), Ok(U256::from(255)));
        for bad in [json!("0x"), json!("0x00"), json!("ff"), json!("0xg"), json!(1), json!(null)] {
            assert!(quantity(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn block_tags_numbers_and_hashes_are_told_apart() {
        assert_eq!(block(&json!("latest")), Ok(BlockId::Latest));
        assert_eq!(block(&json!("0x10")), Ok(BlockId::Number(16)));
        let hash = format!("0x{}", "11".repeat(32));
        assert_eq!(block(&json!(hash)), Ok(BlockId::Hash(B256::repeat_byte(0x11))));
        assert_eq!(block(&json!({"blockHash": hash})), Ok(BlockId::Hash(B256::repeat_byte(0x11))));
        assert!(block(&json!("newest")).is_err());
        assert!(block(&json!(7)).is_err());
        assert!(block(&json!({})).is_err());
    }

    #[test]
    fn every_mistake_is_code_32602() {
        assert_eq!(args(json!([])).address().unwrap_err().code(), INVALID_PARAMS);
        assert_eq!(args(json!(["0x12"])).address().unwrap_err().code(), INVALID_PARAMS);
        assert_eq!(args(json!([{"to": 5}])).call().unwrap_err().code(), INVALID_PARAMS);
        assert_eq!(args(json!([1, 2])).end().unwrap_err().code(), INVALID_PARAMS);
        assert!(Args::new(&Params::new(Some("{}"))).is_err());
    }
}
