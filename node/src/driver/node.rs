//! One running node: its threads and tasks, from an opened data directory to an orderly end.

use super::backend::NodeBackend;
use super::chain::Chain;
use super::clock::CLOCK_BOUND_MS;
use super::courier::Courier;
use super::disk::Disk;
use super::engine::Engine;
use super::inbox::{Event, Inbox};
use super::incoming::Incoming;
use super::peers::{Committees, Peers};
use super::reporter::Reporter;
use super::results::{Happened, MAX_EVENTS, Published, Results};
use super::settlement::Settlement;
use super::stored::{Records, log_records};
use super::workers::Workers;
use crate::config::L1Config;
use crate::metrics::NodeMetrics;
use anyhow::Context as _;
use squad_l1::Follower;
use squad_net::{Announce, Identity, Multiaddr, NetConfig, NetEvents, Network, NetworkHandle};
use squad_sequencer::{Config, Input, Memory, Output, Sequencer};
use squad_storage::{Options, Origin, Store, StoreIdentity};
use squad_types::limits::MAX_RESPONSE_BYTES;
use squad_types::{Domain, EcdsaSigner, EcdsaVerifier, Genesis, Signer, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How often the free space is looked at.
const DISK_CHECK: Duration = Duration::from_secs(2);
/// How long a stopping node waits until its own batches are ordered.
const DRAIN: Duration = Duration::from_secs(5);
/// How often it looks whether they are.
const DRAIN_CHECK: Duration = Duration::from_millis(25);
/// How long a stopping node waits until nobody asks for results any more.
const RESULTS_END: Duration = Duration::from_secs(2);
/// What an answer takes beside the payload that its limit is about: headers, lengths, a block's certificate.
const RESPONSE_MARGIN: usize = 4 << 20;
/// Agreement runs as nested calls on this stack; the default of a thread is a quarter of it.
const STACK_BYTES: usize = 8 << 20;

/// What a node is made of.
pub(crate) struct Plan {
    pub(crate) genesis: Genesis,
    pub(crate) signer: EcdsaSigner,
    /// Whether it asks what it signed before it signs.
    pub(crate) guarded: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) announce: Announce,
    pub(crate) bootstrap: Vec<Multiaddr>,
    pub(crate) l1: L1Config,
    /// Who pays for what is sent to the settlement layer, where evidence is.
    pub(crate) account: Option<squad_l1::Account>,
    pub(crate) storage: Options,
    /// Where the data directory lies; tests put faults here.
    pub(crate) disk: Arc<dyn squad_storage::Disk>,
    /// How long a look-up waits for a tier.
    pub(crate) wait: Duration,
    pub(crate) metrics: NodeMetrics,
}

