//! Asks the processes how they are.

use super::l1::L1;
use super::layout::Layout;
use super::ports::Addresses;
use crate::api::view::CommitteeView;
use crate::api::{CertifiedHeader, NodeStatus, Readiness};
use anyhow::Context;
use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde_json::Value;
use squad_types::{Committee, Epoch, Member};
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
    /// The committees of epochs that began among them.
    pub(super) committees: Vec<Committee>,
    /// The local chain's state; none without one, or if it does not answer.
    pub(super) chain: Option<ChainSeen>,
}

/// The local chain's state.
#[derive(Clone)]
pub(super) struct ChainSeen {
    /// Its newest block, and the newest final one.
    pub(super) newest: u64,
    pub(super) finalized: u64,
    /// Who is at stake as of the newest.
    pub(super) members: Vec<Member>,
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
    /// The last epoch whose committee was fetched.
    epoch: Option<Epoch>,
    l1: Option<L1>,
    /// What it was at its newest block.
    chain: Option<ChainSeen>,
}

impl Watch {
    pub(super) fn new(_layout: &Layout, addresses: &Addresses, l1: Option<L1>) -> anyhow::Result<Self> {
        let client = |address: &std::net::SocketAddr| {
            let builder = HttpClientBuilder::default().request_timeout(ANSWER);
            builder.build(format!("http://{address}")).context("no HTTP client")
        };
        Ok(Self {
            operators: addresses.operators.iter().map(|o| client(&o.rpc)).collect::<anyhow::Result<_>>()?,
            executors: addresses.executors.iter().map(client).collect::<anyhow::Result<_>>()?,
            height: None,
            epoch: None,
            l1,
            chain: None,
        })
    }

    /// Whether all operators answer, and all in the committee take transactions.
    pub(super) async fn operators_answer(&self) -> bool {
        let states = self.operator_states().await;
        // Whoever left, was slashed or has another key by now follows, and takes nothing.
        let follows = |state: &NodeStatus| !state.in_committee && matches!(state.readiness, Readiness::Refusing { .. });
        let answers =
            |state: &Option<NodeStatus>| state.as_ref().is_some_and(|state| state.is_ready() || follows(state));
        states.iter().all(answers) && states.iter().flatten().any(NodeStatus::is_ready)
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
        let (operators, executors, chain) =
            tokio::join!(self.operator_states(), self.executor_states(), self.chain_state());
        self.chain.clone_from(&chain);
        let best = operators.iter().enumerate().filter_map(|(at, state)| Some((state.as_ref()?.height.0, at))).max();
        let (mut headers, mut committees) = (Vec::new(), Vec::new());
        if let Some((height, at)) = best {
            headers = self.headers_up_to(height, at).await;
            committees = self.committees_of(&headers, at).await;
        }
        Seen { operators, executors, headers, committees, chain }
    }

    /// Asks the chain; who is at stake only if there is a new block.
    async fn chain_state(&self) -> Option<ChainSeen> {
        let L1 { chain, on_chain } = self.l1.as_ref()?;
        let newest = chain.height().await.ok()?;
        if let Some(known) = self.chain.as_ref().filter(|known| known.newest == newest) {
            return Some(known.clone());
        }
        let (finalized, members) = tokio::join!(chain.finalized(), on_chain.contracts.members(chain));
        // A table that names nobody refuses to answer.
        Some(ChainSeen { newest, finalized: finalized.ok()?, members: members.unwrap_or_default() })
    }

    /// The committees of the epochs that began with one of these headers.
    async fn committees_of(&mut self, headers: &[CertifiedHeader], operator: usize) -> Vec<Committee> {
        let mut committees = Vec::new();
        for found in headers {
            let epoch = found.header.epoch;
            let mut params = ArrayParams::new();
            if self.epoch == Some(epoch) || params.insert(epoch).is_err() {
                continue;
            }
            let Ok(view) = self.operators[operator].request::<CommitteeView, _>("squad_getCommittee", params).await
            else {
                continue;
            };
            self.epoch = Some(epoch);
            committees.push(view.committee);
        }
        committees
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
