//! The calls that feed a client, and what its answers mean.

use super::{
    EngineConfig, EngineError, EngineMode,
    http::{Endpoint, beginning},
    payload::{Built, Sealed},
};
use alloy_primitives::{B64, B256, U64};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Sets the head, and may begin a block; since Cancun.
pub(super) const FORKCHOICE: &str = "engine_forkchoiceUpdatedV3";
/// Fetches a block that was begun, under Cancun's rules.
pub(super) const GET_PAYLOAD: &str = "engine_getPayloadV3";
/// Builds a block from its transactions, and forgets it.
const TESTING_BUILD_BLOCK: &str = "testing_buildBlockV1";
const CAPABILITIES: &str = "engine_exchangeCapabilities";
/// The method is not there (JSON-RPC).
const METHOD_NOT_FOUND: i64 = -32_601;
/// The parameters are not those of the method (JSON-RPC).
const INVALID_PARAMS: i64 = -32_602;

/// What became of a block that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Executed, with our result.
    Executed,
    /// Kept, but not executed: it is not on the client's own head, or the client lacks the state below.
    Kept,
}

/// A block as far as it must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct ClientBlock {
    number: U64,
    pub(super) hash: B256,
}

impl ClientBlock {
    pub(super) fn number(&self) -> u64 {
        self.number.to()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayloadStatus {
    status: String,
    #[serde(default)]
    validation_error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForkchoiceAnswer {
    payload_status: PayloadStatus,
    #[serde(default)]
    payload_id: Option<B64>,
}

#[derive(Debug, Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

#[derive(Debug, Deserialize)]
struct RpcAnswer {
    id: Value,
    #[serde(default)]
    result: Value,
    error: Option<RpcError>,
}

/// One client's Engine API.
#[derive(Debug)]
pub(super) struct EngineClient {
    endpoint: Endpoint,
    /// Where `testing_buildBlockV1` is served, if it is asked for.
    testing: Option<Endpoint>,
    /// Which form of its parameters the client takes.
    testing_form: usize,
    requests: u64,
}

impl EngineClient {
    pub(super) fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let testing = match &config.mode {
            // Not the Engine API: the secret is not for it.
            EngineMode::TestingBuildBlock { rpc } => Some(Endpoint::new(rpc, None)?),
            EngineMode::Payload | EngineMode::OpAttributes => None,
        };
        let endpoint = Endpoint::new(&config.url, Some(config.secret))?;
        Ok(Self { endpoint, testing, testing_form: 0, requests: 0 })
    }

    async fn call<T: DeserializeOwned>(&mut self, method: &'static str, params: Value) -> Result<T, EngineError> {
        self.requests += 1;
        call(&mut self.endpoint, self.requests, method, params).await
    }

    /// Asks whether the client has `method`s.
    pub(super) async fn check_offers(&mut self, methods: &[&'static str]) -> Result<(), EngineError> {
        let offered: Vec<String> = self.call(CAPABILITIES, json!([methods])).await?;
        match methods.iter().find(|method| !offered.iter().any(|offered| offered == *method)) {
            Some(method) => Err(EngineError::Missing { method }),
            None => Ok(()),
        }
    }

    pub(super) async fn chain_id(&mut self) -> Result<u64, EngineError> {
        Ok(self.call::<U64>("eth_chainId", json!([])).await?.to())
    }

    /// A block of the client's chain; `None` if it has none with that number.
    pub(super) async fn block(&mut self, number: u64) -> Result<Option<ClientBlock>, EngineError> {
        self.call("eth_getBlockByNumber", json!([U64::from(number), false])).await
    }

    /// The client's head.
    pub(super) async fn head(&mut self) -> Result<ClientBlock, EngineError> {
        self.call("eth_getBlockByNumber", json!(["latest", false])).await
    }

    /// Hands over a block, which the client executes.
    pub(super) async fn new_payload(&mut self, block: &Sealed) -> Result<Taken, EngineError> {
        let (method, params) = block.new_payload();
        let status: PayloadStatus = self.call(method, params).await?;
        match status.status.as_str() {
            "ACCEPTED" => Ok(Taken::Kept),
            _ => self.judge(method, status, block.number, block.hash).map(|()| Taken::Executed),
        }
    }

    /// Makes a block the head, safe and final.
    pub(super) async fn set_head(&mut self, number: u64, hash: B256) -> Result<(), EngineError> {
        let state = json!({"headBlockHash": hash, "safeBlockHash": hash, "finalizedBlockHash": hash});
        let answer: ForkchoiceAnswer = self.call(FORKCHOICE, json!([state, null])).await?;
        self.judge(FORKCHOICE, answer.payload_status, number, hash)
    }

    /// Has the client build a block on its head from the OP Stack's `attributes`, and nothing else.
    pub(super) async fn build(&mut self, attributes: Value, block: &Sealed) -> Result<Built, EngineError> {
        let parent = block.parent;
        let state = json!({"headBlockHash": parent, "safeBlockHash": parent, "finalizedBlockHash": parent});
        let answer: ForkchoiceAnswer = self.call(FORKCHOICE, json!([state, attributes])).await?;
        self.judge(FORKCHOICE, answer.payload_status, block.number, block.hash)?;
        let Some(id) = answer.payload_id else {
            let detail = "it has VALID attributes, but no payloadId".into();
            return Err(EngineError::Malformed { url: self.endpoint.url().to_owned(), method: FORKCHOICE, detail });
        };
        self.call(GET_PAYLOAD, json!([id])).await
    }

    /// Has the client build a block in one call; nothing of the client's changes by it.
    pub(super) async fn testing_build(&mut self, block: &Sealed) -> Result<Built, EngineError> {
        let Some(endpoint) = &mut self.testing else {
            return Err(EngineError::Config("no URL was given for testing_buildBlockV1".into()));
        };
        let forms = block.testing_params();
        self.requests += 1;
        let form = self.testing_form;
        let first = call(endpoint, self.requests, TESTING_BUILD_BLOCK, forms[form].clone()).await;
        let Err(EngineError::Refused { code: INVALID_PARAMS, .. }) = first else { return first };
        self.requests += 1;
        let second = call(endpoint, self.requests, TESTING_BUILD_BLOCK, forms[1 - form].clone()).await;
        match second {
            Err(EngineError::Refused { code: INVALID_PARAMS, .. }) => first,
            _ => {
                self.testing_form = 1 - form;
                second
            }
        }
    }

    fn judge(&self, method: &'static str, status: PayloadStatus, number: u64, hash: B256) -> Result<(), EngineError> {
        match status.status.as_str() {
            "VALID" => Ok(()),
            "SYNCING" => Err(EngineError::Syncing { number }),
            "INVALID" | "INVALID_BLOCK_HASH" => {
                let said = status.validation_error.unwrap_or_else(|| "it does not say why".into());
                Err(EngineError::Invalid { number, hash, detail: format!("{} ({method})", beginning(said.as_bytes())) })
            }
            other => Err(EngineError::Malformed {
                url: self.endpoint.url().to_owned(),
                method,
                detail: format!("the Engine API has no status {}", beginning(other.as_bytes())),
            }),
        }
    }
}

/// One JSON-RPC call, the `id`th.
async fn call<T: DeserializeOwned>(
    endpoint: &mut Endpoint,
    id: u64,
    method: &'static str,
    params: Value,
) -> Result<T, EngineError> {
    let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let body = endpoint.post(request.to_string().into()).await?;
    let malformed = |detail: String| {
        // A parser's message may repeat all that it read.
        let detail = format!("{}: {}", beginning(detail.as_bytes()), beginning(&body));
        EngineError::Malformed { url: endpoint.url().to_owned(), method, detail }
    };
    let answer: RpcAnswer = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    if let Some(RpcError { code, message }) = answer.error {
        return Err(match code {
            METHOD_NOT_FOUND => EngineError::Missing { method },
            _ => EngineError::Refused { method, code, message: beginning(message.as_bytes()) },
        });
    }
    if answer.id != id {
        return Err(malformed(format!("the request was {id}, the answer is to {}", answer.id)));
    }
    serde_json::from_value(answer.result).map_err(|error| malformed(error.to_string()))
}
