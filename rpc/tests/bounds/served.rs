//! A server with methods that a test can watch, and a client that does what it is told and no more.

use jsonrpsee::{RpcModule, types::ErrorObjectOwned};
use serde_json::{Value, json};
use squad_rpc::{Front, Limits, Server, serve};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
};

/// Bytes of a large answer: more than the system holds of what a narrow connection's client does not read, so that it is not
/// written before it is read.
pub(crate) fn large() -> usize {
    system_buffer("wmem") + (2 << 20)
}

pub(crate) fn limits() -> Limits {
    Limits {
        request_bytes: 1 << 20,
        response_bytes: (large() + (1 << 20)) as u32,
        batch: 10,
        connections: 16,
        under_way: 4,
        subscriptions: 4,
        buffered: 4,
        memory: 1 << 30,
        // For tests in which nobody is let go.
        idle: Duration::from_secs(600),
    }
}

/// What the methods did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Large answers made.
    pub(crate) large: watch::Sender<usize>,
    /// Calls of `wait` that have begun.
    pub(crate) waiting: watch::Sender<usize>,
    /// Notifications handed on, and streams ended.
    pub(crate) notified: AtomicUsize,
    pub(crate) streams_ended: watch::Sender<usize>,
    /// Messages read from WebSockets.
    pub(crate) messages: AtomicUsize,
    /// Connections open.
    pub(crate) open: watch::Sender<usize>,
}

/// Waits until a count is as wanted.
pub(crate) async fn until(count: &watch::Sender<usize>, wanted: usize) {
    count.subscribe().wait_for(|count| *count == wanted).await.unwrap();
}

#[derive(Debug)]
struct Counting(Arc<Done>);

impl Front for Counting {
    fn message(&self) {
        self.0.messages.fetch_add(1, Ordering::SeqCst);
    }

    fn opened(&self) {
        self.0.open.send_modify(|open| *open += 1);
    }

    fn closed(&self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) done: Arc<Done>,
    /// Lets calls of `wait` go on.
    pub(crate) go: Arc<Semaphore>,
}

impl Served {
    pub(crate) async fn new(limits: Limits) -> Self {
        let (done, go) = (Arc::new(Done::default()), Arc::new(Semaphore::new(0)));
        let mut module = RpcModule::new((done.clone(), go.clone()));
        module.register_method("small", |_, _, _| "done").unwrap();
        module
            .register_method("large", |_, context, _| {
                context.0.large.send_modify(|made| *made += 1);
                "x".repeat(large())
            })
            .unwrap();
        let wait = |_, context: Arc<(Arc<Done>, Arc<Semaphore>)>, _| async move {
            context.0.waiting.send_modify(|waiting| *waiting += 1);
            context.1.acquire().await.map_err(|_| ErrorObjectOwned::borrowed(1, "", None))?.forget();
            Ok::<_, ErrorObjectOwned>("done")
        };
        module.register_async_method("wait", wait).unwrap();
        let stream = |_, pending: jsonrpsee::PendingSubscriptionSink, context: Arc<(Arc<Done>, _)>, _| async move {
            let Ok(sink) = pending.accept().await else { return };
            let text = serde_json::value::to_raw_value(&"x".repeat(1 << 20)).unwrap();
            while sink.send(text.clone()).await.is_ok() {
                context.0.notified.fetch_add(1, Ordering::SeqCst);
            }
            context.0.streams_ended.send_modify(|ended| *ended += 1);
        };
        module.register_subscription("stream", "item", "unstream", stream).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = serve(listener, module, limits, Counting(done.clone())).unwrap();
        Self { address: server.address(), server, done, go }
    }

    /// A connection with little room for answers that nobody reads.
    pub(crate) async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Such a connection after its upgrade.
    pub(crate) async fn socket(&self) -> TcpStream {
        let mut socket = self.connect().await;
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

    /// One call over a connection of its own.
    pub(crate) async fn call(&self, method: &str) -> Value {
        self.post(&request(1, method, "")).await
    }

    pub(crate) async fn post(&self, message: &str) -> Value {
        let mut socket = self.connect().await;
        socket.write_all(post(message).as_bytes()).await.unwrap();
        body(&all(&mut socket).await)
    }
}

pub(crate) fn request(id: usize, method: &str, padding: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": [padding]}).to_string()
}

pub(crate) fn post(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// All that comes until the server closes, in whichever way it does.
pub(crate) async fn all(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

pub(crate) fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A text frame, masked with zeros.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The next message of a server: its text, pings passed over. None at its close.
pub(crate) async fn message(socket: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    loop {
        let (kind, short) = (socket.read_u8().await.ok()?, socket.read_u8().await.ok()?);
        let length = match short {
            126 => socket.read_u16().await.ok()?.into(),
            127 => socket.read_u64().await.ok()?,
            short => short.into(),
        };
        let mut text = vec![0; length as usize];
        socket.read_exact(&mut text).await.ok()?;
        match kind {
            0x81 => return Some(String::from_utf8(text).unwrap()),
            0x88 => return None,
            _ => {}
        }
    }
}

/// What the system holds at most of what one side has sent and the other has not read.
pub(crate) fn system_buffers() -> usize {
    system_buffer("rmem") + system_buffer("wmem")
}

fn system_buffer(which: &str) -> usize {
    let sizes = std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{which}")).unwrap_or_default();
    sizes.split_whitespace().last().and_then(|most| most.parse().ok()).unwrap_or(8 << 20)
}
