//! The objects that `eth_call` and its relatives take: the call, state overrides, block overrides.

use super::{
    overrides::{AccountOverride, Overrides, StorageOverride},
    parse::{Fields, Parsed, access_list, address, authorizations, bytes, count, hash, quantity, slot, wide},
};
use crate::evm::CallRequest;
use alloy_consensus::Header;
use alloy_primitives::{Address, U256, keccak256};
use revm::state::Bytecode;
use serde_json::Value;
use std::{collections::BTreeMap, str::FromStr};

/// The call object.
pub(super) fn call(value: &Value) -> Parsed<CallRequest> {
    let fields = Fields(value.as_object().ok_or("a transaction object is expected")?);
    if let Some(kind) = fields.read("type", quantity)?
        && (kind == U256::from(3) || kind > U256::from(4))
    {
        return Err(format!("type: calls of transaction type {kind} are not supported"));
    }
    if fields.get("blobVersionedHashes").is_some() || fields.get("blobs").is_some() {
        return Err("blobs are not supported: this chain carries none".into());
    }
    let (data, input) = (fields.read("data", bytes)?, fields.read("input", bytes)?);
    if let (Some(data), Some(input)) = (&data, &input)
        && data != input
    {
        return Err("both data and input are set and differ; use input".into());
    }
    let price = |name| fields.read(name, |value| quantity(value).and_then(wide));
    let (legacy, cap, tip) = (price("gasPrice")?, price("maxFeePerGas")?, price("maxPriorityFeePerGas")?);
    if legacy.is_some() && (cap.is_some() || tip.is_some()) {
        return Err("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified".into());
    }
    fields.read("chainId", count)?;
    let authorization_list = fields.read("authorizationList", authorizations)?.unwrap_or_default();
    let to = fields.read("to", address)?;
    if to.is_none() && !authorization_list.is_empty() {
        return Err("authorizationList: a transaction with authorizations needs a receiver".into());
    }
    Ok(CallRequest {
        from: fields.read("from", address)?,
        to,
        // More gas than fits means "as much as allowed".
        gas: fields.read("gas", quantity)?.map(|gas| gas.saturating_to::<u64>()),
        max_fee_per_gas: legacy.or(cap),
        max_priority_fee_per_gas: tip.or(cap.map(|_| 0)),
        value: fields.read("value", quantity)?,
        input: input.or(data).unwrap_or_default(),
        nonce: fields.read("nonce", count)?,
        access_list: fields.read("accessList", access_list)?.unwrap_or_default(),
        authorization_list,
    })
}

/// State overrides as geth takes them: an object from addresses to what is put in place of the account's fields.
pub(super) fn overrides(value: &Value) -> Parsed<Overrides> {
    let mut overrides = Overrides::default();
    for (key, value) in Fields::of(value)?.0 {
        let account = Address::from_str(key).map_err(|_| format!("state override: '{key:.64}' is no address"))?;
        let change = account_override(value).map_err(|why| format!("state override of {account}: {why}"))?;
        overrides.insert(account, change);
    }
    Ok(overrides)
}

fn account_override(value: &Value) -> Parsed<AccountOverride> {
    let fields = Fields::of(value)?;
    if fields.get("movePrecompileToAddress").is_some() {
        return Err("movePrecompileToAddress is not supported".into());
    }
    let code = fields.read("code", |value| {
        let code = bytes(value)?;
        let hash = keccak256(&code);
        Bytecode::new_raw_checked(code).map(|code| (hash, code)).map_err(|error| error.to_string())
    })?;
    let storage = match (fields.read("state", slots)?, fields.read("stateDiff", slots)?) {
        (Some(_), Some(_)) => return Err("both state and stateDiff are set; use one".into()),
        (Some(whole), None) => StorageOverride::Whole(whole),
        (None, Some(part)) => StorageOverride::Part(part),
        (None, None) => StorageOverride::None,
    };
    Ok(AccountOverride {
        nonce: fields.read("nonce", count)?,
        balance: fields.read("balance", quantity)?,
        code,
        storage,
    })
}

fn slots(value: &Value) -> Parsed<BTreeMap<U256, U256>> {
    let entry = |(key, value): (&String, &Value)| -> Parsed<(U256, U256)> {
        let key = slot(&Value::String(key.clone())).map_err(|why| format!("slot: {why}"))?;
        let value = hash(value).map_err(|why| format!("value of slot {key:#x}: {why}"))?;
        Ok((key, U256::from_be_bytes(value.0)))
    };
    Fields::of(value)?.0.iter().map(entry).collect()
}

/// Block overrides: the header that the call shall see in place of `header`.
pub(super) fn block_overrides(value: &Value, mut header: Header) -> Parsed<Header> {
    let fields = Fields::of(value)?;
    for name in ["difficulty", "blobBaseFee", "blockHash", "withdrawals"] {
        if fields.get(name).is_some() {
            return Err(format!("block override {name} is not supported"));
        }
    }
    let number = |name: &str| fields.read(name, count);
    if let Some(value) = number("number")? {
        header.number = value;
    }
    if let Some(value) = number("time")? {
        header.timestamp = value;
    }
    if let Some(value) = number("gasLimit")? {
        header.gas_limit = value;
    }
    // Both names are in use: geth's older and its newer one.
    if let Some(value) = number("baseFeePerGas")?.or(number("baseFee")?) {
        header.base_fee_per_gas = Some(value);
    }
    for name in ["feeRecipient", "coinbase"] {
        if let Some(value) = fields.read(name, address)? {
            header.beneficiary = value;
        }
    }
    for name in ["prevRandao", "random"] {
        if let Some(value) = fields.read(name, hash)? {
            header.mix_hash = value;
        }
    }
    Ok(header)
}
