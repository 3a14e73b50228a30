//! Single values as Ethereum's JSON writes them; a mistake is told in words.

use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Map, Value};

/// A value, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

/// Which block a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockId {
    /// The head; `safe` and `finalized` mean it too, since what is ordered is final.
    Latest,
    /// What comes next, as far as it is secured.
    Pending,
    /// Block 0.
    Earliest,
    /// A height of this chain.
    Number(u64),
    /// A block hash.
    Hash(B256),
}

fn digits(value: &Value) -> Parsed<&str> {
    let text = value.as_str().ok_or("a hex string is expected")?;
    text.strip_prefix("0x").ok_or_else(|| "hex string without 0x prefix".to_owned())
}

pub(super) fn quantity(value: &Value) -> Parsed<U256> {
    let digits = digits(value)?;
    if digits.is_empty() {
        return Err("empty hex string".into());
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("hex number with leading zero digits".into());
    }
    number(digits)
}

/// `from_str_radix` takes underscores and signs, which Ethereum does not.
fn number(digits: &str) -> Parsed<U256> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("invalid hex number".into());
    }
    U256::from_str_radix(digits, 16).map_err(|_| "hex number above 256 bits".into())
}

pub(super) fn small(value: U256) -> Parsed<u64> {
    u64::try_from(value).map_err(|_| "hex number above 64 bits".into())
}

pub(super) fn wide(value: U256) -> Parsed<u128> {
    u128::try_from(value).map_err(|_| "hex number above 128 bits".into())
}

/// A quantity of 64 bits, also as a JSON number (as geth takes it).
pub(super) fn count(value: &Value) -> Parsed<u64> {
    match value.as_u64() {
        Some(number) => Ok(number),
        None => quantity(value).and_then(small),
    }
}

pub(super) fn bytes(value: &Value) -> Parsed<Bytes> {
    hex::decode(digits(value)?).map(Bytes::from).map_err(|error| format!("invalid hex: {error}"))
}

pub(super) fn fixed<const N: usize>(value: &Value) -> Parsed<[u8; N]> {
    let bytes = bytes(value)?;
    <[u8; N]>::try_from(bytes.as_ref()).map_err(|_| format!("hex string has {} bytes, want {N}", bytes.len()))
}

pub(super) fn address(value: &Value) -> Parsed<Address> {
    fixed::<20>(value).map(Address::from)
}

pub(super) fn hash(value: &Value) -> Parsed<B256> {
    fixed::<32>(value).map(B256::from)
}

/// A storage slot: a quantity or up to 32 bytes, leading zeros allowed.
pub(super) fn slot(value: &Value) -> Parsed<U256> {
    let digits = digits(value)?;
    if digits.is_empty() || digits.len() > 64 {
        return Err("a slot has 1 to 64 hex digits".into());
    }
    number(digits)
}

/// A block number, or a tag that stands for one.
pub(super) fn block_number(value: &Value) -> Parsed<BlockId> {
    match value.as_str() {
        Some("latest" | "safe" | "finalized") => Ok(BlockId::Latest),
        Some("pending") => Ok(BlockId::Pending),
        Some("earliest") => Ok(BlockId::Earliest),
        _ => Ok(BlockId::Number(small(quantity(value)?)?)),
    }
}

pub(super) fn block(value: &Value) -> Parsed<BlockId> {
    if let Value::Object(fields) = value {
        // EIP-1898. `requireCanonical` asks for nothing here: there is one chain only.
        return match (fields.get("blockHash"), fields.get("blockNumber")) {
            (Some(named), None) => Ok(BlockId::Hash(hash(named)?)),
            (None, Some(number)) => block_number(number),
            _ => Err("either blockHash or blockNumber is expected".into()),
        };
    }
    match value.as_str() {
        Some(text) if text.len() == 66 => Ok(BlockId::Hash(hash(value)?)),
        _ => block_number(value),
    }
}

/// The fields of an object by name; `null` counts as absent, as everywhere in Ethereum's JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Parsed<Self> {
        value.as_object().map(Self).ok_or_else(|| "an object is expected".to_owned())
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The field read by `read`, whose complaint is prefixed with the field's name.
    pub(super) fn read<T>(self, name: &str, read: impl FnOnce(&Value) -> Parsed<T>) -> Parsed<Option<T>> {
        self.get(name).map(read).transpose().map_err(|why| format!("{name}: {why}"))
    }

    pub(super) fn need<T>(self, name: &str, read: impl FnOnce(&Value) -> Parsed<T>) -> Parsed<T> {
        self.read(name, read)?.ok_or_else(|| format!("{name} is missing"))
    }
}

pub(super) fn list<T>(value: &Value, read: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<T>> {
    value.as_array().ok_or("an array is expected")?.iter().map(read).collect()
}

pub(super) fn access_list(value: &Value) -> Parsed<AccessList> {
    let item = |item: &Value| -> Parsed<AccessListItem> {
        let fields = Fields::of(item)?;
        let keys = fields.read("storageKeys", |keys| list(keys, hash))?;
        Ok(AccessListItem { address: fields.need("address", address)?, storage_keys: keys.unwrap_or_default() })
    };
    list(value, item).map(AccessList)
}

/// EIP-7702 authorizations, signed. Whether a signature holds is the EVM's to say: a bad one is skipped there.
pub(super) fn authorizations(value: &Value) -> Parsed<Vec<SignedAuthorization>> {
    list(value, |item| {
        let fields = Fields::of(item)?;
        let unsigned = Authorization {
            chain_id: fields.need("chainId", quantity)?,
            address: fields.need("address", address)?,
            nonce: fields.need("nonce", count)?,
        };
        let parity = match fields.read("yParity", count)? {
            Some(parity) => parity,
            None => fields.read("v", count)?.unwrap_or_default(),
        };
        let parity = u8::try_from(parity).map_err(|_| "yParity: 0 or 1 is expected".to_owned())?;
        let (r, s) = (fields.read("r", slot)?.unwrap_or_default(), fields.read("s", slot)?.unwrap_or_default());
        Ok(SignedAuthorization::new_unchecked(unsigned, parity, r, s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_strict() {
        assert_eq!(quantity(&json!("0x0")), Ok(U256::ZERO));
        assert_eq!(quantity(&json!("0xff")), Ok(U256::from(255)));
        for bad in [json!("0x"), json!("0x00"), json!("ff"), json!("0xg"), json!("0x1_0"), json!(1), json!(null)] {
            assert!(quantity(&bad).is_err(), "{bad}");
        }
        assert!(quantity(&json!(format!("0x1{}", "0".repeat(64)))).is_err());
    }

    #[test]
    fn block_tags_numbers_and_hashes_are_told_apart() {
        assert_eq!(block(&json!("latest")), Ok(BlockId::Latest));
        assert_eq!(block(&json!("finalized")), Ok(BlockId::Latest));
        assert_eq!(block(&json!("pending")), Ok(BlockId::Pending));
        assert_eq!(block(&json!("0x10")), Ok(BlockId::Number(16)));
        let named = format!("0x{}", "11".repeat(32));
        assert_eq!(block(&json!(named)), Ok(BlockId::Hash(B256::repeat_byte(0x11))));
        assert_eq!(block(&json!({"blockHash": named})), Ok(BlockId::Hash(B256::repeat_byte(0x11))));
        assert_eq!(block(&json!({"blockNumber": "latest"})), Ok(BlockId::Latest));
        assert!(block(&json!("newest")).is_err());
        assert!(block(&json!(7)).is_err());
        assert!(block(&json!({})).is_err());
        assert!(block_number(&json!(named)).is_err());
    }
}
