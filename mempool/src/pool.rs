//! The pool: admitted transactions that are in no batch yet, first come first served within a namespace, fair between namespaces.

use crate::bucket::Account;
use crate::limits::TURN_BYTES;
use crate::rejection::Rejection;
use squad_types::hash::IdMap;
use squad_types::{IdentifiedTransaction, NamespaceId, Timestamp, TxId};
use std::collections::{BTreeMap, VecDeque};

/// A transaction's place in its namespace's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) transaction: IdentifiedTransaction,
    /// Whom it is accounted to; none for one put back.
    pub(crate) source: Option<Account>,
    pub(crate) arrived: Timestamp,
}

impl Entry {
    pub(crate) fn bytes(&self) -> usize {
        self.transaction.transaction.encoded_len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pooled(NamespaceId, Ticket),
    Sealed,
}

/// A namespace's line.
#[derive(Debug)]
struct Queue {
    /// By ticket, without gaps in the numbers: one that left from the middle leaves its place empty. Both ends are taken.
    entries: VecDeque<Option<Entry>>,
    /// The ticket of the first place.
    first: u64,
    bytes: usize,
    /// Bytes that it may still take.
    deficit: usize,
}

impl Default for Queue {
    fn default() -> Self {
        // There is as much room before the first as behind it.
        Self { entries: VecDeque::new(), first: u64::MAX / 2, bytes: 0, deficit: 0 }
    }
}

impl Queue {
    fn first(&self) -> Option<&Entry> {
        self.entries.front()?.as_ref()
    }

    fn push_back(&mut self, entry: Entry) -> Ticket {
        self.bytes += entry.bytes();
        self.entries.push_back(Some(entry));
        Ticket(self.first + self.entries.len() as u64 - 1)
    }

    fn push_front(&mut self, entry: Entry) -> Ticket {
        self.bytes += entry.bytes();
        self.entries.push_front(Some(entry));
        self.first -= 1;
        Ticket(self.first)
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        let at = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get_mut(at)?.take()?;
        self.bytes -= entry.bytes();
        while self.entries.front().is_some_and(Option::is_none) {
            self.entries.pop_front();
            self.first += 1;
        }
        while self.entries.back().is_some_and(Option::is_none) {
            self.entries.pop_back();
        }
        Some(entry)
    }
}

/// What a batch may hold.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    pub(crate) count: usize,
    /// What is not valid beyond that can be in no block any more.
    pub(crate) chain_time: Timestamp,
}

impl Room {
    fn can_carry(&self, entry: &Entry) -> Result<(), Rejection> {
        let (size, tx) = (entry.bytes(), &entry.transaction.transaction);
        if size > self.bytes {
            // Admitted for a smaller committee, whose batches were larger.
            return Err(Rejection::TooLarge { bytes: size, max: self.bytes, namespace: tx.namespace });
        }
        match tx.valid_until.filter(|until| *until <= self.chain_time) {
            Some(until) => Err(Rejection::Expired { until, chain_time: self.chain_time }),
            None => Ok(()),
        }
    }
}

/// What was taken out for a batch.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) entries: Vec<Entry>,
    bytes: usize,
    /// No batch can carry these any more.
    pub(crate) dropped: Vec<(Entry, Rejection)>,
}

/// The pool, and which transactions own batches hold that are not ordered yet.
#[derive(Debug)]
pub(crate) struct Pool {
    queues: BTreeMap<NamespaceId, Queue>,
    places: IdMap<Place>,
    bytes: usize,
    count: usize,
    /// The namespace whose turn it is, and whether it was granted its bytes for it.
    turn: NamespaceId,
    granted: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            places: IdMap::default(),
            bytes: 0,
            count: 0,
            turn: NamespaceId::ZERO,
            granted: false,
        }
    }
}

impl Pool {
    /// Whether it is in the pool or in an own batch.
    pub(crate) fn knows(&self, id: &TxId) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a namespace.
    pub(crate) fn bytes_of(&self, namespace: NamespaceId) -> usize {
        self.queues.get(&namespace).map_or(0, |queue| queue.bytes)
    }

    /// When the one that waits longest arrived.
    pub(crate) fn first_at(&self) -> Option<Timestamp> {
        self.queues.values().filter_map(Queue::first).map(|entry| entry.arrived).min()
    }

