//! The rollup's state: accounts, storage and code, with Ethereum's state root.

mod account;
mod overlay;
mod trie;
mod view;
mod world;

pub use account::{Account, AccountDelta, Delta};
pub use overlay::Overlay;
pub use trie::Trie;
pub use view::{StateRead, StateView};
pub use world::{HISTORY_BLOCKS, World};

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
    /// The lock over the state is poisoned: a writer panicked.
    #[error("the state is unusable after a crash of its writer; restart the executor")]
    Poisoned,
    /// An account names code that is not stored.
    #[error("code {0} is missing from the state")]
    CodeMissing(alloy_primitives::B256),
}

impl revm::database_interface::DBErrorMarker for StateError {}
