use super::{Served, loopback};
use crate::api::http::bind;
use crate::api::{Readiness, serve_metrics};
use crate::config::Limits;
use squad_types::Height;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

async fn raw(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    raw(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

async fn post(address: SocketAddr, body: &str) -> String {
    let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    raw(address, &format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await
}

#[tokio::test]
async fn the_page_and_the_probes_answer_a_browser() {
    let served = Served::new(Limits::default()).await;
    let address = served.server.address();
    let page = get(address, "/").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("squad_status"), "{page}");
    assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/ready").await.ends_with("\r\n\r\nready\nwarning: a test is under way\n"));
    served.node.set_readiness(Readiness::CatchingUp { target: Height(9) });
    let behind = get(address, "/ready").await;
    assert!(behind.starts_with("HTTP/1.1 503") && behind.contains("height 9"), "{behind}");
    served.node.set_readiness(Readiness::Refusing { reason: "the disk is full".into() });
    assert!(get(address, "/ready").await.contains("the disk is full"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn metrics_are_served_on_their_own_port() {
    let served = Served::new(Limits::default()).await;
    served.metrics.height.set(42);
    let listener = bind("metrics", loopback()).await.unwrap();
    let server = serve_metrics(listener, served.node.clone(), served.metrics.clone()).unwrap();
    let text = get(server.address(), "/metrics").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("squad_height 42"), "{text}");
    assert!(get(server.address(), "/ready").await.starts_with("HTTP/1.1 200"));
    assert!(get(server.address(), "/").await.starts_with("HTTP/1.1 404"));
    server.stop().await;
}

#[tokio::test]
async fn malformed_requests_get_json_rpcs_own_errors() {
    let limits = Limits { rpc_batch: 2, rpc_request_bytes: 300_000, ..Default::default() };
    let served = Served::new(limits).await;
    let address = served.server.address();
    assert!(post(address, "{ nonsense").await.contains("-32700"));
    assert!(post(address, "[]").await.contains("-32600"));
    let unknown = post(address, r#"{"jsonrpc":"2.0","id":1,"method":"eth_mine","params":[]}"#).await;
    assert!(unknown.contains("-32601"), "{unknown}");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"squad_namespaces","params":[]}"#;
    assert!(post(address, &format!("[{call},{call}]")).await.contains("chain_id"));
    let three = post(address, &format!("[{call},{call},{call}]")).await;
    assert!(three.contains("batch") || three.contains("-32010"), "{three}");
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":["{}"]}}"#, "0".repeat(300_001));
    let large = post(address, &text).await;
    assert!(
        large.starts_with("HTTP/1.1 413") || large.contains("-32007") || large.contains("-32701"),
        "{}",
        &large[..200.min(large.len())]
    );
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let served = Served::new(Limits { rpc_connections: 1, ..Default::default() }).await;
    let address = served.server.address();
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut nothing = Vec::new();
    // Closed, in whichever way the system tells.
    assert!(second.read_to_end(&mut nothing).await.map_or(true, |read| read == 0));
}

/// A WebSocket with little room for answers.
async fn upgraded(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}

#[tokio::test]
async fn a_websocket_has_its_place_until_it_is_gone() {
    let served = Served::new(Limits { rpc_connections: 1, ..Default::default() }).await;
    let open = || served.metrics.connections.with_label_values(&["rpc"]).get();
    let first = upgraded(served.server.address()).await;
    let mut second = TcpStream::connect(served.server.address()).await.unwrap();
    assert!(second.read_to_end(&mut Vec::new()).await.map_or(true, |read| read == 0));
    assert_eq!(open(), 1);
    drop(first);
    while open() > 0 {
        tokio::task::yield_now().await;
    }
    let _third = upgraded(served.server.address()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_never_reads_is_not_read_from_and_let_go() {
    let served = Served::new(Limits { rpc_idle_ms: 5_000, rpc_under_way: 16, ..Default::default() }).await;
    let mut socket = upgraded(served.server.address()).await;
    // Each in a text frame, masked with zeros. A server that reads on takes as many as come.
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"squad_genesis"}"#;
    let mut frame = vec![0x81, 0x80 | request.len() as u8, 0, 0, 0, 0];
    frame.extend(request.as_bytes());
    let frames = frame.repeat(10_000);
    // More than the system takes in of what nobody reads, on both sides.
    let (limit, mut sent) = (256 << 20, 0);
    while sent < limit && socket.write_all(&frames).await.is_ok() {
        sent += frames.len();
        assert!(get(served.server.address(), "/health").await.starts_with("HTTP/1.1 200"));
    }
    assert!(sent < limit, "{sent} bytes of requests were read without an answer being taken");
    while served.metrics.connections.with_label_values(&["rpc"]).get() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let held = bind("rpc", loopback()).await.unwrap();
    let error = bind("rpc", held.local_addr().unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("--rpc-listen") && error.contains(&held.local_addr().unwrap().to_string()), "{error}");
}

#[tokio::test]
async fn a_stopped_server_lets_go_of_its_port() {
    let served = Served::new(Limits::default()).await;
    let address = served.server.address();
    assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
    served.server.stop().await;
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
