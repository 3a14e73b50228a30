//! What travels: a message with its encoded size, its signatures checked once for all its receivers.

use crate::network::NodeIndex;
use squad_sequencer::{AskId, RequestId};
use squad_types::{Domain, Encode, Evidence, Message, Request, Response, VerifiedMessage, Verifier};
use std::sync::Arc;

/// Kinds of traffic, for counting and for what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A proposal with its block.
    Proposal,
    /// A prevote or precommit.
    Vote,
    /// A quorum of votes.
    Votes,
    /// A commit certificate.
    Commit,
    /// A batch.
    Batch,
    /// An ack.
    Ack,
    /// A batch certificate.
    Secured,
    /// Evidence.
    Evidence,
    /// A newcomer's readiness.
    Ready,
    /// A question.
    Request,
    /// An answer.
    Response,
}

impl Kind {
    /// All of them, in the order of [`Self::index`].
    pub const ALL: [Self; 11] = [
        Self::Proposal,
        Self::Vote,
        Self::Votes,
        Self::Commit,
        Self::Batch,
        Self::Ack,
        Self::Secured,
        Self::Evidence,
        Self::Ready,
        Self::Request,
        Self::Response,
    ];

    /// Its place in a table.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Vote => "vote",
            Self::Votes => "votes",
            Self::Commit => "commit",
            Self::Batch => "batch",
            Self::Ack => "ack",
            Self::Secured => "secured",
            Self::Evidence => "evidence",
            Self::Ready => "ready",
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    fn of(message: &Message) -> Self {
        match message {
            Message::Proposal(_) => Self::Proposal,
            Message::Vote(_) => Self::Vote,
            Message::Votes(_) => Self::Votes,
            Message::Commit(_) => Self::Commit,
            Message::Batch(_) => Self::Batch,
            Message::Ack(_) => Self::Ack,
            Message::Secured(_) => Self::Secured,
            Message::Evidence(_) => Self::Evidence,
            Message::Ready(_) => Self::Ready,
        }
    }
}

/// A message as its receivers get it.
#[derive(Debug)]
pub struct Packet {
    /// Its kind.
    pub kind: Kind,
    /// Its encoded size.
    pub bytes: u32,
    /// Signatures that a receiver's worker checks.
    pub signatures: u32,
    /// Its number among what is for everyone: whoever gets it hands it on to the followers that hear it, once.
    pub gossip: Option<u64>,
    /// The checked message; none if a signature or a digest does not hold, so that every receiver drops it.
    pub verified: Option<VerifiedMessage>,
}

impl Packet {
    /// Checks a message once. `scratch` is a buffer to encode into.
    pub fn new(message: &Message, domain: &Domain, verifier: &dyn Verifier, scratch: &mut Vec<u8>) -> Self {
        let kind = Kind::of(message);
        scratch.clear();
        message.encode(scratch);
        let signatures = match message {
            Message::Votes(_) | Message::Commit(_) | Message::Secured(_) => 0,
            Message::Evidence(evidence) => match evidence.as_ref() {
                Evidence::Votes(_) | Evidence::Proposals(_) | Evidence::Batches(_) => 2,
                Evidence::Acks(pair) => 2 + pair.headers.len() as u32,
            },
            _ => 1,
        };
        let verified = message.clone().verify(domain, verifier).ok();
        Self { kind, bytes: scratch.len() as u32, signatures, gossip: None, verified }
    }
}

/// What is in a parcel.
#[derive(Debug)]
pub(crate) enum Body {
    Message(Arc<Packet>),
    Question(Box<(AskId, Request)>),
    Answer(Box<(AskId, Response)>),
}

impl Body {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Message(packet) => packet.kind,
            Self::Question(_) => Kind::Request,
            Self::Answer(_) => Kind::Response,
        }
    }
}

/// Something on its way from one node to another.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) bytes: u32,
    /// The asker's life: an answer to an earlier one is for nobody.
    pub(crate) life: u32,
    pub(crate) body: Body,
}

impl Parcel {
    pub(crate) fn from(&self) -> NodeIndex {
        self.from as NodeIndex
    }

    pub(crate) fn to(&self) -> NodeIndex {
        self.to as NodeIndex
    }
}

/// A question that a node has been asked and not answered yet.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) asker: NodeIndex,
    pub(crate) ask: AskId,
    pub(crate) asker_life: u32,
    pub(crate) answerer: NodeIndex,
}

/// The encoded size of something.
pub(crate) fn size(value: &impl Encode, scratch: &mut Vec<u8>) -> u32 {
    scratch.clear();
    value.encode(scratch);
    scratch.len() as u32
}

/// Questions under way, by the number that the answerer got.
pub(crate) type Questions = std::collections::BTreeMap<RequestId, Question>;
