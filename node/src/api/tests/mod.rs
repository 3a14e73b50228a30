//! The interfaces over real sockets, in front of a node that orders what it is handed.

mod fake;
mod grpc;
mod plain;
mod submit;
mod subscriptions;

pub(crate) use fake::{CHAIN_TIME, FakeBackend, WINDOW};

use crate::api::http::bind;
use crate::api::{Gate, serve_rpc};
use crate::config::{KeySource, L1Config, Limits, NodeConfig};
use crate::metrics::NodeMetrics;
use jsonrpsee::core::client::{ClientT, Error};
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::rpc_params;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

/// A free port of this machine.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn config(limits: Limits, executors: Vec<(String, String)>) -> NodeConfig {
    NodeConfig {
        data_dir: "data".into(),
        genesis: "genesis.json".into(),
        key: KeySource::PlaintextDev { path: "key".into() },
        p2p_listen: Vec::new(),
        p2p_announce: Vec::new(),
        bootstrap: Vec::new(),
        rpc_listen: None,
        grpc_listen: None,
        metrics_listen: None,
        executors,
        l1: L1Config {
            endpoints: Vec::new(),
            agree: 1,
            timeout_ms: 5_000,
            poll_ms: 6_000,
            account: None,
            submit_evidence: false,
        },
        limits,
        min_free_bytes: 0,
        log: Default::default(),
    }
}

/// A fake node with its JSON-RPC port.
pub(crate) struct Served {
    pub(crate) node: Arc<FakeBackend>,
    pub(crate) metrics: NodeMetrics,
    pub(crate) server: squad_rpc::Server,
}

impl Served {
    pub(crate) async fn new(limits: Limits) -> Self {
        Self::with_executors(limits, Vec::new()).await
    }

    pub(crate) async fn with_executors(limits: Limits, executors: Vec<(String, String)>) -> Self {
        let (node, metrics) = (FakeBackend::new(), NodeMetrics::new().unwrap());
        let gate = Gate::new(node.clone(), metrics.clone(), &limits);
        let listener = bind("rpc", loopback()).await.unwrap();
        let server = serve_rpc(listener, gate, &config(limits, executors)).unwrap();
        Self { node, metrics, server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.server.address())
    }

    pub(crate) fn client(&self, path: &str) -> HttpClient {
        HttpClientBuilder::default().build(self.url(path)).unwrap()
    }

    /// Calls a method with one parameter.
    pub(crate) async fn call(&self, path: &str, method: &str, param: impl serde::Serialize) -> Result<Value, Error> {
        self.client(path).request(method, rpc_params![param]).await
    }
}

/// The stable text code and the number of a refusal.
pub(crate) fn refused(outcome: Result<Value, Error>) -> (String, i32, String) {
    match outcome.unwrap_err() {
        Error::Call(object) => {
            let data: Value = serde_json::from_str(object.data().map_or("null", |raw| raw.get())).unwrap();
            (data["code"].as_str().unwrap_or_default().to_owned(), object.code(), object.message().to_owned())
        }
        other => panic!("no refusal: {other}"),
    }
}
