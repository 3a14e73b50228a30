//! The client: several operators, one root of trust.

use super::operators::{Operators, describe};
use super::{ClientConfig, ClientError, OperatorHealth, Subscription};
use crate::proto;
use crate::{BlockVerifier, CommitteeFollower, Pin, TrustError, TrustedCommittee};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use squad_types::{CommitteeProof, Decode, Epoch, Genesis, Height, NamespaceId, Timestamp, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;

/// Talks to several operators and believes none of them. Cheap to clone; clones share what is known of the operators.
///
/// Must be made inside a tokio runtime.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) operators: Arc<Operators>,
    /// What confirmations are checked with.
    pub(super) committees: Arc<Mutex<CommitteeFollower>>,
    root: CommitteeFollower,
}

/// Why the committee of an epoch could not be had from an operator.
#[derive(Debug)]
pub(super) enum CommitteeFailure {
    /// It did not answer, or does not have it.
    Missing(String),
    /// It served a proof that does not hold.
    False(String),
}

impl Client {
    /// A client that trusts `root` and what follows from it. Connects when first used.
    ///
    /// # Errors
    /// [`ClientError::NoOperators`] and [`ClientError::Address`].
    pub fn new(config: ClientConfig, root: CommitteeFollower) -> Result<Self, ClientError> {
        let operators = Arc::new(Operators::new(config)?);
        Ok(Self { operators, committees: Arc::new(Mutex::new(root.clone())), root })
    }

    /// A client that trusts a pinned committee and what follows from it. The members are had from whichever operator
    /// serves those that hash to the pin; one that serves others is set aside.
    ///
    /// # Errors
    /// [`ClientError::Trust`] if the pin may not be trusted now, [`ClientError::Nobody`] if no operator has the committee,
    /// and those of [`Client::new`].
    pub async fn from_pin(config: ClientConfig, pin: &Pin) -> Result<Self, ClientError> {
        let operators = Arc::new(Operators::new(config)?);
        for index in 0..operators.len() {
            let trusted = match pinned(&operators, index, pin).await {
                Ok(trusted) => trusted,
                Err(CommitteeFailure::Missing(why)) => {
                    operators.failed(index, Duration::ZERO, why);
                    continue;
                }
                Err(CommitteeFailure::False(why)) => {
                    operators.lied(index, why);
                    continue;
                }
            };
            trusted.check_fresh(now())?;
            let root = CommitteeFollower::from_trusted(trusted);
            return Ok(Self { operators, committees: Arc::new(Mutex::new(root.clone())), root });
        }
        let what = format!("serve the pinned committee of epoch {}", pin.epoch);
        Err(ClientError::Nobody { what, reasons: operators.reasons(&BTreeMap::new()) })
    }

