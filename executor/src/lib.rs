//! The reference EVM rollup that follows one namespace and serves wallets.
//!
//! ```text
//! operators ─ gRPC ─► OperatorSource: verify, or leave the operator ─► follow ─► Chain::apply
//!    ▲                                                        revm over an overlay ─► World: state root
//!    │                                                        one redb transaction per ordered block ─► head
//! GrpcForwarder ◄─ eth_sendRawTransaction ◄─ wallets ─ JSON-RPC ─► RpcContext reads head, store, state
//! ```
//!
//! [`run`] is all of it; [`run_with`] takes another source and forwarder. Two executors of one genesis that are given the
//! same ordered blocks have the same EVM blocks, byte for byte: nothing in execution reads a clock, and nothing of a
//! block that fails verification is executed. Threads: tokio's; execution and RPC reads run on its blocking pool.
//!
//! Not here: blobs, history older than [`HISTORY_BLOCKS`] blocks for state reads (blocks and receipts are kept for ever),
//! state larger than memory.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chain;
mod config;
mod devnet;
mod error;
mod evm;
mod follow;
mod genesis;
mod grpc;
mod operators;
mod pending;
mod rpc;
mod source;
mod state;
mod status;
mod store;
mod transaction;

pub use chain::{Applied, Chain, ChainReader, Head};
pub use config::{ExecutorConfig, RollupConfig, run, run_with};
pub use devnet::{DevAccount, TRANSFER_GAS, dev_accounts};
pub use error::{Error, Result};
pub use evm::*;
pub use follow::follow;
pub use genesis::*;
pub use grpc::{GrpcFeed, GrpcForwarder, GrpcOperators};
pub use operators::{Feed, FeedError, OperatorSource, Operators};
pub use pending::{MAX_PENDING, Pending, PendingTransaction};
pub use rpc::{
    INTERNAL, INVALID_PARAMS, LIMIT_EXCEEDED, MAX_TRANSACTION_BYTES, REVERTED, RpcContext, RpcLimits, RpcServer,
    SERVER_ERROR, SYNC_NONCE_GAP, SYNC_NOT_READY, SYNC_TIMEOUT, openrpc, serve,
};
pub use source::*;
pub use state::*;
pub use status::Status;
pub use store::{OrderedTip, SkipRecord, Store};
pub use transaction::*;
