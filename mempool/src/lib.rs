//! Transactions before they are ordered: admission, lanes, batches, acknowledgement and availability.
//!
//! Read in the order of the data: `admission` and `pool` (what is taken from clients, and waits), `batches`, `lanes` and `lane` (batches in their chains), `acking`
//! and `acks` (who says that it holds what), `certificates` and `availability` (what follows from it), `cut` and `due` (what a
//! block takes, and must take), `ordered` (what it changes). [`Mempool`] puts them together.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acking;
mod acks;
mod admission;
mod availability;
mod batches;
mod bucket;
mod certificates;
mod config;
mod contradiction;
mod cut;
mod drain;
mod due;
mod lane;
mod lanes;
mod limits;
mod mempool;
mod ordered;
mod outcome;
mod pool;
mod rejection;

pub use config::{EvmFacts, MempoolConfig, PoolLimits, Source};
pub use cut::Tips;
pub use mempool::Mempool;
pub use outcome::{AckDue, AckFault, AckOutcome, BatchFault, BatchOutcome, MempoolStats, OrderedOutcome, SealDue};
pub use rejection::Rejection;
