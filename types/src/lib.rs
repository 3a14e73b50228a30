//! The vocabulary of the protocol: quantities, keys, statements, certificates and their bounded codec.
//!
//! Nothing here knows a clock, a socket, a disk or a task. What arrives from outside is decoded with bounds
//! ([`codec`], [`limits`]), then verified into a type that says so ([`Verified`], [`VerifiedBatch`], [`VerifiedProposal`]).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ack;
pub mod batch;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod committee;
pub mod confirmation;
pub mod evidence;
pub mod genesis;
pub mod hash;
pub mod header;
pub mod keys;
pub mod limits;
pub mod merkle;
pub mod message;
pub mod namespace;
pub mod params;
pub mod peer;
pub mod quantity;
pub mod signed;
pub mod transaction;
pub mod vote;

pub use ack::{Ack, AckEntries, AckEntry, AckMessage};
pub use batch::{Batch, BatchError, BatchHeader, CutEntry, LaneId, Tip, VerifiedBatch};
pub use block::{NamespaceBlock, OrderedBlock, ProposalError, ProposalMessage, ProposedBlock, VerifiedProposal};
pub use certificate::{AckProof, BatchCertificate, CertificateError, CommitCertificate, VoteCertificate};
pub use codec::{Decode, DecodeError, Encode, Reader};
pub use committee::{Bitmap, Committee, CommitteeError, Member};
pub use confirmation::{Batched, Confirmation, Evidenced, Ordered, Secured, Tier};
pub use evidence::{AckPair, BatchPair, Evidence, EvidenceError, Incident, Proofs, ProposalPair, VotePair};
pub use genesis::{Genesis, GenesisError, Settlement};
pub use hash::{BatchId, Digest, HeaderHash, IncidentId, MerkleRoot, NetworkId, PayloadDigest, TxId};
pub use header::{ChainState, Header, L1Anchor, PROTOCOL_VERSION, Ready};
pub use keys::{
    Address, Domain, EcdsaSigner, EcdsaVerifier, KeyedHashSigner, KeyedHashVerifier, Signature, Signer, SigningDigest,
    Statement, Verifier,
};
pub use merkle::MerkleProof;
pub use message::{
    BatchRange, CommitteeProof, Message, MessageError, ProposalRef, Request, Response, Slots, Snapshot, VerifiedMessage,
};
pub use namespace::{
    NamespaceKind, NamespaceLeaf, NamespaceProof, NamespaceProofError, NamespaceSpec, OrderingPolicy, WriteAccess,
};
pub use params::Params;
pub use peer::PeerBinding;
pub use quantity::{AckCounter, Epoch, Height, NamespaceId, Round, Sequence, Stake, Timestamp, ValidatorIndex};
pub use signed::{BadSignature, Signed, Verified};
pub use transaction::{FeeHint, IdentifiedTransaction, Payload, Transaction, TransactionRef};
pub use vote::{Proposal, Vote, VoteKind};
