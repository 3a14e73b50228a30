//! The seam between the interfaces and the running node.

use super::rejection::Rejected;
use super::status::NodeStatus;
use crate::evm::EvmFacts;
use bytes::Bytes;
use squad_types::{
    CommitCertificate, Committee, Confirmation, Epoch, Evidence, Genesis, Header, Height, NamespaceBlock, NamespaceId,
    NamespaceSpec, Tier, Timestamp, TxId,
};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

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
    /// Who sent it.
    pub source: Source,
}

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
    /// Takes a transaction in and answers when it has reached the tier of `submission.wait`.
    ///
    /// Answers within bounded time: a refusal of code `Expired`, or `Timeout` where its fate is not known yet.
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Confirmation, Rejected>>;

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
