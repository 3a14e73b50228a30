//! An EVM block as the Engine API takes it, and as a client builds one.

use crate::{Genesis, evm::StoredBody};
use alloy_consensus::Header;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Before Prague.
pub(super) const NEW_PAYLOAD_V3: &str = "engine_newPayloadV3";
/// From Prague on: with the block's requests (EIP-7685).
pub(super) const NEW_PAYLOAD_V4: &str = "engine_newPayloadV4";

/// `ExecutionPayloadV3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload {
    parent_hash: B256,
    fee_recipient: Address,
    state_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    prev_randao: B256,
    block_number: U64,
    gas_limit: U64,
    gas_used: U64,
    timestamp: U64,
    extra_data: Bytes,
    base_fee_per_gas: U256,
    block_hash: B256,
    transactions: Vec<Bytes>,
    withdrawals: Vec<Value>,
    blob_gas_used: U64,
    excess_blob_gas: U64,
}

/// What is handed over of one block.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) hash: B256,
    pub(super) parent: B256,
    payload: Payload,
    beacon_root: B256,
    /// From Prague on.
    requests: Option<Vec<Bytes>>,
}

/// What a client answers when it has built a block: as much of `engine_getPayload`'s result as is compared.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Built {
    execution_payload: Payload,
    #[serde(default)]
    execution_requests: Option<Vec<Bytes>>,
    /// The OP Stack's.
    #[serde(default)]
    parent_beacon_block_root: Option<B256>,
}

/// A field in which a block that a client built is not ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: &'static str,
    pub(super) ours: String,
    pub(super) theirs: String,
}

impl Sealed {
    /// `Err` if what is stored of the block does not suffice.
    pub(super) fn new(header: &Header, hash: B256, body: &StoredBody) -> Result<Self, String> {
        let requests = header.requests_hash.map(|_| body.requests.clone().unwrap_or_default());
        let missing = header.requests_hash.is_some_and(|requests_hash| requests_hash != EMPTY_REQUESTS_HASH);
        if missing && requests.as_ref().is_none_or(Vec::is_empty) {
            return Err(format!(
                "block {} has requests that were not stored; build the data directory anew",
                header.number
            ));
        }
        let payload = Payload {
            parent_hash: header.parent_hash,
            fee_recipient: header.beneficiary,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            prev_randao: header.mix_hash,
            block_number: U64::from(header.number),
            gas_limit: U64::from(header.gas_limit),
            gas_used: U64::from(header.gas_used),
            timestamp: U64::from(header.timestamp),
            extra_data: header.extra_data.clone(),
            base_fee_per_gas: U256::from(header.base_fee_per_gas.unwrap_or_default()),
            block_hash: hash,
            transactions: body.transactions.iter().map(|transaction| transaction.raw.clone()).collect(),
            withdrawals: Vec::new(),
            blob_gas_used: U64::from(header.blob_gas_used.unwrap_or_default()),
            excess_blob_gas: U64::from(header.excess_blob_gas.unwrap_or_default()),
        };
        let beacon_root = header.parent_beacon_block_root.unwrap_or_default();
        Ok(Self { number: header.number, hash, parent: header.parent_hash, payload, beacon_root, requests })
    }

    /// The method and the parameters that hand the block to a client.
    pub(super) fn new_payload(&self) -> (&'static str, Value) {
        match &self.requests {
            None => (NEW_PAYLOAD_V3, json!([self.payload, [], self.beacon_root])),
            Some(requests) => (NEW_PAYLOAD_V4, json!([self.payload, [], self.beacon_root, requests])),
        }
    }

    /// `PayloadAttributesV3`: what a client is to build the block from, but for its transactions.
    pub(super) fn attributes(&self) -> Value {
        json!({
            "timestamp": self.payload.timestamp,
            "prevRandao": self.payload.prev_randao,
            "suggestedFeeRecipient": self.payload.fee_recipient,
            "withdrawals": [],
            "parentBeaconBlockRoot": self.beacon_root,
        })
    }

