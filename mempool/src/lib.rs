//! Transactions before they are ordered: admission, lanes, batches, acknowledgement and availability.
//!
//! Read in the order of the data: `pool` (admission, and what waits), `lane` (batches in their chains), `acks` and
//! `availability` (who holds what), `cut` and `due` (what a block takes, and must take). [`Mempool`] puts them together.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acks;
mod availability;
mod bucket;
mod config;
mod contradiction;
mod cut;
mod due;
mod lane;
mod limits;
mod mempool;
mod outcome;
mod pool;
mod rejection;

pub use config::{EvmFacts, MempoolConfig, PoolLimits, Source};
pub use mempool::Mempool;
pub use outcome::{AckDue, AckFault, AckOutcome, BatchFault, BatchOutcome, MempoolStats, OrderedOutcome, SealDue};
pub use rejection::Rejection;
