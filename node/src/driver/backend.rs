//! The running node as its interfaces see it.

use super::chain::Chain;
use super::facts::Facts;
use super::inbox::Inbox;
use super::peers::Committees;
use super::results::{Happened, Numbers, Published, chain_time};
use super::submit::prepare;
use crate::api::{
    Answers, Backend, BoxFuture, CertifiedHeader, NodeStatus, PeerStatus, Readiness, RejectCode, Rejected, Ticket,
};
use crate::metrics::NodeMetrics;
use squad_mempool::Rejection;
use squad_net::NetworkHandle;
use squad_types::{
    Address, Committee, CommitteeProof, Confirmation, Epoch, Evidence, Genesis, Height, NamespaceBlock, NamespaceId,
    NamespaceSpec, Tier, Timestamp, TxId,
};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How long a full queue of results is waited for before a look-up is refused.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// The node behind the interfaces.
pub(crate) struct NodeBackend {
    pub(crate) inbox: Inbox,
    pub(crate) results: SyncSender<Happened>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) published: Arc<Published>,
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) namespaces: Arc<Vec<NamespaceSpec>>,
    pub(crate) committees: Arc<Committees>,
    pub(crate) net: NetworkHandle,
    pub(crate) operator: Address,
    pub(crate) metrics: NodeMetrics,
    pub(crate) started: Instant,
    /// How long a look-up waits for a tier.
    pub(crate) wait: Duration,
}

fn gone() -> Rejected {
    Rejected::new(RejectCode::ShuttingDown, "the node is going down: ask another operator")
}

impl NodeBackend {
    /// Runs what reads the disk on a thread that may wait.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Chain) -> Result<T, Rejected> + Send + 'static,
    ) -> Result<T, Rejected> {
        let chain = Arc::clone(&self.chain);
        let broken = |error| Rejected::new(RejectCode::Internal, format!("reading the store failed: {error}"));
        tokio::task::spawn_blocking(move || read(&chain)).await.map_err(broken)?
    }

    fn tell(&self, happened: Happened) -> Result<(), Rejected> {
        self.results.try_send(happened).map_err(|error| match error {
            TrySendError::Full(_) => {
                Rejected::new(RejectCode::Busy, "as many questions wait as may: try again").retry_after(BUSY_RETRY)
            }
            TrySendError::Disconnected(_) => gone(),
        })
    }

    async fn numbers(&self) -> Numbers {
        let (reply, numbers) = oneshot::channel();
        if self.tell(Happened::Numbers(reply)).is_err() {
            return Numbers::default();
        }
        numbers.await.unwrap_or_default()
    }

    fn readiness(facts: &Facts) -> Readiness {
        match &facts.status.closed {
            None => Readiness::Ready,
            Some(Rejection::Starting) => Readiness::Starting,
            Some(Rejection::CatchingUp { target, .. }) => Readiness::CatchingUp { target: *target },
            Some(other) => Readiness::Refusing { reason: other.to_string() },
        }
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let peer = |peer: squad_net::PeerInfo| PeerStatus {
            peer_id: peer.peer.to_string(),
            operator: peer.operator,
            address: peer.address.to_string(),
            round_trip_ms: peer.round_trip.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        };
        self.net.peers().into_iter().map(peer).collect()
    }

    fn assemble(&self, facts: Box<Facts>, mut numbers: Numbers) -> NodeStatus {
        let status = &facts.status;
        let mempool = &status.mempool;
        numbers.traffic.pool_transactions = mempool.pool_transactions as u64;
        numbers.traffic.pool_bytes = mempool.pool_bytes as u64;
        numbers.traffic.own_lane_bytes = facts.own_lane_bytes;
        numbers.traffic.own_lane_limit_bytes = self.genesis.params.lane_bytes.into();
        let committee_size = facts.committee.as_ref().map_or(0, |committee| committee.len() as u32);
        let readiness = Self::readiness(&facts);
        let metrics = &self.metrics;
        metrics.ready.set(i64::from(readiness == Readiness::Ready));
        metrics.peers.set(status.peers as i64);
        metrics.committee.set(committee_size.into());
        metrics.pool_transactions.set(mempool.pool_transactions as i64);
        metrics.pool_bytes.set(mempool.pool_bytes as i64);
        let disk_free_bytes = self.chain.records().0.free_bytes().ok();
        metrics.disk_free_bytes.set(disk_free_bytes.unwrap_or_default() as i64);
        metrics.clock_skew.set(facts.clock_skew_ms.unwrap_or_default());
        NodeStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: self.genesis.name.clone(),
            network_id: self.genesis.network_id(),
            operator: self.operator,
            in_committee: status.member,
            committee_size,
            readiness,
            height: status.height,
            oldest_height: self.chain.oldest(),
            round: status.round,
            epoch: status.epoch,
            proposer: status.proposer,
            chain_time: chain_time(&self.published),
            tip_hash: facts.tip_hash,
            tip_time: facts.tip_time,
            clock: crate::cli::now(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peers: self.peers(),
            lanes: facts.lanes,
            namespaces: numbers.namespaces,
            traffic: numbers.traffic,
            latencies: numbers.latencies,
            evidence: u32::try_from(facts.evidence.len()).unwrap_or(u32::MAX),
            disk_free_bytes,
            clock_skew_ms: facts.clock_skew_ms,
            warnings: facts.warnings.into_iter().chain(self.low_on_space(disk_free_bytes)).collect(),
        }
    }

    fn low_on_space(&self, free: Option<u64>) -> Option<String> {
        let mark = self.chain.records().0.options().free_space_mark;
        free.filter(|free| *free < mark).map(|free| super::disk::low_on_space(free, mark))
    }

    /// The status of a node whose own thread has ended.
    fn ended(&self) -> NodeStatus {
        NodeStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: self.genesis.name.clone(),
            network_id: self.genesis.network_id(),
            operator: self.operator,
            in_committee: false,
            committee_size: 0,
            readiness: Readiness::Refusing { reason: gone().reason },
            height: *self.published.tip.borrow(),
            oldest_height: self.chain.oldest(),
            round: Default::default(),
            epoch: Default::default(),
            proposer: None,
            chain_time: chain_time(&self.published),
            tip_hash: Default::default(),
            tip_time: Default::default(),
            clock: crate::cli::now(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peers: Vec::new(),
            lanes: Vec::new(),
            namespaces: Vec::new(),
            traffic: Default::default(),
            latencies: Default::default(),
            evidence: 0,
            disk_free_bytes: None,
            clock_skew_ms: None,
            warnings: Vec::new(),
        }
    }
}

