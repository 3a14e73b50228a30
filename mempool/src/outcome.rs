//! What the mempool's calls come to.

use squad_types::{
    BatchCertificate, BatchId, BatchPair, BatchRange, Epoch, Evidence, LaneId, Timestamp, Tip, VerifiedBatch,
};

/// Whether a batch has to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealDue {
    /// Now.
    Now,
    /// At this time, if nothing happens before.
    At(Timestamp),
    /// Nothing waits, or the lane is full or closed.
    Never,
}

/// Whether an ack has to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckDue {
    /// Now, for this epoch's lanes.
    Now(Epoch),
    /// At this time.
    At(Timestamp),
    /// There is nothing new to say.
    Never,
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// These are held now, in order, and have to be made durable.
    Stored(Vec<VerifiedBatch>),
    /// Held or ordered before.
    Known,
    /// It waits for these.
    Missing(BatchRange),
    /// Its author forked the lane.
    Fork {
        /// The proof.
        pair: Box<BatchPair>,
        /// What is held now and has to be made durable.
        stored: Vec<VerifiedBatch>,
    },
    /// It is not taken.
    Refused(BatchFault),
}

/// Why a batch is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// Its epoch is not in force or its operator no member.
    #[error("its lane is not in force")]
    UnknownLane,
    /// Too large, or empty.
    #[error("its size is out of bounds")]
    Size,
    /// Too far above what is held; it can be fetched later.
    #[error("it lies too far above what is held")]
    NoRoom,
}

impl BatchFault {
    /// Whether no honest author makes such a batch.
    pub fn is_fault(self) -> bool {
        self == Self::Size
    }
}

/// What came of an ack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckOutcome {
    /// It is news.
    Advanced {
        /// Tips that it names and that are not held here.
        unknown: Vec<(LaneId, Tip)>,
        /// It contradicts an earlier one of the same validator.
        evidence: Option<Box<Evidence>>,
    },
    /// Older than what is known, or of an epoch that is not in force.
    Stale,
    /// Its changes start from an ack that is not known: ask its signer for the full vector.
    NeedFull,
    /// It is not taken.
    Refused(AckFault),
}

/// Why an ack is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckFault {
    /// Signed by no member.
    #[error("its signer is not in the committee")]
    Stranger,
    /// Its full vector does not give its root.
    #[error("its vector does not give the root it signs")]
    Vector,
}

impl AckFault {
    /// Whether no honest validator sends such an ack.
    pub fn is_fault(self) -> bool {
        self == Self::Vector
    }
}

/// What a decided block changed.
#[derive(Clone, Debug, Default)]
pub struct OrderedOutcome {
    /// Certificates that the cut left out for the first time: to be broadcast.
    pub left_out: Vec<BatchCertificate>,
    /// Batches that are no longer held here.
    pub pruned: Vec<BatchId>,
}

/// Numbers for status and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MempoolStats {
    /// Bytes of transactions that are in no batch yet.
    pub pool_bytes: usize,
    /// Transactions that are in no batch yet.
    pub pool_transactions: usize,
    /// Bytes of batches that are not ordered yet, all lanes.
    pub lane_bytes: usize,
    /// Lanes closed by forks.
    pub lanes_closed: usize,
}
