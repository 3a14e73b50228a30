//! JSON-RPC for wallets, over HTTP and WebSocket on one port.
//!
//! squad-rpc serves; `http` says what browsers need of it. `server` registers the methods from the table in `methods`;
//! `args` and `parse` read a request's parameters; the rest are the answers. What the table holds, `discover` describes.

mod access;
mod args;
mod blocks;
mod call_args;
mod calls;
mod discover;
mod fees;
mod filter;
mod filters;
mod format;
mod http;
mod logs;
mod methods;
mod network;
mod overrides;
mod parse;
mod pending_block;
mod proof;
mod recent;
mod server;
mod state;
mod submit;
mod subscribe;
mod sync;
mod turns;

pub use args::{
    INTERNAL, INVALID_PARAMS, LIMIT_EXCEEDED, REVERTED, SERVER_ERROR, SYNC_NONCE_GAP, SYNC_NOT_READY, SYNC_TIMEOUT,
};
pub use discover::document as openrpc;
pub use server::{RpcLimits, RpcServer, serve};
pub use submit::MAX_TRANSACTION_BYTES;

use crate::{
    chain::{ChainReader, Head},
    pending::Pending,
    source::{Behind, Submission},
    state::{Layered, StateView},
    status::Status,
};
use alloy_consensus::Header;
use alloy_primitives::B256;
use args::{Reply, internal, refused};
use bytes::Bytes;
use filters::Filters;
use parse::BlockId;
use recent::Recent;
use std::sync::Arc;
use tokio::sync::Semaphore;
use turns::Turns;

/// What every method can use.
#[derive(Clone)]
pub struct RpcContext {
    /// The chain.
    pub chain: ChainReader,
    /// Forwarded, not yet ordered transactions.
    pub pending: Arc<Pending>,
    /// Live facts.
    pub status: Arc<Status>,
    forward: Arc<dyn Fn(Bytes, Behind) -> Submission + Send + Sync>,
    turns: Arc<Turns>,
    filters: Arc<Filters>,
    recent: Arc<Recent>,
    upcoming: Arc<pending_block::Progress>,
    limits: RpcLimits,
    /// Places for requests that read.
    reads: Arc<Semaphore>,
}

impl std::fmt::Debug for RpcContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcContext").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl RpcContext {
    /// A context that forwards submissions to `forwarder`.
    pub fn new<F: crate::Forwarder>(
        chain: ChainReader,
        pending: Arc<Pending>,
        status: Arc<Status>,
        forwarder: F,
    ) -> Self {
        let forward = Arc::new(move |raw, behind| forwarder.submit(raw, behind));
        let limits = RpcLimits::default();
        let reads = Arc::new(Semaphore::new(limits.reads.max(1)));
        Self {
            chain,
            pending,
            status,
            forward,
            turns: Arc::default(),
            filters: Arc::default(),
            recent: Arc::default(),
            upcoming: Arc::default(),
            limits,
            reads,
        }
    }

    fn limit(&mut self, limits: RpcLimits) {
        self.limits = limits;
        self.reads = Arc::new(Semaphore::new(limits.reads.max(1)));
    }

    fn head(&self) -> Head {
        self.chain.head()
    }

    /// Number of the ordered block that `id` names, for `pending` the head; `None` if there is none (yet).
    fn resolve(&self, id: BlockId) -> Reply<Option<u64>> {
        let head = self.head().header.number;
        Ok(match id {
            BlockId::Latest | BlockId::Pending => Some(head),
            BlockId::Earliest => Some(0),
            BlockId::Number(number) => (number <= head).then_some(number),
            BlockId::Hash(hash) => self.chain.store.number(hash).map_err(internal)?.filter(|number| *number <= head),
        })
    }

    fn header(&self, number: u64) -> Reply<(Header, B256)> {
        let head = self.head();
        if number == head.header.number {
            return Ok(((*head.header).clone(), head.hash));
        }
        let header = self.chain.store.header(number).map_err(internal)?;
        let header = header.ok_or_else(|| internal(format!("header {number} is missing")))?;
        let hash = header.hash_slow();
        Ok((header, hash))
    }

    /// Header and readable state of the block that `id` names.
    fn state(&self, id: BlockId) -> Reply<(Header, Layered<StateView>)> {
        if id == BlockId::Pending {
            return pending_block::state(self);
        }
        let number = self.resolve(id)?.ok_or_else(|| refused("header not found"))?;
        let (header, _) = self.header(number)?;
        let view = self.chain.state_at(number).map_err(state::unreadable)?;
        Ok((header, Layered::plain(view)))
    }
}
