//! An execution client as far as the Engine API shows one: it checks tokens, builds each header again from its payload,
//! keeps a chain, and knows what it has not been given. It executes nothing. Every field must be encoded as the
//! specification says.

use crate::builder::{Builder, data, keys, quantity};
use alloy_consensus::{Header, constants::EMPTY_WITHDRAWALS, proofs::ordered_trie_root_encoded};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{Address, B256, Bloom, Bytes, U64, U256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::watch};

/// What the server says instead of its own answer.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// This result.
    Result(Value),
    /// This JSON-RPC error.
    Error(i64, &'static str),
    /// This HTTP status and body.
    Http(u16, Vec<u8>),
    /// Nothing: the connection is closed.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) secret: [u8; 32],
    pub(crate) chain_id: u64,
    pub(crate) offers: Vec<&'static str>,
    /// Blocks of its chain, from its genesis.
    pub(crate) chain: Vec<(B256, Header)>,
    /// Sound blocks that were given, on the chain or not.
    given: BTreeMap<B256, Header>,
    /// Blocks of its chain whose state it lost.
    pub(crate) unexecuted: BTreeSet<B256>,
    /// Instead of its own answers: by method, the first of them first.
    pub(crate) says: BTreeMap<&'static str, VecDeque<Say>>,
    /// Every method called, with the number of the block if there is one.
    pub(crate) calls: Vec<(String, Option<u64>)>,
    pub(crate) connections: usize,
    /// How it builds blocks, if it can.
    pub(crate) builder: Option<Builder>,
}

pub(crate) type Shared = Arc<Mutex<Fake>>;

#[derive(Debug)]
pub(crate) struct EngineServer {
    pub(crate) fake: Shared,
    pub(crate) address: SocketAddr,
    /// Number of its head, or how many calls it took.
    pub(crate) head: watch::Receiver<u64>,
}

impl Fake {
    pub(crate) fn new(secret: [u8; 32], chain_id: u64, genesis: Header) -> Self {
        let offers = vec!["engine_newPayloadV3", "engine_newPayloadV4", "engine_forkchoiceUpdatedV3"];
        let chain = vec![(genesis.hash_slow(), genesis)];
        let (given, says) = (BTreeMap::new(), BTreeMap::new());
        let unexecuted = BTreeSet::new();
        Self {
            secret,
            chain_id,
            offers,
            chain,
            given,
            unexecuted,
            says,
            calls: Vec::new(),
            connections: 0,
            builder: None,
        }
    }

    /// As after a crash: everything above block `number` is lost.
    pub(crate) fn forget(&mut self, number: u64) {
        self.chain.truncate(number as usize + 1);
        self.given.clear();
        if let Some(builder) = &mut self.builder {
            builder.begun = None;
        }
    }

    pub(crate) fn say(&mut self, method: &'static str, says: impl IntoIterator<Item = Say>) {
        self.says.entry(method).or_default().extend(says);
    }

