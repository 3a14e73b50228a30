//! What a node misses, and how badly.

use crate::input::{AskId, Peer};
use squad_types::{Address, BatchRange, Epoch, LaneId, ProposalRef, Request, Sequence, Timestamp, Tip};
use std::collections::BTreeSet;

/// How soon something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Haste {
    /// Nobody sends it unasked.
    Now,
    /// A vote waits for it.
    Soon,
    /// It was named, and is not needed yet.
    Later,
}

impl Haste {
    /// How long a lane may stand still before its missing batches are asked for, in milliseconds.
    pub(super) fn pause_ms(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::Soon => 25,
            Self::Later => 100,
        }
    }

    /// How long they are waited for while it goes on, in milliseconds.
    pub(super) fn patience_ms(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::Soon => 200,
            Self::Later => 1_000,
        }
    }
}

/// Something this node misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Batches of a lane.
    Batches(BatchRange),
    /// An operator's full ack, from itself.
    Ack { operator: Address, epoch: Epoch },
    /// A proposal.
    Proposal(ProposalRef),
}

/// What a want is told apart by: asking twice for the same tip is one want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WantKey {
    Batches(LaneId, Tip),
    Ack(Address, Epoch),
    Proposal(ProposalRef),
}

impl Want {
    pub(super) fn key(&self) -> WantKey {
        match self {
            Self::Batches(range) => WantKey::Batches(range.lane, range.to),
            Self::Ack { operator, epoch } => WantKey::Ack(*operator, *epoch),
            Self::Proposal(proposal) => WantKey::Proposal(*proposal),
        }
    }

    pub(super) fn request(&self) -> Request {
        match self {
            Self::Batches(range) => Request::Batches(*range),
            Self::Ack { epoch, .. } => Request::Ack(*epoch),
            Self::Proposal(proposal) => Request::Proposal(*proposal),
        }
    }
}

/// A want and how far it has come.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) want: Want,
    pub(super) tried: BTreeSet<Peer>,
    /// How often everybody was tried in vain.
    pub(super) passes: u32,
    pub(super) asked: Option<AskId>,
    pub(super) hint: Option<Peer>,
    pub(super) haste: Haste,
    pub(super) not_before: Timestamp,
    /// Waits for its lane's turn or for room in the window, and not for a time.
    pub(super) queued: bool,
    /// Asked for from then on, whether or not its lane goes on.
    pub(super) patience: Timestamp,
    /// Since when a vote waits for it.
    pub(super) needed: Option<Timestamp>,
}

impl Wanted {
    /// Whether it is content that a node which is behind fetches: much of it, in turns.
    pub(super) fn is_bulk(&self) -> bool {
        self.haste == Haste::Now && matches!(self.want, Want::Batches(_))
    }

    /// Where what is missing begins.
    pub(super) fn missed_from(&self) -> Option<Sequence> {
        match &self.want {
            Want::Batches(range) => Some(range.from),
            _ => None,
        }
    }
}

/// A question to a peer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: Peer,
    pub(super) want: Option<WantKey>,
    pub(super) request: Request,
    /// Whether it is for bulk content.
    pub(super) bulk: bool,
    pub(super) since: Timestamp,
    pub(super) deadline: Timestamp,
}
