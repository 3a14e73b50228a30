//! Configuration and the assembled executor.

use crate::{
    Error, Genesis, Result,
    chain::{Chain, ChainReader},
    engine::{EngineConfig, check_followable, drive},
    follow::follow,
    grpc::GrpcOperators,
    operators::OperatorSource,
    pending::Pending,
    rpc::{RpcContext, RpcLimits, serve},
    source::{BlockSource, Forwarder},
    status::Status,
    store::OrderedTip,
};
use squad_client::{BlockVerifier, Checkpoint};
use squad_types::{NamespaceId, NamespaceKind};
use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

/// Blocks behind the latest whose state can be read, unless configured otherwise.
pub const DEFAULT_HISTORY: u64 = 1_024;
/// Memory for the state, unless configured otherwise.
pub const DEFAULT_CACHE_BYTES: usize = 256 << 20;
/// Below this the database works page by page against its own cache.
pub const MIN_CACHE_BYTES: usize = 8 << 20;

/// How the state is kept. It lies on disk; blocks and receipts are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateConfig {
    /// Memory for caches over the state, in bytes. Besides it, memory is taken for the block under execution and for
    /// what requests read.
    pub cache_bytes: usize,
    /// Blocks behind the latest whose state can be read and proved; at least 1. What they overwrote is kept on disk.
    pub history: u64,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self { cache_bytes: DEFAULT_CACHE_BYTES, history: DEFAULT_HISTORY }
    }
}

impl StateConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let fail = |text: String| Err(Error::Config(text));
        if self.cache_bytes < MIN_CACHE_BYTES {
            return fail(format!(
                "the state's cache has {} bytes; give it {MIN_CACHE_BYTES} or more",
                self.cache_bytes
            ));
        }
        if self.history == 0 {
            return fail("the state's history is 0 blocks; at least 1 must be kept".into());
        }
        Ok(())
    }
}

/// A rollup of its own: what it needs besides a source of blocks and somewhere to send transactions.
#[derive(Debug, Clone)]
pub struct RollupConfig {
    /// Where its database lies.
    pub dir: PathBuf,
    /// The rollup's genesis.
    pub genesis: Genesis,
    /// Where wallets connect; port 0 takes a free one.
    pub rpc: SocketAddr,
    /// RPC limits.
    pub limits: RpcLimits,
    /// Memory and history of the state.
    pub state: StateConfig,
    /// An execution client that shall follow too.
    pub engine: Option<EngineConfig>,
}

/// An executor of one namespace of a network.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// The rollup.
    pub rollup: RollupConfig,
    /// The network's genesis: the first committee to trust.
    pub network: squad_types::Genesis,
    /// The namespace to follow. It must be an EVM one with the rollup's chain id.
    pub namespace: NamespaceId,
    /// gRPC addresses of operators (`http://host:port`), the preferred one first. None is trusted.
    pub operators: Vec<String>,
}

impl ExecutorConfig {
    fn check(&self) -> Result<()> {
        let fail = |text: String| Err(Error::Config(text));
        let Some(namespace) = self.network.namespaces.iter().find(|spec| spec.id == self.namespace) else {
            return fail(format!("the network '{}' has no namespace {}", self.network.name, self.namespace));
        };
        let ours = self.rollup.genesis.chain_id;
        match namespace.kind {
            NamespaceKind::Evm { chain_id } if chain_id == ours => Ok(()),
            NamespaceKind::Evm { chain_id } => fail(format!(
                "namespace '{}' has chain id {chain_id}, the rollup's genesis has {ours}; make them equal",
                namespace.name
            )),
            NamespaceKind::Opaque => fail(format!("namespace '{}' is opaque, not an EVM one", namespace.name)),
        }
    }

    /// What the database is bound to besides the rollup's genesis.
    fn binding(&self) -> Vec<u8> {
        let mut binding = self.network.network_id().0.to_vec();
        binding.extend(self.namespace.0.to_be_bytes());
        binding
    }
}

