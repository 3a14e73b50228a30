//! The rollup's side: offline verification, submission and a resumable stream of ordered blocks.
//!
//! [`verify`] checks a [`squad_types::Confirmation`] and [`BlockVerifier`] a namespace's blocks, both offline, from a
//! [`TrustedCommittee`] on and trusting nobody else. Neither knows a clock, a socket or a runtime; they build for wasm32.
//! The `network` feature adds a client for several operators, which hands out only what passed these checks.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod block;
pub mod follow;
pub mod json;
#[cfg(feature = "network")]
pub mod network;
#[cfg(feature = "proto")]
pub mod proto;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trust;
mod verify;

pub use block::{BlockError, BlockVerifier, Checkpoint, VerifiedBlock};
pub use follow::{CommitteeFollower, KEPT_COMMITTEES};
#[cfg(feature = "network")]
pub use network::{Client, ClientConfig, ClientError, Monitor, Receipt, Staleness, Subscription};
pub use trust::{CLOCK_SLACK_MS, Pin, TRUSTING_PERIOD_MS, TrustError, TrustedCommittee};
pub use verify::{Place, VerifiedConfirmation, VerifyError, verify};
