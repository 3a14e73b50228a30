//! The operators of a client, with what is known of each.

use super::{ClientConfig, ClientError};
use crate::proto::{self, squad_client::SquadClient};
use bytes::Bytes;
use squad_types::{Tier, TxId};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// Pings that notice a dead connection under an open stream.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Operator {
    url: String,
    channel: Channel,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    /// Things it served that were false.
    falsehoods: u64,
    not_before: Instant,
    /// Out of use until `not_before` for what it did, not only slow to try again.
    aside: bool,
    last: String,
}

/// What a client knows of one operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorHealth {
    /// Its address.
    pub url: String,
    /// Failures since it last did what was asked.
    pub failures: u32,
    /// Things it served that did not pass verification, since the client started.
    pub falsehoods: u64,
    /// Whether it is out of use for now.
    pub set_aside: bool,
    /// What it did last, if that was a failure.
    pub last: String,
}

/// Which operator to use next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one.
    Use(usize),
    /// Nobody before this time.
    Wait(Instant),
    /// Everybody is set aside.
    Nobody,
}

/// All operators of a client.
#[derive(Debug)]
pub(super) struct Operators {
    list: Vec<Operator>,
    config: ClientConfig,
}

impl Operators {
    pub(super) fn new(config: ClientConfig) -> Result<Self, ClientError> {
        if config.operators.is_empty() {
            return Err(ClientError::NoOperators);
        }
        let operator = |url: &String| {
            let wrong =
                |error: tonic::transport::Error| ClientError::Address { url: url.clone(), reason: error.to_string() };
            let channel = Endpoint::from_shared(url.clone())
                .map_err(wrong)?
                .connect_timeout(config.call_timeout)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .connect_lazy();
            let state =
                State { failures: 0, falsehoods: 0, not_before: Instant::now(), aside: false, last: String::new() };
            Ok(Operator { url: url.clone(), channel, state: Mutex::new(state) })
        };
        let list = config.operators.iter().map(operator).collect::<Result<_, ClientError>>()?;
        Ok(Self { list, config })
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn url(&self, index: usize) -> &str {
        &self.list[index].url
    }

    pub(super) fn rpc(&self, index: usize) -> SquadClient<Channel> {
        SquadClient::new(self.list[index].channel.clone()).max_decoding_message_size(self.config.max_message_bytes)
    }

    /// Asks once for the confirmation of a transaction at a tier or above, in canonical form and unchecked.
    pub(super) async fn confirmation(&self, index: usize, id: TxId, tier: Tier) -> Result<Bytes, tonic::Status> {
        let transaction = Bytes::copy_from_slice(id.as_bytes());
        let request = proto::ConfirmationRequest { transaction, tier: proto::Tier::from(tier).into() };
        Ok(self.rpc(index).get_confirmation(request).await?.into_inner().confirmation)
    }

    fn state(&self, index: usize) -> MutexGuard<'_, State> {
        self.list[index].state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first usable one from `from` on, in a circle, without those in `except`.
    pub(super) fn choose(&self, from: usize, except: &BTreeMap<usize, String>) -> Choice {
        let now = Instant::now();
        let mut wait: Option<Instant> = None;
        let circle = (0..self.len()).map(|step| (from + step) % self.len());
        for index in circle.filter(|index| !except.contains_key(index)) {
            let mut state = self.state(index);
            if state.not_before <= now {
                state.aside = false;
                return Choice::Use(index);
            }
            if !state.aside {
                wait = Some(wait.map_or(state.not_before, |earlier| earlier.min(state.not_before)));
            }
        }
        wait.map_or(Choice::Nobody, Choice::Wait)
    }

    /// It did what was asked.
    pub(super) fn succeeded(&self, index: usize) {
        let mut state = self.state(index);
        state.failures = 0;
        state.last.clear();
    }

    /// It failed, which may pass: it is tried again after a wait that doubles, or after `at_least`.
    pub(super) fn failed(&self, index: usize, at_least: Duration, why: impl Into<String>) {
        let mut state = self.state(index);
        let doubled = self.config.back_off.saturating_mul(1 << state.failures.min(16));
        let wait = doubled.min(self.config.max_back_off).max(at_least.min(self.config.max_back_off));
        state.failures = state.failures.saturating_add(1);
        state.not_before = state.not_before.max(Instant::now() + wait);
        state.last = why.into();
        tracing::warn!(operator = %self.url(index), why = %state.last, wait_ms = wait.as_millis() as u64, "left an operator");
    }

    /// It served something false: it is out of use for long.
    pub(super) fn lied(&self, index: usize, why: impl Into<String>) {
        let mut state = self.state(index);
        state.falsehoods += 1;
        state.failures = state.failures.saturating_add(1);
        state.aside = true;
        state.not_before = Instant::now() + self.config.set_aside;
        state.last = why.into();
        tracing::error!(operator = %self.url(index), why = %state.last, falsehoods = state.falsehoods, "set an operator aside");
    }

    pub(super) fn health(&self) -> Vec<OperatorHealth> {
        let one = |index: usize| {
            let state = self.state(index);
            OperatorHealth {
                url: self.url(index).to_owned(),
                failures: state.failures,
                falsehoods: state.falsehoods,
                set_aside: state.aside && state.not_before > Instant::now(),
                last: state.last.clone(),
            }
        };
        (0..self.len()).map(one).collect()
    }

    /// What each did last, for an error; `except` says it of those that were left out.
    pub(super) fn reasons(&self, except: &BTreeMap<usize, String>) -> String {
        let mut text = String::new();
        for (index, health) in self.health().into_iter().enumerate() {
            let why = except.get(&index).cloned().unwrap_or(health.last);
            if !why.is_empty() {
                let separator = if text.is_empty() { "" } else { "; " };
                // Writing to a string does not fail.
                let _ = write!(text, "{separator}{}: {why}", health.url);
            }
        }
        if text.is_empty() { "nobody answered yet".to_owned() } else { text }
    }
}

/// A gRPC status in one line.
pub(super) fn describe(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
