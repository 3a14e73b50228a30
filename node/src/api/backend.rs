//! The seam between the interfaces and the running node.

use super::rejection::Rejected;
use super::status::NodeStatus;
use crate::evm::EvmFacts;
use bytes::Bytes;
use squad_types::{
    CommitCertificate, Committee, CommitteeProof, Confirmation, Epoch, Evidence, Genesis, Header, Height,
    NamespaceBlock, NamespaceId, NamespaceSpec, Tier, Timestamp, TxId,
};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A future that a [`Backend`] answers with.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a submission came from: token buckets and logs go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A client at this address.
    Client(IpAddr),
    /// This process itself.
    Local,
}

/// A transaction that passed every check that its bytes and its namespace's rules allow.
///
/// Shape, size, signature, chain id, access and validity against the node's chain time are checked before; duplicate,
/// quota, load and readiness are for the [`Backend`].
#[derive(Clone, Debug)]
pub struct Submission {
    /// The rollup.
    pub namespace: NamespaceId,
    /// The transaction's bytes.
    pub data: Bytes,
    /// Until when it may be ordered, in chain time; set for opaque namespaces, none for EVM ones.
    pub valid_until: Option<Timestamp>,
    /// What its signature says, for EVM namespaces.
    pub evm: Option<EvmFacts>,
    /// The tier to wait for before answering.
    pub wait: Tier,
    /// How long to wait for it; then the answer is a refusal of code `Timeout`.
    pub within: Duration,
    /// Whether the answer is to carry the confirmation. Its proofs cost time to make.
    pub with_confirmation: bool,
    /// Who sent it.
    pub source: Source,
    /// The transaction behind which it is to be taken, or not at all.
    pub after: Option<TxId>,
}

/// A submission under a number that its answer will carry.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Chosen by the caller.
    pub number: u64,
    /// The submission.
    pub submission: Submission,
}

/// That a transaction has reached the tier that its submitter waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: TxId,
    /// The tier reached: the one waited for, or a higher one.
    pub tier: Tier,
    /// The proof of it, if it was asked for. Answers without one are many, and small this way.
    pub confirmation: Option<Box<Confirmation>>,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The ticket's number.
    pub number: u64,
    /// What became of it.
    pub outcome: Result<Accepted, Rejected>,
}

/// Where answers go. It has no bound of its own: whoever submits bounds its open tickets, and each gets one answer.
pub type Answers = mpsc::UnboundedSender<Vec<Answer>>;

/// A header with the quorum that ordered it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CertifiedHeader {
    /// The header.
    pub header: Header,
    /// The quorum.
    pub certificate: CommitCertificate,
}

/// The running node, as its interfaces see it.
///
/// Blocks and headers are pulled, one height at a time, and [`Backend::tip`] says when there are more: so a slow reader
/// holds back only itself, and a stream never skips.
pub trait Backend: Send + Sync + 'static {
    /// Takes transactions in. The future ends when they are handed over, which may wait for room; the answers follow,
    /// exactly one a ticket, in any order and grouped as it suits, each within its submission's time.
    ///
    /// Dropping the receiver of `answers` withdraws interest, not the transactions. A sender that is dropped without
    /// having answered means that the node went down.
    fn submit(&self, tickets: Vec<Ticket>, answers: Answers) -> BoxFuture<'_, ()>;

    /// What is known of a transaction. With a tier, waits until that tier is reached, for a bounded time.
    ///
    /// `Ok(None)`: this node never saw it, or no longer keeps it. A refusal with code `Expired` or `Timeout` otherwise.
    fn confirmation(&self, id: TxId, wait: Option<Tier>) -> BoxFuture<'_, Result<Option<Confirmation>, Rejected>>;

    /// A namespace's block at a height; none above the tip. A refusal of code `Pruned` below what is kept.
    fn namespace_block(
        &self,
        namespace: NamespaceId,
        height: Height,
    ) -> BoxFuture<'_, Result<Option<Arc<NamespaceBlock>>, Rejected>>;

    /// The header at a height; none above the tip. A refusal of code `Pruned` below what is kept.
    fn header(&self, height: Height) -> BoxFuture<'_, Result<Option<CertifiedHeader>, Rejected>>;

    /// The highest decided height whose block can be served; it changes with every new block. Closed when the node stops.
    fn tip(&self) -> watch::Receiver<Height>;

    /// The committee of an epoch; none where it is not known (yet, or any more).
    fn committee(&self, epoch: Epoch) -> BoxFuture<'_, Result<Option<Committee>, Rejected>>;

    /// The proof of an epoch's committee, for whoever trusts an earlier one; none for epoch 0 and where it is not known.
    fn committee_proof(&self, epoch: Epoch) -> BoxFuture<'_, Result<Option<CommitteeProof>, Rejected>>;

    /// The state of the node now.
    fn status(&self) -> BoxFuture<'_, NodeStatus>;

    /// The genesis.
    fn genesis(&self) -> Arc<Genesis>;

    /// The namespaces that are in force now, ascending by id. Called for every submission, so it must be cheap.
    fn namespaces(&self) -> Arc<Vec<NamespaceSpec>>;

    /// The chain time at the tip, and the longest validity that a transaction may have from it, in milliseconds.
    fn chain_time(&self) -> (Timestamp, u64);

    /// Misbehaviour that this node has proof of, newest last, bounded by the driver.
    fn evidence(&self) -> BoxFuture<'_, Vec<Evidence>>;
}
