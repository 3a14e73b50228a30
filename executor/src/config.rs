//! Configuration and the assembled executor.

use crate::{
    Error, Genesis, Result,
    chain::Chain,
    follow::follow,
    pending::Pending,
    rpc::{RpcContext, RpcLimits, serve},
    source::{BlockSource, Forwarder},
    status::Status,
    store::OrderedTip,
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

/// What an executor needs besides its source of blocks.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Where its database lies.
    pub dir: PathBuf,
    /// The rollup's genesis.
    pub genesis: Genesis,
    /// Where wallets connect; port 0 takes a free one.
    pub rpc: SocketAddr,
    /// RPC limits.
    pub limits: RpcLimits,
}

/// Runs an executor over `source` and `forwarder` until `shutdown` becomes true.
///
/// `binding` names what is followed (network and namespace); a database bound to another is refused.
/// `open` makes the source, given how far the chain was executed. The address of the RPC server is sent to `listening` once wallets can connect.
///
/// # Errors
/// Whatever stops the rollup; the caller should end its process with a non-zero status. Nothing of a
/// block that failed verification is executed.
pub async fn run_with<S: BlockSource, F: Forwarder>(
    config: ExecutorConfig,
    binding: &[u8],
    open: impl AsyncFnOnce(OrderedTip) -> Result<S>,
    forwarder: F,
    listening: Option<oneshot::Sender<SocketAddr>>,
    shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let ExecutorConfig { dir, genesis, rpc, limits } = config;
    let binding = binding.to_vec();
    let opened = tokio::task::spawn_blocking(move || Chain::open(&dir, genesis, &binding));
    let chain = opened.await.map_err(|error| Error::Worker(error.to_string()))??;
    let (pending, status) = (Arc::new(Pending::default()), Arc::new(Status::default()));
    let context = RpcContext::new(chain.reader(), pending.clone(), status.clone(), forwarder);
    let server = serve(rpc, limits, context).await?;
    let head = chain.head();
    info!(
        rpc = %server.address(),
        evm_height = head.header.number,
        ordered_height = head.ordered.height,
        state_root = %head.header.state_root,
        "executor serves wallets"
    );
    if let Some(listening) = listening {
        // Whoever asked may have gone; that is its business.
        let _ = listening.send(server.address());
    }
    let mut stopped = shutdown.clone();
    let source = tokio::select! {
        source = open(head.ordered) => source,
        _ = stop_asked(&mut stopped) => {
            server.stop().await;
            return Ok(());
        }
    };
    let result = match source {
        Ok(source) => follow(chain, source, pending, status, shutdown).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        error!(%error, "executor stopped");
    }
    server.stop().await;
    result
}

async fn stop_asked(shutdown: &mut watch::Receiver<bool>) {
    // A dropped sender asks to stop too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
