//! Subscriptions over WebSocket.

use crate::{
    common::{LOGGER, deploy_code},
    rollup::Rollup,
};
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use jsonrpsee::{
    core::{
        client::{ClientT, Subscription, SubscriptionClientT},
        params::ArrayParams,
    },
    rpc_params,
    ws_client::WsClient,
};
use serde_json::{Value, json};
use squad_executor::{RpcLimits, dev_accounts};

async fn subscribe(client: &WsClient, params: ArrayParams) -> Subscription<Value> {
    client.subscribe("eth_subscribe", params, "eth_unsubscribe").await.unwrap()
}

async fn next(subscription: &mut Subscription<Value>) -> Value {
    subscription.next().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_logs_and_pending_transactions_come_in_order_and_each_once() {
    let mut rollup = Rollup::start().await;
    let client = rollup.socket().await;
    let from = &dev_accounts()[0];
    let contract = from.address().create(0);
    let call = |nonce| from.transact(1516, nonce, TxKind::Call(contract), U256::ZERO, Bytes::new(), 100_000);
    let mut heads = subscribe(&client, rpc_params!["newHeads"]).await;
    let mut logs = subscribe(&client, rpc_params!["logs", json!({"address": contract})]).await;
    let mut none = subscribe(&client, rpc_params!["logs", json!({"address": Address::ZERO})]).await;
    let mut hashes = subscribe(&client, rpc_params!["newPendingTransactions"]).await;
    let mut whole = subscribe(&client, rpc_params!["newPendingTransactions", true]).await;

    let create = from.transact(1516, 0, TxKind::Create, U256::ZERO, deploy_code(&LOGGER), 200_000);
    rollup.result("eth_sendRawTransaction", json!([create])).await;
    assert_eq!(next(&mut hashes).await, json!(keccak256(&create)));
    let sent = next(&mut whole).await;
    assert_eq!((&sent["hash"], &sent["tier"]), (&json!(keccak256(&create)), &json!("secured")));
    rollup.order(vec![create]).await;
    rollup.order(vec![call(1), call(2)]).await;
    rollup.order(vec![call(3)]).await;
    for number in 1..=3u64 {
        let head = next(&mut heads).await;
        let block = rollup.result("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
        for field in ["number", "hash", "parentHash", "stateRoot", "logsBloom", "baseFeePerGas"] {
            assert_eq!(head[field], block[field], "{field}");
        }
        assert_eq!(head.get("transactions"), None);
    }
    let found = rollup.result("eth_getLogs", json!([{"fromBlock": "0x1", "address": contract}])).await;
    assert_eq!(found.as_array().unwrap().len(), 3);
    for wanted in found.as_array().unwrap() {
        assert_eq!(&next(&mut logs).await, wanted);
    }
    // The stream without a match stays silent: what ends it is the unsubscription.
    let id = match none.kind() {
        jsonrpsee::core::client::SubscriptionKind::Subscription(id) => serde_json::to_value(id).unwrap(),
        _ => Value::Null,
    };
    assert!(id.as_str().unwrap().starts_with("0x"), "{id}");
    let ended: bool = client.request("eth_unsubscribe", rpc_params![id]).await.unwrap();
    assert!(ended);
    drop(rollup);
    assert!(none.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_kinds_too_many_and_http_are_refused() {
    let rollup = Rollup::start_with(RpcLimits { subscriptions: 2, ..RpcLimits::default() }).await;
    let client = rollup.socket().await;
    let refused = async |params| {
        let answer: Result<Subscription<Value>, _> = client.subscribe("eth_subscribe", params, "eth_unsubscribe").await;
        match answer.unwrap_err() {
            jsonrpsee::core::client::Error::Call(error) => error.code(),
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(rpc_params!["newUncles"]).await, -32602);
    assert_eq!(refused(rpc_params![]).await, -32602);
    assert_eq!(refused(rpc_params!["logs", json!({"topics": 5})]).await, -32602);
    assert_eq!(refused(rpc_params!["newHeads", Value::Null, 7]).await, -32602);
    let _one = subscribe(&client, rpc_params!["newHeads"]).await;
    let _two = subscribe(&client, rpc_params!["newHeads", json!({})]).await;
    assert_eq!(refused(rpc_params!["newHeads"]).await, -32006);
    let (code, message) = rollup.error("eth_subscribe", json!(["newHeads"])).await;
    assert_eq!((code, message.contains("WebSocket")), (-32601, true), "{message}");
    let batch = r#"[{"jsonrpc":"2.0","id":4,"method":"eth_subscribe","params":["newHeads"]},
                    {"jsonrpc":"2.0","id":5,"method":"eth_chainId"}]"#;
    let (status, answers) = rollup.raw(batch).await;
    assert_eq!((status, &answers[0]["error"]["code"], &answers[0]["id"]), (200, &json!(-32601), &json!(4)));
    assert_eq!(answers[1]["result"], "0x5ec");
    rollup.stop().await.unwrap();
}
