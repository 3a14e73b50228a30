//! Runs one node: the sequencer, its disk, its peers and its interfaces.
//!
//! One thread (`engine`) owns the sequencer. Inputs reach it through the `inbox`: peers' messages, checked by a few
//! `workers` (`incoming`), clients' transactions (`submit`), and what became durable (`disk`). It performs the
//! effects in order; what waits for a write is `held` until that is durable, then leaves by the `courier`. What
//! became of transactions goes to another thread (`results`), which answers those who wait. The interfaces see all of
//! it through the `backend`, and older blocks through the `chain`.

mod backend;
mod chain;
mod clock;
mod contact;
mod courier;
mod disk;
mod engine;
mod facts;
mod held;
mod inbox;
mod incoming;
mod kept;
mod latency;
mod node;
mod peers;
mod reporter;
mod results;
mod serve;
mod settlement;
mod stored;
mod submit;
mod waiters;
mod workers;

#[cfg(test)]
mod tests;

pub(crate) use contact::{report as contact, shown as contact_shown};

use crate::api::{Backend, Gate, http, serve_grpc, serve_metrics, serve_rpc};
use crate::config::{L1Config, NodeConfig};
use crate::metrics::NodeMetrics;
use anyhow::Context as _;
use node::{Node, Plan};
use squad_net::{Announce, Multiaddr};
use squad_types::{EcdsaSigner, Signer as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the interfaces may take to end their answers when the node stops.
const CLOSE: Duration = Duration::from_secs(2);

/// Locks. Whoever panicked while holding it left a table that is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn multiaddrs(setting: &str, texts: &[String]) -> anyhow::Result<Vec<Multiaddr>> {
    let parse = |text: &String| {
        text.parse::<Multiaddr>()
            .with_context(|| format!("{setting}: '{text}' is no multiaddr: use one such as /ip4/127.0.0.1/tcp/7700"))
    };
    texts.iter().map(parse).collect()
}

/// What stands for no address in `p2p.announce`.
const NONE: &str = "none";

fn announce(texts: &[String]) -> anyhow::Result<Announce> {
    match texts {
        [] => Ok(Announce::Listening),
        [one] if one == NONE => Ok(Announce::Nothing),
        _ if texts.iter().any(|text| text == NONE) => {
            anyhow::bail!("p2p.announce: '{NONE}' stands beside addresses: give either addresses or '{NONE}' alone")
        }
        _ => Ok(Announce::These(multiaddrs("p2p.announce", texts)?)),
    }
}

fn plan(config: &NodeConfig, guarded: bool) -> anyhow::Result<Plan> {
    let genesis = crate::cli::read_genesis(&config.genesis)?;
    let secret = crate::keystore::open(&config.key)?;
    let signer = EcdsaSigner::from_secret(*secret).context("the operator's key is no secp256k1 key")?;
    Ok(Plan {
        genesis,
        signer,
        guarded,
        data_dir: config.data_dir.clone(),
        listen: multiaddrs("p2p.listen", &config.p2p_listen)?,
        announce: announce(&config.p2p_announce)?,
        bootstrap: multiaddrs("p2p.bootstrap", &config.bootstrap)?,
        l1: config.l1.clone(),
        account: account(&config.l1)?,
        storage: squad_storage::Options { free_space_mark: config.min_free_bytes, ..Default::default() },
        disk: Arc::new(squad_storage::RealDisk),
        wait: submit::longest_wait(&config.limits),
        metrics: NodeMetrics::new()?,
    })
}

/// The account that evidence is sent from, where it is to be sent.
fn account(config: &L1Config) -> anyhow::Result<Option<squad_l1::Account>> {
    let Some(source) = config.account.as_ref().filter(|_| config.submit_evidence) else { return Ok(None) };
    let secret = crate::keystore::open(source).context("l1.account")?;
    squad_l1::Account::from_secret(&secret).context("l1.account holds no secp256k1 key").map(Some)
}

/// The ports that are served, taken before anything else starts, so that a port in use is said at once.
struct Listeners {
    rpc: Option<tokio::net::TcpListener>,
    grpc: Option<tokio::net::TcpListener>,
    metrics: Option<tokio::net::TcpListener>,
}

impl Listeners {
    async fn bind(config: &NodeConfig) -> anyhow::Result<Self> {
        let bind = async |interface, address: Option<_>| match address {
            Some(address) => http::bind(interface, address).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            rpc: bind("rpc", config.rpc_listen).await?,
            grpc: bind("grpc", config.grpc_listen).await?,
            metrics: bind("metrics", config.metrics_listen).await?,
        })
    }
}

/// What clients are served by.
#[derive(Default)]
struct Servers {
    http: Vec<squad_rpc::Server>,
    grpc: Option<crate::api::GrpcServer>,
}

impl Servers {
    fn start(listeners: Listeners, node: &Node, metrics: &NodeMetrics, config: &NodeConfig) -> anyhow::Result<Self> {
        let backend: Arc<dyn Backend> = node.backend();
        let gate = Gate::new(Arc::clone(&backend), metrics.clone(), &config.limits);
        let mut servers = Self::default();
        if let Some(listener) = listeners.rpc {
            let server = serve_rpc(listener, gate.clone(), config)?;
            tracing::info!(address = %server.address(), "serving JSON-RPC, WebSocket and the page");
            servers.http.push(server);
        }
        if let Some(listener) = listeners.grpc {
            let server = serve_grpc(listener, gate, &config.limits)?;
            tracing::info!(address = %server.address(), "serving gRPC");
            servers.grpc = Some(server);
        }
        if let Some(listener) = listeners.metrics {
            let server = serve_metrics(listener, backend, metrics.clone())?;
            tracing::info!(address = %server.address(), "serving metrics");
            servers.http.push(server);
        }
        Ok(servers)
    }

    async fn stop(self) {
        let closing = async {
            for server in self.http {
                server.stop().await;
            }
            if let Some(server) = self.grpc {
                server.stop().await;
            }
        };
        if tokio::time::timeout(CLOSE, closing).await.is_err() {
            tracing::warn!("some clients did not end their connections; they are cut off");
        }
    }
}

/// Runs a node until it is told to stop (Ctrl-C or SIGTERM). One that is not `guarded` signs without asking what its key signed before.
///
/// # Errors
/// Whatever keeps the node from starting or from going on, in words that say what to do.
pub async fn run(config: NodeConfig, guarded: bool) -> anyhow::Result<()> {
    let plan = plan(&config, guarded)?;
    let metrics = plan.metrics.clone();
    let (network, operator) = (plan.genesis.network_id(), plan.signer.address());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %network, %operator, "starting");
    let listeners = Listeners::bind(&config).await?;
    let mut node = Node::start(plan).await?;
    tracing::info!(peer = %node.net().local_peer(), "running");
    let servers = Servers::start(listeners, &node, &metrics, &config)?;
    tokio::select! {
        error = node.failed() => {
            // Nothing may leave any more: no draining, no goodbye.
            tracing::error!("{error:#}");
            return Err(error);
        }
        signal = stop_signal() => tracing::info!(signal = signal?, "stopping"),
    }
    node.drain().await;
    servers.stop().await;
    node.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// Signals that cannot be listened for.
pub async fn stop_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
