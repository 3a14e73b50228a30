//! Submitting one transaction, and waiting for its confirmation.

use super::client::{CommitteeFailure, now};
use super::operators::{Choice, describe};
use super::{Client, ClientError};
use crate::proto::{self, submit_answer::Outcome};
use crate::{TrustError, VerifyError, verify};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use squad_types::{Confirmation, Decode, Evidenced, Tier, Transaction, TxId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often an operator is asked for the confirmation of a transaction that is already on its way.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Transactions that [`Client::submit_all`] has under way at a time.
pub const MANY_AT_ONCE: usize = 64;

/// A submitted transaction's confirmation, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's id.
    pub id: TxId,
    /// The confirmation, at the tier waited for or above.
    pub confirmation: Confirmation,
    /// The operator that answered.
    pub operator: String,
}

/// What one try came to.
enum Tried {
    Done(Box<Confirmation>),
    /// It is on its way already.
    Duplicate,
    /// Refused for good, in this operator's words.
    Refused(ClientError),
    /// Nothing that any operator says can be checked any more.
    Untrusted(TrustError),
    Failed(Duration, String),
    Lied(String),
}

impl Client {
    /// Submits a transaction and waits until a confirmation of its tier, or above, has been checked.
    ///
    /// A failed try is repeated, with the same validity, at another operator, and so is one that takes long. That is safe:
    /// the network orders a transaction at most once while it is remembered, an opaque one cannot be ordered after its
    /// validity, and an Ethereum one is ended by its nonce. So on [`ClientError::Timeout`] the same transaction may be
    /// submitted again too. A refusal for good is one operator's word, so a second one is heard before it is believed,
    /// where one can be reached.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] if it is refused for good, [`ClientError::Timeout`] if the tier is not reached
    /// in time, [`ClientError::Nobody`] if every operator served something false, [`ClientError::Trust`] if the
    /// committee that would check the confirmation may not be trusted any more.
    pub async fn submit(&self, transaction: &Transaction, wait: Tier) -> Result<Receipt, ClientError> {
        let limit = self.operators.config().submit_timeout;
        match tokio::time::timeout(limit, self.submit_until_done(transaction, wait)).await {
            Ok(done) => done,
            Err(_) => Err(ClientError::Timeout {
                what: format!("waiting until transaction {} is {wait}", transaction.id()),
                limit_ms: limit.as_millis() as u64,
                last: self.operators.reasons(&BTreeMap::new()),
            }),
        }
    }

    /// Submits each as [`Client::submit`] does, [`MANY_AT_ONCE`] at a time, so not necessarily in this order; what became
    /// of each stands at its place. For more, and without checking each confirmation, see [`Client::submit_stream`].
    pub async fn submit_all(&self, transactions: Vec<Transaction>, wait: Tier) -> Vec<Result<Receipt, ClientError>> {
        let submissions =
            transactions.into_iter().map(|transaction| async move { self.submit(&transaction, wait).await });
        stream::iter(submissions).buffered(MANY_AT_ONCE).collect().await
    }

    /// The confirmation, checked, of a transaction that was submitted before, by whomever; waits until it has its tier.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] if no operator proves it in time: it may not have been submitted, or wait still.
    /// [`ClientError::Nobody`] and [`ClientError::Trust`] as for [`Client::submit`].
    pub async fn confirm(&self, transaction: &Transaction, wait: Tier) -> Result<Receipt, ClientError> {
        let limit = self.operators.config().submit_timeout;
        match tokio::time::timeout(limit, self.confirm_until_done(transaction, wait)).await {
            Ok(done) => done,
            Err(_) => Err(ClientError::Timeout {
                what: format!("waiting for a proof that transaction {} is {wait}", transaction.id()),
                limit_ms: limit.as_millis() as u64,
                last: self.operators.reasons(&BTreeMap::new()),
            }),
        }
    }

