//! The executors that answer for wallets what operators cannot.

use crate::api::rejection::{RejectCode, Rejected};
use jsonrpsee::core::client::{ClientT, Error};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::types::ErrorObjectOwned;
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
    /// Asks on this operator's own behalf.
    pub(super) async fn call(&self, method: &str, params: Vec<Value>) -> Result<Value, Rejected> {
        self.ask(method, params).await?.map_err(|refusal| {
            let reason = format!("the executor refused {method}: {}", refusal.message());
            Rejected::new(RejectCode::ExecutorFailed, reason)
        })
    }

    /// Passes a wallet's call on. What the executor refuses, the wallet hears as the executor said it: it looks for the
    /// code and the data of a revert, for instance.
    pub(super) async fn pass_on(&self, method: &str, params: Vec<Value>) -> Result<Value, ErrorObjectOwned> {
        self.ask(method, params).await?
    }

    async fn ask(&self, method: &str, params: Vec<Value>) -> Result<Result<Value, ErrorObjectOwned>, Rejected> {
        let failed = |what: String| Rejected::new(RejectCode::ExecutorFailed, what);
        let mut list = ArrayParams::new();
        for param in params {
            list.insert(param).map_err(|error| failed(error.to_string()))?;
        }
        match self.client.request(method, list).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(Error::Call(refusal)) => Ok(Err(refusal)),
            Err(other) => Err(failed(format!("the executor at {} did not answer {method}: {other}", self.url))),
        }
    }
}
