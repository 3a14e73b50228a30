//! What became of transactions: a thread that answers those who wait, so that the sequencer's does not.

use super::chain::Chain;
use super::kept::{KeptBatch, KeptBlock};
use super::latency::Latency;
use super::waiters::{Found, Outgoing, Reply, Waiter, Waiters};
use crate::api::{Latencies, NamespaceStatus, RejectCode, Rejected, TrafficStatus};
use crate::metrics::NodeMetrics;
use squad_sequencer::Decision;
use squad_types::{BatchCertificate, BatchId, Height, NamespaceSpec, NetworkId, Tier, Timestamp, TxId, VerifiedBatch};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How often those whose time is over are looked for.
const SWEEP: Duration = Duration::from_millis(100);
/// Own batches kept while they are not ordered: flow control allows fewer bytes than that many full ones.
const MAX_OWN_BATCHES: usize = 4_096;
/// Events that may wait; then the sequencer's thread waits too.
pub(crate) const MAX_EVENTS: usize = 4_096;

/// What happened.
pub(crate) enum Happened {
    /// Transactions were taken in, and somebody waits for each.
    Taken(Vec<(TxId, Waiter)>),
    /// Tickets were refused.
    Refused(Outgoing),
    /// A transaction that was taken in can be in no block any more.
    Dropped(TxId, Rejected),
    /// A batch of this operator's is durable.
    Batched(VerifiedBatch),
    /// A batch of this operator's is certified.
    Secured(VerifiedBatch, Arc<BatchCertificate>),
    /// A block is decided.
    Ordered(Box<Decision>),
    /// Somebody asks what is known of a transaction; with a waiter's tier and time, or now.
    LookUp(TxId, Option<(Tier, Instant)>, oneshot::Sender<Found>),
    /// Somebody asks for numbers.
    Numbers(oneshot::Sender<Numbers>),
}

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) traffic: TrafficStatus,
    pub(crate) namespaces: Vec<NamespaceStatus>,
    pub(crate) latencies: Latencies,
}

/// What the interfaces read at any time.
pub(crate) struct Published {
    pub(crate) tip: watch::Sender<Height>,
    pub(crate) chain_time: AtomicU64,
}

/// The thread's state.
pub(crate) struct Results {
    network: NetworkId,
    chain: Arc<Chain>,
    published: Arc<Published>,
    metrics: NodeMetrics,
    names: Arc<Vec<NamespaceSpec>>,
    waiters: Waiters,
    outgoing: Outgoing,
    /// Oldest first.
    own: VecDeque<BatchId>,
    batches: HashMap<BatchId, KeptBatch>,
    numbers: Numbers,
    latency: [Latency; 3],
    interval: Latency,
    last_block: Option<Instant>,
}

impl Results {
    pub(crate) fn new(
        network: NetworkId,
        chain: Arc<Chain>,
        published: Arc<Published>,
        names: Arc<Vec<NamespaceSpec>>,
        metrics: NodeMetrics,
    ) -> Self {
        let empty = |spec: &NamespaceSpec| NamespaceStatus {
            id: spec.id,
            name: spec.name.clone(),
            ordered_transactions: 0,
            ordered_bytes: 0,
            admitted_transactions: 0,
            refused_transactions: 0,
        };
        let numbers = Numbers { namespaces: names.iter().map(empty).collect(), ..Numbers::default() };
        Self {
            network,
            chain,
            published,
            metrics,
            names,
            waiters: Waiters::default(),
            outgoing: Outgoing::default(),
            own: VecDeque::new(),
            batches: HashMap::new(),
            numbers,
            latency: Default::default(),
            interval: Latency::default(),
            last_block: None,
        }
    }

    /// Works until the sequencer's thread is gone.
    pub(crate) fn run(mut self, events: &Receiver<Happened>) {
        let mut sweep = Instant::now() + SWEEP;
        loop {
            let idle = if self.waiters.is_empty() { Duration::from_secs(3_600) } else { SWEEP };
            match events.recv_timeout(idle) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if now >= sweep {
                sweep = now + SWEEP;
                self.waiters.time_out(now, &mut self.outgoing);
            }
            self.outgoing.send();
        }
    }

