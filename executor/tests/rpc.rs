//! RPC over a real socket.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use common::{LOGGER, Ordered, REVERTER, STORER, deploy_code, wallet};
use serde_json::{Value, json};
use squad_executor::{
    ChannelForwarder, ChannelSource, Error, Genesis, OrderedBlock, RollupConfig, RpcLimits, StateConfig, TRANSFER_GAS,
    dev_accounts, run_with,
};
use std::net::SocketAddr;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

struct Rollup {
    address: SocketAddr,
    blocks: mpsc::Sender<OrderedBlock>,
    forwarded: mpsc::Receiver<bytes::Bytes>,
    stop: watch::Sender<bool>,
    job: JoinHandle<Result<(), Error>>,
    ordered: Ordered,
    _dir: tempfile::TempDir,
}

impl Rollup {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = RollupConfig {
            dir: dir.path().into(),
            genesis: Genesis::devnet(),
            rpc: ([127, 0, 0, 1], 0).into(),
            limits: RpcLimits::default(),
            state: StateConfig::default(),
            engine: None,
        };
        let (blocks, source) = ChannelSource::new(16);
        let (transactions, forwarded) = mpsc::channel(64);
        let (listening, address) = oneshot::channel();
        let (stop, shutdown) = watch::channel(false);
        let job = tokio::spawn(async move {
            let forwarder = ChannelForwarder { transactions };
            run_with(config, b"test", async |_| Ok(source), forwarder, Some(listening), shutdown).await
        });
        let address = address.await.unwrap();
        Self { address, blocks, forwarded, stop, job, ordered: Ordered::new(), _dir: dir }
    }

    /// Orders `raws` and waits until they are executed.
    async fn order(&mut self, raws: Vec<Bytes>) -> OrderedBlock {
        let block = self.ordered.block(raws);
        self.blocks.send(block.clone()).await.unwrap();
        wallet::executed(self.address, block.height).await;
        block
    }

    async fn raw(&self, body: &str) -> (u16, Value) {
        wallet::post(self.address, body).await
    }

    async fn request(&self, method: &str, params: Value) -> Value {
        wallet::request(self.address, method, params).await
    }

    async fn result(&self, method: &str, params: Value) -> Value {
        wallet::result(self.address, method, params).await
    }

    async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.request(method, params).await;
        let error = &answer["error"];
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    async fn stop(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        self.job.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_sends_a_transfer_and_sees_it() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let to = Address::repeat_byte(7);
    assert_eq!(rollup.result("eth_chainId", json!([])).await, "0x5ec");
    assert_eq!(rollup.result("net_version", json!([])).await, "1516");
    assert_eq!(rollup.result("eth_blockNumber", json!([])).await, "0x0");
    assert_eq!(rollup.result("eth_syncing", json!([])).await, false);
    assert_eq!(rollup.result("eth_getBalance", json!([to, "latest"])).await, "0x0");
    assert_eq!(rollup.result("eth_getCode", json!([to, "latest"])).await, "0x");
    let estimate = json!([{"from": from.address(), "to": to, "value": "0x1"}]);
    assert_eq!(rollup.result("eth_estimateGas", estimate).await, "0x5208");

    let raw = from.transfer(1516, 0, to, U256::from(5));
    let hash = rollup.result("eth_sendRawTransaction", json!([raw])).await;
    assert_eq!(hash, json!(keccak256(&raw)));
    assert_eq!(rollup.forwarded.recv().await.unwrap(), raw.0);
    assert_eq!(rollup.result("eth_getTransactionReceipt", json!([hash])).await, Value::Null);
    let pending = rollup.result("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(pending["blockHash"], Value::Null);
    assert_eq!(pending["from"], json!(from.address()));
    let counts = |tag: &str| json!([from.address(), tag]);
    assert_eq!(rollup.result("eth_getTransactionCount", counts("latest")).await, "0x0");
    assert_eq!(rollup.result("eth_getTransactionCount", counts("pending")).await, "0x1");
    assert_eq!(rollup.error("eth_sendRawTransaction", json!([raw])).await, (-32000, "already known".into()));

    let block = rollup.order(vec![raw.clone()]).await;
    let receipt = rollup.result("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["gasUsed"], "0x5208");
    assert_eq!(receipt["blockNumber"], "0x1");
    assert_eq!(receipt["logs"], json!([]));
    assert_eq!(receipt["contractAddress"], Value::Null);
    assert_eq!(receipt["effectiveGasPrice"], format!("{:#x}", 1_875_000_000u64));
    let latest = rollup.result("eth_getBlockByNumber", json!(["latest", true])).await;
    assert_eq!(latest["hash"], receipt["blockHash"]);
    assert_eq!(latest["mixHash"], json!(block.hash));
    assert_eq!(latest["transactions"][0]["hash"], hash);
    assert_eq!(latest["transactions"][0]["type"], "0x2");
    let same = rollup.result("eth_getBlockByHash", json!([latest["hash"], false])).await;
    assert_eq!(same["transactions"], json!([hash]));
    assert_eq!(rollup.result("eth_getBlockByNumber", json!(["0x2", false])).await, Value::Null);
    assert_eq!(rollup.result("eth_getTransactionByHash", json!([hash])).await["blockNumber"], "0x1");
    assert_eq!(rollup.result("eth_getBalance", json!([to, "latest"])).await, "0x5");
    assert_eq!(rollup.result("eth_getBalance", json!([to, "0x0"])).await, "0x0");
    assert_eq!(rollup.result("eth_getTransactionCount", counts("pending")).await, "0x1");
    let status = rollup.result("squad_status", json!([])).await;
    assert_eq!((&status["evmHeight"], &status["lag"], &status["halted"]), (&json!(1), &json!(0), &Value::Null));
    assert_eq!(status["stateRoot"], latest["stateRoot"]);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_storage_code_and_reverts_read_as_ethereums() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let create =
        |nonce, code: &[u8]| from.transact(1516, nonce, TxKind::Create, U256::ZERO, deploy_code(code), 200_000);
    let at = |nonce| from.address().create(nonce);
    let seven: Bytes = U256::from(7).to_be_bytes::<32>().into();
    let store = from.transact(1516, 3, TxKind::Call(at(0)), U256::ZERO, seven, 100_000);
    let log = from.transact(1516, 4, TxKind::Call(at(1)), U256::ZERO, Bytes::new(), 100_000);
    let raws = vec![create(0, &STORER), create(1, &LOGGER), create(2, &REVERTER), store, log.clone()];
    rollup.order(raws).await;
    let code = rollup.result("eth_getCode", json!([at(0), "latest"])).await;
    assert_eq!(code, format!("0x{}", hex::encode(STORER)));
    let slot = rollup.result("eth_getStorageAt", json!([at(0), "0x0", "latest"])).await;
    assert_eq!(slot, format!("0x{:064x}", 7));
    assert_eq!(rollup.result("eth_call", json!([{"to": at(1)}, "latest"])).await, "0x");
    let (code, message) = rollup.error("eth_call", json!([{"to": at(2)}, "latest"])).await;
    assert_eq!((code, message.as_str()), (3, "execution reverted"));
    let answer = rollup.request("eth_call", json!([{"to": at(2)}])).await;
    assert_eq!(answer["error"]["data"], format!("0x{:064x}", 42));
    assert_eq!(rollup.error("eth_estimateGas", json!([{"to": at(2)}])).await.0, 3);
    let call = json!([{"from": from.address(), "to": at(0), "data": format!("0x{:064x}", 9)}]);
    let gas = rollup.result("eth_estimateGas", call).await;
    let gas = u64::from_str_radix(gas.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    assert!((TRANSFER_GAS + 2_900..32_000).contains(&gas), "{gas}");
    let receipt = rollup.result("eth_getTransactionReceipt", json!([keccak256(&log)])).await;
    assert_eq!(receipt["logs"][0]["topics"], json!([format!("0x{:064x}", 7)]));
    assert_eq!(receipt["logs"][0]["logIndex"], "0x0");
    let receipts = rollup.result("eth_getBlockReceipts", json!(["latest"])).await;
    assert_eq!(receipts.as_array().unwrap().len(), 5);
    assert_eq!(receipts[0]["contractAddress"], json!(at(0)));
    let fees = rollup.result("eth_feeHistory", json!(["0x5", "latest", [10, 90]])).await;
    assert_eq!(fees["oldestBlock"], "0x0");
    assert_eq!(fees["baseFeePerGas"].as_array().unwrap().len(), 3);
    assert_eq!(fees["reward"][1], json!(["0x3b9aca00", "0x3b9aca00"]));
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_get_the_right_errors() {
    let rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let to = Address::ZERO;
    assert_eq!(rollup.error("eth_getBalance", json!([])).await.0, -32602);
    assert_eq!(rollup.error("eth_getBalance", json!(["0x12", "latest"])).await.0, -32602);
    assert_eq!(rollup.error("eth_getBlockByNumber", json!(["0x01", false])).await.0, -32602);
    assert_eq!(rollup.error("eth_call", json!([{"to": to, "gas": "ten"}])).await.0, -32602);
    assert_eq!(rollup.error("eth_unknown", json!([])).await.0, -32601);
    assert_eq!(rollup.error("eth_getBalance", json!([to, "0x99"])).await, (-32000, "header not found".into()));
    assert_eq!(rollup.raw("{not json").await.1["error"]["code"], -32700);
    assert_eq!(rollup.raw("[]").await.1["error"]["code"], -32600);
    let huge = format!("\"{}\"", "a".repeat(3 << 20));
    assert_eq!(rollup.raw(&huge).await.0, 413);

    let send = |raw: Bytes| rollup.error("eth_sendRawTransaction", json!([raw]));
    let cases = [
        (Bytes::from_static(b"junk"), "not a transaction"),
        (from.transfer(1, 0, to, U256::ONE), "invalid chain id"),
        (from.transfer(1516, 0, to, U256::MAX >> 1), "insufficient funds for gas * price + value"),
        (from.transact(1516, 0, TxKind::Call(to), U256::ZERO, Bytes::new(), 20_000), "intrinsic gas too low"),
        (from.transact(1516, 0, TxKind::Call(to), U256::ZERO, Bytes::new(), 40_000_000), "exceeds block gas limit"),
        (from.transfer(1516, 5, to, U256::ONE), "nonce too high: next nonce 0, tx nonce 5"),
        (vec![1; 200_000].into(), "oversized data"),
    ];
    for (raw, wanted) in cases {
        let (code, message) = send(raw).await;
        assert_eq!(code, -32000);
        assert!(message.contains(wanted), "{message}");
    }
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_sent_out_of_order_leave_in_nonce_order() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let raws: Vec<_> = (0..4).map(|n| from.transfer(1516, n, Address::ZERO, U256::ONE)).collect();
    let send = |at: usize| rollup.result("eth_sendRawTransaction", json!([raws[at]]));
    let (.., last) = tokio::join!(send(3), send(1), send(0), send(2));
    assert_eq!(last, json!(keccak256(&raws[2])));
    for raw in &raws {
        assert_eq!(rollup.forwarded.recv().await.unwrap(), raw.0);
    }
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipped_transactions_answer_with_their_reason() {
    let mut rollup = Rollup::start().await;
    let ahead = dev_accounts()[0].transfer(1516, 3, Address::ZERO, U256::ONE);
    let block = rollup.order(vec![ahead.clone()]).await;
    let skip = rollup.result("squad_skipReason", json!([keccak256(&ahead)])).await;
    assert_eq!(skip["code"], "nonce_too_high");
    assert_eq!(rollup.result("squad_skippedAt", json!([block.height])).await, json!([skip]));
    assert_eq!(rollup.result("squad_evmBlocks", json!([block.height])).await, json!([]));
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_ends_or_lies_ends_the_executor_with_an_error() {
    let mut rollup = Rollup::start().await;
    rollup.order(vec![]).await;
    let mut forged = rollup.ordered.block(vec![]);
    forged.parent_hash.0[0] ^= 1;
    rollup.blocks.send(forged).await.unwrap();
    let error = (&mut rollup.job).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Forged { height: 2, .. }), "{error}");
}
