//! The end of a server.

use crate::served::{Served, all, body, frame, limits, message, post, request, until};
use jsonrpsee::RpcModule;
use squad_rpc::{Front, serve};
use std::sync::Arc;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_are_answered_and_nobody_else_holds_the_end_up() {
    let served = Served::new(limits()).await;
    let silent = served.connect().await;
    let mut halfway = served.connect().await;
    halfway.write_all(b"POST / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut subscribed = served.socket().await;
    subscribed.write_all(&frame(&request(1, "stream", ""))).await.unwrap();
    assert!(message(&mut subscribed).await.unwrap().contains("result"));
    let (mut http, mut socket) = (served.connect().await, served.socket().await);
    http.write_all(post(&request(1, "wait", "")).as_bytes()).await.unwrap();
    socket.write_all(&frame(&request(1, "wait", ""))).await.unwrap();
    until(&served.done.waiting, 2).await;

    let (done, go) = (served.done.clone(), served.go.clone());
    let stopping = tokio::spawn(served.server.stop());
    // The reader of a subscription is told so; then what is under way may end.
    while message(&mut subscribed).await.is_some() {}
    go.add_permits(2);
    assert_eq!(body(&all(&mut http).await)["result"], "done");
    assert!(message(&mut socket).await.unwrap().contains("done"));
    assert_eq!(message(&mut socket).await, None);
    stopping.await.unwrap();
    until(&done.open, 0).await;
    drop((silent, halfway));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_server_lets_go_of_its_port() {
    let served = Served::new(limits()).await;
    let (done, address) = (served.done.clone(), served.address);
    let _open = served.socket().await;
    until(&done.open, 1).await;
    drop(served);
    until(&done.open, 0).await;
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[derive(Debug)]
struct Plain;

impl Front for Plain {}

/// Many times, since what could still hold something would hold it for a moment only.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_has_ended_holds_its_methods_no_more() {
    for connections in (0..4).cycle().take(400) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let context = Arc::new(());
        let mut module = RpcModule::from_arc(context.clone());
        module.register_method("small", |_, _, _| "done").unwrap();
        let server = serve(listener, module, limits(), Plain).unwrap();
        let mut clients = Vec::new();
        for _ in 0..connections {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(post(&request(1, "small", "")).as_bytes()).await.unwrap();
            clients.push(client);
        }
        server.stop().await;
        assert_eq!(Arc::strong_count(&context), 1, "with {connections} connections");
    }
}
