//! The reference EVM rollup that follows one namespace and serves wallets.
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
pub use pending::{MAX_PENDING, Pending};
pub use rpc::{
    INTERNAL, INVALID_PARAMS, MAX_TRANSACTION_BYTES, REVERTED, RpcContext, RpcLimits, RpcServer, SERVER_ERROR, serve,
};
pub use source::*;
pub use state::*;
pub use status::Status;
pub use store::{OrderedTip, SkipRecord, Store};
pub use transaction::*;
