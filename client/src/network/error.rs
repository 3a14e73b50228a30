//! What a client fails with.

use crate::trust::TrustError;

/// Why a client gives up. Everything that another operator or another try can mend is handled before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No operator was named.
    #[error("no operator is named: give at least one address like http://host:port")]
    NoOperators,
    /// An address that is none.
    #[error("'{url}' is no operator's address: {reason}; use http://host:port")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Every operator has served something false or cannot serve this at all.
    #[error("no operator is left to {what}: {reasons}; name other operators, or wait and start again")]
    Nobody {
        /// What was asked for.
        what: String,
        /// What each of them did last.
        reasons: String,
    },
    /// An operator refused the transaction for good. That is its word: nothing proves a refusal.
    #[error("{operator} refuses the transaction ({code}): {reason}")]
    Rejected {
        /// The operator's address.
        operator: String,
        /// A stable word for programs.
        code: String,
        /// For people.
        reason: String,
    },
    /// It took too long. The transaction may still be ordered, and may be submitted again with the same validity.
    #[error("{what} took over {limit_ms} ms; last: {last}. It is safe to submit the same transaction again")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        limit_ms: u64,
        /// What the operators answered last.
        last: String,
    },
    /// The committee to check with cannot be trusted now.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The stream or the task behind it has ended.
    #[error("the stream has ended: start it again from the last checkpoint")]
    Ended,
}