    /// Chain time now, which `valid_until` is compared with. Nothing proves it: of what the operators say, the middle is
    /// taken once over half of them have answered, or all that do answer, so that a few that lie cannot make transactions
    /// expire early.
    ///
    /// # Errors
    /// [`ClientError::Nobody`] if none answers.
    pub async fn chain_time(&self) -> Result<Timestamp, ClientError> {
        let (count, mut times, mut reasons) = (self.operators.len(), Vec::new(), Vec::new());
        let mut answers: FuturesUnordered<_> = (0..count).map(|index| self.status(index)).collect();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(status) => times.push(status.chain_time_ms),
                Err(error) => reasons.push(error.to_string()),
            }
            if times.len() > count / 2 {
                break;
            }
        }
        times.sort_unstable();
        let middle = times.get(times.len().saturating_sub(1) / 2);
        middle
            .map(|time| Timestamp(*time))
            .ok_or_else(|| ClientError::Nobody { what: "tell chain time".to_owned(), reasons: reasons.join("; ") })
    }

    /// An opaque transaction that may be ordered for so long from now on, in chain time: at most the exactly-once window
    /// of the network, 10 s by default. Submit this very value again where a submission failed: its id stays the same, so
    /// it is ordered at most once. For the same reason equal bytes with equal validity are one transaction: whoever means
    /// two puts a number into them.
    ///
    /// # Errors
    /// As [`Client::chain_time`].
    pub async fn opaque(
        &self,
        namespace: NamespaceId,
        data: impl Into<Bytes>,
        valid_for: Duration,
    ) -> Result<Transaction, ClientError> {
        let span = u64::try_from(valid_for.as_millis()).unwrap_or(u64::MAX);
        let valid_until = Some(Timestamp(self.chain_time().await?.0.saturating_add(span)));
        Ok(Transaction { namespace, valid_until, hint: None, data: data.into() })
    }

    /// What is known of the operators.
    pub fn operators(&self) -> Vec<OperatorHealth> {
        self.operators.health()
    }

    /// The ordered blocks of a namespace from a height on, each verified: every height once, in order, across
    /// reconnections and changes of operator.
    ///
    /// A start in the middle is anchored by the first block's certificate. To go on where an earlier stream stopped, use
    /// [`Client::resume`] with its checkpoint, which also ties the first block to the last one.
    pub fn subscribe(&self, namespace: NamespaceId, from: Height) -> Subscription {
        self.resume(BlockVerifier::from_trusted(self.root.clone(), namespace, from))
    }

    /// As [`Client::subscribe`], from where a verifier stands: made from a genesis, or a checkpoint of an earlier block.
    pub fn resume(&self, verifier: BlockVerifier) -> Subscription {
        Subscription::start(Arc::clone(&self.operators), verifier)
    }

    /// What an operator says of itself, by its place in the configuration; none of it is proven.
    ///
    /// # Errors
    /// [`ClientError::Nobody`] if it does not answer, or there is no such place.
    pub async fn status(&self, operator: usize) -> Result<proto::StatusReply, ClientError> {
        let what = || format!("ask operator {operator} for its status");
        if operator >= self.operators.len() {
            return Err(ClientError::Nobody { what: what(), reasons: format!("{} are named", self.operators.len()) });
        }
        let mut rpc = self.operators.rpc(operator);
        let answer =
            tokio::time::timeout(self.operators.config().call_timeout, rpc.get_status(proto::StatusRequest {}));
        match answer.await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(ClientError::Nobody { what: what(), reasons: describe(&status) }),
            Err(_) => Err(ClientError::Nobody { what: what(), reasons: "no answer in time".to_owned() }),
        }
    }

    /// The committee of an epoch, followed with the proofs of one operator as far as they are needed.
    pub(super) async fn committee(&self, epoch: Epoch, operator: usize) -> Result<TrustedCommittee, CommitteeFailure> {
        let mut committees = self.committees.lock().await;
        while committees.newest().epoch() < epoch {
            let proof = committee_proof(&self.operators, operator, committees.newest().epoch().next()).await?;
            committees.follow(&proof).map_err(|error: TrustError| CommitteeFailure::False(error.to_string()))?;
        }
        let missing = || CommitteeFailure::Missing(format!("the committee of epoch {epoch} is no longer kept"));
        committees.committee(epoch).cloned().ok_or_else(missing)
    }
}

/// The pinned committee, as one operator serves it: in a proof, or for the first epoch in the genesis.
async fn pinned(operators: &Operators, index: usize, pin: &Pin) -> Result<TrustedCommittee, CommitteeFailure> {
    let wrong = |error: TrustError| CommitteeFailure::False(error.to_string());
    if pin.epoch > Epoch::ZERO {
        let proof = committee_proof(operators, index, pin.epoch).await?;
        return TrustedCommittee::from_pin(pin, &proof).map_err(wrong);
    }
    let mut rpc = operators.rpc(index);
    let call = rpc.get_genesis(proto::GenesisRequest {});
    let json = match tokio::time::timeout(operators.config().call_timeout, call).await {
        Ok(Ok(reply)) => reply.into_inner().json,
        Ok(Err(status)) => return Err(CommitteeFailure::Missing(format!("genesis: {}", describe(&status)))),
        Err(_) => return Err(CommitteeFailure::Missing("genesis: no answer in time".to_owned())),
    };
    let genesis: Genesis =
        serde_json::from_str(&json).map_err(|error| CommitteeFailure::False(format!("genesis: {error}")))?;
    TrustedCommittee::from_genesis(&genesis).and_then(|first| first.pinned_by(pin)).map_err(wrong)
}

/// One operator's proof of one epoch's committee.
pub(super) async fn committee_proof(
    operators: &Operators,
    operator: usize,
    epoch: Epoch,
) -> Result<CommitteeProof, CommitteeFailure> {
    let mut rpc = operators.rpc(operator);
    let call = rpc.get_committee(proto::CommitteeRequest { epoch: epoch.0 });
    let proof: Bytes = match tokio::time::timeout(operators.config().call_timeout, call).await {
        Ok(Ok(reply)) => reply.into_inner().proof,
        Ok(Err(status)) => {
            let why = format!("committee of epoch {epoch}: {}", describe(&status));
            return Err(CommitteeFailure::Missing(why));
        }
        Err(_) => return Err(CommitteeFailure::Missing(format!("committee of epoch {epoch}: no answer in time"))),
    };
    CommitteeProof::from_bytes(proof)
        .map_err(|error| CommitteeFailure::False(format!("committee of epoch {epoch}: {error}")))
}

/// This machine's clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
