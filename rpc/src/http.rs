//! One connection: HTTP/1.1 until it is over or becomes a WebSocket.

use crate::{
    calls::{self, Calls, Reply},
    front::Head,
    memory::Held,
    refusal,
    server::{Shared, Stop},
    socket::{Place, Pulse, Serving, Socket},
    websocket,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Incoming, header::CONTENT_TYPE, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::server::{
    HttpBody, HttpResponse,
    http::{is_json, response},
};
use serde_json::value::RawValue;
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// Bytes of a request's head, and of what is read ahead. Browsers and proxies send a few KiB.
const MAX_HEAD: usize = 64 << 10;
/// Bytes of a body over the limit that are read all the same.
const MAX_DRAIN: usize = 32 << 20;
/// What a server that stops gives a connection without a request under way: half a head or body may be there, and an answer
/// may be on its way out.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection until its client or the server ends it.
pub(crate) async fn connection(shared: Arc<Shared>, stream: TcpStream, client: SocketAddr, place: Place, stop: Stop) {
    let pulse = Arc::new(Pulse::default());
    let socket = TokioIo::new(Socket::new(stream, place, pulse.clone()));
    let (idle, stopping) = (shared.limits.idle, stop.clone().told());
    let service = service_fn({
        // This function's own `shared` goes last, when everything else of the connection is gone.
        let (shared, pulse) = (shared.clone(), pulse.clone());
        move |request| {
            let (shared, pulse, stop) = (shared.clone(), pulse.clone(), stop.clone());
            async move { Ok::<_, Infallible>(answer(&shared, request, client, &pulse, stop).await) }
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(MAX_HEAD);
    let mut serving = std::pin::pin!(builder.serve_connection(socket, service).with_upgrades());
    tokio::select! {
        // A connection that breaks is its client's business.
        _ = &mut serving => {}
        () = pulse.stops(idle) => {}
        () = stopping => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                _ = &mut serving => {}
                () = pulse.stops(idle) => {}
                () = pulse.rests(LAST_WORDS) => {}
            }
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    client: SocketAddr,
    pulse: &Arc<Pulse>,
    stop: Stop,
) -> HttpResponse {
    let (mut head, body) = request.into_parts();
    if let Some(own) = shared.front.request(&mut head, client) {
        let _serving = pulse.serve();
        return own.await;
    }
    if websocket::is_asked(&head) {
        return websocket::upgrade(shared, Request::from_parts(head, body), pulse.clone(), stop);
    }
    shared.front.answer(call(shared, head, body, pulse).await)
}

/// A request for JSON-RPC.
async fn call(shared: &Arc<Shared>, head: Head, body: Incoming, pulse: &Arc<Pulse>) -> HttpResponse {
    let limits = &shared.limits;
    if head.method != Method::POST {
        return refusal::http(405, "send JSON-RPC requests by POST, or connect by WebSocket");
    }
    if !is_json(head.headers.get(CONTENT_TYPE)) {
        return refusal::http(415, "the content type must be application/json");
    }
    let message = match tokio::time::timeout(limits.idle, read(body, limits.request_bytes as usize)).await {
        Ok(Ok(message)) => message,
        Ok(Err(Unread::TooLarge)) => return response::too_large(limits.request_bytes),
        Ok(Err(Unread::Broken)) => return refusal::http(400, "the request's body broke off"),
        Err(_) => return refusal::http(408, "the request's body did not come in time"),
    };
    if !matches!(message.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'[')) {
        return response::malformed();
    }
    let serving = pulse.serve();
    let reply = match shared.memory.hold(message.len()) {
        Ok(_held) => {
            let calls = Calls { shared: shared.clone(), extensions: head.extensions, subscriptions: None };
            calls.message(&message).await
        }
        Err(error) => calls::refuse(&message, error),
    };
    // HTTP answers a notification too, with nothing in it.
    let Reply { json, held } = reply.unwrap_or_else(|| Reply { json: RawValue::NULL.to_owned(), held: None });
    let text = Text { json, _held: held, _serving: serving };
    response::ok_response(HttpBody::new(Full::new(Bytes::from_owner(text))))
}

/// Why there is no body.
enum Unread {
    TooLarge,
    Broken,
}

/// Reads a body of at most `most` bytes. One that is longer is read on, up to [`MAX_DRAIN`], and passed over: its client would
/// otherwise see a broken connection in place of the reason.
async fn read(mut body: Incoming, most: usize) -> Result<Vec<u8>, Unread> {
    let (mut message, mut length) = (Vec::new(), 0);
    while length <= MAX_DRAIN.max(most) {
        let Some(frame) = body.frame().await else {
            return if length > most { Err(Unread::TooLarge) } else { Ok(message) };
        };
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        length += data.len();
        if length > most {
            message = Vec::new();
        } else {
            message.extend_from_slice(&data);
        }
    }
    Err(Unread::TooLarge)
}

/// An answer's text until it is written.
struct Text {
    json: Box<RawValue>,
    _held: Option<Held>,
    _serving: Serving,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.json.get().as_bytes()
    }
}