    async fn confirm_until_done(&self, transaction: &Transaction, wait: Tier) -> Result<Receipt, ClientError> {
        let (mut cursor, patience) = (0, self.operators.config().call_timeout);
        loop {
            let index = match self.operators.choose(cursor, &BTreeMap::new()) {
                Choice::Use(index) => index,
                Choice::Wait(until) => {
                    tokio::time::sleep_until(until).await;
                    continue;
                }
                Choice::Nobody => {
                    let what = format!("prove that transaction {} is {wait}", transaction.id());
                    return Err(ClientError::Nobody { what, reasons: self.operators.reasons(&BTreeMap::new()) });
                }
            };
            cursor = index + 1;
            match tokio::time::timeout(patience, self.ask(index, transaction, wait)).await {
                Ok(Ok(Tried::Done(confirmation))) => {
                    self.operators.succeeded(index);
                    let operator = self.operators.url(index).to_owned();
                    return Ok(Receipt { id: transaction.id(), confirmation: *confirmation, operator });
                }
                Ok(Ok(Tried::Untrusted(error))) => return Err(error.into()),
                Ok(Ok(Tried::Lied(why))) => self.operators.lied(index, why),
                Ok(Ok(Tried::Failed(at_least, why))) => self.operators.failed(index, at_least, why),
                Ok(Ok(Tried::Duplicate | Tried::Refused(_))) => {}
                // This one does not know it yet; another one may.
                Ok(Err(status)) if status.code() == tonic::Code::NotFound => tokio::time::sleep(POLL).await,
                Ok(Err(status)) => self.operators.failed(index, Duration::ZERO, describe(&status)),
                Err(_) => self.operators.failed(index, Duration::ZERO, "no answer in time"),
            }
        }
    }

    async fn submit_until_done(&self, transaction: &Transaction, wait: Tier) -> Result<Receipt, ClientError> {
        let (mut cursor, mut again, mut refusal) = (0, false, None);
        // Who refused it for good: not asked again.
        let mut refused = BTreeMap::new();
        loop {
            let index = match (self.operators.choose(cursor, &refused), refusal.take()) {
                (Choice::Use(index), first) => {
                    refusal = first;
                    index
                }
                // Nobody else can be heard now.
                (_, Some(first)) => return Err(first),
                (Choice::Wait(until), None) => {
                    tokio::time::sleep_until(until).await;
                    continue;
                }
                (Choice::Nobody, None) => {
                    let what = "submit to".to_owned();
                    return Err(ClientError::Nobody { what, reasons: self.operators.reasons(&BTreeMap::new()) });
                }
            };
            cursor = index + 1;
            match self.try_patiently(index, transaction, wait, again).await {
                Tried::Done(confirmation) => {
                    self.operators.succeeded(index);
                    let operator = self.operators.url(index).to_owned();
                    return Ok(Receipt { id: transaction.id(), confirmation: *confirmation, operator });
                }
                Tried::Untrusted(error) => return Err(error.into()),
                Tried::Refused(error) if refusal.is_some() => return Err(error),
                Tried::Refused(error) => {
                    refused.insert(index, error.to_string());
                    refusal = Some(error);
                }
                Tried::Failed(at_least, why) => self.operators.failed(index, at_least, why),
                Tried::Lied(why) => self.operators.lied(index, why),
                Tried::Duplicate => {}
            }
            again = true;
        }
    }

    /// One operator's chance. `again`: an earlier one may have taken the transaction, and only its answer got lost.
    async fn try_patiently(&self, index: usize, transaction: &Transaction, wait: Tier, again: bool) -> Tried {
        let patience = self.operators.config().submit_patience;
        let trial = async {
            match self.try_submit(index, transaction, wait).await {
                Tried::Duplicate => self.poll(index, transaction, wait).await,
                // What was ordered meanwhile is refused too, as expired: so ask for it first.
                Tried::Refused(error) if again => match self.ask(index, transaction, wait).await {
                    Ok(found @ Tried::Done(_)) => found,
                    _ => Tried::Refused(error),
                },
                tried => tried,
            }
        };
        tokio::time::timeout(patience, trial).await.unwrap_or_else(|_| {
            let why = format!("it did not bring the transaction to {wait} within {} ms", patience.as_millis());
            Tried::Failed(Duration::ZERO, why)
        })
    }

