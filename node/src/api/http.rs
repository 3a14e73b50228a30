//! The sockets: who may connect, and what each path leads to.

use super::backend::Backend;
use super::entry::Gate;
use super::rpc::{self, Origin};
use super::status::{NodeStatus, Readiness};
use crate::config::{Limits, NodeConfig};
use crate::metrics::NodeMetrics;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpResponse, Methods, PingConfig, ServerConfig, ServerHandle, StopHandle,
    serve_with_graceful_shutdown, stop_channel,
};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::Service;

/// The page at `/`.
const PAGE: &str = include_str!("page.html");
/// A WebSocket client is asked for a sign of life this often, and let go if it gives none for twice as long.
const PING: Duration = Duration::from_secs(20);
/// Connections to the metrics port: a few collectors.
const METRICS_CONNECTIONS: usize = 32;
/// Pause after the system refuses a connection, out of file handles for instance, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{interface} cannot listen at {address}: {source}; {}", hint(.source, .interface))]
pub struct ListenError {
    /// What was to be served: `rpc`, `grpc` or `metrics`.
    pub interface: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// The system's answer.
    pub source: std::io::Error,
}

fn hint(source: &std::io::Error, interface: &str) -> String {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("another process has the port: stop it, or choose another with --{interface}-listen")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need privileges: choose another with --{interface}-listen")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("no interface of this machine has the address: choose another with --{interface}-listen")
        }
        _ => format!("choose another address with --{interface}-listen"),
    }
}

/// Binds a port.
///
/// # Errors
/// A port that cannot be had, with what to do.
pub async fn bind(interface: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { interface, address, source })
}

/// A running server. Dropping it does not stop it.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl HttpServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, ends the streams, and waits for the answers under way.
    pub async fn stop(self) {
        // It may have stopped already.
        let _ = self.handle.stop();
        self.handle.stopped().await;
    }
}

/// Serves JSON-RPC, WebSocket, the page, `/health` and `/ready` on a bound socket.
///
/// # Errors
/// A socket that has no address.
pub fn serve_rpc(listener: TcpListener, gate: Gate, config: &NodeConfig) -> anyhow::Result<HttpServer> {
    let methods = Methods::from(rpc::module(gate.clone(), &config.executors)?);
    let limits = &config.limits;
    let server = jsonrpsee::server::ServerBuilder::with_config(server_config(limits)).to_service_builder();
    let (stop, handle) = stop_channel();
    let address = listener.local_addr()?;
    let metrics = gate.metrics().clone();
    let backend = Arc::clone(gate.backend());
    let accepted = stop.clone();
    let serve = move |socket: TcpStream, peer: SocketAddr, stop: StopHandle| {
        let (backend, methods, server, metrics) =
            (Arc::clone(&backend), methods.clone(), server.clone(), metrics.clone());
        async move {
            metrics.connections.with_label_values(&["rpc"]).inc();
            let stopping = stop.clone();
            let service = tower::service_fn(move |mut request: jsonrpsee::server::HttpRequest<_>| {
                let (backend, methods, stop) = (Arc::clone(&backend), methods.clone(), stop.clone());
                let server = server.clone();
                let plain = Plain::of(&request);
                let origin = Origin { namespace: namespace_of(request.uri().path()), client: peer.ip() };
                request.extensions_mut().insert(origin);
                async move {
                    if let Some(plain) = plain {
                        return Ok(plain.answer(&*backend).await);
                    }
                    server.build(methods, stop).call(request).await.map_err(std::io::Error::other)
                }
            });
            // A connection that breaks is its client's business.
            let _ = serve_with_graceful_shutdown(socket, service, stopping.shutdown()).await;
            metrics.connections.with_label_values(&["rpc"]).dec();
        }
    };
    tokio::spawn(accept(listener, accepted, limits.rpc_connections as usize, serve));
    Ok(HttpServer { address, handle })
}

fn server_config(limits: &Limits) -> ServerConfig {
    let batches = match limits.rpc_batch {
        0 => BatchRequestConfig::Disabled,
        most => BatchRequestConfig::Limit(most),
    };
    ServerConfig::builder()
        .max_request_body_size(limits.rpc_request_bytes)
        .max_response_body_size(limits.rpc_response_bytes)
        .max_connections(limits.rpc_connections)
        .max_subscriptions_per_connection(limits.rpc_subscriptions)
        .set_message_buffer_capacity(limits.rpc_buffered_messages)
        .set_batch_request_config(batches)
        .enable_ws_ping(PingConfig::new().ping_interval(PING).inactive_limit(2 * PING))
        .build()
}

