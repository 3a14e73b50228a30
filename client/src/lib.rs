//! The rollup's side: offline verification, submission and a resumable stream of ordered blocks.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "proto")]
pub mod proto;