/// A running node.
pub(crate) struct Node {
    backend: Arc<NodeBackend>,
    net: NetworkHandle,
    inbox: Inbox,
    ended: Option<oneshot::Receiver<anyhow::Result<()>>>,
    /// Fails once the thread of results has ended.
    results_ended: oneshot::Receiver<()>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What recovery gives.
struct Opened {
    store: Store,
    sequencer: Sequencer,
    outputs: Vec<Output>,
    follower: Option<Follower>,
    reporter: Option<Box<Reporter>>,
}

/// Opens the data directory and brings the sequencer back. Blocks.
fn open(plan: &Plan) -> anyhow::Result<Opened> {
    let operator = plan.signer.address();
    let identity = StoreIdentity { network_id: plan.genesis.network_id().0, operator: operator.0 };
    let mut progress = |progress: squad_storage::Progress| {
        if progress.total > 1 {
            tracing::info!(stage = ?progress.stage, done = progress.done, total = progress.total, "reading the data directory");
        }
    };
    let (store, mut recovered) =
        Store::open(&plan.data_dir, identity, plan.storage.clone(), Arc::clone(&plan.disk), &mut progress)?;
    if let Some(torn) = &recovered.log_torn {
        tracing::warn!(file = %torn.path.display(), offset = torn.offset, "the log's torn tail was cut off");
    }
    let memory = match recovered.origin {
        Origin::Fresh | Origin::Initialised => Memory::Kept,
        Origin::LogLost => Memory::Lost,
    };
    let records = log_records(&mut recovered)?;
    tracing::info!(origin = ?recovered.origin, records = records.len(), index = ?recovered.index, "data directory opened");
    let Settlement { stakes, follower } = super::settlement::open(plan)?;
    let reporter = super::reporter::open(plan)?;
    let signer: Arc<dyn Signer> = Arc::new(plan.signer.clone());
    let mut config = Config::new(plan.genesis.clone(), Some(signer), Arc::new(EcdsaVerifier), stakes);
    config.memory = memory;
    config.guarded = plan.guarded;
    let (sequencer, outputs) = Sequencer::recover(config, crate::cli::now(), records, &Records(store.clone()))?;
    check_clock(sequencer.ledger().tip_time())?;
    Ok(Opened { store, sequencer, outputs, follower, reporter })
}

/// Refuses a clock that lies far before what is decided already.
fn check_clock(tip: Timestamp) -> anyhow::Result<()> {
    let behind = tip.since(crate::cli::now());
    anyhow::ensure!(
        behind <= CLOCK_BOUND_MS,
        "this machine's clock is {:.1} s behind the network's last block: set it, with NTP for instance, and start again",
        behind as f64 / 1000.0
    );
    Ok(())
}

/// Refuses a network that begins later.
fn check_genesis(genesis: &Genesis) -> anyhow::Result<()> {
    let left = genesis.time.since(crate::cli::now());
    match crate::genesis::begins_later(genesis) {
        Some(advice) if left > CLOCK_BOUND_MS => anyhow::bail!(advice),
        Some(advice) => tracing::warn!("{advice}"),
        None => {}
    }
    Ok(())
}

async fn start_network(plan: &Plan, domain: Domain) -> anyhow::Result<(NetworkHandle, NetEvents)> {
    let identity = Identity::load_or_generate(&plan.data_dir.join("network-identity"))?;
    let mut config = NetConfig::new(identity, domain, Arc::new(EcdsaVerifier));
    let addresses = plan.announce.addresses(&plan.listen);
    let real: Vec<Multiaddr> =
        addresses.iter().filter(|address| !address.to_string().ends_with("/tcp/0")).cloned().collect();
    config.binding = Some(squad_net::bind(&config.identity, &domain, &plan.signer, crate::cli::now(), &real));
    config.listen.clone_from(&plan.listen);
    config.announce.clone_from(&plan.announce);
    config.bootstrap.clone_from(&plan.bootstrap);
    config.limits.response_bytes = MAX_RESPONSE_BYTES + RESPONSE_MARGIN;
    Ok(Network::start(config).await?)
}

impl Node {
    /// Starts a node on the current runtime.
    pub(crate) async fn start(plan: Plan) -> anyhow::Result<Self> {
        check_genesis(&plan.genesis)?;
        let plan = Arc::new(plan);
        let opening = Arc::clone(&plan);
        let opened = tokio::task::spawn_blocking(move || open(&opening)).await.context("opening failed")??;
        let domain = Domain::new(plan.genesis.network_id());
        let (net, events) = start_network(&plan, domain).await?;
        Self::assemble(&plan, opened, domain, net, events)
    }

    fn assemble(
        plan: &Plan,
        opened: Opened,
        domain: Domain,
        net: NetworkHandle,
        events: NetEvents,
    ) -> anyhow::Result<Self> {
        let Opened { store, sequencer, outputs, follower, reporter } = opened;
        let (inbox, receiver) = Inbox::new();
        let records = Records(store.clone());
        let namespaces = Arc::new(plan.genesis.namespaces.clone());
        let chain = Arc::new(Chain::new(records.clone(), Arc::clone(&namespaces)));
        let ledger = sequencer.ledger();
        let published = Arc::new(Published {
            tip: watch::Sender::new(ledger.height()),
            chain_time: AtomicU64::new(ledger.state().chain_time.0),
        });
        let (peers, committees) = (Arc::new(Peers::default()), Arc::new(Committees::default()));
        let courier = Courier {
            net: net.clone(),
            peers: Arc::clone(&peers),
            committees: Arc::clone(&committees),
            chain: Arc::clone(&chain),
            inbox: inbox.clone(),
            runtime: tokio::runtime::Handle::current(),
            domain,
        };
        let disk = Disk::start(&store, &inbox, plan.metrics.fsync.clone())?;
        let (results, happened) = sync_channel(MAX_EVENTS);
        let thread = Results::new(
            domain.network(),
            Arc::clone(&chain),
            Arc::clone(&published),
            Arc::clone(&namespaces),
            plan.metrics.clone(),
        );
        let (results_end, results_ended) = oneshot::channel();
        spawn("squad-results", move || {
            thread.run(&happened);
            drop(results_end);
        })?;
        let engine = Engine::new(sequencer, disk, courier, results.clone(), plan.metrics.clone());
        let ended = start_engine(engine, outputs, receiver)?;
        let incoming = Incoming {
            net: net.clone(),
            peers,
            committees: Arc::clone(&committees),
            inbox: inbox.clone(),
            workers: Arc::new(Workers::start().context("the threads that check signatures do not start")?),
            domain,
            me: plan.signer.address(),
            tip: published.tip.subscribe(),
            announced: Arc::default(),
            network_bytes: plan.metrics.network_bytes.clone(),
        };
        let backend = backend(plan, &inbox, results, chain, published, namespaces, committees, &net);
        let mut tasks = vec![
            tokio::spawn(incoming.run(events)),
            tokio::spawn(keep_house(store, inbox.clone(), Arc::clone(&backend))),
        ];
        if let Some(follower) = follower {
            let teller = super::settlement::teller(plan.metrics.clone(), inbox.clone());
            tasks.push(tokio::spawn(async move {
                let (_stop, stopped) = watch::channel(false);
                follower.run(stopped, teller).await;
            }));
        }
        tasks.extend(reporter.map(|reporter| tokio::spawn(reporter.run(inbox.clone()))));
        Ok(Self { backend, net, inbox, ended: Some(ended), results_ended, tasks })
    }

