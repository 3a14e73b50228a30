//! Why a transaction is not taken, with what to do about it.

use squad_types::{Address, Epoch, Height, NamespaceId, Timestamp};

/// A refusal. Its code is stable, its text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No bytes.
    #[error("the transaction is empty")]
    Empty,
    /// Over the namespace's limit.
    #[error("the transaction takes {bytes} bytes, namespace {namespace} allows {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
        /// The namespace.
        namespace: NamespaceId,
    },
    /// No such namespace.
    #[error("there is no namespace {0} on this network")]
    UnknownNamespace(NamespaceId),
    /// Closed for writing.
    #[error("namespace {0} is closed for writing")]
    ClosedNamespace(NamespaceId),
    /// Not on the allow-list.
    #[error("sender {sender} is not on the allow-list of namespace {namespace}")]
    NotAllowed {
        /// The sender.
        sender: Address,
        /// The namespace.
        namespace: NamespaceId,
    },
    /// For another chain.
    #[error("the transaction is signed for chain id {given:?}, namespace {namespace} has {expected}")]
    WrongChainId {
        /// Signed for; none for a transaction without replay protection.
        given: Option<u64>,
        /// The namespace's.
        expected: u64,
        /// The namespace.
        namespace: NamespaceId,
    },
    /// An EVM transaction whose signature was not looked at.
    #[error("namespace {0} takes signed Ethereum transactions")]
    NotEvm(NamespaceId),
    /// An EVM transaction with a validity.
    #[error("Ethereum transactions carry no valid_until: their nonce ends them")]
    ValidityNotAllowed,
    /// An opaque transaction without a validity.
    #[error(
        "valid_until is missing: opaque transactions need one of at most {window_ms} ms from now, so that they cannot come back later"
    )]
    ValidityMissing {
        /// The longest validity.
        window_ms: u32,
    },
    /// Valid for longer than it is remembered.
    #[error("valid_until {until} is too late: the latest now is {latest}")]
    ValidityTooLong {
        /// Asked for.
        until: Timestamp,
        /// The latest.
        latest: Timestamp,
    },
    /// Its time is over.
    #[error("valid_until {until} is over: chain time is {chain_time}; sign it again with a later one")]
    Expired {
        /// Its validity.
        until: Timestamp,
        /// The chain's time.
        chain_time: Timestamp,
    },
    /// Already here.
    #[error("the transaction is already waiting to be ordered")]
    Duplicate,
    /// The namespace's or the source's rate is used up.
    #[error("the byte rate of this {whose} is used up: try again in {retry_after_ms} ms")]
    Quota {
        /// Namespace or client.
        whose: &'static str,
        /// When there is room again.
        retry_after_ms: u64,
    },
    /// The pool or the lane is full.
    #[error("this operator is busy: try again in {retry_after_ms} ms or with another operator")]
    Busy {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// Stopping.
    #[error("this operator is shutting down: use another one")]
    ShuttingDown,
    /// No room on disk.
    #[error("this operator's disk is nearly full: use another one")]
    DiskFull,
    /// Stopped agreeing.
    #[error("this operator has stopped: {reason}")]
    Halted {
        /// Why.
        reason: String,
    },
    /// Not in the committee.
    #[error("this operator is not in the committee of epoch {epoch}: use one that is")]
    NotMember {
        /// The epoch.
        epoch: Epoch,
    },
    /// Its memory was lost.
    #[error("this operator lost its state and takes transactions again from epoch {open_from} on: use another one")]
    StateLost {
        /// The epoch.
        open_from: Epoch,
    },
    /// Still asking its peers.
    #[error("this operator is starting and waits for its peers: try again or use another one")]
    Starting,
    /// Behind.
    #[error("this operator is catching up (height {height} of {target}): try again or use another one")]
    CatchingUp {
        /// Its height.
        height: Height,
        /// The network's.
        target: Height,
    },
    /// About to leave.
    #[error("this operator leaves after epoch {epoch}: use another one")]
    Leaving {
        /// Its last epoch.
        epoch: Epoch,
    },
}

impl Rejection {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownNamespace(_) => "unknown_namespace",
            Self::ClosedNamespace(_) => "closed_namespace",
            Self::NotAllowed { .. } => "not_allowed",
            Self::WrongChainId { .. } => "wrong_chain_id",
            Self::NotEvm(_) => "not_evm",
            Self::ValidityNotAllowed => "validity_not_allowed",
            Self::ValidityMissing { .. } => "validity_missing",
            Self::ValidityTooLong { .. } => "validity_too_long",
            Self::Expired { .. } => "expired",
            Self::Duplicate => "duplicate",
            Self::Quota { .. } => "quota",
            Self::Busy { .. } => "busy",
            Self::ShuttingDown => "shutting_down",
            Self::DiskFull => "disk_full",
            Self::Halted { .. } => "halted",
            Self::NotMember { .. } => "not_member",
            Self::StateLost { .. } => "state_lost",
            Self::Starting => "starting",
            Self::CatchingUp { .. } => "catching_up",
            Self::Leaving { .. } => "leaving",
        }
    }

    /// When the same operator may take it, in milliseconds; none where waiting does not help.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Quota { retry_after_ms, .. } | Self::Busy { retry_after_ms } => Some(*retry_after_ms),
            Self::Starting | Self::CatchingUp { .. } => Some(1_000),
            _ => None,
        }
    }
}
