//! Logs by filter, and filters that are remembered.

use crate::{
    common::{LOGGER, deploy_code},
    rollup::Rollup,
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use serde_json::{Value, json};
use squad_executor::{RpcLimits, dev_accounts};

/// A rollup with two contracts that log, one in block 1 and one in block 2; blocks 3 to 5 call the first.
async fn with_logs(limits: RpcLimits) -> (Rollup, [Address; 2]) {
    let mut rollup = Rollup::start_with(limits).await;
    let from = &dev_accounts()[0];
    for nonce in 0..2 {
        let create = from.transact(1516, nonce, TxKind::Create, U256::ZERO, deploy_code(&LOGGER), 200_000);
        rollup.order(vec![create]).await;
    }
    let contracts = [from.address().create(0), from.address().create(1)];
    for nonce in 2..5 {
        rollup.order(vec![call(nonce, contracts[0])]).await;
    }
    (rollup, contracts)
}

fn call(nonce: u64, contract: Address) -> Bytes {
    dev_accounts()[0].transact(1516, nonce, TxKind::Call(contract), U256::ZERO, Bytes::new(), 100_000)
}

fn blocks(logs: &Value) -> Vec<&str> {
    logs.as_array().unwrap().iter().map(|log| log["blockNumber"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_found_by_range_address_and_topic() {
    let (rollup, [first, second]) = with_logs(RpcLimits::default()).await;
    let topic = B256::with_last_byte(7);
    let all = json!({"fromBlock": "earliest", "toBlock": "latest"});
    let logs = rollup.result("eth_getLogs", json!([all])).await;
    assert_eq!(blocks(&logs), ["0x3", "0x4", "0x5"]);
    assert_eq!((&logs[0]["address"], &logs[0]["topics"]), (&json!(first), &json!([topic])));
    let cases = [
        (json!({}), vec!["0x5"]),
        (json!({"fromBlock": "0x4"}), vec!["0x4", "0x5"]),
        (json!({"fromBlock": "0x0", "toBlock": "0x3"}), vec!["0x3"]),
        (json!({"fromBlock": "0x9", "toBlock": "0x99"}), vec![]),
        (json!({"fromBlock": "0x0", "address": second}), vec![]),
        (json!({"fromBlock": "0x0", "address": [first, second]}), vec!["0x3", "0x4", "0x5"]),
        (json!({"fromBlock": "0x0", "topics": [topic]}), vec!["0x3", "0x4", "0x5"]),
        (json!({"fromBlock": "0x0", "topics": [[B256::ZERO, topic]]}), vec!["0x3", "0x4", "0x5"]),
        (json!({"fromBlock": "0x0", "topics": [B256::ZERO]}), vec![]),
        (json!({"fromBlock": "0x0", "topics": [null, topic]}), vec![]),
        (json!({"blockHash": logs[1]["blockHash"]}), vec!["0x4"]),
    ];
    for (filter, wanted) in cases {
        assert_eq!(blocks(&rollup.result("eth_getLogs", json!([filter])).await), wanted, "{filter}");
    }
    for (filter, code) in [
        (json!({"fromBlock": "0x3", "toBlock": "0x2"}), -32602),
        (json!({"blockHash": B256::ZERO}), -32000),
        (json!({"blockHash": B256::ZERO, "fromBlock": "0x1"}), -32602),
        (json!({"topics": "0x"}), -32602),
        (json!([]), -32602),
    ] {
        assert_eq!(rollup.error("eth_getLogs", json!([filter])).await.0, code, "{filter}");
    }
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_wide_a_range_and_too_many_results_are_refused_with_a_range_that_passes() {
    let limits = RpcLimits { log_blocks: 3, logs: 2, ..RpcLimits::default() };
    let (rollup, [first, _]) = with_logs(limits).await;
    let (code, message) = rollup.error("eth_getLogs", json!([{"fromBlock": "0x1", "toBlock": "0x5"}])).await;
    assert_eq!(code, -32005);
    assert!(message.contains("[0x1, 0x3]"), "{message}");
    let (code, message) = rollup.error("eth_getLogs", json!([{"fromBlock": "0x3", "address": first}])).await;
    assert_eq!(code, -32005);
    assert!(message.contains("more than 2 results") && message.contains("[0x3, 0x4]"), "{message}");
    let logs = rollup.result("eth_getLogs", json!([{"fromBlock": "0x3", "toBlock": "0x4"}])).await;
    assert_eq!(blocks(&logs), ["0x3", "0x4"]);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_give_each_change_once() {
    let (mut rollup, [first, second]) = with_logs(RpcLimits::default()).await;
    let logs = rollup.result("eth_newFilter", json!([{"address": first, "fromBlock": "0x4"}])).await;
    let heads = rollup.result("eth_newBlockFilter", json!([])).await;
    let sent = rollup.result("eth_newPendingTransactionFilter", json!([])).await;
    for id in [&logs, &heads, &sent] {
        assert_eq!(rollup.result("eth_getFilterChanges", json!([id])).await, json!([]));
    }
    assert_eq!(blocks(&rollup.result("eth_getFilterLogs", json!([logs])).await), ["0x4", "0x5"]);
    assert_eq!(rollup.error("eth_getFilterLogs", json!([heads])).await.0, -32000);

    let raws = [call(5, first), call(6, second)];
    let mut hashes = Vec::new();
    for raw in &raws {
        hashes.push(rollup.result("eth_sendRawTransaction", json!([raw])).await);
    }
    assert_eq!(rollup.result("eth_getFilterChanges", json!([sent])).await, json!(hashes));
    rollup.order(raws.to_vec()).await;
    let new = rollup.result("eth_getFilterChanges", json!([logs])).await;
    assert_eq!((blocks(&new), &new[0]["transactionHash"]), (vec!["0x6"], &hashes[0]));
    let latest = rollup.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(rollup.result("eth_getFilterChanges", json!([heads])).await, json!([latest["hash"]]));
    for id in [&logs, &heads, &sent] {
        assert_eq!(rollup.result("eth_getFilterChanges", json!([id])).await, json!([]));
        assert_eq!(rollup.result("eth_uninstallFilter", json!([id])).await, true);
        assert_eq!(rollup.result("eth_uninstallFilter", json!([id])).await, false);
        assert_eq!(rollup.error("eth_getFilterChanges", json!([id])).await, (-32000, "filter not found".into()));
    }
    rollup.stop().await.unwrap();
}