    /// `PayloadAttributesV3` as the OP Stack extends it. `eip1559Params` begins with Holocene, whose blocks carry them.
    pub(super) fn op_attributes(&self, genesis: &Genesis) -> Value {
        let mut attributes = self.attributes();
        attributes["transactions"] = json!(self.payload.transactions);
        attributes["noTxPool"] = json!(true);
        attributes["gasLimit"] = json!(self.payload.gas_limit);
        if genesis.extra_data == crate::ExtraData::Eip1559 {
            let params = genesis.eip1559_params().unwrap_or_default();
            attributes["eip1559Params"] = json!(Bytes::from(params));
        }
        attributes
    }

    /// The parameters of `testing_buildBlockV1` by its specification, which geth, Nethermind and Erigon follow, and as
    /// the one object that reth and Besu take.
    pub(super) fn testing_params(&self) -> [Value; 2] {
        let Payload { parent_hash, transactions, extra_data, .. } = &self.payload;
        let attributes = self.attributes();
        let object = json!({
            "parentBlockHash": parent_hash,
            "payloadAttributes": attributes,
            "transactions": transactions,
            "extraData": extra_data,
        });
        [json!([parent_hash, attributes, transactions, extra_data]), json!([object])]
    }

    /// The first thing in which a block that a client built from this one's attributes is another one: what it was told
    /// comes before what it found out, and both before the hash.
    pub(super) fn first_difference(&self, built: &Built) -> Option<Difference> {
        let (ours, theirs) = (&self.payload, &built.execution_payload);
        let transactions = || {
            let place = ours.transactions.iter().zip(&theirs.transactions).take_while(|(ours, theirs)| ours == theirs);
            let of = |list: &[Bytes]| format!("{} transactions", list.len());
            let theirs = format!("{}, the first {} of them ours", of(&theirs.transactions), place.count());
            Difference { field: "transactions", ours: of(&ours.transactions), theirs }
        };
        if ours.transactions != theirs.transactions {
            return Some(transactions());
        }
        macro_rules! compare {
            ($($field:literal: $ours:expr, $theirs:expr;)*) => {
                $(if $ours != $theirs {
                    let (ours, theirs) = (shown(&$ours), shown(&$theirs));
                    return Some(Difference { field: $field, ours, theirs });
                })*
            };
        }
        compare! {
            "parentHash": ours.parent_hash, theirs.parent_hash;
            "blockNumber": ours.block_number, theirs.block_number;
            "timestamp": ours.timestamp, theirs.timestamp;
            "prevRandao": ours.prev_randao, theirs.prev_randao;
            "feeRecipient": ours.fee_recipient, theirs.fee_recipient;
            "parentBeaconBlockRoot": self.beacon_root, built.parent_beacon_block_root.unwrap_or(self.beacon_root);
            "gasLimit": ours.gas_limit, theirs.gas_limit;
            "extraData": ours.extra_data, theirs.extra_data;
            "withdrawals": ours.withdrawals, theirs.withdrawals;
            "baseFeePerGas": ours.base_fee_per_gas, theirs.base_fee_per_gas;
            "gasUsed": ours.gas_used, theirs.gas_used;
            "logsBloom": ours.logs_bloom, theirs.logs_bloom;
            "receiptsRoot": ours.receipts_root, theirs.receipts_root;
            "stateRoot": ours.state_root, theirs.state_root;
            "blobGasUsed": ours.blob_gas_used, theirs.blob_gas_used;
            "excessBlobGas": ours.excess_blob_gas, theirs.excess_blob_gas;
            "executionRequests": self.requests.clone().unwrap_or_default(),
                built.execution_requests.clone().unwrap_or_default();
            "blockHash": ours.block_hash, theirs.block_hash;
        }
        None
    }
}

/// A field as it stands on the wire, without quotation marks.
fn shown(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    super::http::beginning(text.trim_matches('"').as_bytes())
}
