//! Evidence: two statements of one operator that no honest operator makes.

use crate::ack::{self, AckEntry};
use crate::batch::BatchHeader;
use crate::certificate::AckProof;
use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader, decode_list, encode_list};
use crate::codec_struct;
use crate::hash::{Digest, IncidentId, NetworkId, blake3, keccak256};
use crate::keys::{Address, Domain, Statement, Verifier};
use crate::limits::{MAX_EVIDENCE, MAX_EVIDENCE_PER_RESPONSE};
use crate::quantity::ValidatorIndex;
use crate::signed::Signed;
use crate::vote::{Proposal, Vote};
use serde::{Deserialize, Serialize};

/// Why a file is no evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A signature does not hold.
    #[error("{0}")]
    Signature(#[from] crate::signed::BadSignature),
    /// The statements are by two operators.
    #[error("the statements are by {0} and {1}")]
    Signers(Address, Address),
    /// The statements do not contradict one another.
    #[error("the statements do not contradict one another: {0}")]
    NoConflict(&'static str),
}

/// Two votes of one kind, height and round for different blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotePair {
    /// One.
    pub first: Signed<Vote>,
    /// The other.
    pub second: Signed<Vote>,
}

codec_struct!(VotePair { first, second });

/// Two proposals of one height and round for different blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalPair {
    /// One.
    pub first: Signed<Proposal>,
    /// The other.
    pub second: Signed<Proposal>,
}

codec_struct!(ProposalPair { first, second });

/// Two different headers at one place of one lane. It also closes the lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchPair {
    /// One.
    pub first: Signed<BatchHeader>,
    /// The other.
    pub second: Signed<BatchHeader>,
}

codec_struct!(BatchPair { first, second });

/// Two acks that cover different batches at one place of one lane. Tips at different places are compared through the author's headers between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckPair {
    /// The ack whose tip lies lower.
    pub lower: AckProof,
    /// The ack whose tip lies as high or higher.
    pub higher: AckProof,
    /// The lane both speak of.
    pub lane: ValidatorIndex,
    /// The author's headers from the lower tip's place up to the higher tip, whose last is the higher tip.
    pub headers: Vec<Signed<BatchHeader>>,
}

codec_struct!(AckPair { lower, higher, lane, headers });

/// Two statements by one operator in one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Of votes.
    Votes(VotePair),
    /// Of proposals.
    Proposals(ProposalPair),
    /// Of batch headers.
    Batches(BatchPair),
    /// Of acks.
    Acks(AckPair),
}

crate::codec_enum!(Evidence { 0 => Votes(VotePair), 1 => Proposals(ProposalPair), 2 => Batches(BatchPair), 3 => Acks(AckPair) });

impl ListItem for Evidence {
    const MAX_ITEMS: usize = MAX_EVIDENCE;
}

/// An incident of which a node has a proof, and whom that accuses. Of itself it proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incident {
    /// The incident.
    pub id: IncidentId,
    /// The operator that contradicted itself.
    pub accused: Address,
}

codec_struct!(Incident { id, accused });

impl ListItem for Incident {
    const MAX_ITEMS: usize = MAX_EVIDENCE;
}

impl IncidentId {
    /// Names a set of incidents, given in ascending order: two nodes that have proofs of the same ones need say no more.
    pub fn digest(incidents: impl IntoIterator<Item = Self>) -> Digest {
        Digest(blake3(&incidents.into_iter().flat_map(|id| id.0).collect::<Vec<u8>>()))
    }
}

/// Proofs in one answer, at most [`MAX_EVIDENCE_PER_RESPONSE`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs(pub Vec<Evidence>);

impl Encode for Proofs {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(&self.0, out);
    }
}

impl Decode for Proofs {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        decode_list(reader, MAX_EVIDENCE_PER_RESPONSE).map(Self)
    }
}

