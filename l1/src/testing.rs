//! A settlement layer on loopback that tests can change: it tells the truth, lies, stalls, lags or refuses.
#![allow(clippy::unwrap_used)] // a test that breaks may stop

mod ledger;
mod restaked;

pub use ledger::{Ledger, Sent};
pub use restaked::{
    ALLOCATIONS, DELAY, DELEGATIONS, INCIDENTS, MINIMUM, Operator, REGISTRAR, ROTATION, Restaked, SLASHER, STRATEGIES,
    Slash,
};

use crate::abi::StakeTable::{committeeCall, committeeReturn};
use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::SolCall as _;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use serde_json::{Value, json};
use squad_types::{Committee, Digest, Epoch, Member, Stake};
use std::sync::{Arc, Mutex};

/// Its chain's id.
pub const CHAIN: u64 = 31_337;
/// Where its stake table is.
pub const TABLE: Address = Address::repeat_byte(7);

/// What it does with questions.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Answers truly.
    True,
    /// Never answers.
    Stalls,
    /// Answers that there are too many questions.
    Refuses,
    /// Says that other operators are at stake.
    Lies,
    /// Answers without an end.
    Floods,
}

/// A settlement layer as one server sees it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// What it does with questions.
    pub manner: Manner,
    /// Its chain's id.
    pub id: u64,
    /// The newest final block.
    pub finalized: u64,
    /// Another one has other blocks.
    pub fork: u8,
    /// Everybody at stake.
    pub members: Vec<Member>,
    /// Whether the stake table's hash is not that of its members.
    pub wrong_hash: bool,
    /// How many questions came.
    pub asked: u64,
    /// Accounts, and what they sent.
    pub ledger: Ledger,
    /// The contracts that operators call, where it has any.
    pub restaked: Option<Restaked>,
}

/// Somebody at stake.
pub fn member(id: u8, stake: u64) -> Member {
    Member { address: squad_types::Address([id; 20]), stake: Stake(stake) }
}

impl Default for Chain {
    fn default() -> Self {
        let members = [(1, 10), (2, 20), (3, 30), (4, 40)].map(|(id, stake)| member(id, stake)).to_vec();
        Self {
            manner: Manner::True,
            id: CHAIN,
            finalized: 100,
            fork: 0,
            members,
            wrong_hash: false,
            asked: 0,
            ledger: Ledger::default(),
            restaked: None,
        }
    }
}

impl Chain {
    /// The hash of a block.
    pub fn hash(&self, number: u64) -> B256 {
        keccak256([&number.to_be_bytes()[..], &[self.fork]].concat())
    }

    fn block(&self, number: u64) -> Value {
        let zero = format!("{:#066x}", 0);
        json!({
            "number": format!("{number:#x}"), "hash": self.hash(number), "parentHash": zero, "sha3Uncles": zero,
            "miner": Address::ZERO, "stateRoot": zero, "transactionsRoot": zero, "receiptsRoot": zero,
            "logsBloom": format!("0x{}", "0".repeat(512)), "difficulty": "0x0", "gasLimit": "0x1", "gasUsed": "0x0",
            "timestamp": format!("{:#x}", number * 12), "baseFeePerGas": "0x3b9aca00", "extraData": "0x", "mixHash": zero, "nonce": "0x0000000000000000", "size": "0x1",
            "uncles": [], "transactions": [],
        })
    }

    fn committee(&self) -> String {
        let mut members = self.members.clone();
        if matches!(self.manner, Manner::Lies) {
            members.push(member(0xff, 1_000));
        }
        let hash =
            Committee::new(Epoch::ZERO, members.clone()).map(|committee| committee.hash()).unwrap_or(Digest::ZERO);
        let hash = if self.wrong_hash { B256::repeat_byte(1) } else { B256::from(hash.0) };
        let member = |member: &Member| crate::abi::Member { key: member.address.0.into(), stake: member.stake.0 };
        let answer = committeeReturn { members: members.iter().map(member).collect(), hash };
        format!("0x{}", alloy_primitives::hex::encode(committeeCall::abi_encode_returns(&answer)))
    }

    /// The newest block.
    pub fn latest(&self) -> u64 {
        self.finalized + 2
    }

    /// The result of a question, or the error that it gets.
    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        Ok(match method {
            "eth_chainId" => json!(format!("{:#x}", self.id)),
            "eth_getBlockByNumber" if params[0] == "finalized" => self.block(self.finalized),
            "eth_getBlockByNumber" if params[0] == "latest" => self.block(self.latest()),
            "eth_getBlockByNumber" => {
                let number = u64::from_str_radix(params[0].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
                if number <= self.latest() { self.block(number) } else { Value::Null }
            }
            "eth_call" => {
                assert!(params[1]["blockHash"].is_string(), "a call names its block by hash: {params}");
                let data = ledger::bytes(&params[0]["input"]);
                *self.ledger.asked.entry(data[..4].try_into().unwrap()).or_default() += 1;
                if self.restaked.is_none() {
                    assert_eq!(params[0]["to"], json!(TABLE));
                }
                if params[0]["to"] == json!(TABLE) && data[..4] == committeeCall::SELECTOR {
                    return Ok(json!(self.committee()));
                }
                return self.tried(&params[0]);
            }
            other => return self.of_accounts(other, params),
        })
    }
}

/// One to be changed while it is asked.
pub type Shared = Arc<Mutex<Chain>>;

async fn handle(State(chain): State<Shared>, Json(request): Json<Value>) -> Response {
    let manner = {
        let mut chain = chain.lock().unwrap();
        chain.asked += 1;
        chain.manner.clone()
    };
    match manner {
        Manner::Stalls => std::future::pending().await,
        Manner::Refuses => (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response(),
        Manner::Floods => {
            Body::from_stream(futures::stream::repeat(Ok::<_, std::convert::Infallible>(vec![b' '; 65_536])))
                .into_response()
        }
        Manner::True | Manner::Lies => {
            let answer = chain.lock().unwrap().answer(request["method"].as_str().unwrap(), &request["params"]);
            let (name, value) = match answer {
                Ok(result) => ("result", result),
                Err(error) => ("error", error),
            };
            Json(json!({ "jsonrpc": "2.0", "id": request["id"], name: value })).into_response()
        }
    }
}

/// Servers of one chain, each to be changed on its own, and their URLs.
pub async fn servers(count: usize) -> (Vec<Shared>, Vec<String>) {
    let (mut chains, mut urls) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let chain = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        urls.push(format!("http://{}/some-key", listener.local_addr().unwrap()));
        let app = Router::new().fallback(routing::post(handle)).with_state(Arc::clone(&chain));
        tokio::spawn(async move { axum::serve(listener, app).await });
        chains.push(chain);
    }
    (chains, urls)
}