/// Serves `/metrics`, `/health` and `/ready` on a bound socket.
///
/// # Errors
/// A socket that has no address.
pub fn serve_metrics(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    metrics: NodeMetrics,
) -> anyhow::Result<HttpServer> {
    let (stop, handle) = stop_channel();
    let address = listener.local_addr()?;
    let accepted = stop.clone();
    let serve = move |socket: TcpStream, _: SocketAddr, stop: StopHandle| {
        let (backend, metrics) = (Arc::clone(&backend), metrics.clone());
        async move {
            let service = tower::service_fn(move |request: jsonrpsee::server::HttpRequest<_>| {
                let (backend, metrics) = (Arc::clone(&backend), metrics.clone());
                let plain = Plain::of::<()>(&request.map(|_: _| ()));
                async move {
                    let answer = match plain {
                        Some(Plain::Metrics) => match metrics.render() {
                            Ok(text) => response(200, "text/plain; version=0.0.4", text),
                            Err(error) => response(500, "text/plain", error.to_string()),
                        },
                        Some(plain @ (Plain::Health | Plain::Ready)) => plain.answer(&*backend).await,
                        _ => response(404, "text/plain", "here are /metrics, /health and /ready\n".into()),
                    };
                    Ok::<_, Infallible>(answer)
                }
            });
            let _ = serve_with_graceful_shutdown(socket, service, stop.shutdown()).await;
        }
    };
    tokio::spawn(accept(listener, accepted, METRICS_CONNECTIONS, serve));
    Ok(HttpServer { address, handle })
}

/// Accepts connections, a bounded number at a time, until told to stop; those over the limit are closed at once.
async fn accept<F, Fut>(listener: TcpListener, stop: StopHandle, most: usize, serve: F)
where
    F: Fn(TcpStream, SocketAddr, StopHandle) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(most));
    let stopped = stop.clone().shutdown();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                // Answers are small and single: do not wait to fill packets. A failure costs only speed.
                let _ = socket.set_nodelay(true);
                let served = serve(socket, peer, stop.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the node takes transactions, and below that what its operator should see to.
fn ready(status: &NodeStatus) -> HttpResponse {
    let (code, state) = match &status.readiness {
        Readiness::Ready => (200, "ready".to_owned()),
        Readiness::Starting => (503, "starting".to_owned()),
        Readiness::CatchingUp { target } => (503, format!("catching up to height {target}")),
        Readiness::Refusing { reason } => (503, format!("refusing: {reason}")),
    };
    let warnings: String = status.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    response(code, "text/plain", format!("{state}\n{warnings}"))
}

fn namespace_of(path: &str) -> Option<String> {
    let name = path.trim_matches('/');
    (!name.is_empty() && name.len() <= squad_types::limits::MAX_NAME_BYTES).then(|| name.to_owned())
}

fn response(status: u16, kind: &str, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(body));
    if let Ok(status) = status.try_into() {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    for (name, value) in [("content-type", kind), ("cache-control", "no-store")] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    response
}

/// What a browser or a probe asks for with a plain GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Page,
    Health,
    Ready,
    Metrics,
    Nothing,
}

impl Plain {
    /// What a request asks for; none for JSON-RPC and WebSocket.
    fn of<B>(request: &jsonrpsee::server::HttpRequest<B>) -> Option<Self> {
        let upgrades = request.headers().contains_key("upgrade");
        if (request.method() != "GET" && request.method() != "HEAD") || upgrades {
            return None;
        }
        Some(match request.uri().path() {
            "/" => Self::Page,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => Self::Nothing,
        })
    }

    async fn answer(self, backend: &dyn Backend) -> HttpResponse {
        match self {
            Self::Page => response(200, "text/html; charset=utf-8", PAGE.to_owned()),
            // The process answers: that is what this one is about.
            Self::Health => response(200, "text/plain", "alive\n".into()),
            Self::Ready => ready(&backend.status().await),
            Self::Metrics | Self::Nothing => {
                let text =
                    "here are the page at /, /health, /ready, and JSON-RPC (POST or WebSocket) at / and /{namespace}\n";
                response(404, "text/plain", text.into())
            }
        }
    }
}
