//! Accepting connections, and what HTTP needs around JSON-RPC: browsers' rules, and refusals as JSON.

use super::{
    gate::{Gate, OverHttp},
    server::RpcLimits,
    socket::Socket,
};
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpRequest, HttpResponse, Methods, PingConfig, Server, ServerConfig, ServerHandle,
    StopHandle, middleware::rpc::RpcServiceBuilder, serve_with_graceful_shutdown, stop_channel,
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::Service;

/// A WebSocket client is asked for a sign of life this often, and let go if it gives none for twice as long.
const PING: Duration = Duration::from_secs(20);
/// An HTTP connection on which no byte moves for so long is closed. Longer than any answer may take.
const IDLE: Duration = Duration::from_secs(120);
/// Pause after the system refuses a connection, out of file handles for instance, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Answers that wait in memory for a WebSocket client to read them; then its requests wait too.
const BUFFERED_ANSWERS: u32 = 16;
/// JSON-RPC's code for what is no request.
const INVALID_REQUEST: i32 = -32600;

fn config(limits: &RpcLimits) -> ServerConfig {
    ServerConfig::builder()
        .max_request_body_size(limits.request_bytes)
        .max_response_body_size(limits.response_bytes)
        .max_connections(limits.connections)
        .max_subscriptions_per_connection(limits.subscriptions)
        .set_message_buffer_capacity(BUFFERED_ANSWERS)
        .set_batch_request_config(match limits.batch {
            0 => BatchRequestConfig::Disabled,
            most => BatchRequestConfig::Limit(most),
        })
        .set_id_provider(HexIds)
        .enable_ws_ping(PingConfig::new().ping_interval(PING).inactive_limit(2 * PING))
        .build()
}

/// Subscription ids as Ethereum writes them.
#[derive(Debug)]
struct HexIds;

impl jsonrpsee::core::traits::IdProvider for HexIds {
    fn next_id(&self) -> jsonrpsee::types::SubscriptionId<'static> {
        super::filters::random_id().into()
    }
}

/// Serves `methods` on a bound socket until the handle is stopped or dropped.
pub(super) fn serve(listener: TcpListener, methods: Methods, limits: &RpcLimits) -> ServerHandle {
    let under_way = limits.under_way;
    let middleware = RpcServiceBuilder::new().layer_fn(move |inner| Gate::new(inner, under_way));
    let server = Server::builder().set_config(config(limits)).set_rpc_middleware(middleware).to_service_builder();
    let (stop, handle) = stop_channel();
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let serve = move |stream: TcpStream, stop: StopHandle| {
        let (server, methods) = (server.clone(), methods.clone());
        // A connection over the limit is closed at once.
        let Ok(place) = places.clone().try_acquire_owned() else { return };
        // Answers are small and single: do not wait to fill packets. A failure costs only speed.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let moved = Arc::new(AtomicU64::new(0));
            let socket = Socket::new(stream, place, moved.clone());
            let stopping = stop.clone();
            let service = tower::service_fn(move |mut request: HttpRequest<_>| {
                let (server, methods, stop) = (server.clone(), methods.clone(), stop.clone());
                let upgrade = request.headers().contains_key("upgrade");
                if !upgrade {
                    request.extensions_mut().insert(OverHttp);
                }
                let preflight = request.method() == "OPTIONS";
                async move {
                    if preflight {
                        return Ok(for_browsers(empty()));
                    }
                    let mut service = server.build(methods, stop);
                    let answer = service.call(request).await.map_err(std::io::Error::other)?;
                    Ok::<_, std::io::Error>(if upgrade { answer } else { for_browsers(as_json(answer)) })
                }
            });
            tokio::select! {
                // A connection that breaks is its client's business.
                _ = serve_with_graceful_shutdown(socket, service, stopping.shutdown()) => {}
                () = idle(&moved) => {}
            }
        });
    };
    tokio::spawn(accept(listener, stop, serve));
    handle
}

/// Ends when nothing has moved for [`IDLE`].
async fn idle(moved: &AtomicU64) {
    let mut before = u64::MAX;
    loop {
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(IDLE).await;
    }
}

async fn accept(listener: TcpListener, stop: StopHandle, serve: impl Fn(TcpStream, StopHandle)) {
    let stopped = stop.clone().shutdown();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, _)) => serve(stream, stop.clone()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn empty() -> HttpResponse {
    let mut answer = HttpResponse::new(HttpBody::empty());
    if let Ok(status) = 204u16.try_into() {
        *answer.status_mut() = status;
    }
    answer
}

/// Lets pages of any origin read the answer: there are no cookies and no accounts here that a page could misuse.
fn for_browsers(mut answer: HttpResponse) -> HttpResponse {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "86400"),
    ] {
        if let Ok(value) = value.parse() {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// Puts a JSON-RPC error in place of a plain text refusal.
fn as_json(answer: HttpResponse) -> HttpResponse {
    let text = match answer.status().as_u16() {
        405 => "send JSON-RPC requests by POST, or connect by WebSocket",
        415 => "the content type must be application/json",
        429 => "too many requests at once; try again",
        403 => "this kind of request is not served here",
        _ => return answer,
    };
    let body = json!({"jsonrpc": "2.0", "error": {"code": INVALID_REQUEST, "message": text}, "id": null});
    let (mut head, _) = answer.into_parts();
    if let Ok(kind) = "application/json; charset=utf-8".parse() {
        head.headers.insert("content-type", kind);
    }
    HttpResponse::from_parts(head, HttpBody::from(body.to_string()))
}
