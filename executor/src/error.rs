//! Everything that stops the executor or refuses to start it.

use crate::{EngineError, StateError};
use alloy_primitives::B256;

/// What can go wrong in the executor. A refused transaction is no error: see
/// [`SkipReason`](crate::SkipReason).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The genesis description is unusable.
    #[error("bad genesis: {0}; correct the genesis file of this rollup")]
    Genesis(String),
    /// The data directory belongs to another rollup or namespace.
    #[error(
        "the data directory {dir} holds the chain with genesis {found}, not {expected}; use another directory or the right genesis"
    )]
    ForeignData {
        /// Where the database lies.
        dir: String,
        /// The genesis hash in it.
        found: B256,
        /// The genesis hash of the configuration.
        expected: B256,
    },
    /// The database failed.
    #[error("database: {0}; check the disk and its free space, then start again")]
    Store(String),
    /// A stored record does not decode, or the rebuilt state contradicts the stored head.
    #[error("the database is damaged: {0}; remove the data directory to rebuild it from the network")]
    Damaged(String),
    /// An ordered block failed verification. Nothing of it was executed.
    #[error("ordered block {height} was refused: its {part} does not hold: {detail}")]
    Forged {
        /// Height of the refused block.
        height: u64,
        /// The part that failed: certificate, parent hash, namespace proof …
        part: String,
        /// What exactly failed.
        detail: String,
    },
    /// The source skipped heights.
    #[error(
        "ordered block {found} follows {last}: heights {expected} to {found} are missing; the operator must serve every height"
    )]
    Gap {
        /// Last executed height.
        last: u64,
        /// The height that had to come.
        expected: u64,
        /// The height that came.
        found: u64,
    },
    /// A block at an executed height has another hash than the one that was executed.
    #[error(
        "two ordered blocks at height {height}: executed {executed}, now served {served}; a fork: keep both and compare operators"
    )]
    Fork {
        /// The height in question.
        height: u64,
        /// Hash of the executed header.
        executed: B256,
        /// Hash of the header that came now.
        served: B256,
    },
    /// No operator serves the namespace.
    #[error("no operator serves the namespace: {0}")]
    Source(String),
    /// The EVM itself failed (not a transaction in it).
    #[error("the EVM failed at ordered block {height}: {detail}")]
    Evm {
        /// Ordered height under execution.
        height: u64,
        /// The failure.
        detail: String,
    },
    /// The RPC server could not start.
    #[error("cannot serve RPC on {address}: {detail}")]
    Rpc {
        /// The address asked for.
        address: String,
        /// Why it failed.
        detail: String,
    },
    /// A configuration value is unusable.
    #[error("bad configuration: {0}")]
    Config(String),
    /// The execution client beside the executor cannot be fed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A worker thread died.
    #[error("a worker thread stopped unexpectedly: {0}")]
    Worker(String),
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Database(what) => Self::Store(what),
            StateError::Damaged(what) => Self::Damaged(what),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
