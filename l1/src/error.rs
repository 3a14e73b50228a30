//! What goes wrong with endpoints.

use alloy_primitives::B256;

/// Why one endpoint gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did not answer in time.
    #[error("no answer within {0} ms")]
    Silent(u64),
    /// It is left alone for a while, after faults.
    #[error("left alone for another {ms} ms, after: {after}")]
    Resting {
        /// For how long yet.
        ms: u64,
        /// Its last fault.
        after: String,
    },
    /// It answered with an error, or not in the form that was expected.
    #[error("{0}")]
    Refused(String),
    /// It has no block of that number or hash.
    #[error("does not know the block")]
    Unknown,
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum L1Error {
    /// Settings that cannot work.
    #[error("{0}")]
    Settings(String),
    /// Too few endpoints say the same.
    #[error("{what}: {needed} endpoints have to agree, and {said}")]
    NoAgreement {
        /// What was asked for.
        what: String,
        /// How many have to agree.
        needed: usize,
        /// What each of them said.
        said: String,
    },
    /// A block that was final is another one now.
    #[error("block {number} was final as {was} and is {now} now: nothing newer is taken until {was} is back")]
    Reorganised {
        /// Its number.
        number: u64,
        /// What it was.
        was: B256,
        /// What it is now.
        now: B256,
    },
    /// The stake table's answer is no committee.
    #[error("the stake table at block {number} names no committee: {why}")]
    Table {
        /// The block.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The view's file.
    #[error(transparent)]
    View(#[from] crate::ViewError),
}