    /// Puts one at the end of its line. The caller knows that it is not here yet.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.insert(entry, Queue::push_back);
    }

    /// Puts transactions of an expired lane back to the front, in their order, whatever the limits say: they were answered T0.
    pub(crate) fn put_back(&mut self, now: Timestamp, transactions: &[IdentifiedTransaction]) {
        for transaction in transactions.iter().rev() {
            if matches!(self.places.get(&transaction.id), Some(Place::Pooled(..))) {
                continue;
            }
            let entry = Entry { transaction: transaction.clone(), source: None, arrived: now };
            self.insert(entry, Queue::push_front);
        }
    }

    fn insert(&mut self, entry: Entry, push: fn(&mut Queue, Entry) -> Ticket) {
        let (id, namespace) = (entry.transaction.id, entry.transaction.transaction.namespace);
        self.bytes += entry.bytes();
        self.count += 1;
        let ticket = push(self.queues.entry(namespace).or_default(), entry);
        self.places.insert(id, Place::Pooled(namespace, ticket));
    }

    fn remove(&mut self, namespace: NamespaceId, ticket: Ticket) -> Option<Entry> {
        let queue = self.queues.get_mut(&namespace)?;
        let entry = queue.remove(ticket)?;
        if queue.entries.is_empty() {
            self.queues.remove(&namespace);
        }
        self.bytes -= entry.bytes();
        self.count -= 1;
        Some(entry)
    }

    /// Forgets transactions that were ordered or expired; those still in the pool are returned.
    pub(crate) fn forget<'a>(&mut self, ids: impl IntoIterator<Item = &'a TxId>) -> Vec<Entry> {
        let mut removed = Vec::new();
        for id in ids {
            if self.places.is_empty() {
                break;
            }
            if let Some(Place::Pooled(namespace, ticket)) = self.places.remove(id) {
                removed.extend(self.remove(namespace, ticket));
            }
        }
        removed
    }

    /// Own batches hold these, read back after a restart.
    pub(crate) fn remember(&mut self, ids: impl IntoIterator<Item = TxId>) {
        for id in ids {
            if let Some(Place::Pooled(namespace, ticket)) = self.places.insert(id, Place::Sealed) {
                self.remove(namespace, ticket);
            }
        }
    }

    /// Takes transactions for a batch. They count as sealed from here on.
    ///
    /// Namespaces take turns of equal bytes, over all batches, so that a flooded one delays another by no more than its share
    /// (deficit round robin; Shreedhar and Varghese, 1995). A batch ends at the first one that finds no room, and the next
    /// batch begins with it.
    pub(crate) fn take(&mut self, batch: &Room) -> Taken {
        let mut taken = Taken::default();
        while let Some(namespace) = self.next_turn() {
            if self.turn != namespace || !self.granted {
                self.turn = namespace;
                self.granted = true;
                if let Some(queue) = self.queues.get_mut(&namespace) {
                    queue.deficit += TURN_BYTES;
                }
            }
            if self.take_turn(namespace, batch, &mut taken) {
                break;
            }
            self.turn = namespace.next();
            self.granted = false;
        }
        for entry in &taken.entries {
            self.places.insert(entry.transaction.id, Place::Sealed);
        }
        taken
    }

    /// The namespace with something to take whose turn it is.
    fn next_turn(&self) -> Option<NamespaceId> {
        let from = self.queues.range(self.turn..).next().or_else(|| self.queues.first_key_value());
        from.map(|(namespace, _)| *namespace)
    }

    /// One namespace's turn; whether the batch is full.
    fn take_turn(&mut self, namespace: NamespaceId, batch: &Room, taken: &mut Taken) -> bool {
        while let Some(queue) = self.queues.get_mut(&namespace) {
            let Some(next) = queue.first() else { return false };
            let (ticket, size, id) = (Ticket(queue.first), next.bytes(), next.transaction.id);
            if let Err(why) = batch.can_carry(next) {
                self.places.remove(&id);
                taken.dropped.extend(self.remove(namespace, ticket).map(|entry| (entry, why)));
                continue;
            }
            if size > queue.deficit {
                return false;
            }
            if taken.bytes + size > batch.bytes || taken.entries.len() >= batch.count {
                return true;
            }
            queue.deficit -= size;
            taken.bytes += size;
            taken.entries.extend(self.remove(namespace, ticket));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squad_types::Transaction;

    fn entry(namespace: u32, nonce: u64, len: usize, valid_until: Option<u64>) -> Entry {
        let mut data = vec![0; len.max(8)];
        data[..8].copy_from_slice(&nonce.to_be_bytes());
        let transaction = Transaction {
            namespace: NamespaceId(namespace),
            valid_until: valid_until.map(Timestamp),
            hint: None,
            data: data.into(),
        };
        Entry { transaction: transaction.into(), source: None, arrived: Timestamp(nonce) }
    }

    fn take(pool: &mut Pool, bytes: usize, count: usize) -> Vec<Entry> {
        pool.take(&Room { bytes, count, chain_time: Timestamp::ZERO }).entries
    }

    fn namespaces(taken: &[Entry]) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for entry in taken {
            *counts.entry(entry.transaction.transaction.namespace.0).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn a_flooded_namespace_leaves_the_others_their_share_of_every_batch() {
        let mut pool = Pool::default();
        (0..10_000).for_each(|nonce| pool.push(entry(1, nonce, 500, None)));
        (0..50).for_each(|nonce| pool.push(entry(2, nonce, 500, None)));
        (0..50).for_each(|nonce| pool.push(entry(3, nonce, 500, None)));
        let counts = namespaces(&take(&mut pool, 150 * 517, 1_000));
        assert!(counts.values().all(|count| (43..=58).contains(count)), "{counts:?}");
    }

    #[test]
    fn large_transactions_do_not_starve_and_order_within_a_namespace_is_kept() {
        let mut pool = Pool::default();
        (0..2_000).for_each(|nonce| pool.push(entry(1, nonce, 200, None)));
        (0..4).for_each(|nonce| pool.push(entry(2, nonce, 100_000, None)));
        let mut seen = BTreeMap::from([(1_u32, 0_u64), (2, 0)]);
        let mut batches = 0;
        while pool.count() > 0 {
            let taken = take(&mut pool, 128 * 1024, 10_000);
            assert!(!taken.is_empty());
            batches += 1;
            for entry in taken {
                let next = seen.get_mut(&entry.transaction.transaction.namespace.0).unwrap();
                assert_eq!(entry.arrived.0, *next);
                *next += 1;
            }
        }
        assert!(batches <= 12, "{batches}");
    }

    #[test]
    fn what_is_put_back_comes_first_and_what_was_ordered_elsewhere_leaves() {
        let mut pool = Pool::default();
        (0..3).for_each(|nonce| pool.push(entry(1, nonce, 10, Some(5))));
        let back: Vec<_> = (7..9).map(|nonce| entry(1, nonce, 10, Some(20)).transaction).collect();
        pool.put_back(Timestamp(9), &back);
        let elsewhere = entry(1, 1, 10, Some(5)).transaction.id;
        assert_eq!(pool.forget([&elsewhere]).len(), 1);
        let taken = take(&mut pool, 1_000, 10);
        let ids: Vec<_> = taken.iter().map(|entry| entry.transaction.id).collect();
        assert_eq!(ids[..2], [back[0].id, back[1].id]);
        assert_eq!((ids.len(), pool.count(), pool.bytes()), (4, 0, 0));
        assert!(pool.knows(&ids[0]), "it is in a batch");
        pool.forget(ids.iter());
        assert!(!pool.knows(&ids[0]));
    }

    #[test]
    fn one_that_no_batch_can_carry_any_more_blocks_nothing() {
        let mut pool = Pool::default();
        pool.push(entry(1, 0, 100_000, None));
        pool.push(entry(1, 1, 10, None));
        pool.push(entry(1, 2, 10, Some(7)));
        pool.push(entry(1, 3, 10, Some(8)));
        let taken = pool.take(&Room { bytes: 50_000, count: 10, chain_time: Timestamp(7) });
        let nonces = |entries: &[Entry]| entries.iter().map(|entry| entry.arrived.0).collect::<Vec<_>>();
        assert_eq!(nonces(&taken.entries), [1, 3]);
        assert_eq!((pool.count(), pool.bytes()), (0, 0));
        let dropped: Vec<_> = taken.dropped.iter().map(|(entry, why)| (entry.arrived.0, why.code())).collect();
        assert_eq!(dropped, [(0, "too_large"), (2, "expired")]);
        assert!(taken.dropped.iter().all(|(entry, _)| !pool.knows(&entry.transaction.id)));
    }

    #[test]
    fn many_flooded_namespaces_all_get_their_turn() {
        let mut pool = Pool::default();
        for namespace in 0..100 {
            let len = if namespace == 77 { 100_000 } else { 4_000 };
            (0..40).for_each(|nonce| pool.push(entry(namespace, nonce, len, None)));
        }
        let mut served = BTreeMap::new();
        for _ in 0..90 {
            for (namespace, count) in namespaces(&take(&mut pool, 128 * 1024, 10_000)) {
                *served.entry(namespace).or_insert(0) += count;
            }
        }
        // In bytes they get the same: 28 or 29 small ones each, one large one.
        let fair = served
            .iter()
            .all(|(namespace, count)| if *namespace == 77 { *count == 1 } else { (26..=30).contains(count) });
        assert!(fair && served.len() == 100, "{served:?}");
    }

    proptest! {
        #[test]
        fn the_books_balance(steps in proptest::collection::vec((0_u8..5, 0_u32..4, 8_usize..600), 1..200)) {
            let mut pool = Pool::default();
            let mut nonce = 0;
            for (what, namespace, len) in steps {
                match what {
                    0..=2 => {
                        nonce += 1;
                        pool.push(entry(namespace, nonce, len, None));
                    }
                    3 => { take(&mut pool, len * 4, 7); }
                    _ => { pool.forget([&entry(namespace, nonce / 2, len, None).transaction.id]); }
                }
                let entries = pool.queues.values().flat_map(|queue| queue.entries.iter().flatten());
                prop_assert_eq!(pool.bytes, entries.clone().map(Entry::bytes).sum::<usize>());
                prop_assert_eq!(pool.count, entries.count());
                prop_assert!(pool.queues.values().all(|queue| !queue.entries.is_empty()));
            }
        }
    }
}
