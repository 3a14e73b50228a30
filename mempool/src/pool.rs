//! The pool: admitted transactions that are in no batch yet, a queue for each namespace.

use crate::bucket::Bucket;
use crate::config::{EvmFacts, MempoolConfig, Source};
use crate::limits::{BUSY_RETRY_MS, MAX_SOURCES, MIN_COST_BYTES, TURN_BYTES};
use crate::rejection::Rejection;
use squad_types::limits::MAX_BATCH_TRANSACTIONS;
use squad_types::{
    FeeHint, IdentifiedTransaction, NamespaceId, NamespaceKind, NamespaceSpec, OrderingPolicy, Timestamp, TxId,
    WriteAccess,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug)]
struct Queue {
    spec: NamespaceSpec,
    waiting: VecDeque<IdentifiedTransaction>,
    bytes: usize,
    bucket: Bucket,
}

/// Admitted transactions.
#[derive(Debug)]
pub(crate) struct Pool {
    queues: BTreeMap<NamespaceId, Queue>,
    /// Ids waiting here or in an own batch that is not ordered.
    known: BTreeSet<TxId>,
    sources: BTreeMap<Source, Bucket>,
    bytes: usize,
    count: usize,
    first_at: Option<Timestamp>,
    turn: NamespaceId,
    limits: crate::config::PoolLimits,
    window_ms: u32,
}

impl Pool {
    pub(crate) fn new(config: &MempoolConfig) -> Self {
        let queue = |spec: &NamespaceSpec| {
            let bucket = Bucket::new(spec.quota_bytes_per_second, Timestamp::ZERO);
            (spec.id, Queue { spec: spec.clone(), waiting: VecDeque::new(), bytes: 0, bucket })
        };
        Self {
            queues: config.namespaces.iter().map(queue).collect(),
            known: BTreeSet::new(),
            sources: BTreeMap::new(),
            bytes: 0,
            count: 0,
            first_at: None,
            turn: NamespaceId::ZERO,
            limits: config.pool.clone(),
            window_ms: config.params.window_ms,
        }
    }

    /// Admits a transaction, or says why not. Nothing is charged for one that is refused.
    pub(crate) fn submit(
        &mut self,
        now: Timestamp,
        chain_time: Timestamp,
        source: Source,
        mut tx: IdentifiedTransaction,
        evm: Option<EvmFacts>,
    ) -> Result<(), Rejection> {
        let namespace = tx.transaction.namespace;
        let window = u64::from(self.window_ms);
        let queue = self.queues.get_mut(&namespace).ok_or(Rejection::UnknownNamespace(namespace))?;
        check_shape(&queue.spec, &tx)?;
        check_access(&queue.spec, evm.as_ref())?;
        check_validity(&queue.spec, &tx, chain_time, window)?;
        if self.known.contains(&tx.id) {
            return Err(Rejection::Duplicate);
        }
        let bytes = tx.transaction.encoded_len();
        let full = self.bytes + bytes > self.limits.max_bytes
            || self.count >= self.limits.max_transactions
            || queue.bytes + bytes > self.limits.max_namespace_bytes;
        if full {
            return Err(Rejection::Busy { retry_after_ms: BUSY_RETRY_MS });
        }
        let cost = (bytes as u64).max(MIN_COST_BYTES);
        queue
            .bucket
            .check(cost, now)
            .map_err(|retry_after_ms| Rejection::Quota { whose: "namespace", retry_after_ms })?;
        let rate = self.limits.source_bytes_per_second;
        if !self.sources.contains_key(&source) && self.sources.len() >= MAX_SOURCES {
            let silent = self.sources.iter().min_by_key(|(_, bucket)| bucket.at).map(|(source, _)| *source);
            silent.map(|source| self.sources.remove(&source));
        }
        let bucket = self.sources.entry(source).or_insert_with(|| Bucket::new(rate, now));
        bucket.check(cost, now).map_err(|retry_after_ms| Rejection::Quota { whose: "client", retry_after_ms })?;
        bucket.take(cost);
        queue.bucket.take(cost);
        tx.transaction.hint = match (queue.spec.policy, evm) {
            (OrderingPolicy::PriorityFee, Some(facts)) => Some(FeeHint { sender: facts.sender, fee: facts.fee }),
            _ => None,
        };
        self.known.insert(tx.id);
        queue.bytes += bytes;
        queue.waiting.push_back(tx);
        self.bytes += bytes;
        self.count += 1;
        self.first_at.get_or_insert(now);
        Ok(())
    }