    fn handle(&mut self, event: Happened) {
        match event {
            Happened::Taken(taken) => self.on_taken(taken),
            Happened::Refused(mut refused) => refused.send(),
            Happened::Dropped(id, why) => self.waiters.refuse(&id, &why, &mut self.outgoing),
            Happened::Batched(batch) => self.on_batched(batch),
            Happened::Secured(batch, certificate) => self.on_secured(batch, certificate),
            Happened::Ordered(decision) => self.on_ordered(*decision),
            Happened::LookUp(id, wait, reply) => self.look_up(id, wait, reply),
            Happened::Numbers(reply) => {
                self.numbers.latencies = self.latencies();
                // Whoever asked may have gone.
                let _ = reply.send(self.numbers.clone());
            }
        }
    }

    fn on_taken(&mut self, taken: Vec<(TxId, Waiter)>) {
        let mut admitted = vec![0; self.names.len()];
        for (id, waiter) in taken {
            if let Some(at) = waiter.namespace.and_then(|id| self.names.iter().position(|spec| spec.id == id)) {
                admitted[at] += 1;
            }
            self.waiters.add(id, waiter);
        }
        for (at, count) in admitted.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            self.numbers.namespaces[at].admitted_transactions += count;
            self.metrics.admitted.with_label_values(&[&self.names[at].name]).inc_by(count);
        }
    }

    fn on_batched(&mut self, batch: VerifiedBatch) {
        let now = Instant::now();
        let mut kept = KeptBatch::new(batch.clone(), now);
        let (network, metrics, latency) = (self.network, &self.metrics, &mut self.latency[0]);
        let mut arrived = now;
        for tx in batch.payload().transactions() {
            let confirm = || kept.confirm(network, &tx.id);
            let first = self.waiters.reach(&tx.id, Tier::Batched, &mut self.outgoing, confirm);
            arrived = first.map_or(arrived, |first| first.min(arrived));
        }
        kept.arrived = arrived;
        let took = now.duration_since(arrived);
        latency.add(took);
        metrics.observe_latency(Tier::Batched, took.as_secs_f64());
        self.own.push_back(batch.id());
        self.batches.insert(batch.id(), kept);
        while self.own.len() > MAX_OWN_BATCHES {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(id) = self.own.pop_front() {
            self.batches.remove(&id);
        }
    }

    fn on_secured(&mut self, batch: VerifiedBatch, certificate: Arc<BatchCertificate>) {
        let Some(kept) = self.batches.get_mut(&batch.id()) else {
            // Batched before the last start: somebody may ask for it all the same.
            let mut kept = KeptBatch::new(batch.clone(), Instant::now());
            kept.certificate = Some(certificate);
            self.own.push_back(batch.id());
            self.batches.insert(batch.id(), kept);
            return;
        };
        kept.certificate = Some(certificate);
        let took = kept.arrived.elapsed();
        self.latency[1].add(took);
        self.metrics.observe_latency(Tier::Secured, took.as_secs_f64());
        let (network, kept) = (self.network, &self.batches[&batch.id()]);
        for tx in batch.payload().transactions() {
            let confirm = || kept.confirm(network, &tx.id);
            self.waiters.reach(&tx.id, Tier::Secured, &mut self.outgoing, confirm);
        }
    }

    fn on_ordered(&mut self, decision: Decision) {
        let block = Arc::new(KeptBlock::new(decision));
        let header = block.decision.block.block.header();
        self.chain.push(Arc::clone(&block));
        self.published.chain_time.store(block.decision.execution.state.chain_time.0, Ordering::Release);
        // What recovery repeats lies below the tip.
        self.published.tip.send_if_modified(|tip| std::mem::replace(tip, header.height.max(*tip)) < header.height);
        self.count_block(&block);
        if !self.waiters.is_empty() {
            self.answer_ordered(&block);
        }
        self.forget_ordered(&block);
    }

    fn answer_ordered(&mut self, block: &KeptBlock) {
        for part in &block.decision.execution.namespaces {
            let namespace = Some(part.leaf.namespace);
            for tx in &part.transactions {
                let confirm = || block.confirm(namespace, &tx.id);
                self.waiters.reach(&tx.id, Tier::Ordered, &mut self.outgoing, confirm);
            }
        }
        for (id, why) in &block.decision.execution.rejected {
            self.waiters.refuse(id, &never(id, &why.to_string()), &mut self.outgoing);
        }
    }

    fn forget_ordered(&mut self, block: &KeptBlock) {
        let covered = |kept: &KeptBatch| {
            let header = kept.batch.header();
            block.decision.execution.spans.iter().any(|span| {
                span.lane.epoch == header.epoch
                    && span.to.sequence >= header.sequence
                    && span.to.batch == kept.batch.id()
            })
        };
        // Own batches are ordered in their order: everything up to the newest one that is covered by name.
        let Some(last) = self.own.iter().rposition(|id| self.batches.get(id).is_some_and(covered)) else { return };
        for _ in 0..=last {
            if let Some(kept) = self.own.front().and_then(|id| self.batches.get(id)) {
                let took = kept.arrived.elapsed();
                self.latency[2].add(took);
                self.metrics.observe_latency(Tier::Ordered, took.as_secs_f64());
            }
            self.forget_oldest();
        }
    }

    fn count_block(&mut self, block: &KeptBlock) {
        let now = Instant::now();
        if let Some(last) = self.last_block.replace(now) {
            let took = now.duration_since(last);
            self.interval.add(took);
            self.metrics.block_interval.observe(took.as_secs_f64());
        }
        let header = block.decision.block.block.header();
        self.metrics.blocks.inc();
        self.metrics.extra_rounds.inc_by(header.origin_round.0.into());
        self.numbers.traffic.blocks += 1;
        for (part, bytes) in block.decision.execution.namespaces.iter().zip(&block.data_bytes) {
            let count = part.transactions.len() as u64;
            self.numbers.traffic.ordered_transactions += count;
            let Some(at) = self.names.iter().position(|spec| spec.id == part.leaf.namespace) else { continue };
            self.numbers.namespaces[at].ordered_transactions += count;
            self.numbers.namespaces[at].ordered_bytes += bytes;
            self.metrics.ordered.with_label_values(&[&self.names[at].name]).inc_by(count);
            self.metrics.ordered_bytes.with_label_values(&[&self.names[at].name]).inc_by(*bytes);
        }
    }

    fn look_up(&mut self, id: TxId, wait: Option<(Tier, Instant)>, reply: oneshot::Sender<Found>) {
        let known = self.known(&id);
        if known.is_none()
            && let Some(why) = self.chain.rejection(&id)
        {
            // Whoever asked may have gone.
            let _ = reply.send(Err(never(&id, &why)));
            return;
        }
        match wait {
            Some((tier, deadline)) if known.as_ref().is_none_or(|known| known.tier() < tier) => {
                let arrived = Instant::now();
                let reply = Reply::LookUp(reply);
                self.waiters.add(id, Waiter { namespace: None, tier, arrived, deadline, reply });
            }
            // Whoever asked may have gone.
            _ => drop(reply.send(Ok(known))),
        }
    }

    fn known(&self, id: &TxId) -> Option<squad_types::Confirmation> {
        if let Some(block) = self.chain.holding(id) {
            return block.confirm(None, id);
        }
        let kept = self.own.iter().rev().filter_map(|batch| self.batches.get(batch)).find(|kept| kept.holds(id))?;
        kept.confirm(self.network, id)
    }

    fn latencies(&self) -> Latencies {
        Latencies {
            batched: self.latency[0].percentiles(),
            secured: self.latency[1].percentiles(),
            ordered: self.latency[2].percentiles(),
            block_interval: self.interval.percentiles(),
        }
    }
}

/// The answer about a transaction that no block will hold.
fn never(id: &TxId, why: &str) -> Rejected {
    Rejected::new(RejectCode::Expired, format!("transaction {id} will not be ordered: {why}"))
}

/// Chain time as it is published.
pub(crate) fn chain_time(published: &Published) -> Timestamp {
    Timestamp(published.chain_time.load(Ordering::Acquire))
}