/// Follows a namespace of a network until `shutdown` becomes true, and serves wallets.
///
/// The address of the RPC server is sent to `listening` once wallets can connect. Operators that cannot be reached are
/// tried again for ever.
///
/// # Errors
/// As [`run_with`], and [`Error::Config`].
pub async fn run(
    config: ExecutorConfig,
    listening: Option<oneshot::Sender<SocketAddr>>,
    shutdown: watch::Receiver<bool>,
) -> Result<()> {
    config.check()?;
    let binding = config.binding();
    let ExecutorConfig { rollup, network, namespace, operators } = config;
    let operators = GrpcOperators::new(&operators, namespace)?;
    let forwarder = operators.forwarder();
    let open = async |tip: OrderedTip| {
        let verifier = match tip.height {
            0 => BlockVerifier::from_genesis(&network, namespace)
                .map_err(|error| Error::Config(format!("network genesis: {error}")))?,
            _ => {
                let checkpoint = Checkpoint::from_bytes(tip.checkpoint.0)
                    .map_err(|error| Error::Damaged(format!("follower checkpoint: {error}")))?;
                BlockVerifier::resume(checkpoint, namespace)
            }
        };
        Ok(OperatorSource::new(operators, verifier))
    };
    run_with(rollup, &binding, open, forwarder, listening, shutdown).await
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
    config: RollupConfig,
    binding: &[u8],
    open: impl AsyncFnOnce(OrderedTip) -> Result<S>,
    forwarder: F,
    listening: Option<oneshot::Sender<SocketAddr>>,
    shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let RollupConfig { dir, genesis, rpc, limits, state, engine } = config;
    if let Some(engine) = &engine {
        check_followable(&genesis, &engine.mode)?;
    }
    let binding = binding.to_vec();
    let opened = tokio::task::spawn_blocking(move || Chain::open_with(&dir, genesis, &binding, state));
    let chain = opened.await.map_err(|error| Error::Worker(error.to_string()))??;
    let (pending, status) = (Arc::new(Pending::default()), Arc::new(Status::default()));
    let reader = chain.reader();
    let context = RpcContext::new(reader.clone(), pending.clone(), status.clone(), forwarder);
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
        Ok(source) => {
            let (stop, stopped) = watch::channel(false);
            let following = follow(chain, source, pending, status.clone(), stopped);
            // Boxed: the two together are large, and every caller would carry them.
            Box::pin(together(following, engine.map(|engine| (reader, engine)), &status, stop, shutdown)).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        error!(%error, "executor stopped");
    }
    server.stop().await;
    result
}

/// Follows, and feeds an execution client beside it; whichever ends first stops the other by `stop`, and `shutdown` both.
async fn together(
    following: impl Future<Output = Result<()>>,
    engine: Option<(ChainReader, EngineConfig)>,
    status: &Status,
    stop: watch::Sender<bool>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let (fed_until, mut ended) = (stop.subscribe(), stop.subscribe());
    let feeding = async {
        let Some((reader, engine)) = engine else { return Ok(()) };
        let fed = drive(reader, engine, fed_until).await;
        if let Err(error) = &fed {
            status.halt(error.to_string());
            // Whoever runs a second opinion wants to know when there is none, or another one.
            stop.send_replace(true);
        }
        fed.map_err(Error::from)
    };
    let followed = async {
        let followed = following.await;
        stop.send_replace(true);
        followed
    };
    let asked = async {
        tokio::select! {
            _ = stop_asked(&mut shutdown) => {}
            _ = stop_asked(&mut ended) => {}
        }
        stop.send_replace(true);
    };
    let (followed, fed, ()) = tokio::join!(followed, feeding, asked);
    followed.and(fed)
}

async fn stop_asked(shutdown: &mut watch::Receiver<bool>) {
    // A dropped sender asks to stop too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
