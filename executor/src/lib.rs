//! The reference EVM rollup that follows one namespace and serves wallets.
//!
//! ```text
//! operators ─ gRPC ─► OperatorSource: verify, or leave the operator ─► follow ─► Chain::apply
//!    ▲                                                        revm over an overlay ─► StateWriter: tries, state root
//!    │                                                        one redb transaction per ordered block ─► head
//! GrpcForwarder ◄─ eth_sendRawTransaction ◄─ wallets ─ JSON-RPC ─► RpcContext reads head, store, state
//! ```
//!
//! [`run`] is all of it; [`run_with`] takes another source and forwarder. Two executors of one genesis that are given the
//! same ordered blocks have the same EVM blocks, byte for byte: nothing in execution reads a clock, and nothing of a
//! block that fails verification is executed. Threads: tokio's; execution and RPC reads run on its blocking pool.
//!
//! The state lies in the database; [`StateConfig`] says how much memory may cache it, and for how many blocks back it can
//! be read. Blocks and receipts are kept for ever. Not here: blobs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chain;
mod config;
mod devnet;
mod engine;
mod error;
mod evm;
mod follow;
mod forward;
mod genesis;
mod genesis_file;
mod grpc;
mod logs;
mod operators;
mod pending;
mod rpc;
mod source;
mod state;
mod status;
mod store;
mod transaction;

pub use chain::{Applied, Chain, ChainReader, Head};
pub use config::{
    DEFAULT_CACHE_BYTES, DEFAULT_HISTORY, ExecutorConfig, MIN_CACHE_BYTES, RollupConfig, StateConfig, run, run_with,
};
pub use devnet::{DevAccount, TRANSFER_GAS, dev_accounts};
pub use engine::{EngineConfig, EngineError, JwtSecret, check_followable, drive};
pub use error::{Error, Result};
pub use evm::*;
pub use follow::follow;
pub use forward::GrpcForwarder;
pub use genesis::*;
pub use grpc::{GrpcFeed, GrpcOperators};
pub use logs::{FoundLog, FoundLogs, LogFilter};
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