impl Evidence {
    /// Whom it accuses, checked from the bytes alone.
    pub fn verify(&self, domain: &Domain, verifier: &dyn Verifier) -> Result<Address, EvidenceError> {
        match self {
            Self::Votes(pair) => {
                let (a, b) = (&pair.first.statement, &pair.second.statement);
                conflict((a.kind, a.height, a.round) == (b.kind, b.height, b.round), "other kind, height or round")?;
                differ(a, b, "the same vote")?;
                one_signer(&pair.first, &pair.second, domain, verifier)
            }
            Self::Proposals(pair) => {
                let (a, b) = (&pair.first.statement, &pair.second.statement);
                conflict((a.height, a.round) == (b.height, b.round), "other height or round")?;
                differ(a, b, "the same proposal")?;
                one_signer(&pair.first, &pair.second, domain, verifier)
            }
            Self::Batches(pair) => {
                let (a, b) = (&pair.first.statement, &pair.second.statement);
                let place = (a.operator, a.epoch, a.sequence) == (b.operator, b.epoch, b.sequence);
                conflict(place, "other lane or sequence")?;
                differ(a, b, "the same header")?;
                let signer = one_signer(&pair.first, &pair.second, domain, verifier)?;
                conflict(signer == a.operator, "not signed by the lane's author")?;
                Ok(signer)
            }
            Self::Acks(pair) => pair.verify(domain, verifier),
        }
    }

    /// Which incident it proves, if it verifies: all evidence of one network, operator and slot has one id, and so it is
    /// punished once. None for acks without a header between them, which prove nothing.
    pub fn incident(&self, network: &NetworkId) -> Option<IncidentId> {
        let (operator, slot) = match self {
            Self::Votes(pair) => (pair.first.signer, pair.first.statement.slot()),
            Self::Proposals(pair) => (pair.first.signer, pair.first.statement.slot()),
            Self::Batches(pair) => (pair.first.signer, pair.first.statement.slot()),
            Self::Acks(pair) => {
                let at = &pair.headers.first()?.statement;
                (pair.lower.ack.signer, ack::slot(&at.operator, at.epoch, at.sequence))
            }
        };
        let mut words = [0; 96];
        words[..32].copy_from_slice(&network.0);
        words[44..64].copy_from_slice(&operator.0);
        words[64..].copy_from_slice(&slot);
        Some(IncidentId(keccak256(&words)))
    }
}

impl AckPair {
    fn verify(&self, domain: &Domain, verifier: &dyn Verifier) -> Result<Address, EvidenceError> {
        let (lower, higher) = (&self.lower, &self.higher);
        conflict(lower.ack.statement.epoch == higher.ack.statement.epoch, "other epoch")?;
        for proof in [lower, higher] {
            let leaf = AckEntry { lane: self.lane, tip: Some(proof.tip) }.leaf();
            let holds =
                proof.path.index == u64::from(self.lane.0) && proof.path.holds(&leaf, &proof.ack.statement.root);
            conflict(holds, "a path does not lead to the signed root")?;
        }
        conflict(lower.tip.sequence <= higher.tip.sequence, "the lower tip lies above the higher")?;
        let mut parent = None;
        for signed in &self.headers {
            let header = &signed.statement;
            conflict(header.epoch == lower.ack.statement.epoch, "a header of another epoch")?;
            conflict(
                parent.is_none_or(|(id, sequence): (_, crate::Sequence)| {
                    header.parent == id && header.sequence == sequence.next()
                }),
                "a gap in the headers",
            )?;
            signed.check(domain, verifier)?;
            conflict(signed.signer == header.operator, "a header that its author did not sign")?;
            parent = Some((header.id(), header.sequence));
        }
        let at_lower = self.headers.first().map(|signed| (signed.statement.sequence, signed.statement.id()));
        conflict(parent == Some((higher.tip.batch, higher.tip.sequence)), "the headers do not end at the higher tip")?;
        conflict(
            at_lower.is_some_and(|(sequence, id)| sequence == lower.tip.sequence && id != lower.tip.batch),
            "both cover the same batch",
        )?;
        one_signer(&lower.ack, &higher.ack, domain, verifier)
    }
}

