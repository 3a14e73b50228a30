//! Blocks, transactions and receipts as Ethereum's JSON writes them.

use crate::{
    FoundLog,
    evm::{StoredBody, StoredReceipt, StoredTransaction},
    pending::PendingTransaction,
};
use alloy_consensus::{Header, Transaction as _, TxEnvelope, Typed2718};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bloom, U256};
use serde_json::{Map, Value, json};

/// A quantity: hex without leading zeros, zero as `0x0`.
pub(super) fn quantity(value: impl TryInto<U256>) -> Value {
    let value = value.try_into().unwrap_or_default();
    Value::String(format!("{value:#x}"))
}

/// Bytes: two digits each, empty as `0x`.
pub(super) fn data(bytes: &[u8]) -> Value {
    Value::String(format!("0x{}", hex::encode(bytes)))
}

fn word(value: U256) -> Value {
    data(&value.to_be_bytes::<32>())
}

/// A storage word: always 32 bytes.
pub(super) fn storage_word(value: U256) -> Value {
    word(value)
}

/// An EIP-55 address would do, but clients compare lower case.
fn address(address: Address) -> Value {
    data(address.as_slice())
}

fn hash(hash: B256) -> Value {
    data(hash.as_slice())
}

/// Where a transaction stands in the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) header: &'a Header,
    pub(super) hash: B256,
    pub(super) index: usize,
}

/// A block, with transaction hashes or whole transactions.
pub(super) fn block(header: &Header, block_hash: B256, body: &StoredBody, full: bool) -> Value {
    let transaction = |(index, tx): (usize, &StoredTransaction)| {
        if full { mined_transaction(tx, Place { header, hash: block_hash, index }) } else { hash(tx.hash) }
    };
    let transactions = body.transactions.iter().enumerate().map(transaction).collect();
    let mut out = fields(header, block_hash);
    out.insert("size".into(), quantity(size(header, body)));
    out.insert("transactions".into(), transactions);
    out.insert("withdrawals".into(), json!([]));
    out.insert("uncles".into(), json!([]));
    Value::Object(out)
}

/// A header, as `newHeads` sends it.
pub(super) fn header(header: &Header, block_hash: B256) -> Value {
    Value::Object(fields(header, block_hash))
}

/// The fields of a header.
pub(super) fn fields(header: &Header, block_hash: B256) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("number", quantity(header.number));
    put("hash", hash(block_hash));
    put("parentHash", hash(header.parent_hash));
    put("nonce", data(header.nonce.as_slice()));
    put("mixHash", hash(header.mix_hash));
    put("sha3Uncles", hash(header.ommers_hash));
    put("logsBloom", data(header.logs_bloom.as_slice()));
    put("transactionsRoot", hash(header.transactions_root));
    put("stateRoot", hash(header.state_root));
    put("receiptsRoot", hash(header.receipts_root));
    put("miner", address(header.beneficiary));
    put("difficulty", quantity(header.difficulty));
    put("totalDifficulty", quantity(0u64));
    put("extraData", data(&header.extra_data));
    put("gasLimit", quantity(header.gas_limit));
    put("gasUsed", quantity(header.gas_used));
    put("timestamp", quantity(header.timestamp));
    put("baseFeePerGas", quantity(header.base_fee_per_gas.unwrap_or_default()));
    put("withdrawalsRoot", hash(header.withdrawals_root.unwrap_or_default()));
    put("blobGasUsed", quantity(header.blob_gas_used.unwrap_or_default()));
    put("excessBlobGas", quantity(header.excess_blob_gas.unwrap_or_default()));
    put("parentBeaconBlockRoot", hash(header.parent_beacon_block_root.unwrap_or_default()));
    if let Some(requests) = header.requests_hash {
        put("requestsHash", hash(requests));
    }
    out
}

/// Length of the block's RLP: header, transactions (typed ones as strings), no ommers, no
/// withdrawals.
pub(super) fn size(header: &Header, body: &StoredBody) -> usize {
    use alloy_rlp::{Encodable, length_of_length};
    let transactions: usize = body
        .transactions
        .iter()
        .map(|tx| {
            let typed = tx.raw.first().is_some_and(|first| *first < 0x80);
            if typed { tx.raw.as_ref().length() } else { tx.raw.len() }
        })
        .sum();
    let payload = header.length() + transactions + length_of_length(transactions) + 2;
    payload + length_of_length(payload)
}

/// A transaction in a block.
pub(super) fn mined_transaction(tx: &StoredTransaction, place: Place<'_>) -> Value {
    match TxEnvelope::decode_2718_exact(&tx.raw) {
        Ok(envelope) => transaction(&envelope, tx.sender, Some(place)),
        Err(_) => Value::Null,
    }
}

