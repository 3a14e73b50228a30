//! The half of the client that builds blocks: from the OP Stack's payload attributes, or by `testing_buildBlockV1`. What a
//! block's transactions do it takes from a chain that has executed them; all else it takes from what it is told.

use crate::server::Fake;
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde_json::{Value, json};
use squad_executor::ChainReader;

type Answer = Result<Value, (i64, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The OP Stack's up to Granite.
    Ecotone,
    /// The OP Stack's Holocene.
    Holocene,
    /// Ethereum's, where `testing_buildBlockV1` takes its parameters one by one, as specified.
    Positional,
    /// Ethereum's, where it takes one object.
    Object,
}

#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) rules: Rules,
    /// The chain that has executed the transactions.
    pub(crate) twin: ChainReader,
    /// The gas limit that it aims at by itself.
    pub(crate) gas_limit: u64,
    /// A field that it sets to something else in the payload, or beside it.
    pub(crate) tampers: Option<(&'static str, Value)>,
    /// The payload that was begun last, with its id.
    pub(crate) begun: Option<(Bytes, Value)>,
    /// Numbers of the blocks that it built.
    pub(crate) built: Vec<u64>,
}

impl Builder {
    pub(crate) fn new(rules: Rules, twin: ChainReader) -> Self {
        Self { rules, twin, gas_limit: 36_000_000, tampers: None, begun: None, built: Vec::new() }
    }
}

/// What a block is built from.
struct Order {
    parent: B256,
    attributes: Value,
    transactions: Value,
    gas_limit: u64,
    extra_data: Bytes,
}

