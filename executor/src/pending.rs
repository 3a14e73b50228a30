//! Transactions that were forwarded and not yet ordered: best effort, in memory only.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Transactions remembered at most; older ones are forgotten first.
pub const MAX_PENDING: usize = 16_384;
/// How long a forwarded transaction is shown as pending if it is never ordered.
const LIFETIME: Duration = Duration::from_secs(120);

#[derive(Debug)]
struct Entry {
    envelope: TxEnvelope,
    sender: Address,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    by_hash: HashMap<B256, Entry>,
    by_sender: HashMap<Address, BTreeMap<u64, B256>>,
    age: VecDeque<B256>,
}

impl Inner {
    fn remove(&mut self, hash: &B256) {
        let Some(entry) = self.by_hash.remove(hash) else { return };
        if let Some(nonces) = self.by_sender.get_mut(&entry.sender) {
            if nonces.get(&entry.envelope.nonce()) == Some(hash) {
                nonces.remove(&entry.envelope.nonce());
            }
            if nonces.is_empty() {
                self.by_sender.remove(&entry.sender);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.age.front().copied() {
            let keep = match self.by_hash.get(&oldest) {
                None => false,
                Some(entry) => self.age.len() <= MAX_PENDING && now.duration_since(entry.since) < LIFETIME,
            };
            if keep {
                break;
            }
            self.remove(&oldest);
            self.age.pop_front();
        }
    }
}

/// The set of pending transactions. It promises nothing: a restart empties it.
#[derive(Debug)]
pub struct Pending {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Default for Pending {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The maps stay usable whatever a panicking holder left: they are advice.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a forwarded transaction.
    pub fn insert(&self, envelope: TxEnvelope, sender: Address) {
        let (hash, now) = (*envelope.tx_hash(), Instant::now());
        let mut inner = self.lock();
        inner.by_sender.entry(sender).or_default().insert(envelope.nonce(), hash);
        if inner.by_hash.insert(hash, Entry { envelope, sender, since: now }).is_none() {
            inner.age.push_back(hash);
        }
        inner.expire(now);
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Forgets transactions that were executed or skipped.
    pub fn settle<'a>(&self, hashes: impl Iterator<Item = &'a B256>) {
        let mut inner = self.lock();
        hashes.for_each(|hash| inner.remove(hash));
        inner.expire(Instant::now());
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A pending transaction and its sender.
    pub fn get(&self, hash: &B256) -> Option<(TxEnvelope, Address)> {
        let mut inner = self.lock();
        inner.expire(Instant::now());
        inner.by_hash.get(hash).map(|entry| (entry.envelope.clone(), entry.sender))
    }

    /// The nonce after all of `sender`'s pending transactions that follow `nonce` without gap.
    pub fn next_nonce(&self, sender: Address, mut nonce: u64) -> u64 {
        let mut inner = self.lock();
        inner.expire(Instant::now());
        if let Some(nonces) = inner.by_sender.get(&sender) {
            while nonces.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// A receiver that wakes when something was added or settled.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SenderTransaction, dev_accounts};
    use alloy_primitives::U256;

    fn transfer(nonce: u64) -> SenderTransaction {
        let raw = dev_accounts()[0].transfer(7, nonce, Address::ZERO, U256::ONE);
        SenderTransaction::decode(&raw, 7).unwrap()
    }

    #[test]
    fn counts_up_to_the_first_gap_and_forgets_what_settled() {
        let pending = Pending::default();
        for nonce in [3, 4, 6] {
            let tx = transfer(nonce);
            pending.insert(tx.envelope, tx.sender);
        }
        let sender = dev_accounts()[0].address();
        assert_eq!(pending.next_nonce(sender, 3), 5);
        assert_eq!(pending.next_nonce(sender, 2), 2);
        pending.settle([transfer(3).hash()].iter());
        assert_eq!(pending.next_nonce(sender, 3), 3);
        assert_eq!(pending.next_nonce(sender, 4), 5);
        assert!(pending.get(&transfer(3).hash()).is_none());
        assert!(pending.get(&transfer(6).hash()).is_some());
    }
}
