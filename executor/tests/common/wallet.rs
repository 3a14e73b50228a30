//! JSON-RPC over plain HTTP, as small as it gets.

use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Posts `body`; the HTTP status and the answer.
pub(crate) async fn post(address: SocketAddr, body: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Calls a method; the whole answer.
pub(crate) async fn request(address: SocketAddr, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    post(address, &body.to_string()).await.1
}

/// Calls a method that must succeed.
pub(crate) async fn result(address: SocketAddr, method: &str, params: Value) -> Value {
    let answer = request(address, method, params).await;
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

/// Waits until ordered `height` is executed.
pub(crate) async fn executed(address: SocketAddr, height: u64) {
    while result(address, "squad_status", json!([])).await["orderedHeight"] != height {
        tokio::task::yield_now().await;
    }
}
