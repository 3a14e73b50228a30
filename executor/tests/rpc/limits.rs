//! What bounds a client: bodies, batches, connections, requests under way, and taking its answers.

use crate::{common::wallet, rollup::Rollup};
use alloy_primitives::{Address, Bytes, U256};
use jsonrpsee::{
    core::client::{ClientT, Error as ClientError},
    rpc_params,
};
use serde_json::{Value, json};
use squad_executor::{RpcLimits, dev_accounts};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Sends `head` as it is, closes the sending side, and reads all of the answer.
async fn plain(address: SocketAddr, head: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn http(method: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_batches_over_the_limit_are_refused() {
    let limits = RpcLimits { request_bytes: 1_000, batch: 2, ..RpcLimits::default() };
    let rollup = Rollup::start_with(limits).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"});
    let two = rollup.raw(&json!([call, call]).to_string()).await.1;
    assert_eq!(two.as_array().unwrap().len(), 2);
    let three = rollup.raw(&json!([call, call, call]).to_string()).await.1;
    assert_eq!(three["error"]["code"], -32010, "{three}");
    let (status, large) = rollup.raw(&format!("\"{}\"", "a".repeat(1_000))).await;
    assert_eq!((status, &large["error"]["code"]), (413, &json!(-32007)), "{large}");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_over_the_limit_is_an_error_and_no_more() {
    let rollup = Rollup::start_with(RpcLimits { response_bytes: 300, ..RpcLimits::default() }).await;
    assert_eq!(rollup.error("eth_getBlockByNumber", json!(["latest", true])).await.0, -32008);
    assert_eq!(rollup.result("eth_chainId", json!([])).await, "0x5ec");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_of_http_is_json_and_browsers_may_read_it() {
    let rollup = Rollup::start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    for (request, status) in [
        (http("GET", "", ""), "405"),
        (http("PUT", "Content-Type: application/json\r\n", body), "405"),
        (http("POST", "Content-Type: text/plain\r\n", body), "415"),
        (http("POST", "Content-Type: application/json\r\n", body), "200"),
    ] {
        let answer = plain(rollup.address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.to_lowercase().contains("access-control-allow-origin: *"), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&body["jsonrpc"], body["error"].is_null()), (&json!("2.0"), status == "200"), "{answer}");
    }
    let asked = "Origin: http://dapp\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let answer = plain(rollup.address, &http("OPTIONS", asked, "")).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 204"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: content-type"), "{answer}");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_over_the_limit_is_closed_and_its_place_comes_back() {
    let rollup = Rollup::start_with(RpcLimits { connections: 2, ..RpcLimits::default() }).await;
    // A WebSocket and an idle HTTP connection take the two places.
    let socket = rollup.socket().await;
    let idle = TcpStream::connect(rollup.address).await.unwrap();
    let chain: String = socket.request("eth_chainId", rpc_params![]).await.unwrap();
    assert_eq!(chain, "0x5ec");
    let mut third = TcpStream::connect(rollup.address).await.unwrap();
    let mut answer = Vec::new();
    // Closed without an answer; the system may tell so by an error.
    let read = third.read_to_end(&mut answer).await;
    assert!(read.is_err() || answer.is_empty());
    drop((idle, socket));
    loop {
        // The places come back when the server has noticed.
        let mut socket = TcpStream::connect(rollup.address).await.unwrap();
        let request =
            http("POST", "Content-Type: application/json\r\n", r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#);
        let mut answer = String::new();
        if socket.write_all(request.as_bytes()).await.is_ok()
            && socket.read_to_string(&mut answer).await.is_ok()
            && answer.contains("0x5ec")
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_those_under_way_are_told_to_wait() {
    let sync_timeout = std::time::Duration::from_secs(600);
    let limits = RpcLimits { under_way: 2, sync_timeout, ..RpcLimits::default() };
    let mut rollup = Rollup::start_with(limits).await;
    let client = rollup.socket().await;
    let raws: Vec<_> =
        dev_accounts()[..2].iter().map(|from| from.transfer(1516, 0, Address::ZERO, U256::ONE)).collect();
    let send = |raw: &Bytes| client.request::<Value, _>("eth_sendRawTransactionSync", rpc_params![raw.clone()]);
    let chain = || client.request::<String, _>("eth_chainId", rpc_params![]);
    let meanwhile = async {
        // Both are under way, and wait for a block.
        for _ in 0..2 {
            rollup.forwarded.recv().await.unwrap();
        }
        let refused = chain().await.unwrap_err();
        rollup.order(raws.clone()).await;
        refused
    };
    let (first, second, refused) = tokio::join!(send(&raws[0]), send(&raws[1]), meanwhile);
    assert_eq!((&first.unwrap()["status"], &second.unwrap()["status"]), (&json!("0x1"), &json!("0x1")));
    assert!(matches!(&refused, ClientError::Call(error) if error.code() == -32005), "{refused}");
    assert_eq!(chain().await.unwrap(), "0x5ec");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_never_reads_is_not_read_from_and_let_go() {
    let idle = std::time::Duration::from_secs(5);
    let rollup = Rollup::start_with(RpcLimits { idle, ..RpcLimits::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    // Little room for answers.
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut socket = socket.connect(rollup.address).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    // Short requests for long answers, masked with zeros. A server that reads on takes as many as come.
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}).to_string();
    let mut frame = vec![0x81, 0x80 | request.len() as u8, 0, 0, 0, 0];
    frame.extend(request.as_bytes());
    let frames = frame.repeat(10_000);
    // More than the system takes in of what nobody reads, on both sides.
    let (limit, mut sent) = (256 << 20, 0);
    while sent < limit && socket.write_all(&frames).await.is_ok() {
        sent += frames.len();
        assert_eq!(wallet::result(rollup.address, "eth_chainId", json!([])).await, "0x5ec");
    }
    assert!(sent < limit, "{sent} bytes of requests were read without an answer being taken");
    rollup.stop().await.unwrap();
}
