//! What validators sign about a height: proposals, prevotes, precommits.

use crate::codec_struct;
use crate::codec_unit_enum;
use crate::hash::HeaderHash;
use crate::keys::{Statement, StructHash};
use crate::quantity::{Height, Round};
use serde::{Deserialize, Serialize};
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
    /// The block; none for nil.
    pub block: Option<HeaderHash>,
}

codec_struct!(Vote { kind, height, round, block });

impl Statement for Vote {
    fn struct_hash(&self) -> [u8; 32] {
        static PREVOTE: OnceLock<[u8; 32]> = OnceLock::new();
        static PRECOMMIT: OnceLock<[u8; 32]> = OnceLock::new();
        let (cell, encoded) = match self.kind {
            VoteKind::Prevote => (&PREVOTE, "Prevote(uint64 height,uint32 round,bytes32 block)"),
            VoteKind::Precommit => (&PRECOMMIT, "Precommit(uint64 height,uint32 round,bytes32 block)"),
        };
        StructHash::new(cell, encoded)
            .number(self.height.0)
            .number(self.round.0.into())
            .word(&self.block.unwrap_or_default().0)
            .finish()
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

impl Statement for Proposal {
    fn struct_hash(&self) -> [u8; 32] {
        static TYPE: OnceLock<[u8; 32]> = OnceLock::new();
        let valid_round = self.valid_round.map_or(0, |round| u64::from(round.0) + 1);
        StructHash::new(&TYPE, "Proposal(uint64 height,uint32 round,uint64 validRoundPlusOne,bytes32 block)")
            .number(self.height.0)
            .number(self.round.0.into())
            .number(valid_round)
            .word(&self.block.0)
            .finish()
    }
}
