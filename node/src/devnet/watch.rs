//! Asks the processes how they are.

use super::layout::Layout;
use super::ports::Addresses;
use crate::api::{CertifiedHeader, NodeStatus};
use anyhow::Context;
use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde_json::Value;
use std::time::Duration;

/// How long one answer may take before the process counts as silent.
const ANSWER: Duration = Duration::from_secs(2);
/// Headers fetched in one look, so that a long gap does not hold up the table.
const MAX_HEADERS: u64 = 64;

/// One look at everything.
pub(super) struct Seen {
    /// Every operator's state; none if it does not answer.
    pub(super) operators: Vec<Option<NodeStatus>>,
    /// Every executor's state; none if it does not answer.
    pub(super) executors: Vec<Option<Value>>,
    /// Headers ordered since the last look.
    pub(super) headers: Vec<CertifiedHeader>,
}

impl Seen {
    /// Whether all executors that are at the height of the slowest one agree on the state; none where it cannot be said.
    pub(super) fn executors_agree(&self) -> Option<bool> {
        let states: Vec<(&Value, &Value)> =
            self.executors.iter().flatten().map(|status| (&status["evmHeight"], &status["stateRoot"])).collect();
        let (first, rest) = states.split_first()?;
        if rest.is_empty() || rest.iter().any(|(height, _)| *height != first.0) {
            return None;
        }
        Some(rest.iter().all(|(_, root)| *root == first.1))
    }
}

/// Clients of all processes.
pub(super) struct Watch {
    operators: Vec<HttpClient>,
    executors: Vec<HttpClient>,
    /// The last height whose header was fetched; none before the first look.
    height: Option<u64>,
}

impl Watch {
    pub(super) fn new(_layout: &Layout, addresses: &Addresses) -> anyhow::Result<Self> {
        let client = |address: &std::net::SocketAddr| {
            let builder = HttpClientBuilder::default().request_timeout(ANSWER);
            builder.build(format!("http://{address}")).context("no HTTP client")
        };
        Ok(Self {
            operators: addresses.operators.iter().map(|o| client(&o.rpc)).collect::<anyhow::Result<_>>()?,
            executors: addresses.executors.iter().map(client).collect::<anyhow::Result<_>>()?,
            height: None,
        })
    }

    /// Whether all operators take transactions.
    pub(super) async fn operators_answer(&self) -> bool {
        let states = self.operator_states().await;
        states.iter().all(|state| state.as_ref().is_some_and(NodeStatus::is_ready))
    }

    /// Whether all executors answer.
    pub(super) async fn executors_answer(&self) -> bool {
        self.executor_states().await.iter().all(Option::is_some)
    }

    async fn operator_states(&self) -> Vec<Option<NodeStatus>> {
        let asked = self
            .operators
            .iter()
            .map(|client| async { client.request::<NodeStatus, _>("squad_status", ArrayParams::new()).await.ok() });
        futures::future::join_all(asked).await
    }

    async fn executor_states(&self) -> Vec<Option<Value>> {
        let asked = self
            .executors
            .iter()
            .map(|client| async { client.request::<Value, _>("squad_status", ArrayParams::new()).await.ok() });
        futures::future::join_all(asked).await
    }

    /// Looks at everything.
    pub(super) async fn look(&mut self) -> Seen {
        let (operators, executors) = tokio::join!(self.operator_states(), self.executor_states());
        let best = operators.iter().enumerate().filter_map(|(at, state)| Some((state.as_ref()?.height.0, at))).max();
        let headers = match best {
            Some((height, at)) => self.headers_up_to(height, at).await,
            None => Vec::new(),
        };
        Seen { operators, executors, headers }
    }

    async fn headers_up_to(&mut self, height: u64, operator: usize) -> Vec<CertifiedHeader> {
        // What there was before the first look was told by whoever looked then.
        let after = *self.height.get_or_insert(height);
        let mut headers = Vec::new();
        for next in (after + 1..=height).take(MAX_HEADERS as usize) {
            let mut params = ArrayParams::new();
            if params.insert(next).is_err() {
                break;
            }
            let Ok(header) = self.operators[operator].request::<CertifiedHeader, _>("squad_getHeader", params).await
            else {
                break;
            };
            headers.push(header);
            self.height = Some(next);
        }
        headers
    }
}
