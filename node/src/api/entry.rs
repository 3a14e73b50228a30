//! The gate that every submission passes, whichever interface it comes by.

use super::backend::{Answer, Backend, Source, Submission, Ticket};
use super::rejection::{RejectCode, Rejected, shown};
use crate::config::Limits;
use crate::evm;
use crate::metrics::NodeMetrics;
use bytes::Bytes;
use squad_types::{Confirmation, NamespaceId, NamespaceKind, NamespaceSpec, Tier, Timestamp, TxId, WriteAccess};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// When to come back if as many submissions wait as may.
const BUSY_RETRY: Duration = Duration::from_millis(250);

/// How much longer than it says the node may take to say that it took too long.
const GRACE: Duration = Duration::from_secs(2);

fn full() -> Rejected {
    let reason = "as many submissions wait as this node allows: try again";
    Rejected::new(RejectCode::Busy, reason).retry_after(BUSY_RETRY)
}

/// How a caller names a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceName {
    /// By its id.
    Id(NamespaceId),
    /// By its name.
    Name(String),
}

impl std::fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => write!(f, "'{}'", shown(name)),
        }
    }
}

impl From<&str> for NamespaceName {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), |id| Self::Id(NamespaceId(id)))
    }
}

/// Checks submissions and waits for their tier, within limits. Shared by all interfaces of a node.
#[derive(Clone)]
pub struct Gate {
    backend: Arc<dyn Backend>,
    metrics: NodeMetrics,
    waiting: Arc<Semaphore>,
    wait: Duration,
}

impl Gate {
    /// A gate in front of a node.
    pub fn new(backend: Arc<dyn Backend>, metrics: NodeMetrics, limits: &Limits) -> Self {
        Self {
            backend,
            metrics,
            waiting: Arc::new(Semaphore::new(limits.pending_submissions as usize)),
            wait: Duration::from_millis(limits.wait_ms.into()),
        }
    }

    /// The node.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The node's metrics.
    pub fn metrics(&self) -> &NodeMetrics {
        &self.metrics
    }

    /// The namespace of a name or id.
    ///
    /// # Errors
    /// `UnknownNamespace`, with those that there are.
    pub fn namespace(&self, name: &NamespaceName) -> Result<NamespaceSpec, Rejected> {
        /// Names listed in a refusal.
        const LISTED: usize = 10;
        let all = self.backend.namespaces();
        let found = all.iter().find(|spec| match name {
            NamespaceName::Id(id) => spec.id == *id,
            NamespaceName::Name(name) => spec.name == *name,
        });
        found.cloned().ok_or_else(|| {
            let known: Vec<_> = all.iter().take(LISTED).map(|spec| spec.name.as_str()).collect();
            let more = if all.len() > LISTED { ", …" } else { "" };
            let reason = format!("there is no namespace {name}; there are {}{more}", known.join(", "));
            Rejected::new(RejectCode::UnknownNamespace, reason)
        })
    }

    /// Checks a submission, hands it in and waits for its tier.
    ///
    /// # Errors
    /// Why it is refused; `Timeout` where it was taken but did not reach the tier in time.
    pub async fn submit(
        &self,
        spec: &NamespaceSpec,
        data: Bytes,
        valid_until: Option<Timestamp>,
        wait: Tier,
        source: Source,
    ) -> Result<Confirmation, Rejected> {
        let outcome = self.submit_uncounted(spec, data, valid_until, wait, source).await;
        if let Err(refusal) = &outcome {
            self.metrics.count_refusal(refusal.code);
        }
        outcome
    }

    async fn submit_uncounted(
        &self,
        spec: &NamespaceSpec,
        data: Bytes,
        valid_until: Option<Timestamp>,
        wait: Tier,
        source: Source,
    ) -> Result<Confirmation, Rejected> {
        let Ok(_permit) = self.waiting.try_acquire() else { return Err(full()) };
        let submission = self.check(spec, data, valid_until, wait, source)?;
        let (namespace, data) = (submission.namespace, submission.data.clone());
        let (answers, mut answered) = mpsc::unbounded_channel();
        let answer = async {
            self.backend.submit(vec![Ticket { number: 0, submission }], answers).await;
            answered.recv().await
        };
        // The node keeps the time itself; this is for one that does not.
        match tokio::time::timeout(self.wait + GRACE, answer).await {
            Ok(Some(group)) => self.single(group),
            Ok(None) => Err(Rejected::new(RejectCode::ShuttingDown, "the node is going down: ask another operator")),
            Err(_) => {
                let id = squad_types::Transaction { namespace, valid_until, hint: None, data }.id();
                Err(self.timed_out(id, wait))
            }
        }
    }

    fn single(&self, group: Vec<Answer>) -> Result<Confirmation, Rejected> {
        let broken = || Rejected::new(RejectCode::Internal, "the node answered without a confirmation");
        let answer = group.into_iter().next().ok_or_else(broken)?;
        answer.outcome?.confirmation.map(|confirmation| *confirmation).ok_or_else(broken)
    }

    /// Waits for places of submissions that wait; give them back with [`Gate::release`].
    pub async fn take(&self, count: u32) {
        // The semaphore is never closed.
        if let Ok(permit) = self.waiting.acquire_many(count).await {
            permit.forget();
        }
    }

