//! What nodes say to each other. Everything here may come from anybody; [`Message::verify`] is the way in.

use crate::ack::{Ack, AckEntries, AckMessage};
use crate::batch::{Batch, BatchError, BatchHeader, LaneId, Tip, VerifiedBatch};
use crate::block::{OrderedBlock, ProposalError, ProposalMessage, VerifiedProposal};
use crate::certificate::{BatchCertificate, CommitCertificate, VoteCertificate};
use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader};
use crate::committee::Member;
use crate::evidence::{Evidence, EvidenceError, Incident, Proofs};
use crate::hash::{Digest, HeaderHash, IncidentId};
use crate::header::{ChainState, Header, Ready};
use crate::keys::{Address, Domain, Verifier};
use crate::limits::MAX_BLOCKS_PER_RESPONSE;
use crate::quantity::{Epoch, Height, Round, Sequence};
use crate::signed::{BadSignature, Signed, Verified};
use crate::vote::{Proposal, Vote};
use crate::{codec_enum, codec_struct};

/// A statement or certificate pushed to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A proposal with its block.
    Proposal(ProposalMessage),
    /// A prevote or precommit.
    Vote(Signed<Vote>),
    /// A quorum of votes of one round, which lets a node follow it.
    Votes(VoteCertificate),
    /// A decision.
    Commit(CommitCertificate),
    /// A batch.
    Batch(Batch),
    /// An ack.
    Ack(AckMessage),
    /// A certificate that the last cut left out: it is due from now on.
    Secured(BatchCertificate),
    /// A proof of misbehaviour. Two batch headers also close their lane.
    Evidence(Box<Evidence>),
    /// A newcomer's readiness.
    Ready(Signed<Ready>),
}

codec_enum!(Message {
    0 => Proposal(ProposalMessage),
    1 => Vote(Signed<Vote>),
    2 => Votes(VoteCertificate),
    3 => Commit(CommitCertificate),
    4 => Batch(Batch),
    5 => Ack(AckMessage),
    6 => Secured(BatchCertificate),
    7 => Evidence(Box<Evidence>),
    8 => Ready(Signed<Ready>),
});

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        T::decode(reader).map(Self::new)
    }
}

/// A message whose signatures hold. Certificates depend on a committee and are checked where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedMessage {
    /// A proposal with its block.
    Proposal(VerifiedProposal),
    /// A vote.
    Vote(Verified<Vote>),
    /// A quorum of votes, unchecked.
    Votes(VoteCertificate),
    /// A decision, unchecked.
    Commit(CommitCertificate),
    /// A batch.
    Batch(VerifiedBatch),
    /// An ack.
    Ack(Verified<Ack>, AckEntries),
    /// A batch certificate, unchecked.
    Secured(BatchCertificate),
    /// Evidence, with whom it accuses.
    Evidence(Box<Evidence>, Address),
    /// A newcomer's readiness.
    Ready(Verified<Ready>),
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a message.
    #[error("malformed: {0}")]
    Decode(#[from] DecodeError),
    /// A signature does not hold.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// A proposal is refused.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// A batch is refused.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Evidence that shows nothing.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

impl Message {
    /// Checks everything that needs no committee: the expensive part, done off the sequencer's thread.
    pub fn verify(self, domain: &Domain, verifier: &dyn Verifier) -> Result<VerifiedMessage, MessageError> {
        Ok(match self {
            Self::Proposal(message) => VerifiedMessage::Proposal(message.verify(domain, verifier)?),
            Self::Vote(vote) => VerifiedMessage::Vote(vote.verify(domain, verifier)?),
            Self::Votes(certificate) => VerifiedMessage::Votes(certificate),
            Self::Commit(certificate) => VerifiedMessage::Commit(certificate),
            Self::Batch(batch) => VerifiedMessage::Batch(batch.verify(domain, verifier)?),
            Self::Ack(message) => VerifiedMessage::Ack(message.ack.verify(domain, verifier)?, message.entries),
            Self::Secured(certificate) => VerifiedMessage::Secured(certificate),
            Self::Evidence(evidence) => {
                let accused = evidence.verify(domain, verifier)?;
                VerifiedMessage::Evidence(evidence, accused)
            }
            Self::Ready(ready) => VerifiedMessage::Ready(ready.verify(domain, verifier)?),
        })
    }
}

/// A question to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The batches of a lane from a sequence up to a tip.
    Batches(BatchRange),
    /// A proposal that a quorum voted for and that is not known here.
    Proposal(ProposalRef),
    /// Ordered blocks from a height on.
    Blocks(Height),
    /// The peer's own newest ack of an epoch, with its full vector.
    Ack(Epoch),
    /// The highest slots the peer knows of an operator: asked by that operator before its first signature.
    Slots(Address),
    /// The proofs of the committees after an epoch.
    Committees(Epoch),
    /// The state at the peer's tip.
    Snapshot(Epoch),
    /// The peer's tip: its last decision.
    Tip(Epoch),
    /// Of which incidents the peer has proofs, unless they are those of this digest ([`IncidentId::digest`]).
    Incidents(Digest),
    /// The proofs of these incidents.
    Evidence(Vec<IncidentId>),
}