    /// The node as its interfaces see it.
    pub(crate) fn backend(&self) -> Arc<NodeBackend> {
        Arc::clone(&self.backend)
    }

    /// The network; for addresses and counters.
    pub(crate) fn net(&self) -> &NetworkHandle {
        &self.net
    }

    /// Waits until the node ends by itself, which it does only when something failed.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let Some(ended) = &mut self.ended else { return anyhow::anyhow!("the node ended before") };
        let outcome = ended.await;
        self.ended = None;
        match outcome {
            Ok(Ok(())) => anyhow::anyhow!("the node ended without being told to"),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("the sequencer's thread panicked; its message is above"),
        }
    }

    /// Takes no more transactions, and waits for a bounded time until what was taken in is ordered.
    pub(crate) async fn drain(&self) {
        self.inbox.input(Input::Drain, None);
        let until = Instant::now() + DRAIN;
        while Instant::now() < until {
            match self.inbox.facts().await {
                Some(facts) if facts.own_lane_bytes > 0 || facts.status.mempool.pool_transactions > 0 => {}
                _ => return,
            }
            tokio::time::sleep(DRAIN_CHECK).await;
        }
        tracing::warn!("stopping although batches of this operator are not ordered yet: they are when it is back");
    }

    /// Ends everything: peers first, then the thread with what it still writes. After it the data directory is free, unless
    /// somebody holds on to the backend.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { backend, net, inbox, ended, results_ended, tasks } = self;
        net.shutdown().await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        for task in tasks {
            // That it was aborted is no news.
            let _ = task.await;
        }
        inbox.event(Event::Stop);
        let outcome = match ended {
            Some(ended) => ended.await.context("the sequencer's thread panicked")?,
            None => Ok(()),
        };
        drop(backend);
        if tokio::time::timeout(RESULTS_END, results_ended).await.is_err() {
            tracing::warn!("somebody still asks for results: the data directory is free when the process ends");
        }
        outcome
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(work)
        .with_context(|| format!("thread {name} does not start"))?;
    Ok(())
}

fn start_engine(
    engine: Engine,
    outputs: Vec<Output>,
    events: Receiver<Event>,
) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let (sender, ended) = oneshot::channel();
    spawn("squad-sequencer", move || {
        let outcome = engine.run(outputs, &events);
        // Whoever started the node may be gone.
        let _ = sender.send(outcome);
    })?;
    Ok(ended)
}

#[allow(clippy::too_many_arguments)] // what it names is what the backend is made of, once
fn backend(
    plan: &Plan,
    inbox: &Inbox,
    results: SyncSender<Happened>,
    chain: Arc<Chain>,
    published: Arc<Published>,
    namespaces: Arc<Vec<squad_types::NamespaceSpec>>,
    committees: Arc<Committees>,
    net: &NetworkHandle,
) -> Arc<NodeBackend> {
    Arc::new(NodeBackend {
        inbox: inbox.clone(),
        results,
        chain,
        published,
        genesis: Arc::new(plan.genesis.clone()),
        namespaces,
        committees,
        net: net.clone(),
        operator: plan.signer.address(),
        metrics: plan.metrics.clone(),
        started: Instant::now(),
        wait: plan.wait,
    })
}

/// Looks at the free space, and brings the metrics up to date that nothing else sets.
async fn keep_house(store: Store, inbox: Inbox, backend: Arc<NodeBackend>) {
    use crate::api::Backend as _;
    let (mut low, mut ticks) = (false, tokio::time::interval(DISK_CHECK));
    loop {
        ticks.tick().await;
        backend.status().await;
        match store.low_on_space() {
            Ok(now) if now != low => {
                low = now;
                let free = store.free_bytes().unwrap_or_default();
                if low {
                    tracing::error!("{}", super::disk::low_on_space(free, store.options().free_space_mark));
                } else {
                    tracing::info!(free, "there is space on the disk again");
                }
                inbox.input(Input::DiskLow(low), None);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the free space cannot be seen"),
        }
    }
}