    /// Gives places back.
    pub fn release(&self, count: usize) {
        self.waiting.add_permits(count);
    }

    /// What is known of a transaction; with a tier, once that is reached.
    ///
    /// # Errors
    /// `NotFound`, `Expired` or `Timeout`.
    pub async fn confirmation(&self, id: TxId, wait: Option<Tier>) -> Result<Confirmation, Rejected> {
        let found = match wait {
            None => self.backend.confirmation(id, None).await?,
            Some(tier) => match tokio::time::timeout(self.wait, self.backend.confirmation(id, wait)).await {
                Ok(found) => found?,
                Err(_) => return Err(self.timed_out(id, tier)),
            },
        };
        let unknown = "was not submitted here, or is older than what is kept: ask the operator that took it";
        found.ok_or_else(|| Rejected::new(RejectCode::NotFound, format!("transaction {id} {unknown}")))
    }

    fn timed_out(&self, id: TxId, tier: Tier) -> Rejected {
        let reason = format!(
            "transaction {id} is not {tier} after {} ms; it may still be ordered: ask squad_getConfirmation",
            self.wait.as_millis()
        );
        Rejected::new(RejectCode::Timeout, reason)
    }

    /// Checks what the bytes and the namespace's rules say, without handing anything in.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(
        &self,
        spec: &NamespaceSpec,
        data: Bytes,
        valid_until: Option<Timestamp>,
        wait: Tier,
        source: Source,
    ) -> Result<Submission, Rejected> {
        if spec.access == WriteAccess::Closed {
            let reason = format!("namespace '{}' is closed: nobody may write to it", spec.name);
            return Err(Rejected::new(RejectCode::ClosedNamespace, reason));
        }
        if data.is_empty() {
            return Err(Rejected::new(RejectCode::Empty, "the transaction has no bytes"));
        }
        if data.len() > spec.max_transaction_bytes as usize {
            let limit = spec.max_transaction_bytes;
            let reason = format!("{} bytes are over the limit of {limit} of namespace '{}'", data.len(), spec.name);
            return Err(Rejected::new(RejectCode::TooLarge, reason));
        }
        let facts = match spec.kind {
            NamespaceKind::Evm { chain_id } => {
                if valid_until.is_some() {
                    let reason = "an EVM transaction ends with its nonce and takes no valid_until: leave it out";
                    return Err(Rejected::new(RejectCode::ValidityUnexpected, reason));
                }
                Some(evm::check(&data, chain_id)?)
            }
            NamespaceKind::Opaque => {
                self.check_validity(valid_until)?;
                None
            }
        };
        if let (WriteAccess::AllowList(allowed), Some(facts)) = (&spec.access, &facts)
            && !allowed.contains(&facts.sender)
        {
            let reason = format!("{} may not write to namespace '{}'", facts.sender, spec.name);
            return Err(Rejected::new(RejectCode::NotAllowed, reason));
        }
        let (namespace, within) = (spec.id, self.wait);
        Ok(Submission {
            namespace,
            data,
            valid_until,
            evm: facts,
            wait,
            within,
            with_confirmation: true,
            source,
            after: None,
        })
    }

    fn check_validity(&self, valid_until: Option<Timestamp>) -> Result<(), Rejected> {
        let (chain_time, window) = self.backend.chain_time();
        let last = chain_time.plus(window);
        match valid_until {
            None => {
                let reason = format!(
                    "an opaque transaction needs valid_until, in milliseconds of chain time from {chain_time} to {last} now"
                );
                Err(Rejected::new(RejectCode::ValidityMissing, reason))
            }
            Some(until) if until > last => {
                let reason = format!("valid_until {until} is over {window} ms ahead of chain time: use at most {last}");
                Err(Rejected::new(RejectCode::ValidityTooLong, reason))
            }
            Some(until) if until <= chain_time => {
                let reason = format!("valid_until {until} is over: chain time is {chain_time}");
                Err(Rejected::new(RejectCode::Expired, reason))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Reads bytes from hex with 0x in front.
///
/// # Errors
/// `MalformedHex`, with where and what, or `TooLarge` before anything is decoded.
pub fn decode_hex(text: &str, what: &str) -> Result<Bytes, Rejected> {
    let malformed = |reason: String| Rejected::new(RejectCode::MalformedHex, reason);
    let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) else {
        return Err(malformed(format!("{what} '{}' does not begin with 0x", shown(text))));
    };
    if digits.len() > 2 * squad_types::limits::MAX_TRANSACTION_BYTES {
        let reason = format!(
            "{what} of {} bytes is over the limit of {}",
            digits.len() / 2,
            squad_types::limits::MAX_TRANSACTION_BYTES
        );
        return Err(Rejected::new(RejectCode::TooLarge, reason));
    }
    hex::decode(digits).map(Bytes::from).map_err(|error| match error {
        hex::FromHexError::OddLength => malformed(format!("{what} has an odd number of hex digits ({})", digits.len())),
        hex::FromHexError::InvalidHexCharacter { c, index } => {
            malformed(format!("{what} has '{}' at digit {index}, which is no hex", c.escape_default()))
        }
        hex::FromHexError::InvalidStringLength => malformed(format!("{what} is no hex")),
    })
}