    fn authorised(&self, request: &Request<Incoming>) -> Result<(), String> {
        let header = request.headers().get("authorization").ok_or("no token")?.to_str().map_err(|e| e.to_string())?;
        let token = header.strip_prefix("Bearer ").ok_or("no bearer token")?;
        let (signed, tag) = token.rsplit_once('.').ok_or("no signature")?;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.secret).unwrap();
        mac.update(signed.as_bytes());
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|error| error.to_string())?;
        mac.verify_slice(&tag).map_err(|_| "the signature does not match")?;
        let (head, claims) = signed.split_once('.').ok_or("no claims")?;
        let parse = |text| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap() };
        assert_eq!(parse(head)["alg"], "HS256");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let issued = parse(claims)["iat"].as_u64().ok_or("no iat")?;
        if now.abs_diff(issued) > 60 { Err("stale token".into()) } else { Ok(()) }
    }

    /// As after a kill: the chain is there, the state of everything above block `number` is not.
    pub(crate) fn forget_state(&mut self, number: u64) {
        self.unexecuted = self.chain[number as usize + 1..].iter().map(|(hash, _)| *hash).collect();
    }

    pub(crate) fn known(&self, hash: &B256) -> Option<&Header> {
        if self.unexecuted.contains(hash) {
            return None;
        }
        let on_chain = self.chain.iter().find(|(known, _)| known == hash).map(|(_, header)| header);
        on_chain.or_else(|| self.given.get(hash))
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        match method {
            "engine_exchangeCapabilities" => Ok(json!(self.offers)),
            "eth_chainId" => Ok(json!(U64::from(self.chain_id))),
            "eth_getBlockByNumber" => {
                let number = match params[0].as_str() {
                    Some("latest") => self.chain.len() as u64 - 1,
                    _ => serde_json::from_value::<U64>(params[0].clone()).unwrap().to(),
                };
                let block = self.chain.get(number as usize);
                Ok(block
                    .map_or(Value::Null, |(hash, header)| json!({"number": U64::from(header.number), "hash": hash})))
            }
            "engine_newPayloadV3" | "engine_newPayloadV4" => Ok(self.new_payload(method, params)),
            "engine_forkchoiceUpdatedV3" => self.forkchoice(params),
            "engine_getPayloadV3" if self.builder.is_some() => self.get_payload(params),
            other => Err((-32_601, format!("the method {other} does not exist"))),
        }
    }

    fn new_payload(&mut self, method: &str, params: &Value) -> Value {
        assert_eq!(params.as_array().unwrap().len(), if method == "engine_newPayloadV4" { 4 } else { 3 });
        check_encoding(&params[0]);
        let payload: Payload = serde_json::from_value(params[0].clone()).unwrap();
        assert_eq!(params[1], json!([]));
        data(&params[2], Some(32));
        let beacon_root: B256 = serde_json::from_value(params[2].clone()).unwrap();
        let requests = (method == "engine_newPayloadV4").then(|| {
            let requests: Vec<Bytes> = serde_json::from_value(params[3].clone()).unwrap();
            Requests::from_requests(requests).requests_hash()
        });
        let (stated, header) = payload.header(beacon_root, requests);
        let status =
            |status: &str, error: Value| json!({"status": status, "latestValidHash": null, "validationError": error});
        if header.hash_slow() != stated {
            return status("INVALID", json!(format!("the payload has hash {}", header.hash_slow())));
        }
        let Some(parent) = self.known(&header.parent_hash) else { return status("SYNCING", Value::Null) };
        if header.timestamp <= parent.timestamp || header.number != parent.number + 1 {
            return status("INVALID", json!("timestamp or number do not follow the parent's"));
        }
        self.unexecuted.remove(&stated);
        self.given.insert(stated, header);
        status("VALID", Value::Null)
    }

    fn forkchoice(&mut self, params: &Value) -> Result<Value, (i64, String)> {
        keys(&params[0], &["headBlockHash", "safeBlockHash", "finalizedBlockHash"]);
        data(&params[0]["headBlockHash"], Some(32));
        let hash: B256 = serde_json::from_value(params[0]["headBlockHash"].clone()).unwrap();
        assert_eq!(params[0]["safeBlockHash"], params[0]["headBlockHash"]);
        assert_eq!(params[0]["finalizedBlockHash"], params[0]["headBlockHash"]);
        let status = |status: &str, id: Value| json!({"payloadStatus": {"status": status, "latestValidHash": null, "validationError": null}, "payloadId": id});
        if params[1] != Value::Null {
            assert_eq!(self.chain.last().unwrap().0, hash, "blocks are built on the head");
            return self.begin(hash, &params[1]).map(|id| status("VALID", json!(id)));
        }
        let status = |said: &str| Ok(status(said, Value::Null));
        let Some(header) = self.known(&hash).cloned() else { return status("SYNCING") };
        let number = header.number as usize;
        if number < self.chain.len() {
            assert_eq!(self.chain[number].0, hash, "a final block was taken back");
            return status("VALID");
        }
        assert_eq!(header.parent_hash, self.chain[number - 1].0);
        self.chain.push((hash, header));
        status("VALID")
    }
}

/// Checks `ExecutionPayloadV3`'s encoding: quantities without leading zeros, data with all of its digits.
fn check_encoding(payload: &Value) {
    for name in ["blockNumber", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"] {
        quantity(&payload[name]);
    }
    for name in ["parentHash", "stateRoot", "receiptsRoot", "prevRandao", "blockHash"] {
        data(&payload[name], Some(32));
    }
    data(&payload["feeRecipient"], Some(20));
    data(&payload["logsBloom"], Some(256));
    data(&payload["extraData"], None);
    payload["transactions"].as_array().unwrap().iter().for_each(|raw| data(raw, None));
}

/// `ExecutionPayloadV3`, read by its specification and nothing else.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payload {
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
    withdrawals: [Value; 0],
    blob_gas_used: U64,
    excess_blob_gas: U64,
}

