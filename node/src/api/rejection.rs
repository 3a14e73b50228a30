//! Why a request is refused, with codes that programs can rely on.

use serde::{Deserialize, Serialize};
use std::time::Duration;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $number:literal;)*) => {
        /// Why a request is refused. The text form and the JSON-RPC number of each are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum RejectCode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl RejectCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable text form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The stable JSON-RPC error code.
            pub const fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)* }
            }
        }
    };
}

codes! {
    /// Text that is no hex, or lacks its 0x.
    MalformedHex = "malformed_hex", -32050;
    /// Bytes that are no EIP-2718 transaction.
    MalformedRlp = "malformed_rlp", -32051;
    /// A parameter of the wrong type, missing, or out of range.
    MalformedParameter = "malformed_parameter", -32602;
    /// A signature that recovers to nobody, or has a high s.
    BadSignature = "bad_signature", -32052;
    /// A chain id that is not the namespace's, or none.
    WrongChainId = "wrong_chain_id", -32053;
    /// A blob transaction: blobs do not travel over this network.
    BlobUnsupported = "blob_unsupported", -32054;
    /// A transaction type that is not known.
    TypeUnsupported = "type_unsupported", -32055;
    /// Over the namespace's or a message's limit.
    TooLarge = "too_large", -32056;
    /// No bytes.
    Empty = "empty", -32057;
    /// No namespace of that name or id.
    UnknownNamespace = "unknown_namespace", -32058;
    /// Nobody may write to the namespace.
    ClosedNamespace = "closed_namespace", -32059;
    /// The sender is not on the namespace's list.
    NotAllowed = "not_allowed", -32060;
    /// An opaque transaction without the time until which it may be ordered.
    ValidityMissing = "validity_missing", -32061;
    /// A validity beyond what is remembered for exactly-once, or one on an EVM transaction.
    ValidityTooLong = "validity_too_long", -32062;
    /// A validity on a transaction that has none.
    ValidityUnexpected = "validity_unexpected", -32063;
    /// Its validity ended before it was ordered. Final: it will never be ordered.
    Expired = "expired", -32064;
    /// The same transaction is here already, or was ordered within the window.
    Duplicate = "duplicate", -32065;
    /// The transaction that it is to come after is not here.
    OutOfTurn = "out_of_turn", -32077;
    /// The byte quota of the namespace or the client is used up for now.
    Quota = "quota", -32066;
    /// The node holds as much as it may.
    Busy = "busy", -32067;
    /// The operator is in no committee that could order it.
    NotMember = "not_member", -32068;
    /// The node is behind and takes nothing until it is not.
    CatchingUp = "catching_up", -32069;
    /// The node refuses all submissions, for the reason given.
    NotReady = "not_ready", -32070;
    /// The tier was not reached in time; the transaction may still be ordered.
    Timeout = "timeout", -32071;
    /// Older than what the node keeps.
    Pruned = "pruned", -32072;
    /// Not known to this node.
    NotFound = "not_found", -32073;
    /// Only an executor can answer this, and none is configured.
    ExecutorNeeded = "executor_needed", -32074;
    /// The configured executor did not answer.
    ExecutorFailed = "executor_failed", -32075;
    /// The node is going down.
    ShuttingDown = "shutting_down", -32076;
    /// A fault of the node itself.
    Internal = "internal", -32603;
}

impl RejectCode {
    /// Whether the transaction will never be ordered, whoever is asked and however often.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::MalformedHex
                | Self::MalformedRlp
                | Self::BadSignature
                | Self::WrongChainId
                | Self::BlobUnsupported
                | Self::TypeUnsupported
                | Self::TooLarge
                | Self::Empty
                | Self::UnknownNamespace
                | Self::ClosedNamespace
                | Self::NotAllowed
                | Self::ValidityMissing
                | Self::ValidityUnexpected
                | Self::Expired
        )
    }
}

impl std::fmt::Display for RejectCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what is wrong, with the value and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Rejected {
    /// For programs.
    pub code: RejectCode,
    /// For people.
    pub reason: String,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
}

/// How much of a caller's value an answer repeats.
const SHOWN: usize = 66;

/// A caller's value, cut to what an answer may repeat.
pub fn shown(value: &str) -> String {
    let cut: String = value.chars().take(SHOWN).collect();
    if cut.len() < value.len() { format!("{cut}… ({} characters)", value.chars().count()) } else { cut }
}

impl Rejected {
    /// A refusal that trying again does not change.
    pub fn new(code: RejectCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), retry_after: None }
    }

    /// A refusal that may pass.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}
