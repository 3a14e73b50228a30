//! A development network's contracts, on a chain of its own that signs for whomever it is asked to (anvil): EigenLayer's core
//! from the code that `contracts/core.mjs` fetches, the network's contracts, and operators that restake as they would
//! elsewhere. For development only: whoever reaches that chain can do anything there.
//!
//! `chain` sends transactions; `core` puts EigenLayer together; `network` the contracts of one network, on addresses that are
//! known before, since its genesis names one and is named by another; `operators` restakes.

mod abi;
mod chain;
mod core;
mod network;
mod operators;

pub use self::chain::Chain;
pub use self::core::{Core, DELAYS, Delays, EigenLayer, Stakeable};
pub use self::network::{Contracts, SET, STAKE_TABLE, TableSettings};
pub use self::operators::{Contact, Restaker};

/// Why something is not on the chain.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The file with EigenLayer's core cannot be used.
    #[error("{path}: {why}")]
    Core {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The chain does not answer as it should.
    #[error("{what}: {why}")]
    Chain {
        /// What was asked for.
        what: String,
        /// What it said.
        why: String,
    },
    /// The chain says something else than was computed.
    #[error("{what}: expected {expected}, found {found}")]
    Other {
        /// What.
        what: &'static str,
        /// What was computed.
        expected: String,
        /// What the chain says.
        found: String,
    },
}
