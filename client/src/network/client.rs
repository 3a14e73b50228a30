//! The client: several operators, one root of trust.

use super::operators::{Operators, describe};
use super::{ClientConfig, ClientError, OperatorHealth, Subscription};
use crate::proto;
use crate::{BlockVerifier, CommitteeFollower, TrustError, TrustedCommittee};
use bytes::Bytes;
use squad_types::{CommitteeProof, Decode, Epoch, Height, NamespaceId, Timestamp};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
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