/// What is signed is what is compared: two values of one digest would have one signature.
fn differ<T: Statement>(first: &T, second: &T, otherwise: &'static str) -> Result<(), EvidenceError> {
    conflict(first.struct_hash() != second.struct_hash(), otherwise)
}

fn conflict(holds: bool, otherwise: &'static str) -> Result<(), EvidenceError> {
    if holds { Ok(()) } else { Err(EvidenceError::NoConflict(otherwise)) }
}

fn one_signer<T: Statement>(
    first: &Signed<T>,
    second: &Signed<T>,
    domain: &Domain,
    verifier: &dyn Verifier,
) -> Result<Address, EvidenceError> {
    if first.signer != second.signer {
        return Err(EvidenceError::Signers(first.signer, second.signer));
    }
    first.check(domain, verifier)?;
    second.check(domain, verifier)?;
    Ok(first.signer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HeaderHash;
    use crate::keys::{EcdsaSigner, EcdsaVerifier};
    use crate::quantity::{Height, Round};
    use crate::signed::Verified;
    use crate::vote::VoteKind;

    #[test]
    fn an_honest_vote_for_nothing_is_no_vote_for_a_block_whose_hash_is_zero() {
        // Both have one digest, so one signature covers both.
        let domain = Domain::new(NetworkId([7; 32]));
        let signer = EcdsaSigner::from_secret([5; 32]).unwrap();
        let vote = Vote { kind: VoteKind::Prevote, height: Height(9), round: Round(1), block: None };
        let first = Verified::sign(vote, &domain, &signer).into_signed();
        let second = Signed { statement: Vote { block: Some(HeaderHash::ZERO), ..vote }, ..first.clone() };
        let evidence = Evidence::Votes(VotePair { first, second: second.clone() });
        let accused = evidence.verify(&domain, &EcdsaVerifier);
        assert_eq!(accused, Err(EvidenceError::NoConflict("the same vote")));
        assert!(Signed::<Vote>::from_bytes(second.to_bytes()).is_err(), "it has a form already");
        assert!(Evidence::from_bytes(evidence.to_bytes()).is_err());
        let json = serde_json::to_string(&second).unwrap();
        assert!(serde_json::from_str::<Signed<Vote>>(&json).is_err());
    }

    #[test]
    fn no_more_incidents_or_proofs_are_read_than_a_peer_may_send() {
        let id = |at: usize| IncidentId([at as u8; 32]);
        let incident = |at| Incident { id: id(at), accused: Address([at as u8; 20]) };
        let list = |len: usize| (0..len).map(incident).collect::<Vec<_>>();
        assert_eq!(Vec::<Incident>::from_bytes(list(MAX_EVIDENCE).to_bytes()).unwrap(), list(MAX_EVIDENCE));
        assert!(Vec::<Incident>::from_bytes(list(MAX_EVIDENCE + 1).to_bytes()).is_err());
        let ids = |len: usize| (0..len).map(id).collect::<Vec<_>>().to_bytes();
        assert!(Vec::<IncidentId>::from_bytes(ids(MAX_EVIDENCE_PER_RESPONSE)).is_ok());
        assert!(Vec::<IncidentId>::from_bytes(ids(MAX_EVIDENCE_PER_RESPONSE + 1)).is_err());
        let signer = EcdsaSigner::from_secret([5; 32]).unwrap();
        let vote = |block| {
            let vote = Vote { kind: VoteKind::Prevote, height: Height(9), round: Round(1), block };
            Verified::sign(vote, &Domain::new(NetworkId([7; 32])), &signer).into_signed()
        };
        let proof = Evidence::Votes(VotePair { first: vote(None), second: vote(Some(HeaderHash([1; 32]))) });
        let proofs = |len| Proofs(vec![proof.clone(); len]);
        let most = proofs(MAX_EVIDENCE_PER_RESPONSE);
        assert_eq!(Proofs::from_bytes(most.to_bytes()).unwrap(), most);
        assert!(Proofs::from_bytes(proofs(MAX_EVIDENCE_PER_RESPONSE + 1).to_bytes()).is_err());
    }
}