    async fn try_submit(&self, index: usize, transaction: &Transaction, wait: Tier) -> Tried {
        let request = proto::SubmitRequest {
            id: 1,
            namespace: transaction.namespace.0,
            valid_until_ms: transaction.valid_until.map_or(0, |until| until.0),
            wait: proto::Tier::from(wait).into(),
            data: transaction.data.clone(),
            batch: Vec::new(),
            with_confirmation: true,
            after: Bytes::new(),
        };
        let mut rpc = self.operators.rpc(index);
        let exchange = async {
            let mut replies = rpc.submit_transactions(tokio_stream::once(request)).await?.into_inner();
            while let Some(reply) = replies.message().await? {
                if let Some(answer) = reply.answers.into_iter().find(|answer| answer.id == 1) {
                    return Ok(answer.outcome);
                }
            }
            Err(tonic::Status::unavailable("it ended the call without an answer"))
        };
        let outcome: Result<_, tonic::Status> = exchange.await;
        match outcome {
            Err(status) => Tried::Failed(Duration::ZERO, describe(&status)),
            Ok(None) => Tried::Failed(Duration::ZERO, "its answer says neither accepted nor rejected".to_owned()),
            Ok(Some(Outcome::Accepted(accepted))) => self.check(index, transaction, wait, accepted.confirmation).await,
            Ok(Some(Outcome::Rejected(rejected))) if rejected.code == "duplicate" => Tried::Duplicate,
            Ok(Some(Outcome::Rejected(rejected))) if rejected.r#final => Tried::Refused(ClientError::Rejected {
                operator: self.operators.url(index).to_owned(),
                code: rejected.code,
                reason: rejected.reason,
            }),
            Ok(Some(Outcome::Rejected(rejected))) => {
                let after = Duration::from_millis(rejected.retry_after_ms);
                Tried::Failed(after, format!("{}: {}", rejected.code, rejected.reason))
            }
        }
    }

    /// Asks for the confirmation of a transaction that the operator knows already, until it has reached the tier.
    async fn poll(&self, index: usize, transaction: &Transaction, wait: Tier) -> Tried {
        loop {
            match self.ask(index, transaction, wait).await {
                Ok(tried) => return tried,
                // Not there yet; the operator's time limit ends the wait.
                Err(status) if status.code() == tonic::Code::NotFound => tokio::time::sleep(POLL).await,
                Err(status) => return Tried::Failed(Duration::ZERO, describe(&status)),
            }
        }
    }

    /// Asks once for the confirmation of a transaction.
    async fn ask(&self, index: usize, transaction: &Transaction, wait: Tier) -> Result<Tried, tonic::Status> {
        let reply = self.operators.confirmation(index, transaction.id(), wait).await?;
        Ok(self.check(index, transaction, wait, reply).await)
    }

    /// Checks an operator's confirmation against the committee of its epoch.
    async fn check(&self, index: usize, transaction: &Transaction, wait: Tier, bytes: Bytes) -> Tried {
        let confirmation = match Confirmation::from_bytes(bytes) {
            Ok(confirmation) => confirmation,
            Err(error) => return Tried::Lied(format!("its confirmation is malformed: {error}")),
        };
        if confirmation.transaction != transaction.reference() {
            return Tried::Lied("its confirmation is of another transaction".to_owned());
        }
        if confirmation.tier() < wait {
            return Tried::Lied(format!("its confirmation is only {}, not {wait}", confirmation.tier()));
        }
        let epoch = match &confirmation.evidenced {
            Evidenced::Batched(batched) => batched.header.statement.epoch,
            Evidenced::Secured(secured) => secured.certificate.lane.epoch,
            Evidenced::Ordered(ordered) => ordered.header.epoch,
        };
        let trusted = match self.committee(epoch, index).await {
            Ok(trusted) => trusted,
            Err(CommitteeFailure::Missing(why)) => return Tried::Failed(Duration::ZERO, why),
            Err(CommitteeFailure::False(why)) => return Tried::Lied(why),
        };
        match verify(&confirmation, &trusted, now()) {
            Ok(_) => Tried::Done(Box::new(confirmation)),
            Err(VerifyError::Trust(error)) => Tried::Untrusted(error),
            Err(error) => Tried::Lied(format!("its confirmation does not hold: {error}")),
        }
    }
}
