//! What goes into a [`Sequencer`](crate::Sequencer): one `handle` call each.

use squad_types::keys::{Domain, Verifier};
use squad_types::message::{CommitteeProof, Slots, Snapshot};
use squad_types::{
    Ack, AckEntries, Address, CommitCertificate, Evidence, EvidenceError, IdentifiedTransaction, Incident,
    MessageError, OrderedBlock, Proofs, Request, Response, Verified, VerifiedBatch, VerifiedMessage, VerifiedProposal,
};

/// Somebody on the network, as the driver tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A peer whose binding to this operator was checked.
    Operator(Address),
    /// A follower; the number is the driver's own.
    Follower(u64),
}

/// A peer's question, to be answered by the driver under this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A question of this node, whose answer comes back under this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A client's transaction. For EVM namespaces the node has checked its shape and signature.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The transaction.
    pub transaction: IdentifiedTransaction,
    /// Who sent it, hashed by the driver; one token bucket each.
    pub source: squad_mempool::Source,
    /// What an EVM transaction's signature shows; none for opaque ones.
    pub evm: Option<squad_mempool::EvmFacts>,
}

/// Everything that can happen to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client submits. Every submission is answered: by [`Output::Refused`](crate::Output::Refused) at once, by the batch that
    /// holds it, or by [`Output::Dropped`](crate::Output::Dropped).
    Submit(Submission),
    /// A peer's message, its signatures checked.
    Message {
        /// Who sent it on, not who signed it.
        from: Peer,
        /// The message.
        message: VerifiedMessage,
    },
    /// A peer asks. Every request is answered once by [`Output::Answer`](crate::Output::Answer).
    Request {
        /// Who asks.
        from: Peer,
        /// What the answer goes under.
        id: RequestId,
        /// The question.
        request: Request,
    },
    /// The answer to an [`Output::Ask`](crate::Output::Ask); none if the peer failed, refused, or lied about a signature.
    Response {
        /// The question's number.
        id: AskId,
        /// The answer.
        response: Option<VerifiedResponse>,
    },
    /// A peer can be reached now.
    Connected(Peer),
    /// A peer cannot be reached any more.
    Disconnected(Peer),
    /// A peer says that another process with this operator's key was connected to it first, and lives. This operator itself as the
    /// one that says so: the process was met.
    HeldElsewhere(Address),
    /// The time asked for by the last [`Output::WakeAt`](crate::Output::WakeAt) has come.
    Wake,
    /// Free disk space fell below the mark (true) or is back above it (false). Below, nothing is accepted or proposed; votes go on.
    DiskLow(bool),
    /// The stake table knows another block of the settlement layer. Until this, what was refused for not knowing it stays refused.
    AnchorSeen,
    /// The operator wants to stop: nothing is accepted any more, what was accepted is still batched.
    Drain,
}

/// A response whose signatures hold, as far as they need no committee.
#[derive(Clone, Debug)]
pub enum VerifiedResponse {
    /// Batches, ascending.
    Batches(Vec<VerifiedBatch>),
    /// A proposal.
    Proposal(Option<VerifiedProposal>),
    /// Ordered blocks, ascending; their certificates are checked inside.
    Blocks(Vec<OrderedBlock>),
    /// An ack.
    Ack(Option<(Verified<Ack>, AckEntries)>),
    /// What a peer saw of this operator; checked inside.
    Slots(Box<Slots>),
    /// Committee proofs; checked inside.
    Committees(Vec<CommitteeProof>),
    /// A snapshot; checked inside.
    Snapshot(Option<Box<Snapshot>>),
    /// The peer's tip; checked inside.
    Tip(Option<CommitCertificate>),
    /// Incidents of which a peer says that it has proofs.
    Incidents(Vec<Incident>),
    /// Proofs that hold, each with its incident.
    Evidence(Vec<(Incident, Evidence)>),
}

impl VerifiedResponse {
    /// Checks a response's signatures: the expensive part, done off the sequencer's thread.
    pub fn verify(response: Response, domain: &Domain, verifier: &dyn Verifier) -> Result<Self, MessageError> {
        Ok(match response {
            Response::Batches(batches) => {
                let verified =
                    batches.into_iter().map(|batch| batch.verify(domain, verifier)).collect::<Result<_, _>>()?;
                Self::Batches(verified)
            }
            Response::Proposal(Some(message)) => Self::Proposal(Some(message.verify(domain, verifier)?)),
            Response::Proposal(None) => Self::Proposal(None),
            Response::Blocks(blocks) => Self::Blocks(blocks),
            Response::Ack(Some(message)) => Self::Ack(Some((message.ack.verify(domain, verifier)?, message.entries))),
            Response::Ack(None) => Self::Ack(None),
            Response::Slots(slots) => Self::Slots(slots),
            Response::Committees(proofs) => Self::Committees(proofs),
            Response::Snapshot(snapshot) => Self::Snapshot(snapshot),
            Response::Tip(tip) => Self::Tip(tip),
            Response::Incidents(incidents) => Self::Incidents(incidents),
            Response::Evidence(Proofs(proofs)) => {
                let proved = proofs.into_iter().map(|evidence| {
                    let accused = evidence.verify(domain, verifier)?;
                    let none = EvidenceError::NoConflict("no slot is named");
                    let id = evidence.incident(&domain.network()).ok_or(none)?;
                    Ok::<_, MessageError>((Incident { id, accused }, evidence))
                });
                Self::Evidence(proved.collect::<Result<_, _>>()?)
            }
        })
    }
}