impl Payload {
    fn header(self, beacon_root: B256, requests_hash: Option<B256>) -> (B256, Header) {
        let [] = self.withdrawals;
        let header = Header {
            parent_hash: self.parent_hash,
            beneficiary: self.fee_recipient,
            state_root: self.state_root,
            transactions_root: ordered_trie_root_encoded(&self.transactions),
            receipts_root: self.receipts_root,
            logs_bloom: self.logs_bloom,
            number: self.block_number.to(),
            gas_limit: self.gas_limit.to(),
            gas_used: self.gas_used.to(),
            timestamp: self.timestamp.to(),
            extra_data: self.extra_data,
            mix_hash: self.prev_randao,
            base_fee_per_gas: Some(self.base_fee_per_gas.to()),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(self.blob_gas_used.to()),
            excess_blob_gas: Some(self.excess_blob_gas.to()),
            parent_beacon_block_root: Some(beacon_root),
            requests_hash,
            ..Header::default()
        };
        (self.block_hash, header)
    }
}

/// `open`: where a client serves its ordinary JSON-RPC, to anybody; else the Engine API.
async fn serve(fake: Shared, request: Request<Incoming>, open: bool) -> Option<Response<Full<Bytes>>> {
    let reply = |status: u16, body: Vec<u8>| {
        let status = StatusCode::from_u16(status).unwrap();
        Some(Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap())
    };
    assert_eq!(request.headers()["content-type"], "application/json");
    let refused = match open {
        true => {
            assert!(request.headers().get("authorization").is_none(), "a token for the Engine API was sent elsewhere");
            None
        }
        false => fake.lock().unwrap().authorised(&request).err(),
    };
    let body = request.into_body().collect().await.ok()?.to_bytes();
    if let Some(reason) = refused {
        return reply(401, reason.into_bytes());
    }
    let call: Value = serde_json::from_slice(&body).unwrap();
    let (method, params, id) = (call["method"].as_str().unwrap(), &call["params"], &call["id"]);
    assert_eq!(call["jsonrpc"], "2.0");
    let mut fake = fake.lock().unwrap();
    let number = serde_json::from_value::<U64>(params[0]["blockNumber"].clone()).ok().map(|number| number.to());
    fake.calls.push((method.to_owned(), number));
    let said = fake.says.get_mut(method).and_then(VecDeque::pop_front);
    let answer = match said {
        Some(Say::Result(result)) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Some(Say::Error(code, message)) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
        Some(Say::Http(status, body)) => return reply(status, body),
        Some(Say::Nothing) => return None,
        None => match if open { fake.answer_open(method, params) } else { fake.answer(method, params) } {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err((code, message)) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}),
        },
    };
    reply(200, answer.to_string().into_bytes())
}

impl EngineServer {
    /// Serves on a free port.
    pub(crate) async fn start(fake: Fake) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(Mutex::new(fake)))
    }

    /// The same client's ordinary JSON-RPC, on another free port; its URL.
    pub(crate) async fn open(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve_on(listener, self.fake.clone(), true).url()
    }

    /// Serves on a socket.
    pub(crate) fn on(listener: TcpListener, fake: Shared) -> Self {
        Self::serve_on(listener, fake, false)
    }

    fn serve_on(listener: TcpListener, fake: Shared, open: bool) -> Self {
        let address = listener.local_addr().unwrap();
        let (moved, head) = watch::channel(0);
        let shared = fake.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (fake, moved) = (shared.clone(), moved.clone());
                let service = service_fn(move |request| {
                    let (fake, moved) = (fake.clone(), moved.clone());
                    async move {
                        let answer = serve(fake.clone(), request, open).await;
                        moved.send_replace(fake.lock().unwrap().chain.len() as u64 - 1);
                        // An error closes the connection without an answer.
                        answer.ok_or(std::io::Error::other("said nothing"))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
            Ok::<(), Infallible>(())
        });
        Self { fake, address, head }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until its head is block `number`.
    pub(crate) async fn reached(&self, number: u64) {
        self.head.clone().wait_for(|head| *head >= number).await.unwrap();
    }

    /// Numbers of the blocks that it was given, in the order of the calls.
    pub(crate) fn payloads(&self) -> Vec<u64> {
        self.fake.lock().unwrap().calls.iter().filter_map(|(_, number)| *number).collect()
    }

    /// How often a method was called.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.fake.lock().unwrap().calls.iter().filter(|(called, _)| called == method).count()
    }
}
