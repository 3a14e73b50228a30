//! Accounts and transactions of a chain on loopback: signatures, chain, nonces, fees and balances are checked as a real one does.

use super::{Chain, Manner};
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, U256, hex};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A transaction that was taken.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its hash.
    pub hash: B256,
    /// Whose.
    pub from: Address,
    /// Which of its sender's.
    pub nonce: u64,
    /// What it calls.
    pub to: Address,
    /// With what.
    pub data: Vec<u8>,
    /// What it offers for a unit of gas at most.
    pub price: u128,
    /// Its block, once it is in one.
    pub block: Option<u64>,
    /// Whether it did what it should.
    pub done: bool,
}

/// Who holds what, and what was sent.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Balances in wei.
    pub balances: BTreeMap<Address, u128>,
    /// Every transaction that was taken, in order.
    pub sent: Vec<Sent>,
    /// Whether transactions stay out of blocks.
    pub holds: bool,
    /// Whether the contracts refuse in a block what they promised before.
    pub turns: bool,
    /// Whether it knows of no tips.
    pub no_tips: bool,
    /// How often each function was asked, by its selector.
    pub asked: BTreeMap<[u8; 4], u64>,
}

pub(super) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn error(code: i64, message: &str) -> Value {
    json!({ "code": code, "message": message })
}

impl Chain {
    fn nonce(&self, account: Address, pending: bool) -> u64 {
        let counts = |sent: &&Sent| sent.from == account && (pending || sent.block.is_some());
        self.ledger.sent.iter().filter(counts).map(|sent| sent.nonce + 1).max().unwrap_or(0)
    }

    /// What a call gives now. It changes nothing.
    pub(super) fn tried(&self, call: &Value) -> Result<Value, Value> {
        let from = call["from"].as_str().map(|from| from.parse().unwrap()).unwrap_or_default();
        let to: Address = call["to"].as_str().unwrap().parse().unwrap();
        let Some(mut restaked) = self.restaked.clone() else { return Ok(json!("0x")) };
        let mut answer = restaked.call(self.latest(), from, to, &bytes(&call["input"]));
        if matches!(self.manner, Manner::Lies) {
            answer = answer.map(|answer| vec![1; answer.len()]);
        }
        match answer {
            Ok(answer) => Ok(json!(hex::encode_prefixed(answer))),
            Err(data) => {
                let mut error = error(3, "execution reverted");
                error["data"] = json!(hex::encode_prefixed(data));
                Err(error)
            }
        }
    }

    fn taken(&mut self, raw: &[u8]) -> Result<Value, Value> {
        let TxEnvelope::Eip1559(signed) = TxEnvelope::decode_2718(&mut &*raw).unwrap() else {
            panic!("another kind of transaction")
        };
        let (from, hash) = (signed.recover_signer().unwrap(), *signed.hash());
        let transaction = signed.tx();
        assert_eq!(transaction.chain_id, self.id, "signed for another chain");
        let price = transaction.max_fee_per_gas;
        let needed = price * u128::from(transaction.gas_limit);
        if self.ledger.sent.iter().any(|sent| sent.hash == hash) {
            return Err(error(-32000, "already known"));
        }
        if transaction.nonce < self.nonce(from, false) {
            return Err(error(-32000, "nonce too low"));
        }
        if self.ledger.balances.get(&from).copied().unwrap_or_default() < needed {
            return Err(error(-32000, "insufficient funds for gas * price + value"));
        }
        let same = |sent: &Sent| sent.from == from && sent.nonce == transaction.nonce;
        if let Some(other) = self.ledger.sent.iter().position(same) {
            if self.ledger.sent[other].price * 11 / 10 > price {
                return Err(error(-32000, "replacement transaction underpriced"));
            }
            self.ledger.sent.remove(other);
        }
        let (to, data) = (transaction.to().unwrap(), transaction.input().to_vec());
        let sent = Sent { hash, from, nonce: transaction.nonce, to, data, price, block: None, done: false };
        self.ledger.sent.push(sent);
        if !self.ledger.holds {
            self.mine();
        }
        Ok(json!(hash))
    }

    /// Puts into a block what is under way.
    pub fn mine(&mut self) {
        self.finalized += 1;
        let block = self.latest();
        let price = 2_000_000_000 * 80_000;
        for at in 0..self.ledger.sent.len() {
            if self.ledger.sent[at].block.is_some() {
                continue;
            }
            let Sent { from, to, data, .. } = self.ledger.sent[at].clone();
            let kept = self.restaked.clone();
            let answer = self.restaked.as_mut().map(|restaked| restaked.call(block, from, to, &data));
            let done = !self.ledger.turns && !matches!(answer, Some(Err(_)));
            if !done {
                self.restaked = kept;
            }
            let balance = self.ledger.balances.entry(from).or_default();
            *balance = balance.saturating_sub(price);
            (self.ledger.sent[at].block, self.ledger.sent[at].done) = (Some(block), done);
        }
    }

    fn receipt(&self, hash: B256) -> Value {
        let Some(sent) = self.ledger.sent.iter().find(|sent| sent.hash == hash) else { return Value::Null };
        let Some(block) = sent.block else { return Value::Null };
        json!({
            "transactionHash": hash, "transactionIndex": "0x0", "blockHash": self.hash(block),
            "blockNumber": format!("{block:#x}"), "from": sent.from, "to": sent.to, "cumulativeGasUsed": "0x13880",
            "gasUsed": "0x13880", "contractAddress": null, "logs": [], "logsBloom": format!("0x{}", "0".repeat(512)),
            "type": "0x2", "effectiveGasPrice": "0x77359400", "status": if sent.done { "0x1" } else { "0x0" },
        })
    }

    fn left(&self, filter: &Value) -> Value {
        let operator = Address::from_word(filter["topics"][1].as_str().unwrap().parse().unwrap());
        let number =
            |name: &str| u64::from_str_radix(filter[name].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let left = self.restaked.as_ref().and_then(|restaked| restaked.operators.get(&operator)?.left);
        let seen = left.filter(|block| (number("fromBlock")..=number("toBlock")).contains(block));
        let log = |block: u64| {
            json!({
                "address": filter["address"], "topics": filter["topics"], "data": "0x", "blockNumber": format!("{block:#x}"),
                "blockHash": self.hash(block), "transactionHash": B256::ZERO, "transactionIndex": "0x0",
                "logIndex": "0x0", "removed": false,
            })
        };
        json!(seen.map(log).into_iter().collect::<Vec<_>>())
    }

    pub(super) fn of_accounts(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        let account = || -> Address { params[0].as_str().unwrap().parse().unwrap() };
        match method {
            "eth_estimateGas" => self.tried(&params[0]).map(|_| json!("0x13880")),
            "eth_maxPriorityFeePerGas" if self.ledger.no_tips => Err(error(-32601, "the method does not exist")),
            "eth_maxPriorityFeePerGas" => Ok(json!("0x3b9aca00")),
            "eth_getBalance" => {
                Ok(json!(U256::from(self.ledger.balances.get(&account()).copied().unwrap_or_default())))
            }
            "eth_getTransactionCount" => Ok(json!(format!("{:#x}", self.nonce(account(), params[1] == "pending")))),
            "eth_sendRawTransaction" => self.taken(&bytes(&params[0])),
            "eth_getTransactionReceipt" => Ok(self.receipt(params[0].as_str().unwrap().parse().unwrap())),
            "eth_getLogs" => Ok(self.left(&params[0])),
            other => panic!("{other} is not asked for"),
        }
    }
}