    /// Puts transactions back to the front of their queues, in their order: they were accepted before.
    pub(crate) fn put_back(&mut self, now: Timestamp, transactions: &[IdentifiedTransaction]) {
        for tx in transactions.iter().rev() {
            let Some(queue) = self.queues.get_mut(&tx.transaction.namespace) else { continue };
            let bytes = tx.transaction.encoded_len();
            queue.bytes += bytes;
            queue.waiting.push_front(tx.clone());
            self.bytes += bytes;
            self.count += 1;
            self.known.insert(tx.id);
            self.first_at.get_or_insert(now);
        }
    }

    /// Takes what fits a batch, a turn of some bytes for each namespace after the other.
    pub(crate) fn take(&mut self, now: Timestamp, max_bytes: usize) -> Vec<IdentifiedTransaction> {
        let (mut taken, mut room) = (Vec::new(), max_bytes);
        let ids: Vec<NamespaceId> =
            self.queues.range(self.turn..).chain(self.queues.range(..self.turn)).map(|(id, _)| *id).collect();
        let mut moved = true;
        while moved && taken.len() < MAX_BATCH_TRANSACTIONS {
            moved = false;
            for id in &ids {
                let Some(queue) = self.queues.get_mut(id) else { continue };
                let mut turn = 0;
                while let Some(next) = queue.waiting.front() {
                    let bytes = next.transaction.encoded_len();
                    if bytes > room || taken.len() == MAX_BATCH_TRANSACTIONS || (turn > 0 && turn + bytes > TURN_BYTES)
                    {
                        break;
                    }
                    let Some(tx) = queue.waiting.pop_front() else { break };
                    queue.bytes -= bytes;
                    self.bytes -= bytes;
                    self.count -= 1;
                    room -= bytes;
                    turn += bytes;
                    moved = true;
                    taken.push(tx);
                }
            }
        }
        // Who came last this time comes first next time.
        self.turn = ids.get(1).copied().unwrap_or_default();
        self.first_at = (self.count > 0).then_some(now);
        taken
    }

    /// Remembers what is in own batches, so that a repeat is told apart.
    pub(crate) fn remember(&mut self, ids: impl IntoIterator<Item = TxId>) {
        self.known.extend(ids);
    }

    /// Forgets what was ordered or expired.
    pub(crate) fn forget<'a>(&mut self, ids: impl IntoIterator<Item = &'a TxId>) {
        for id in ids {
            self.known.remove(id);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// When the oldest one that still waits came, at the latest.
    pub(crate) fn first_at(&self) -> Option<Timestamp> {
        self.first_at
    }
}

fn check_shape(spec: &NamespaceSpec, tx: &IdentifiedTransaction) -> Result<(), Rejection> {
    let (bytes, max) = (tx.transaction.data.len(), spec.max_transaction_bytes as usize);
    match bytes {
        0 => Err(Rejection::Empty),
        _ if bytes > max => Err(Rejection::TooLarge { bytes, max, namespace: spec.id }),
        _ => Ok(()),
    }
}

fn check_access(spec: &NamespaceSpec, evm: Option<&EvmFacts>) -> Result<(), Rejection> {
    let namespace = spec.id;
    if spec.access == WriteAccess::Closed {
        return Err(Rejection::ClosedNamespace(namespace));
    }
    if let NamespaceKind::Evm { chain_id } = spec.kind {
        let facts = evm.ok_or(Rejection::NotEvm(namespace))?;
        if facts.chain_id != Some(chain_id) {
            return Err(Rejection::WrongChainId { given: facts.chain_id, expected: chain_id, namespace });
        }
        if let WriteAccess::AllowList(allowed) = &spec.access
            && !allowed.contains(&facts.sender)
        {
            return Err(Rejection::NotAllowed { sender: facts.sender, namespace });
        }
    }
    Ok(())
}

fn check_validity(
    spec: &NamespaceSpec,
    tx: &IdentifiedTransaction,
    chain_time: Timestamp,
    window: u64,
) -> Result<(), Rejection> {
    let until = tx.transaction.valid_until;
    if let NamespaceKind::Evm { .. } = spec.kind {
        return if until.is_some() { Err(Rejection::ValidityNotAllowed) } else { Ok(()) };
    }
    let Some(until) = until else {
        return Err(Rejection::ValidityMissing { window_ms: window as u32 });
    };
    let latest = chain_time.plus(window);
    if until > latest {
        Err(Rejection::ValidityTooLong { until, latest })
    } else if until <= chain_time {
        Err(Rejection::Expired { until, chain_time })
    } else {
        Ok(())
    }
}
