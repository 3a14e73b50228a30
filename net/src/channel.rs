//! Channels of the direct streams and topics of the gossip mesh, with their sizes.

use libp2p::gossipsub::IdentTopic;

use squad_types::NetworkId;

use crate::config::protocol_prefix;

const KIB: usize = 1024;

/// The two persistent streams to every peer. Small statements never queue behind batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Votes, proposals, acks and other small statements.
    Control,
    /// Batches.
    Bulk,
}

impl Class {
    /// Both classes.
    pub const ALL: [Self; 2] = [Self::Control, Self::Bulk];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Bulk => 1,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
        }
    }

    /// Longest payload of any channel of this class, in bytes.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Control => Channel::Proposal.max_bytes(),
            Self::Bulk => Channel::Batch.max_bytes(),
        }
    }
}

/// What kind of message a frame carries: decides the stream, the size limit, the rate limit and who may send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Prevotes and precommits.
    Vote,
    /// Proposals.
    Proposal,
    /// Acks and what completes them.
    Ack,
    /// Other statements between members: batch headers, certificates, `Ready`, evidence, slot questions.
    Statement,
    /// Short notices that any peer may send, followers included.
    Notice,
    /// Batches with their signed headers.
    Batch,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 6] = [Self::Vote, Self::Proposal, Self::Ack, Self::Statement, Self::Notice, Self::Batch];

    /// Which stream carries it.
    pub const fn class(self) -> Class {
        match self {
            Self::Batch => Class::Bulk,
            _ => Class::Control,
        }
    }

    /// Longest message in bytes.
    pub const fn max_bytes(self) -> usize {
        match self {
            // A vote is about 200 bytes; the margin pays for optional parts.
            Self::Vote => 16 * KIB,
            // A cut of every lane and a committee list, of the largest committee.
            Self::Proposal => 1024 * KIB,
            // A full vector of the lanes of two epochs of the largest committee.
            Self::Ack => 256 * KIB,
            // A certificate of the largest committee with the headers below it.
            Self::Statement => 1024 * KIB,
            Self::Notice => 8 * KIB,
            // A batch of 512 KiB with its header and the lengths of its transactions.
            Self::Batch => 1024 * KIB,
        }
    }

    /// Whether only bound members of the committee may send it.
    pub const fn members_only(self) -> bool {
        !matches!(self, Self::Notice)
    }

    /// The name used in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Proposal => "proposal",
            Self::Ack => "ack",
            Self::Statement => "statement",
            Self::Notice => "notice",
            Self::Batch => "batch",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self.tag() as usize - 1
    }

    /// The byte on the wire.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Vote => 1,
            Self::Proposal => 2,
            Self::Ack => 3,
            Self::Statement => 4,
            Self::Notice => 5,
            Self::Batch => 6,
        }
    }

    /// The channel of a byte on the wire.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Vote),
            2 => Some(Self::Proposal),
            3 => Some(Self::Ack),
            4 => Some(Self::Statement),
            5 => Some(Self::Notice),
            6 => Some(Self::Batch),
            _ => None,
        }
    }
}

/// Topics of the gossip mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Headers and certificates, for everybody.
    Headers,
    /// Evidence, for everybody.
    Evidence,
    /// Statements of the committee, for members that the sender has no connection to. The payload starts with the
    /// tag of its channel; [`crate::NetworkHandle::send_committee`] adds it and the event names it.
    Committee,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Headers, Self::Evidence, Self::Committee];

    /// Longest message in bytes.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Headers | Self::Evidence => 1024 * KIB,
            // The longest control message and its tag.
            Self::Committee => Class::Control.max_bytes() + 1,
        }
    }

    /// The name used in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Evidence => "evidence",
            Self::Committee => "committee",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Headers => 0,
            Self::Evidence => 1,
            Self::Committee => 2,
        }
    }

    pub(crate) fn ident(self, network: &NetworkId) -> IdentTopic {
        IdentTopic::new(format!("{}/{}", protocol_prefix(network), self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_round_trip_and_classes_bound_their_channels() {
        for channel in Channel::ALL {
            assert_eq!(Channel::from_tag(channel.tag()), Some(channel));
            assert!(channel.max_bytes() <= channel.class().max_bytes());
            assert_eq!(Channel::ALL[channel.index()], channel);
        }
        assert_eq!(Channel::from_tag(0), None);
        assert_eq!(Channel::from_tag(7), None);
    }
}
