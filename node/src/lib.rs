//! The `squad` program: configuration, keys, the interfaces that clients and operators use, and the driver behind them.
//!
//! The edges ([`cli`], [`config`], [`keystore`], [`api`], [`metrics`], [`logging`]) reach the running node only through
//! the seam [`api::Backend`]; they know nothing of consensus, storage or the network.
#![cfg_attr(test, allow(clippy::unwrap_used))]
// They panic when nobody reads what they print: use `cli::line` and `cli::note`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod api;
pub mod bench;
pub mod cli;
pub mod config;
pub mod devnet;
pub mod driver;
pub mod evm;
pub mod executor;
pub mod genesis;
pub mod keystore;
pub mod logging;
pub mod metrics;
