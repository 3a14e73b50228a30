//! What must be durable, in order: malachite's write-ahead entries (inputs too, because a lock is only rebuilt by replaying
//! them) with the blocks they name, and the own statements that they hold.

use crate::timeouts::TimeoutKind;
use squad_types::{
    Address, Epoch, HeaderHash, Height, Proposal, ProposedBlock, Round, Signed, Vote, VoteCertificate, codec_enum,
    codec_struct, codec_unit_enum,
};
use std::sync::Arc;

codec_unit_enum!(TimeoutKind { 0 => Propose, 1 => Prevote, 2 => Precommit, 3 => Rebroadcast });

/// A height was begun as a voter. Entries of a height before the last of these are void: nothing was signed on their strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The height.
    pub height: Height,
    /// Its epoch.
    pub epoch: Epoch,
}

codec_struct!(Started { height, epoch });

/// The core was told that a block is valid, or that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The height.
    pub height: Height,
    /// The round of a proposal that carried it.
    pub round: Round,
    /// That proposal's earlier round with a quorum.
    pub valid_round: Option<Round>,
    /// Who proposed it there.
    pub proposer: Address,
    /// The block.
    pub block: HeaderHash,
    /// Whether it is valid.
    pub valid: bool,
}

codec_struct!(Ruling { height, round, valid_round, proposer, block, valid });

/// A timer ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// The timer.
    pub kind: TimeoutKind,
}

codec_struct!(Elapsed { height, round, kind });

/// One entry of the log. Order matters.
///
/// Small: nearly all are votes, and each is moved several times on its way to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// A height was begun.
    Started(Started),
    /// A block that later entries name.
    Block(Arc<ProposedBlock>),
    /// A proposal that the core took in, one's own among them.
    Proposal(Arc<Signed<Proposal>>),
    /// A vote that the core took in, one's own among them.
    Vote(Arc<Signed<Vote>>),
    /// A ruling on a block that the core took in.
    Ruling(Box<Ruling>),
    /// A certificate over prevotes that the core took in.
    Polka(Box<VoteCertificate>),
    /// A timer's end that the core took in.
    Elapsed(Elapsed),
    /// A vote of one's own that a peer echoed and this log did not know. It holds its slot; it is not replayed.
    EchoedVote(Arc<Signed<Vote>>),
    /// The same for a proposal.
    EchoedProposal(Arc<Signed<Proposal>>),
}

codec_enum!(LogEntry {
    0 => Started(Started),
    1 => Block(Arc<ProposedBlock>),
    2 => Proposal(Arc<Signed<Proposal>>),
    3 => Vote(Arc<Signed<Vote>>),
    4 => Ruling(Box<Ruling>),
    5 => Polka(Box<VoteCertificate>),
    6 => Elapsed(Elapsed),
    7 => EchoedVote(Arc<Signed<Vote>>),
    8 => EchoedProposal(Arc<Signed<Proposal>>),
});

impl LogEntry {
    /// The height it belongs to. Entries of a height may be dropped once a later height has begun.
    pub fn height(&self) -> Height {
        match self {
            Self::Started(started) => started.height,
            Self::Block(block) => block.header().height,
            Self::Proposal(proposal) | Self::EchoedProposal(proposal) => proposal.statement.height,
            Self::Vote(vote) | Self::EchoedVote(vote) => vote.statement.height,
            Self::Ruling(ruling) => ruling.height,
            Self::Polka(certificate) => certificate.vote.height,
            Self::Elapsed(elapsed) => elapsed.height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squad_types::{Decode, Encode};

    proptest! {
        #[test]
        fn whatever_decodes_is_canonical_and_nothing_panics(tag in 0_u8..10, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let bytes: bytes::Bytes = [vec![tag], bytes].concat().into();
            if let Ok(entry) = LogEntry::from_bytes(bytes.clone()) {
                prop_assert_eq!(entry.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn an_entry_knows_its_height() {
        let elapsed = Elapsed { height: Height(7), round: Round(2), kind: TimeoutKind::Precommit };
        let entry = LogEntry::Elapsed(elapsed);
        assert_eq!(entry.height(), Height(7));
        assert_eq!(LogEntry::from_bytes(entry.to_bytes()), Ok(entry));
    }
}
