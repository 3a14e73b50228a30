//! The sockets: who may connect, and what each path leads to.

use super::backend::Backend;
use super::entry::Gate;
use super::rpc::{self, Origin};
use super::status::{NodeStatus, Readiness};
use crate::config::NodeConfig;
use crate::metrics::NodeMetrics;
use jsonrpsee::server::{HttpBody, HttpResponse, Methods};
use squad_rpc::{Answering, Front, Head, Server, serve};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The page at `/`.
const PAGE: &str = include_str!("page.html");
/// What a port without JSON-RPC allows: a few collectors and probes, which ask small things.
const METRICS_LIMITS: squad_rpc::Limits = squad_rpc::Limits {
    request_bytes: 0,
    response_bytes: 0,
    batch: 0,
    connections: 32,
    under_way: 0,
    subscriptions: 0,
    buffered: 0,
    memory: 0,
    idle: Duration::from_secs(60),
};

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

/// Serves JSON-RPC, WebSocket, the page, `/health` and `/ready` on a bound socket.
///
/// # Errors
/// A socket that has no address.
pub fn serve_rpc(listener: TcpListener, gate: Gate, config: &NodeConfig) -> anyhow::Result<Server> {
    let methods = rpc::module(gate.clone(), &config.executors)?;
    let front = Clients { backend: Arc::clone(gate.backend()), metrics: gate.metrics().clone() };
    Ok(serve(listener, methods, config.limits.rpc(), front)?)
}

/// Serves `/metrics`, `/health` and `/ready` on a bound socket.
///
/// # Errors
/// A socket that has no address.
pub fn serve_metrics(listener: TcpListener, backend: Arc<dyn Backend>, metrics: NodeMetrics) -> anyhow::Result<Server> {
    Ok(serve(listener, Methods::new(), METRICS_LIMITS, Collectors { backend, metrics })?)
}

/// The front of the JSON-RPC port.
struct Clients {
    backend: Arc<dyn Backend>,
    metrics: NodeMetrics,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Front for Clients {
    fn request(&self, head: &mut Head, client: SocketAddr) -> Option<Answering> {
        let Some(plain) = Plain::of(head) else {
            let origin = Origin { namespace: namespace_of(head.uri.path()), client: client.ip() };
            head.extensions.insert(origin);
            return None;
        };
        let backend = Arc::clone(&self.backend);
        Some(Box::pin(async move { plain.answer(&*backend).await }))
    }

    fn opened(&self) {
        self.metrics.connections.with_label_values(&["rpc"]).inc();
    }

    fn closed(&self) {
        self.metrics.connections.with_label_values(&["rpc"]).dec();
    }
}

/// The front of the metrics port, which has no JSON-RPC behind it.
struct Collectors {
    backend: Arc<dyn Backend>,
    metrics: NodeMetrics,
}

impl fmt::Debug for Collectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collectors")
    }
}

impl Front for Collectors {
    fn request(&self, head: &mut Head, _: SocketAddr) -> Option<Answering> {
        let (plain, backend, metrics) = (Plain::of(head), Arc::clone(&self.backend), self.metrics.clone());
        Some(Box::pin(async move {
            match plain {
                Some(Plain::Metrics) => match metrics.render() {
                    Ok(text) => response(200, "text/plain; version=0.0.4", text),
                    Err(error) => response(500, "text/plain", error.to_string()),
                },
                Some(plain @ (Plain::Health | Plain::Ready)) => plain.answer(&*backend).await,
                _ => response(404, "text/plain", "here are /metrics, /health and /ready\n".into()),
            }
        }))
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
    fn of(head: &Head) -> Option<Self> {
        let upgrades = head.headers.contains_key("upgrade");
        if (head.method != "GET" && head.method != "HEAD") || upgrades {
            return None;
        }
        Some(match head.uri.path() {
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
