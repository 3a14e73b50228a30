//! Admission: what an operator takes from clients. Operators order, they do not execute.

use crate::bucket::{Bucket, Sources};
use crate::config::{EvmFacts, MempoolConfig, PoolLimits, Source};
use crate::limits::{BUSY_RETRY_MS, MIN_COST_BYTES};
use crate::pool::{Entry, Pool};
use crate::rejection::Rejection;
use squad_types::{
    FeeHint, IdentifiedTransaction, NamespaceId, NamespaceKind, NamespaceSpec, OrderingPolicy, Timestamp, WriteAccess,
};
use std::collections::BTreeMap;

/// The rules of admission, and how much each namespace and source has used.
#[derive(Debug)]
pub(crate) struct Admission {
    namespaces: BTreeMap<NamespaceId, (NamespaceSpec, Bucket)>,
    sources: Sources,
    limits: PoolLimits,
    window_ms: u32,
    pub(crate) chain_time: Timestamp,
}

impl Admission {
    pub(crate) fn new(config: &MempoolConfig) -> Self {
        let namespace =
            |spec: &NamespaceSpec| (spec.id, (spec.clone(), Bucket::new(spec.quota_bytes_per_second, Timestamp::ZERO)));
        Self {
            namespaces: config.namespaces.iter().map(namespace).collect(),
            sources: Sources::new(config.pool.source_bytes_per_second),
            limits: config.pool.clone(),
            window_ms: config.params.window_ms,
            chain_time: Timestamp::ZERO,
        }
    }

    /// Admits a transaction to the pool, or says why not. Nothing is charged for one that is refused.
    pub(crate) fn admit(
        &mut self,
        pool: &mut Pool,
        now: Timestamp,
        (max_batch, max_pool): (usize, usize),
        from: Source,
        mut tx: IdentifiedTransaction,
        evm: Option<EvmFacts>,
    ) -> Result<(), Rejection> {
        let namespace = tx.transaction.namespace;
        let (spec, quota) = self.namespaces.get_mut(&namespace).ok_or(Rejection::UnknownNamespace(namespace))?;
        check_shape(spec, &tx, max_batch)?;
        check_access(spec, evm.as_ref())?;
        check_validity(spec, &tx, self.chain_time, self.window_ms.into())?;
        if pool.knows(&tx.id) {
            return Err(Rejection::Duplicate);
        }
        tx.transaction.hint = match (spec.policy, evm) {
            (OrderingPolicy::PriorityFee, Some(facts)) => Some(FeeHint { sender: facts.sender, fee: facts.fee }),
            _ => None,
        };
        let bytes = tx.transaction.encoded_len();
        let cost = (bytes as u64).max(MIN_COST_BYTES);
        let (source, used) = self.sources.entry(now, from);
        // What is left of the pool bounds every namespace and source, so that there is always some left for one that comes
        // later: one that floods gets at most half, two a third each (dynamic thresholds; Choudhury and Hahne, 1998).
        let left = max_pool.saturating_sub(pool.bytes());
        let room = left.min(self.limits.max_namespace_bytes);
        let full = pool.bytes_of(namespace) + bytes > room
            || used.bytes + bytes > room
            || pool.count() >= self.limits.max_transactions;
        if full {
            return Err(Rejection::Busy { retry_after_ms: BUSY_RETRY_MS });
        }
        quota.check(cost, now).map_err(|retry_after_ms| Rejection::Quota { whose: "namespace", retry_after_ms })?;
        used.bucket.check(cost, now).map_err(|retry_after_ms| Rejection::Quota { whose: "client", retry_after_ms })?;
        quota.take(cost);
        used.bucket.take(cost);
        used.bytes += bytes;
        used.count += 1;
        pool.push(Entry { transaction: tx, source: Some(source), arrived: now });
        Ok(())
    }

    /// Transactions left the pool.
    pub(crate) fn release<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries {
            if let Some(source) = entry.source {
                self.sources.release(source, entry.bytes());
            }
        }
    }
}

fn check_shape(spec: &NamespaceSpec, tx: &IdentifiedTransaction, max_batch: usize) -> Result<(), Rejection> {
    // What a transaction adds to its bytes in a batch, with a hint.
    const AROUND: usize = 4 + 1 + 8 + 4 + 28;
    let max = (spec.max_transaction_bytes as usize).min(max_batch.saturating_sub(AROUND));
    let bytes = tx.transaction.data.len();
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