impl Backend for NodeBackend {
    fn submit(&self, tickets: Vec<Ticket>, answers: Answers) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let arrived = Instant::now();
            let prepared = tickets.into_iter().map(|ticket| prepare(ticket, &self.namespaces, arrived)).collect();
            self.inbox.submit(prepared, answers).await;
        })
    }

    fn confirmation(&self, id: TxId, wait: Option<Tier>) -> BoxFuture<'_, Result<Option<Confirmation>, Rejected>> {
        Box::pin(async move {
            let (reply, found) = oneshot::channel();
            let wait = wait.map(|tier| (tier, Instant::now() + self.wait));
            self.tell(Happened::LookUp(id, wait, reply))?;
            found.await.map_err(|_| gone())?
        })
    }

    fn namespace_block(
        &self,
        namespace: NamespaceId,
        height: Height,
    ) -> BoxFuture<'_, Result<Option<Arc<NamespaceBlock>>, Rejected>> {
        Box::pin(async move {
            if let Some(block) = self.chain.recent_block(namespace, height) {
                return Ok(Some(block));
            }
            self.read(move |chain| chain.block(namespace, height)).await
        })
    }

    fn header(&self, height: Height) -> BoxFuture<'_, Result<Option<CertifiedHeader>, Rejected>> {
        Box::pin(self.read(move |chain| chain.header(height)))
    }

    fn tip(&self) -> watch::Receiver<Height> {
        self.published.tip.subscribe()
    }

    fn committee(&self, epoch: Epoch) -> BoxFuture<'_, Result<Option<Committee>, Rejected>> {
        Box::pin(async move {
            let known = self.committees.all().into_iter().find(|committee| committee.epoch() == epoch);
            if let Some(known) = known {
                return Ok(Some((*known).clone()));
            }
            if epoch == Epoch::ZERO {
                return Ok(self.genesis.committee().ok());
            }
            let proof = self.committee_proof(epoch).await?;
            Ok(proof.and_then(|proof| Committee::new(epoch, proof.members).ok()))
        })
    }

    fn committee_proof(&self, epoch: Epoch) -> BoxFuture<'_, Result<Option<CommitteeProof>, Rejected>> {
        Box::pin(async move {
            let Some(before) = epoch.previous() else { return Ok(None) };
            self.read(move |chain| Ok(chain.proof_after(before))).await
        })
    }

    fn status(&self) -> BoxFuture<'_, NodeStatus> {
        Box::pin(async move {
            match self.inbox.facts().await {
                Some(facts) => self.assemble(facts, self.numbers().await),
                None => self.ended(),
            }
        })
    }

    fn genesis(&self) -> Arc<Genesis> {
        Arc::clone(&self.genesis)
    }

    fn namespaces(&self) -> Arc<Vec<NamespaceSpec>> {
        Arc::clone(&self.namespaces)
    }

    fn chain_time(&self) -> (Timestamp, u64) {
        (chain_time(&self.published), self.genesis.params.window_ms.into())
    }

    fn evidence(&self) -> BoxFuture<'_, Vec<Evidence>> {
        Box::pin(async move { self.inbox.facts().await.map(|facts| facts.evidence).unwrap_or_default() })
    }
}