codec_enum!(Request {
    0 => Batches(BatchRange),
    1 => Proposal(ProposalRef),
    2 => Blocks(Height),
    3 => Ack(Epoch),
    4 => Slots(Address),
    5 => Committees(Epoch),
    6 => Snapshot(Epoch),
    7 => Tip(Epoch),
    8 => Incidents(Digest),
    9 => Evidence(Vec<IncidentId>),
});

/// A proposal, named by what votes say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalRef {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The block.
    pub block: HeaderHash,
}

codec_struct!(ProposalRef { height, round, block });

/// Batches of a lane from `from` up to the batch `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRange {
    /// The lane.
    pub lane: LaneId,
    /// The first sequence.
    pub from: Sequence,
    /// The last batch.
    pub to: Tip,
}

codec_struct!(BatchRange { lane, from, to });

/// An answer. Empty lists and none mean that the peer does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Batches in ascending order, as many as fit.
    Batches(Vec<Batch>),
    /// The proposal.
    Proposal(Option<ProposalMessage>),
    /// Ordered blocks in ascending order, as many as fit.
    Blocks(Vec<OrderedBlock>),
    /// The ack.
    Ack(Option<AckMessage>),
    /// The slots.
    Slots(Box<Slots>),
    /// The proofs, ascending.
    Committees(Vec<CommitteeProof>),
    /// The snapshot.
    Snapshot(Option<Box<Snapshot>>),
    /// The tip; none at genesis.
    Tip(Option<CommitCertificate>),
    /// The incidents, all of them; none if the asker has the same.
    Incidents(Vec<Incident>),
    /// The proofs, in the order in which they were asked for, as many as fit.
    Evidence(Proofs),
}

codec_enum!(Response {
    0 => Batches(Vec<Batch>),
    1 => Proposal(Option<ProposalMessage>),
    2 => Blocks(Vec<OrderedBlock>),
    3 => Ack(Option<AckMessage>),
    4 => Slots(Box<Slots>),
    5 => Committees(Vec<CommitteeProof>),
    6 => Snapshot(Option<Box<Snapshot>>),
    7 => Tip(Option<CommitCertificate>),
    8 => Incidents(Vec<Incident>),
    9 => Evidence(Proofs),
});

/// The highest statements of one operator that a peer has seen, and the peer's own tip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// The highest prevote.
    pub prevote: Option<Signed<Vote>>,
    /// The highest precommit.
    pub precommit: Option<Signed<Vote>>,
    /// The highest proposal.
    pub proposal: Option<Signed<Proposal>>,
    /// The highest batch header of its newest lane.
    pub batch: Option<Signed<BatchHeader>>,
    /// Its newest ack.
    pub ack: Option<Signed<Ack>>,
    /// The peer's last decision.
    pub decided: Option<CommitCertificate>,
}

codec_struct!(Slots { prevote, precommit, proposal, batch, ack, decided });

/// Proof of the committee of the epoch after `header.epoch`: the first block of an epoch lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitteeProof {
    /// The header of an epoch's first block.
    pub header: Header,
    /// The quorum of that epoch that ordered it.
    pub certificate: CommitCertificate,
    /// The members of the next epoch, which hash to the header's `next_committee_hash`.
    pub members: Vec<Member>,
}

codec_struct!(CommitteeProof { header, certificate, members });

impl ListItem for CommitteeProof {
    const MAX_ITEMS: usize = MAX_BLOCKS_PER_RESPONSE;
}

/// The state at a height, from which a late joiner follows the blocks after it. The header commits to `state`.
///
/// It lies at least an exactly-once window below the sender's tip, so that the blocks that follow rebuild the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The ordered block whose state this is.
    pub tip: OrderedBlock,
    /// The state after it.
    pub state: ChainState,
}

codec_struct!(Snapshot { tip, state });
