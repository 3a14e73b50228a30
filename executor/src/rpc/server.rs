//! The server: limits, registration of the method table, start and stop.

use super::{
    RpcContext,
    args::{Args, Reply, internal},
    http::Wallets,
    methods::{self, Answer, Run},
    subscribe,
};
use crate::{Error, Result};
use jsonrpsee::{
    RpcModule,
    core::{RegisterMethodError, server::ResponsePayload},
    types::ErrorObjectOwned,
};
use serde_json::value::{RawValue, to_raw_value};
use squad_rpc::{Limits, Server};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};

/// Limits of the RPC server. Requests under way and answers that clients have not taken have `memory` together; beside it,
/// `reads` and `calls` bound how many answers are being made, each up to `response_bytes`. A client that does not take its
/// answers is read from until `under_way` of them wait, and not further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcLimits {
    /// Bytes of one request body: the largest transaction in hex, and a batch of smaller ones.
    pub request_bytes: u32,
    /// Bytes of one answer, a batch's included: a full block with its transactions.
    pub response_bytes: u32,
    /// Requests in one batch, as many as viem sends by default; 0 refuses batches.
    pub batch: u32,
    /// Connections open at once, WebSockets included.
    pub connections: u32,
    /// Requests of one WebSocket connection that are worked on or whose answers wait for the client; a batch counts as one.
    pub under_way: u32,
    /// Subscriptions of one WebSocket connection.
    pub subscriptions: u32,
    /// Bytes of requests under way and of answers not yet taken, over all connections; what does not fit is refused.
    pub memory: usize,
    /// How long a client may send nothing, take nothing of an answer, or give no sign of life on a WebSocket. Its connection
    /// is closed then, at the latest after twice that time.
    pub idle: Duration,
    /// Calls and estimates that execute at once; more wait. Each is bounded by gas.
    pub calls: usize,
    /// Requests that read the database or the state at once; more wait.
    pub reads: usize,
    /// Blocks that one request for logs covers.
    pub log_blocks: u64,
    /// Logs that one answer lists.
    pub logs: usize,
    /// Filters remembered at once; the one that was not asked for longest goes first.
    pub filters: usize,
    /// Longest wait of `eth_sendRawTransactionSync`, and its default.
    pub sync_timeout: Duration,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            request_bytes: 2 << 20,
            response_bytes: 16 << 20,
            batch: 1_000,
            connections: 256,
            under_way: 64,
            subscriptions: 32,
            memory: 256 << 20,
            idle: Duration::from_secs(60),
            calls: 4,
            reads: 32,
            log_blocks: 10_000,
            logs: 10_000,
            filters: 1_024,
            sync_timeout: Duration::from_secs(10),
        }
    }
}

/// Notifications that wait in memory for a WebSocket client to take them; its subscriptions wait then, and lose nothing.
const BUFFERED: u32 = 16;

impl RpcLimits {
    /// Those that hold for every client, whatever it asks.
    fn of_clients(&self) -> Limits {
        Limits {
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            batch: self.batch,
            connections: self.connections,
            under_way: self.under_way,
            subscriptions: self.subscriptions,
            buffered: BUFFERED,
            memory: self.memory,
            idle: self.idle,
        }
    }
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct RpcServer {
    server: Server,
}

impl RpcServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops it and waits until the requests under way are answered.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Starts serving `context` on `address` (HTTP and WebSocket).
///
/// # Errors
/// [`Error::Rpc`] if the address cannot be bound.
pub async fn serve(address: SocketAddr, limits: RpcLimits, mut context: RpcContext) -> Result<RpcServer> {
    let failed = |detail: String| Error::Rpc { address: address.to_string(), detail };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| failed(format!("{error}; choose a free port or stop the process that holds it")))?;
    context.limit(limits);
    let module = register(context, limits).map_err(|error| failed(error.to_string()))?;
    let server = squad_rpc::serve(listener, module, limits.of_clients(), Wallets);
    Ok(RpcServer { server: server.map_err(|error| failed(error.to_string()))? })
}

/// An answer that is JSON already, so that large ones are written off the async threads.
fn raw(reply: Reply) -> Reply<Box<RawValue>> {
    to_raw_value(&reply?).map_err(internal)
}

fn payload(reply: Reply<Box<RawValue>>) -> ResponsePayload<'static, Box<RawValue>> {
    match reply {
        Ok(value) => ResponsePayload::success(value),
        Err(error) => ResponsePayload::error(error),
    }
}

fn register(context: RpcContext, limits: RpcLimits) -> Result<RpcModule<RpcContext>, RegisterMethodError> {
    let (calls, reads) = (Arc::new(Semaphore::new(limits.calls.max(1))), context.reads.clone());
    let mut module = RpcModule::new(context);
    for method in methods::all() {
        let name = method.name;
        match method.run {
            Run::Quick(answer) => {
                module.register_method(name, move |params, ctx, _| -> Reply { answer(ctx, Args::new(&params)?) })?;
            }
            Run::Read(answer) => blocking(&mut module, name, answer, reads.clone())?,
            Run::Execute(answer) => blocking(&mut module, name, answer, calls.clone())?,
            Run::Wait(answer) => {
                module.register_async_method(name, move |params, ctx, _| async move {
                    let args = Args::new(&params)?;
                    answer(&ctx, args).await as Reply
                })?;
            }
            Run::Subscribe => {
                let ended = "eth_unsubscribe";
                module.register_subscription(
                    name,
                    "eth_subscription",
                    ended,
                    |params, pending, ctx, _| async move {
                        subscribe::run(&params, pending, &ctx).await;
                    },
                )?;
            }
            // Registered with what it ends.
            Run::Unsubscribe => {}
        }
    }
    Ok(module)
}

fn blocking(
    module: &mut RpcModule<RpcContext>,
    name: &'static str,
    answer: Answer,
    slots: Arc<Semaphore>,
) -> Result<(), RegisterMethodError> {
    module.register_async_method(name, move |params, ctx, _| {
        let slots = slots.clone();
        async move {
            let run = async {
                let args = Args::new(&params)?;
                // Held until the job ends, also if its client has gone: that is what bounds the work.
                let slot = slots.acquire_owned().await.map_err(internal)?;
                let job = tokio::task::spawn_blocking(move || {
                    let reply = raw(answer(&ctx, args));
                    drop(slot);
                    reply
                });
                job.await.unwrap_or_else(|error| Err::<_, ErrorObjectOwned>(internal(error)))
            };
            payload(run.await)
        }
    })?;
    Ok(())
}
