//! What validators sign about a height: proposals, prevotes, precommits.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::codec_struct;
use crate::codec_unit_enum;
use crate::hash::HeaderHash;
use crate::keys::{Statement, StructHash};
use crate::quantity::{Height, Round};
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::OnceLock;

/// The two votes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VoteKind {
    /// First vote: the proposal is acceptable.
    Prevote,
    /// Second vote: a quorum found it acceptable.
    Precommit,
}

codec_unit_enum!(VoteKind { 0 => Prevote, 1 => Precommit });

/// A vote for a block or, with none, for no block in this round. It names no voter, so that all votes for a block have one digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Which of the two votes.
    pub kind: VoteKind,
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The block; none for nil. Never zero, which is what nil is signed as: bytes that say so are refused.
    #[serde(deserialize_with = "block_or_nil")]
    pub block: Option<HeaderHash>,
}

impl Encode for Vote {
    fn encode(&self, out: &mut Vec<u8>) {
        self.kind.encode(out);
        self.height.encode(out);
        self.round.encode(out);
        self.block.encode(out);
    }
}

impl Decode for Vote {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (kind, height, round) = (Decode::decode(reader)?, Decode::decode(reader)?, Decode::decode(reader)?);
        let vote = Self { kind, height, round, block: Option::decode(reader)? };
        if vote.is_sound() { Ok(vote) } else { Err(DecodeError::Malformed(ZERO_BLOCK)) }
    }
}

const ZERO_BLOCK: &str = "vote: a block whose hash is zero, which is what nil is signed as";

fn block_or_nil<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderHash>, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(HeaderHash::ZERO) => Err(serde::de::Error::custom(format_args!("malformed {ZERO_BLOCK}"))),
        block => Ok(block),
    }
}

impl Vote {
    fn in_slot(&self) -> StructHash {
        static PREVOTE: OnceLock<[u8; 32]> = OnceLock::new();
        static PRECOMMIT: OnceLock<[u8; 32]> = OnceLock::new();
        let (cell, encoded) = match self.kind {
            VoteKind::Prevote => (&PREVOTE, "Prevote(uint64 height,uint32 round,bytes32 block)"),
            VoteKind::Precommit => (&PRECOMMIT, "Precommit(uint64 height,uint32 round,bytes32 block)"),
        };
        StructHash::new(cell, encoded).number(self.height.0).number(self.round.0.into())
    }

    /// Names what its signer may vote once in.
    pub(crate) fn slot(&self) -> [u8; 32] {
        self.in_slot().finish()
    }
}

impl Statement for Vote {
    fn struct_hash(&self) -> [u8; 32] {
        self.in_slot().word(&self.block.unwrap_or_default().0).finish()
    }

    /// No block has the hash zero: a vote for it would be everybody's vote for nil, and a quorum for nil a decision.
    fn is_sound(&self) -> bool {
        self.block != Some(HeaderHash::ZERO)
    }
}

/// A proposer's statement that this is its block for the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The earlier round in which a quorum prevoted for this block; none for a fresh proposal.
    pub valid_round: Option<Round>,
    /// The block.
    pub block: HeaderHash,
}

codec_struct!(Proposal { height, round, valid_round, block });

impl Proposal {
    fn in_slot(&self) -> StructHash {
        static TYPE: OnceLock<[u8; 32]> = OnceLock::new();
        StructHash::new(&TYPE, "Proposal(uint64 height,uint32 round,uint64 validRoundPlusOne,bytes32 block)")
            .number(self.height.0)
            .number(self.round.0.into())
    }

    /// Names what its signer may propose once in.
    pub(crate) fn slot(&self) -> [u8; 32] {
        self.in_slot().finish()
    }
}

impl Statement for Proposal {
    fn struct_hash(&self) -> [u8; 32] {
        let valid_round = self.valid_round.map_or(0, |round| u64::from(round.0) + 1);
        self.in_slot().number(valid_round).word(&self.block.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{CertificateError, CommitCertificate, VoteCertificate};
    use crate::committee::{Committee, Member};
    use crate::hash::NetworkId;
    use crate::keys::{Domain, EcdsaSigner, EcdsaVerifier, Signer as _};
    use crate::quantity::{Epoch, Stake};
    use crate::signed::{Signed, Verified};

    #[test]
    fn a_quorum_of_precommits_for_nil_is_no_decision_of_a_block_whose_hash_is_zero() {
        let domain = Domain::new(NetworkId([7; 32]));
        let mut signers: Vec<_> = (1..5).map(|at| EcdsaSigner::from_secret([at; 32]).unwrap()).collect();
        signers.sort_by_key(EcdsaSigner::address);
        let members = signers.iter().map(|signer| Member { address: signer.address(), stake: Stake(1) }).collect();
        let committee = Committee::new(Epoch(0), members).unwrap();
        let vote = Vote { kind: VoteKind::Precommit, height: Height(3), round: Round(0), block: None };
        let signed = signers.iter().map(|signer| {
            let place = committee.index_of(&signer.address()).unwrap();
            (place, Verified::sign(vote, &domain, signer).signature)
        });
        let commit = CommitCertificate::assemble(vote.height, vote.round, HeaderHash::ZERO, signed.collect());
        assert_eq!(commit.verify(&domain, &committee, &EcdsaVerifier), Err(CertificateError::ZeroBlock));
        let votes =
            |vote| VoteCertificate { vote, signers: commit.signers.clone(), signatures: commit.signatures.clone() };
        assert_eq!(votes(vote).verify(&domain, &committee, &EcdsaVerifier), Ok(()));
        let zero = votes(commit.vote());
        assert_eq!(zero.verify(&domain, &committee, &EcdsaVerifier), Err(CertificateError::ZeroBlock));
        let voter = signers[0].address();
        let quoted = Signed { statement: zero.vote, signer: voter, signature: commit.signatures[0] };
        assert!(quoted.verify(&domain, &EcdsaVerifier).is_err());
    }
}
