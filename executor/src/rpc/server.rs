//! The server: method table, limits, start and stop.

use super::{
    RpcContext,
    args::{Args, Reply, internal},
    blocks, fees, network, state, submit,
};
use crate::{Error, Result};
use jsonrpsee::{
    RpcModule,
    core::RegisterMethodError,
    server::{BatchRequestConfig, Server, ServerConfig, ServerHandle},
};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::Semaphore;

/// Limits of the RPC server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcLimits {
    /// Bytes of one request body: the largest transaction in hex, and a batch of smaller ones.
    pub request_bytes: u32,
    /// Bytes of one answer: a full block with its transactions.
    pub response_bytes: u32,
    /// Requests in one batch, as many as ethers and viem send by default.
    pub batch: u32,
    /// Connections open at once.
    pub connections: u32,
    /// Calls and estimates that execute at once; more wait. Each is bounded by gas.
    pub calls: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { request_bytes: 2 << 20, response_bytes: 64 << 20, batch: 1_000, connections: 256, calls: 4 }
    }
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl RpcServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and waits until open requests are answered.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
        self.handle.stopped().await;
    }
}

/// Starts serving `context` on `address` (HTTP and WebSocket).
///
/// # Errors
/// [`Error::Rpc`] if the address cannot be bound.
pub async fn serve(address: SocketAddr, limits: RpcLimits, context: RpcContext) -> Result<RpcServer> {
    let failed = |detail: String| Error::Rpc { address: address.to_string(), detail };
    let config = ServerConfig::builder()
        .max_request_body_size(limits.request_bytes)
        .max_response_body_size(limits.response_bytes)
        .max_connections(limits.connections)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
        .set_tcp_no_delay(true)
        .build();
    let server = Server::builder()
        .set_config(config)
        .build(address)
        .await
        .map_err(|error| failed(format!("{error}; choose a free port or stop the process that holds it")))?;
    let address = server.local_addr().map_err(|error| failed(error.to_string()))?;
    let module = methods(context, limits).map_err(|error| failed(error.to_string()))?;
    Ok(RpcServer { address, handle: server.start(module) })
}

type Method = fn(&RpcContext, Args) -> Reply;

/// Methods that only read what is at hand.
const READS: &[(&str, Method)] = &[
    ("eth_chainId", network::chain_id),
    ("eth_accounts", network::accounts),
    ("eth_syncing", network::syncing),
    ("net_version", network::net_version),
    ("net_listening", network::net_listening),
    ("web3_clientVersion", network::client_version),
    ("web3_sha3", network::sha3),
    ("squad_status", network::status),
    ("squad_evmBlocks", network::evm_blocks),
    ("squad_skipReason", network::skip_reason),
    ("squad_skippedAt", network::skipped_at),
    ("eth_blockNumber", blocks::number),
    ("eth_getBlockByNumber", blocks::by_number),
    ("eth_getBlockByHash", blocks::by_hash),
    ("eth_getBlockReceipts", blocks::receipts),
    ("eth_getBlockTransactionCountByNumber", blocks::transaction_count),
    ("eth_getBlockTransactionCountByHash", blocks::transaction_count),
    ("eth_getTransactionByHash", blocks::transaction),
    ("eth_getTransactionByBlockNumberAndIndex", blocks::transaction_at),
    ("eth_getTransactionByBlockHashAndIndex", blocks::transaction_at),
    ("eth_getTransactionReceipt", blocks::receipt),
    ("eth_getBalance", state::balance),
    ("eth_getTransactionCount", state::nonce),
    ("eth_getCode", state::code),
    ("eth_getStorageAt", state::storage),
    ("eth_gasPrice", fees::gas_price),
    ("eth_maxPriorityFeePerGas", fees::tip),
    ("eth_feeHistory", fees::history),
];

/// Methods that execute code.
const CALLS: &[(&str, Method)] = &[("eth_call", state::eth_call), ("eth_estimateGas", state::estimate)];

fn methods(context: RpcContext, limits: RpcLimits) -> Result<RpcModule<RpcContext>, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    for (name, method) in READS {
        module.register_blocking_method(name, move |params, ctx, _| -> Reply { method(&ctx, Args::new(&params)?) })?;
    }
    let slots = Arc::new(Semaphore::new(limits.calls.max(1)));
    for (name, method) in CALLS {
        let slots = slots.clone();
        module.register_async_method(name, move |params, ctx, _| {
            let slots = slots.clone();
            async move {
                let args = Args::new(&params)?;
                let _slot = slots.acquire_owned().await.map_err(internal)?;
                let job = tokio::task::spawn_blocking(move || method(&ctx, args));
                job.await.unwrap_or_else(|error| Err(internal(error)))
            }
        })?;
    }
    module.register_async_method("eth_sendRawTransaction", |params, ctx, _| async move {
        let args = Args::new(&params)?;
        submit::send_raw(&ctx, args).await as Reply<Value>
    })?;
    Ok(module)
}
