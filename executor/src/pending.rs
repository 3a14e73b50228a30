//! Transactions that were forwarded and not yet ordered: best effort, in memory only.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use squad_types::Tier;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Transactions remembered at most; older ones are forgotten first.
pub const MAX_PENDING: usize = 16_384;
/// How long a forwarded transaction is shown as pending if it is never ordered.
const LIFETIME: Duration = Duration::from_secs(120);

/// A transaction that was forwarded and is not ordered yet.
#[derive(Debug, Clone)]
pub struct PendingTransaction {
    /// The transaction.
    pub envelope: TxEnvelope,
    /// Who signed it.
    pub sender: Address,
    /// How firm an operator said that it is: batched or secured.
    pub tier: Tier,
}

#[derive(Debug)]
struct Entry {
    transaction: PendingTransaction,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    by_hash: HashMap<B256, Entry>,
    by_sender: HashMap<Address, BTreeMap<u64, B256>>,
    /// Oldest first, with the time of arrival: an entry that came anew is not removed by its first arrival.
    age: VecDeque<(B256, Instant)>,
    /// Secured transactions in the order in which they came; the last has number `arrivals - 1`.
    secured: VecDeque<B256>,
    arrivals: u64,
}

impl Inner {
    fn remove(&mut self, hash: &B256) {
        let Some(Entry { transaction, .. }) = self.by_hash.remove(hash) else { return };
        let nonce = transaction.envelope.nonce();
        if let Some(nonces) = self.by_sender.get_mut(&transaction.sender) {
            if nonces.get(&nonce) == Some(hash) {
                nonces.remove(&nonce);
            }
            if nonces.is_empty() {
                self.by_sender.remove(&transaction.sender);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((oldest, since)) = self.age.front().copied() {
            let known = self.by_hash.get(&oldest).is_some_and(|entry| entry.since == since);
            if known && self.age.len() <= MAX_PENDING && now.duration_since(since) < LIFETIME {
                break;
            }
            if known {
                self.remove(&oldest);
            }
            self.age.pop_front();
        }
    }

    fn announce(&mut self, hash: B256) {
        self.secured.push_back(hash);
        self.arrivals += 1;
        while self.secured.len() > MAX_PENDING {
            self.secured.pop_front();
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
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.expire(Instant::now());
        inner
    }

    /// Remembers a forwarded transaction. One that is known already never becomes less firm.
    pub fn insert(&self, envelope: TxEnvelope, sender: Address, tier: Tier) {
        let (hash, since) = (*envelope.tx_hash(), Instant::now());
        let mut inner = self.lock();
        let before = inner.by_hash.get(&hash).map(|entry| entry.transaction.tier);
        let transaction = PendingTransaction { envelope, sender, tier: before.unwrap_or(tier).max(tier) };
        inner.by_sender.entry(sender).or_default().insert(transaction.envelope.nonce(), hash);
        inner.by_hash.insert(hash, Entry { transaction, since });
        inner.age.push_back((hash, since));
        if tier >= Tier::Secured && before.is_none_or(|before| before < Tier::Secured) {
            inner.announce(hash);
        }
        inner.expire(since);
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Forgets transactions that were executed or skipped.
    pub fn settle<'a>(&self, hashes: impl Iterator<Item = &'a B256>) {
        let mut inner = self.lock();
        hashes.for_each(|hash| inner.remove(hash));
        drop(inner);
        self.changed.send_modify(|count| *count += 1);
    }

    /// A pending transaction.
    pub fn get(&self, hash: &B256) -> Option<PendingTransaction> {
        self.lock().by_hash.get(hash).map(|entry| entry.transaction.clone())
    }

    /// At most `limit` pending transactions of tier `least` or above, by sender and nonce.
    pub fn list(&self, least: Tier, limit: usize) -> Vec<PendingTransaction> {
        let inner = self.lock();
        let mut senders: Vec<_> = inner.by_sender.iter().collect();
        senders.sort_unstable_by_key(|(sender, _)| **sender);
        let hashes = senders.into_iter().flat_map(|(_, nonces)| nonces.values());
        let entries = hashes.filter_map(|hash| inner.by_hash.get(hash));
        let firm = entries.filter(|entry| entry.transaction.tier >= least);
        firm.take(limit).map(|entry| entry.transaction.clone()).collect()
    }

    /// The nonce after all of `sender`'s pending transactions that follow `nonce` without gap.
    pub fn next_nonce(&self, sender: Address, mut nonce: u64) -> u64 {
        let inner = self.lock();
        if let Some(nonces) = inner.by_sender.get(&sender) {
            while nonces.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// The raw bytes of `sender`'s pending transactions with these nonces that lie right below the last, without gap: the highest
    /// `limit`, lowest first.
    pub fn below(&self, sender: Address, nonces: Range<u64>, limit: usize) -> Vec<Bytes> {
        let inner = self.lock();
        let Some(own) = inner.by_sender.get(&sender) else { return Vec::new() };
        let below = nonces.rev().map_while(|nonce| inner.by_hash.get(own.get(&nonce)?)).take(limit);
        let mut raws: Vec<Bytes> = below.map(|entry| entry.transaction.envelope.encoded_2718().into()).collect();
        raws.reverse();
        raws
    }

    /// How many transactions have been secured so far: where somebody starts who asks for those to come.
    pub fn arrivals(&self) -> u64 {
        self.lock().arrivals
    }

    /// At most `limit` hashes of transactions secured from arrival `next` on, and where to go on.
    /// Those over [`MAX_PENDING`] back are forgotten.
    pub fn arrived(&self, next: u64, limit: usize) -> (Vec<B256>, u64) {
        let inner = self.lock();
        let first = inner.arrivals - inner.secured.len() as u64;
        let from = next.clamp(first, inner.arrivals);
        let hashes: Vec<_> = inner.secured.iter().skip((from - first) as usize).take(limit).copied().collect();
        let after = from + hashes.len() as u64;
        (hashes, after)
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

    fn insert(pending: &Pending, nonce: u64, tier: Tier) {
        let tx = transfer(nonce);
        pending.insert(tx.envelope, tx.sender, tier);
    }

    #[test]
    fn counts_up_to_the_first_gap_and_forgets_what_settled() {
        let pending = Pending::default();
        for nonce in [3, 4, 6] {
            insert(&pending, nonce, Tier::Batched);
        }
        let sender = dev_accounts()[0].address();
        assert_eq!(pending.next_nonce(sender, 3), 5);
        assert_eq!(pending.next_nonce(sender, 2), 2);
        let raw = |nonce| bytes::Bytes::from(dev_accounts()[0].transfer(7, nonce, Address::ZERO, U256::ONE));
        assert_eq!(pending.below(sender, 0..5, 9), [raw(3), raw(4)]);
        assert_eq!((pending.below(sender, 0..5, 1), pending.below(sender, 4..5, 9)), (vec![raw(4)], vec![raw(4)]));
        assert!([0..6, 0..3, 5..5].into_iter().all(|nonces| pending.below(sender, nonces, 9).is_empty()));
        pending.settle([transfer(3).hash()].iter());
        assert_eq!(pending.next_nonce(sender, 3), 3);
        assert_eq!(pending.next_nonce(sender, 4), 5);
        assert!(pending.get(&transfer(3).hash()).is_none());
        assert!(pending.get(&transfer(6).hash()).is_some());
    }

    #[test]
    fn what_is_secured_is_announced_once_and_listed_in_nonce_order() {
        let pending = Pending::default();
        let from = pending.arrivals();
        insert(&pending, 1, Tier::Secured);
        insert(&pending, 0, Tier::Batched);
        assert_eq!(pending.arrived(from, 9), (vec![transfer(1).hash()], from + 1));
        insert(&pending, 0, Tier::Secured);
        insert(&pending, 0, Tier::Batched);
        insert(&pending, 0, Tier::Secured);
        assert_eq!(pending.arrived(from + 1, 9), (vec![transfer(0).hash()], from + 2));
        assert_eq!(pending.arrived(from, 1), (vec![transfer(1).hash()], from + 1));
        let nonces = |least, limit| -> Vec<_> {
            pending.list(least, limit).iter().map(|found| found.envelope.nonce()).collect()
        };
        assert_eq!(nonces(Tier::Secured, 9), [0, 1]);
        assert_eq!(nonces(Tier::Secured, 1), [0]);
    }
}
