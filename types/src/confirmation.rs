//! Confirmations: one object that upgrades itself, from an operator's word to a quorum's.

use crate::batch::BatchHeader;
use crate::certificate::{BatchCertificate, CommitCertificate};
use crate::codec_struct;
use crate::header::Header;
use crate::merkle::MerkleProof;
use crate::namespace::NamespaceProof;
use crate::quantity::Epoch;
use crate::signed::Signed;
use crate::transaction::TransactionRef;
use serde::{Deserialize, Serialize};

/// How firm a confirmation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// T0: its operator holds it durably and has signed for it.
    Batched,
    /// T1: over two thirds of stake hold it durably.
    Secured,
    /// T2: its final position is certified.
    Ordered,
}

crate::codec_unit_enum!(Tier { 0 => Batched, 1 => Secured, 2 => Ordered });

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Batched => "batched",
            Self::Secured => "secured",
            Self::Ordered => "ordered",
        })
    }
}

impl std::str::FromStr for Tier {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "batched" => Ok(Self::Batched),
            "secured" => Ok(Self::Secured),
            "ordered" => Ok(Self::Ordered),
            other => Err(format!("'{other}' is no tier: use batched, secured or ordered")),
        }
    }
}

/// T0. Breaks if the operator's disk dies, it goes silent, or it forks its lane (two headers at one sequence prove that).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batched {
    /// The batch's header, signed by its operator.
    pub header: Signed<BatchHeader>,
    /// That the transaction is under the header's root.
    pub proof: MerkleProof,
}

codec_struct!(Batched { header, proof });

/// T1. Breaks only if over a third of stake misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secured {
    /// The quorum that holds the batch; its first header is the batch's.
    pub certificate: BatchCertificate,
    /// That the transaction is under that header's root.
    pub proof: MerkleProof,
}

codec_struct!(Secured { certificate, proof });

/// T2. Breaks only if over a third of stake misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The block's header.
    pub header: Header,
    /// The quorum that ordered it.
    pub certificate: CommitCertificate,
    /// The namespace's leaf under the header.
    pub namespace_proof: NamespaceProof,
    /// The transaction's place under that leaf.
    pub proof: MerkleProof,
}

codec_struct!(Ordered { header, certificate, namespace_proof, proof });

/// What is known of a transaction's fate, with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tier", rename_all = "kebab-case")]
pub enum Evidenced {
    /// T0.
    Batched(Batched),
    /// T1.
    Secured(Secured),
    /// T2.
    Ordered(Box<Ordered>),
}

impl crate::codec::Encode for Evidenced {
    fn encode(&self, out: &mut Vec<u8>) {
        self.tier().encode(out);
        match self {
            Self::Batched(inner) => inner.encode(out),
            Self::Secured(inner) => inner.encode(out),
            Self::Ordered(inner) => inner.encode(out),
        }
    }
}

impl crate::codec::Decode for Evidenced {
    fn decode(reader: &mut crate::codec::Reader) -> Result<Self, crate::codec::DecodeError> {
        Ok(match Tier::decode(reader)? {
            Tier::Batched => Self::Batched(Batched::decode(reader)?),
            Tier::Secured => Self::Secured(Secured::decode(reader)?),
            Tier::Ordered => Self::Ordered(Box::new(Ordered::decode(reader)?)),
        })
    }
}

impl Evidenced {
    /// The tier.
    pub fn tier(&self) -> Tier {
        match self {
            Self::Batched(_) => Tier::Batched,
            Self::Secured(_) => Tier::Secured,
            Self::Ordered(_) => Tier::Ordered,
        }
    }
}

/// A transaction's confirmation, to be checked offline against a trusted committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The network.
    pub network_id: crate::hash::NetworkId,
    /// The transaction: its namespace, validity and the hash of its bytes.
    pub transaction: TransactionRef,
    /// Its tier and proof.
    #[serde(flatten)]
    pub evidenced: Evidenced,
}

codec_struct!(Confirmation { network_id, transaction, evidenced });

impl Confirmation {
    /// The tier.
    pub fn tier(&self) -> Tier {
        self.evidenced.tier()
    }

    /// The epoch whose committee, or a member of it, signed the evidence.
    pub fn epoch(&self) -> Epoch {
        match &self.evidenced {
            Evidenced::Batched(batched) => batched.header.statement.epoch,
            Evidenced::Secured(secured) => secured.certificate.lane.epoch,
            Evidenced::Ordered(ordered) => ordered.header.epoch,
        }
    }
}
