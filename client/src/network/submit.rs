//! Submitting one transaction, and waiting for its confirmation.

use super::client::{CommitteeFailure, now};
use super::operators::{Choice, describe};
use super::{Client, ClientError};
use crate::proto::{self, submit_answer::Outcome};
use crate::{VerifyError, verify};
use bytes::Bytes;
use squad_types::{Confirmation, Decode, Evidenced, Tier, Transaction, TxId};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often an operator is asked for the confirmation of a transaction that is already on its way.
const POLL: Duration = Duration::from_millis(100);

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
    Refused(ClientError),
    Failed(Duration, String),
    Lied(String),
}

impl Client {
    /// Submits a transaction and waits until a confirmation of its tier, or above, has been checked.
    ///
    /// A failed try is repeated, with the same validity, at another operator. That is safe: the network orders a
    /// transaction at most once while it is remembered, an opaque one cannot be ordered after its validity, and an
    /// Ethereum one is ended by its nonce. So on [`ClientError::Timeout`] the same transaction may be submitted again too.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] if an operator refuses it for good, [`ClientError::Timeout`] if the tier is not reached
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

    async fn submit_until_done(&self, transaction: &Transaction, wait: Tier) -> Result<Receipt, ClientError> {
        let mut cursor = 0;
        loop {
            let index = match self.operators.choose(cursor, &BTreeMap::new()) {
                Choice::Use(index) => index,
                Choice::Wait(until) => {
                    tokio::time::sleep_until(until).await;
                    continue;
                }
                Choice::Nobody => {
                    let what = "submit to".to_owned();
                    return Err(ClientError::Nobody { what, reasons: self.operators.reasons(&BTreeMap::new()) });
                }
            };
            cursor = index + 1;
            let mut tried = self.try_submit(index, transaction, wait).await;
            if matches!(tried, Tried::Duplicate) {
                tried = self.poll(index, transaction, wait).await;
            }
            match tried {
                Tried::Done(confirmation) => {
                    self.operators.succeeded(index);
                    let operator = self.operators.url(index).to_owned();
                    return Ok(Receipt { id: transaction.id(), confirmation: *confirmation, operator });
                }
                Tried::Refused(error) => return Err(error),
                Tried::Failed(at_least, why) => self.operators.failed(index, at_least, why),
                Tried::Lied(why) => self.operators.lied(index, why),
                Tried::Duplicate => {}
            }
        }
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
        let mut rpc = self.operators.rpc(index);
        let request = proto::ConfirmationRequest {
            transaction: Bytes::copy_from_slice(transaction.id().as_bytes()),
            tier: proto::Tier::from(wait).into(),
        };
        loop {
            match rpc.get_confirmation(request.clone()).await {
                Ok(reply) => return self.check(index, transaction, wait, reply.into_inner().confirmation).await,
                // Not there yet; the submission's own time limit ends the wait.
                Err(status) if status.code() == tonic::Code::NotFound => tokio::time::sleep(POLL).await,
                Err(status) => return Tried::Failed(Duration::ZERO, describe(&status)),
            }
        }
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
            Err(VerifyError::Trust(error)) => Tried::Refused(error.into()),
            Err(error) => Tried::Lied(format!("its confirmation does not hold: {error}")),
        }
    }
}