/// A transaction; `place` is absent while it is not ordered.
pub(super) fn transaction(tx: &TxEnvelope, sender: Address, place: Option<Place<'_>>) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    put("hash", hash(*tx.tx_hash()));
    put("type", quantity(tx.ty()));
    put("nonce", quantity(tx.nonce()));
    put("from", address(sender));
    put("to", tx.to().map_or(Value::Null, address));
    put("value", quantity(tx.value()));
    put("gas", quantity(tx.gas_limit()));
    put("input", data(tx.input()));
    let base_fee = place.and_then(|place| place.header.base_fee_per_gas);
    let price = match base_fee {
        Some(_) => tx.effective_gas_price(base_fee),
        None => tx.max_fee_per_gas(),
    };
    put("gasPrice", quantity(price));
    if tx.is_dynamic_fee() {
        put("maxFeePerGas", quantity(tx.max_fee_per_gas()));
        put("maxPriorityFeePerGas", quantity(tx.max_priority_fee_per_gas().unwrap_or_default()));
    }
    if let Some(list) = tx.access_list() {
        let items = list.iter().map(|item| {
            let keys: Vec<Value> = item.storage_keys.iter().map(|key| hash(*key)).collect();
            json!({"address": address(item.address), "storageKeys": keys})
        });
        put("accessList", items.collect());
    }
    if let Some(list) = tx.authorization_list() {
        let items = list.iter().map(|item| {
            json!({
                "chainId": quantity(item.chain_id),
                "address": address(item.address),
                "nonce": quantity(item.nonce),
                "yParity": quantity(item.y_parity()),
                "r": quantity(item.r()),
                "s": quantity(item.s()),
            })
        });
        put("authorizationList", items.collect());
    }
    if let Some(id) = tx.chain_id() {
        put("chainId", quantity(id));
    }
    let signature = tx.signature();
    let parity = u64::from(signature.v());
    let v = match (tx.is_legacy(), tx.chain_id()) {
        (true, Some(id)) => u128::from(id) * 2 + 35 + u128::from(parity),
        (true, None) => 27 + u128::from(parity),
        (false, _) => u128::from(parity),
    };
    put("v", quantity(v));
    if !tx.is_legacy() {
        put("yParity", quantity(parity));
    }
    put("r", quantity(signature.r()));
    put("s", quantity(signature.s()));
    put("blockHash", place.map_or(Value::Null, |place| hash(place.hash)));
    put("blockNumber", place.map_or(Value::Null, |place| quantity(place.header.number)));
    put("transactionIndex", place.map_or(Value::Null, |place| quantity(place.index)));
    Value::Object(out)
}

/// A receipt; `logs_before` is the number of logs of the block before this transaction.
pub(super) fn receipt(tx: &StoredTransaction, receipt: &StoredReceipt, place: Place<'_>, logs_before: usize) -> Value {
    let Ok(envelope) = TxEnvelope::decode_2718_exact(&tx.raw) else {
        return Value::Null;
    };
    let bloom: Bloom = receipt.logs.iter().collect();
    let header = place.header;
    let logs = receipt.logs.iter().enumerate().map(|(at, entry)| {
        log(&FoundLog {
            number: header.number,
            block_hash: place.hash,
            timestamp: header.timestamp,
            transaction_hash: tx.hash,
            transaction_index: place.index as u32,
            log_index: (logs_before + at) as u32,
            log: entry.clone(),
        })
    });
    // Ethereum names the address also where the deployment failed.
    let created = envelope.is_create().then(|| tx.sender.create(envelope.nonce()));
    json!({
        "transactionHash": hash(tx.hash),
        "transactionIndex": quantity(place.index),
        "blockHash": hash(place.hash),
        "blockNumber": quantity(header.number),
        "from": address(tx.sender),
        "to": envelope.to().map_or(Value::Null, address),
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used),
        "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(envelope.effective_gas_price(header.base_fee_per_gas)),
        "contractAddress": created.map_or(Value::Null, address),
        "logs": logs.collect::<Vec<_>>(),
        "logsBloom": data(bloom.as_slice()),
        "status": quantity(u64::from(receipt.success)),
        "type": quantity(receipt.tx_type),
    })
}

/// A log of an ordered transaction.
pub(super) fn log(found: &FoundLog) -> Value {
    let topics: Vec<Value> = found.log.data.topics().iter().map(|topic| hash(*topic)).collect();
    json!({
        "address": address(found.log.address),
        "topics": topics,
        "data": data(&found.log.data.data),
        "blockHash": hash(found.block_hash),
        "blockNumber": quantity(found.number),
        "blockTimestamp": quantity(found.timestamp),
        "transactionHash": hash(found.transaction_hash),
        "transactionIndex": quantity(found.transaction_index),
        "logIndex": quantity(found.log_index),
        "removed": false,
    })
}

/// A pending transaction, which says how firm it is.
pub(super) fn pending_transaction(pending: &PendingTransaction) -> Value {
    let mut out = transaction(&pending.envelope, pending.sender, None);
    out["tier"] = json!(pending.tier);
    out
}
