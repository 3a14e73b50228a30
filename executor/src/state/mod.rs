//! The rollup's state: accounts, storage and code, with Ethereum's state root, all of it in the database.

mod account;
mod cache;
mod layered;
mod overlay;
mod proof;
mod record;
mod tables;
mod trie;
mod view;
mod write;

pub use account::{Account, AccountDelta, Delta};
pub(crate) use cache::{Caches, Codes};
pub(crate) use layered::Layered;
pub use overlay::Overlay;
pub use proof::{AccountProof, MAX_PROOF_CHANGES, SlotProof};
pub use view::{StateRead, StateView};
pub(crate) use write::StateWriter;

/// Why a state read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The state of that block is no longer (or not yet) kept.
    #[error("state of block {number} is not available: blocks {oldest} to {newest} are kept")]
    NotKept {
        /// The block asked for.
        number: u64,
        /// Oldest block whose state is kept.
        oldest: u64,
        /// Head.
        newest: u64,
    },
    /// An account names code that is not stored.
    #[error("code {0} is missing from the state")]
    CodeMissing(alloy_primitives::B256),
    /// A proof under that block would put back too much.
    #[error("more than {limit} changes were made since block {number}: ask for a proof under a later block")]
    TooManyChanges {
        /// The block asked for.
        number: u64,
        /// Changes that a proof puts back at most.
        limit: usize,
    },
    /// The database failed.
    #[error("database: {0}")]
    Database(String),
    /// What is stored contradicts itself.
    #[error("the state is damaged: {0}")]
    Damaged(String),
}

impl revm::database_interface::DBErrorMarker for StateError {}

#[cfg(test)]
mod state_tests;
