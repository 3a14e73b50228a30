//! The executors that answer for wallets what operators cannot.

use crate::api::rejection::{RejectCode, Rejected};
use jsonrpsee::core::client::{ClientT, Error};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an executor may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Calls that may be with one executor at a time.
const MAX_CONCURRENT: usize = 256;

/// The executors by name of their namespace.
#[derive(Clone)]
pub(super) struct Executors(Arc<BTreeMap<String, Result<Executor, String>>>);

/// One executor.
#[derive(Clone)]
pub(super) struct Executor {
    url: String,
    client: HttpClient,
}

impl Executors {
    pub(super) fn new(urls: &[(String, String)]) -> Self {
        let connect = |(namespace, url): &(String, String)| {
            let client = HttpClientBuilder::default()
                .request_timeout(TIMEOUT)
                .max_concurrent_requests(MAX_CONCURRENT)
                .build(url)
                .map(|client| Executor { url: url.clone(), client })
                .map_err(|error| format!("the executor's URL '{url}' cannot be used: {error}"));
            (namespace.clone(), client)
        };
        Self(Arc::new(urls.iter().map(connect).collect()))
    }

    /// The executor of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Result<&Executor, Rejected> {
        match self.0.get(namespace) {
            Some(Ok(executor)) => Ok(executor),
            Some(Err(reason)) => Err(Rejected::new(RejectCode::ExecutorFailed, reason.clone())),
            None => {
                let reason = format!(
                    "operators order and do not execute, and this one knows no executor of namespace '{namespace}': \
                     ask an executor's own RPC, or add it under [executors] in the operator's configuration"
                );
                Err(Rejected::new(RejectCode::ExecutorNeeded, reason))
            }
        }
    }
}

impl Executor {
    /// Passes a call on.
    pub(super) async fn call(&self, method: &str, params: Vec<Value>) -> Result<Value, Rejected> {
        let failed = |what: String| Rejected::new(RejectCode::ExecutorFailed, what);
        let mut list = ArrayParams::new();
        for param in params {
            list.insert(param).map_err(|error| failed(error.to_string()))?;
        }
        self.client.request(method, list).await.map_err(|error| match error {
            Error::Call(object) => failed(format!("the executor refused {method}: {}", object.message())),
            other => failed(format!("the executor at {} did not answer {method}: {other}", self.url)),
        })
    }
}
