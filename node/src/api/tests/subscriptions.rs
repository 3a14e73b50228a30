use super::Served;
use crate::api::view::BlockView;
use crate::config::Limits;
use jsonrpsee::core::client::{ClientT, Error, Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde_json::Value;

async fn socket(served: &Served, path: &str) -> WsClient {
    WsClientBuilder::default().build(format!("ws://{}/{path}", served.server.address())).await.unwrap()
}

async fn blocks(
    client: &WsClient,
    params: jsonrpsee::core::params::ArrayParams,
) -> Result<Subscription<BlockView>, Error> {
    client.subscribe("squad_subscribeBlocks", params, "squad_unsubscribeBlocks").await
}

async fn heights(subscription: &mut Subscription<BlockView>, count: usize) -> Vec<u64> {
    let mut heights = Vec::new();
    for _ in 0..count {
        heights.push(subscription.next().await.unwrap().unwrap().header.height.0);
    }
    heights
}

#[tokio::test]
async fn a_subscription_resumes_at_a_height_and_skips_none() {
    let served = Served::new(Limits::default()).await;
    for at in 0..5_u8 {
        served.node.order(&[at]);
    }
    let client = socket(&served, "").await;
    let mut subscription = blocks(&client, rpc_params!["bytes", 2]).await.unwrap();
    assert_eq!(heights(&mut subscription, 4).await, [2, 3, 4, 5]);
    served.node.order(b"more");
    assert_eq!(heights(&mut subscription, 1).await, [6]);
    drop(subscription);
    drop(client);
    let again = socket(&served, "bytes").await;
    let mut subscription = blocks(&again, rpc_params![Value::Null, 7]).await.unwrap();
    served.node.order(b"last");
    assert_eq!(heights(&mut subscription, 1).await, [7]);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let limits = Limits { rpc_buffered_messages: 1, ..Default::default() };
    let served = Served::new(limits).await;
    let client = socket(&served, "").await;
    let mut subscription = blocks(&client, rpc_params!["bytes", 1]).await.unwrap();
    for at in 0..200_u8 {
        served.node.order(&[at; 1000]);
    }
    assert_eq!(heights(&mut subscription, 200).await, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn headers_follow_too_and_streams_are_counted() {
    let served = Served::new(Limits::default()).await;
    served.node.order(b"one");
    let client = socket(&served, "").await;
    let mut headers: Subscription<Value> =
        client.subscribe("squad_subscribeHeaders", rpc_params![1], "squad_unsubscribeHeaders").await.unwrap();
    assert_eq!(headers.next().await.unwrap().unwrap()["header"]["height"], 1);
    served.node.order(b"two");
    assert_eq!(headers.next().await.unwrap().unwrap()["header"]["height"], 2);
    assert_eq!(served.metrics.streams.get(), 1);
    headers.unsubscribe().await.unwrap();
    while served.metrics.streams.get() != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_a_height_a_subscription_begins_with_the_next_block() {
    let served = Served::new(Limits::default()).await;
    served.node.order(b"old");
    let client = socket(&served, "").await;
    let mut subscription = blocks(&client, rpc_params!["bytes"]).await.unwrap();
    served.node.order(b"new");
    assert_eq!(heights(&mut subscription, 1).await, [2]);
}

#[tokio::test]
async fn wrong_subscriptions_are_refused_and_pruned_ones_end_with_the_reason() {
    let served = Served::new(Limits::default()).await;
    let client = socket(&served, "").await;
    for params in [rpc_params!["nowhere"], rpc_params![Value::Null], rpc_params!["bytes", "x"]] {
        assert!(matches!(blocks(&client, params).await, Err(Error::Call(_))));
    }
    served.node.order(b"one");
    served.node.order(b"two");
    served.node.prune(2);
    let mut subscription: Subscription<Value> =
        client.subscribe("squad_subscribeBlocks", rpc_params!["bytes", 1], "squad_unsubscribeBlocks").await.unwrap();
    // The client library ends a subscription at its error; what matters is that nothing is skipped silently.
    assert!(subscription.next().await.is_none_or(|item| item.is_err()));
}

#[tokio::test]
async fn a_connection_has_as_many_subscriptions_as_the_limit_says() {
    let served = Served::new(Limits { rpc_subscriptions: 1, ..Default::default() }).await;
    let client = socket(&served, "").await;
    let _held = blocks(&client, rpc_params!["bytes"]).await.unwrap();
    assert!(blocks(&client, rpc_params!["bytes"]).await.is_err());
    // Calls still work on it.
    let _: Value = client.request("squad_status", rpc_params![]).await.unwrap();
}