/// A QUANTITY: hexadecimal without leading zeros.
pub(crate) fn quantity(value: &Value) {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("a QUANTITY begins with 0x");
    let plain = digits == "0" || (!digits.is_empty() && !digits.starts_with('0'));
    assert!(plain && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{value}");
}

/// DATA: two digits for each byte.
pub(crate) fn data(value: &Value, bytes: Option<usize>) {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("DATA begins with 0x");
    assert!(digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{value}");
    assert!(bytes.is_none_or(|bytes| digits.len() == 2 * bytes), "{value} has not {bytes:?} bytes");
}

/// An object with these members, and no others.
pub(crate) fn keys(object: &Value, expected: &[&str]) {
    let mut found: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

const ATTRIBUTES: [&str; 5] =
    ["timestamp", "prevRandao", "suggestedFeeRecipient", "withdrawals", "parentBeaconBlockRoot"];

fn check_attributes(attributes: &Value) {
    quantity(&attributes["timestamp"]);
    data(&attributes["prevRandao"], Some(32));
    data(&attributes["suggestedFeeRecipient"], Some(20));
    data(&attributes["parentBeaconBlockRoot"], Some(32));
    assert_eq!(attributes["withdrawals"], json!([]));
}

fn invalid_params(text: &str) -> Answer {
    Err((-32_602, text.into()))
}

impl Fake {
    /// `engine_forkchoiceUpdatedV3` with attributes: the payload's id.
    pub(crate) fn begin(&mut self, parent: B256, attributes: &Value) -> Result<Bytes, (i64, String)> {
        let invalid = |text: &str| Err((-38_003, format!("invalid payload attributes: {text}")));
        let Some(builder) = &self.builder else { return invalid("this client builds nothing") };
        let params = &attributes["eip1559Params"];
        let (holocene, mut expected) = (builder.rules == Rules::Holocene, ATTRIBUTES.to_vec());
        expected.extend(["transactions", "noTxPool", "gasLimit"]);
        match (holocene, params) {
            (false, Value::Null) => {}
            (true, Value::String(_)) => {
                data(params, Some(8));
                expected.push("eip1559Params");
            }
            (false, _) => return invalid("got eip1559Params before Holocene"),
            (true, _) => return invalid("no eip1559Params in Holocene"),
        }
        keys(attributes, &expected);
        check_attributes(attributes);
        quantity(&attributes["gasLimit"]);
        assert_eq!(attributes["noTxPool"], true);
        let extra_data = match holocene {
            true => [&[0], &serde_json::from_value::<Bytes>(params.clone()).unwrap()[..]].concat().into(),
            false => Bytes::new(),
        };
        let gas_limit = serde_json::from_value::<U64>(attributes["gasLimit"].clone()).unwrap().to();
        let (attributes, transactions) = (attributes.clone(), attributes["transactions"].clone());
        let mut answer = self.build(Order { parent, attributes, transactions, gas_limit, extra_data })?;
        // The OP Stack's answer says which beacon root it used.
        let beacon_root = answer["used"].take();
        answer["parentBeaconBlockRoot"] = beacon_root;
        let answer = self.tampered(answer);
        let builder = self.builder.as_mut().unwrap();
        let id = Bytes::from((builder.built.len() as u64).to_be_bytes());
        builder.begun = Some((id.clone(), answer));
        Ok(id)
    }

    pub(crate) fn get_payload(&mut self, params: &Value) -> Answer {
        assert_eq!(params.as_array().unwrap().len(), 1);
        data(&params[0], Some(8));
        match self.builder.as_mut().and_then(|builder| builder.begun.take()) {
            Some((id, answer)) if json!(id) == params[0] => Ok(answer),
            _ => Err((-38_001, "Unknown payload".into())),
        }
    }

    /// Methods of the ordinary JSON-RPC.
    pub(crate) fn answer_open(&mut self, method: &str, params: &Value) -> Answer {
        match (method, self.builder.as_ref().map(|builder| builder.rules)) {
            ("testing_buildBlockV1", Some(Rules::Positional)) => {
                let Some([parent, attributes, transactions, extra]) = params.as_array().map(Vec::as_slice) else {
                    return invalid_params("invalid number of parameters");
                };
                self.testing_build([parent, attributes, transactions, extra])
            }
            ("testing_buildBlockV1", Some(Rules::Object)) => {
                let Some([object @ Value::Object(_)]) = params.as_array().map(Vec::as_slice) else {
                    return invalid_params("expected one object");
                };
                let names = ["parentBlockHash", "payloadAttributes", "transactions", "extraData"];
                keys(object, &names);
                self.testing_build(names.map(|name| &object[name]))
            }
            _ => Err((-32_601, format!("the method {method} does not exist"))),
        }
    }

    fn testing_build(&mut self, [parent, attributes, transactions, extra]: [&Value; 4]) -> Answer {
        data(parent, Some(32));
        keys(attributes, &ATTRIBUTES);
        check_attributes(attributes);
        data(extra, None);
        let parse = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        let (parent, extra_data) = (parse(parent), serde_json::from_value(extra.clone()).unwrap());
        let gas_limit = self.builder.as_ref().unwrap().gas_limit;
        let (attributes, transactions) = (attributes.clone(), transactions.clone());
        let mut answer = self.build(Order { parent, attributes, transactions, gas_limit, extra_data })?;
        answer.as_object_mut().unwrap().remove("used");
        Ok(self.tampered(answer))
    }

    /// Builds a block: `engine_getPayload`'s answer, with the beacon root that was `used`.
    fn build(&mut self, order: Order) -> Answer {
        let Order { parent: parent_hash, attributes, transactions, gas_limit, extra_data } = order;
        let Some(parent) = self.known(&parent_hash).cloned() else {
            return Err((-32_000, "unknown parent block".into()));
        };
        let timestamp = serde_json::from_value::<U64>(attributes["timestamp"].clone()).unwrap().to();
        if timestamp <= parent.timestamp {
            return Err((-38_003, "the timestamp does not follow the parent's".into()));
        }
        let builder = self.builder.as_mut().unwrap();
        let number = parent.number + 1;
        let executed = builder.twin.store.header(number).unwrap().expect("a block after the ordered ones");
        let body = builder.twin.store.body(number).unwrap().unwrap();
        let raws: Vec<_> = body.transactions.iter().map(|transaction| transaction.raw.clone()).collect();
        assert_eq!(json!(raws), transactions);
        let parse = |name: &str| serde_json::from_value::<B256>(attributes[name].clone()).unwrap();
        let header = Header {
            parent_hash,
            timestamp,
            gas_limit,
            extra_data,
            mix_hash: parse("prevRandao"),
            parent_beacon_block_root: Some(parse("parentBeaconBlockRoot")),
            beneficiary: serde_json::from_value::<Address>(attributes["suggestedFeeRecipient"].clone()).unwrap(),
            ..executed
        };
        builder.built.push(number);
        let payload = json!({
            "parentHash": parent_hash,
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
            "baseFeePerGas": U256::from(header.base_fee_per_gas.unwrap()),
            "blockHash": header.hash_slow(),
            "transactions": raws,
            "withdrawals": [],
            "blobGasUsed": "0x0",
            "excessBlobGas": "0x0",
        });
        let mut answer = json!({
            "executionPayload": payload,
            "blockValue": "0x0",
            "blobsBundle": {"commitments": [], "proofs": [], "blobs": []},
            "shouldOverrideBuilder": false,
            "used": header.parent_beacon_block_root,
        });
        if header.requests_hash.is_some() {
            answer["executionRequests"] = json!(body.requests.unwrap_or_default());
        }
        Ok(answer)
    }

    fn tampered(&self, mut answer: Value) -> Value {
        if let Some((field, value)) = self.builder.as_ref().and_then(|builder| builder.tampers.clone()) {
            let payload = &mut answer["executionPayload"];
            match payload.get(field) {
                Some(_) => payload[field] = value,
                None => answer[field] = value,
            }
        }
        answer
    }
}
