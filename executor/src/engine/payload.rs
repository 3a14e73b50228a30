//! An EVM block as the Engine API takes it.

use crate::evm::StoredBody;
use alloy_consensus::Header;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B256, Bytes, U64, U256};
use serde_json::{Value, json};

/// Before Prague.
pub(super) const NEW_PAYLOAD_V3: &str = "engine_newPayloadV3";
/// From Prague on: with the block's requests (EIP-7685).
pub(super) const NEW_PAYLOAD_V4: &str = "engine_newPayloadV4";

/// The method and the parameters that hand a block to a client; `Err` if what is stored of it does not suffice.
pub(super) fn new_payload(header: &Header, hash: B256, body: &StoredBody) -> Result<(&'static str, Value), String> {
    let payload = execution_payload(header, hash, body);
    let beacon_root = header.parent_beacon_block_root.unwrap_or_default();
    let Some(requests_hash) = header.requests_hash else {
        return Ok((NEW_PAYLOAD_V3, json!([payload, [], beacon_root])));
    };
    let requests: &[Bytes] = body.requests.as_deref().unwrap_or_default();
    if requests.is_empty() && requests_hash != EMPTY_REQUESTS_HASH {
        return Err(format!(
            "block {} has requests that were not stored; build the data directory anew",
            header.number
        ));
    }
    Ok((NEW_PAYLOAD_V4, json!([payload, [], beacon_root, requests])))
}

/// `ExecutionPayloadV3`.
fn execution_payload(header: &Header, hash: B256, body: &StoredBody) -> Value {
    let transactions: Vec<&Bytes> = body.transactions.iter().map(|transaction| &transaction.raw).collect();
    json!({
        "parentHash": header.parent_hash,
        "feeRecipient": header.beneficiary,
        "stateRoot": header.state_root,
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "prevRandao": header.mix_hash,
        "blockNumber": U64::from(header.number),
        "gasLimit": U64::from(header.gas_limit),
        "gasUsed": U64::from(header.gas_used),
        "timestamp": U64::from(header.timestamp),
        "extraData": header.extra_data,
        "baseFeePerGas": U256::from(header.base_fee_per_gas.unwrap_or_default()),
        "blockHash": hash,
        "transactions": transactions,
        "withdrawals": [],
        "blobGasUsed": U64::from(header.blob_gas_used.unwrap_or_default()),
        "excessBlobGas": U64::from(header.excess_blob_gas.unwrap_or_default()),
    })
}
