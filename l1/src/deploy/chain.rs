//! A development chain: transactions from whomever, blocks when asked for.

use super::DeployError;
use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_provider::{Provider as _, ProviderBuilder, RootProvider};
use alloy_sol_types::SolCall;
use serde_json::{Value, json};

/// What a transaction may take: no chain takes more of one since Osaka, and nothing here takes half of it.
const GAS: u64 = 16_000_000;

/// JSON-RPC of an anvil that makes no block by itself yet.
#[derive(Clone, Debug)]
pub struct Chain {
    provider: RootProvider,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) gas: u64,
    /// The contract that it created.
    pub(super) created: Option<Address>,
}

impl Chain {
    /// The chain at a URL. Nothing is asked yet.
    pub fn new(url: &str) -> Result<Self, DeployError> {
        let bad = |why: String| DeployError::Chain { what: format!("the chain at {url}"), why };
        // The process may have chosen one already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().build().map_err(|error| bad(error.to_string()))?;
        let url = url.parse().map_err(|error| bad(format!("no URL: {error}")))?;
        Ok(Self { provider: ProviderBuilder::default().connect_reqwest(client, url) })
    }

    async fn ask(&self, what: &str, method: &'static str, params: Value) -> Result<Value, DeployError> {
        let answer: Result<Value, _> = self.provider.raw_request(method.into(), params).await;
        answer.map_err(|error| DeployError::Chain { what: what.to_owned(), why: error.to_string() })
    }

    async fn quantity(&self, method: &'static str, params: Value) -> Result<u64, DeployError> {
        let answer = self.ask(method, method, params).await?;
        number(&answer)
            .ok_or_else(|| DeployError::Chain { what: method.to_owned(), why: format!("it answers {answer}") })
    }

    /// Its id.
    pub async fn id(&self) -> Result<u64, DeployError> {
        self.quantity("eth_chainId", json!([])).await
    }

    /// The newest block.
    pub async fn height(&self) -> Result<u64, DeployError> {
        self.quantity("eth_blockNumber", json!([])).await
    }

    /// The newest block that it calls final.
    pub async fn finalized(&self) -> Result<u64, DeployError> {
        let what = "the newest final block";
        let block = self.ask(what, "eth_getBlockByNumber", json!(["finalized", false])).await?;
        number(&block["number"])
            .ok_or_else(|| DeployError::Chain { what: what.to_owned(), why: format!("it answers {block}") })
    }

    /// Makes that many blocks at once.
    pub async fn mine(&self, blocks: u64) -> Result<(), DeployError> {
        self.ask("new blocks", "anvil_mine", json!([U256::from(blocks), U256::ZERO])).await.map(drop)
    }

    /// From now on it makes a block every so many seconds.
    pub async fn mine_every(&self, seconds: u64) -> Result<(), DeployError> {
        self.ask("regular blocks", "evm_setIntervalMining", json!([seconds])).await.map(drop)
    }

    /// Gives somebody ether, in wei.
    pub async fn fund(&self, account: Address, wei: U256) -> Result<(), DeployError> {
        self.ask("ether for an account", "anvil_setBalance", json!([account, wei])).await.map(drop)
    }

    /// The first account that it has a key for: who deploys.
    pub(super) async fn deployer(&self) -> Result<Address, DeployError> {
        let what = "the chain's accounts";
        let answer = self.ask(what, "eth_accounts", json!([])).await?;
        let first = answer.get(0).and_then(Value::as_str).and_then(|text| text.parse().ok());
        first.ok_or_else(|| DeployError::Chain { what: what.to_owned(), why: format!("it answers {answer}") })
    }

    pub(super) async fn nonce(&self, account: Address) -> Result<u64, DeployError> {
        self.quantity("eth_getTransactionCount", json!([account, "latest"])).await
    }

    /// Sends a transaction, has it put into a block, and sees that it did what it should.
    pub(super) async fn send(
        &self,
        what: &str,
        from: Address,
        to: Option<Address>,
        data: Bytes,
    ) -> Result<Done, DeployError> {
        let bad = |why: String| DeployError::Chain { what: what.to_owned(), why };
        let mut transaction = json!({ "from": from, "data": data, "gas": U256::from(GAS) });
        if let Some(to) = to {
            transaction["to"] = json!(to);
        }
        let hash = self.ask(what, "eth_sendTransaction", json!([transaction])).await?;
        self.ask(what, "evm_mine", json!([])).await?;
        let receipt = self.ask(what, "eth_getTransactionReceipt", json!([hash])).await?;
        let block = number(&receipt["blockNumber"]).ok_or_else(|| bad("it is in no block".to_owned()))?;
        if number(&receipt["status"]) != Some(1) {
            // A receipt does not say why; the same call on the block before does.
            let before = U256::from(block.saturating_sub(1));
            self.ask(what, "eth_call", json!([transaction, before])).await?;
            return Err(bad("it reverts".to_owned()));
        }
        let created = receipt["contractAddress"].as_str().and_then(|text| text.parse().ok());
        Ok(Done { gas: number(&receipt["gasUsed"]).unwrap_or(0), created })
    }

    /// Creates a contract at an address that was computed before.
    pub(super) async fn create(
        &self,
        name: &str,
        from: Address,
        expected: Address,
        code: Vec<u8>,
    ) -> Result<u64, DeployError> {
        let done = self.send(&format!("creating {name}"), from, None, code.into()).await?;
        if done.created != Some(expected) {
            let found = done.created.map(|found| found.to_string()).unwrap_or_default();
            return Err(DeployError::Other { what: "a contract's address", expected: expected.to_string(), found });
        }
        Ok(done.gas)
    }

    /// What a contract answers now.
    pub(super) async fn call<C: SolCall>(&self, what: &str, to: Address, call: &C) -> Result<C::Return, DeployError> {
        let bad = |why: String| DeployError::Chain { what: what.to_owned(), why };
        let data = Bytes::from(call.abi_encode());
        let answer = self.ask(what, "eth_call", json!([{ "to": to, "data": data }, "latest"])).await?;
        let answer = hex::decode(answer.as_str().unwrap_or_default()).map_err(|error| bad(error.to_string()))?;
        C::abi_decode_returns_validate(&answer).map_err(|error| bad(error.to_string()))
    }
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}
