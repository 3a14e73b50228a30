//! A namespace's policy: how its transactions are ordered within a block. Recomputed by every validator.

use squad_types::hash::blake3;
use squad_types::{Address, FeeHint, HeaderHash, NamespaceId, OrderingPolicy};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// Orders the transactions of one namespace, given in the interleaved order of their batches. Loses and adds none. `hint`
/// tells what the author of a transaction's lane states of it.
pub(super) fn arrange<T>(
    policy: OrderingPolicy,
    namespace: NamespaceId,
    parent: HeaderHash,
    transactions: Vec<T>,
    hint: impl Fn(&T) -> Option<FeeHint>,
) -> Vec<T> {
    let hints = || transactions.iter().map(&hint).collect::<Vec<_>>();
    let order = match policy {
        OrderingPolicy::Fifo => return transactions,
        OrderingPolicy::PriorityFee => by_fee(&hints()),
        OrderingPolicy::Shuffled => shuffled(&hints(), namespace, parent),
    };
    let mut slots: Vec<Option<T>> = transactions.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| slots[at].take()).collect()
}

fn sender(hint: &Option<FeeHint>) -> Option<Address> {
    hint.map(|hint| hint.sender)
}

/// Positions by stated fee, highest first; equal fees as they came; a sender's own as they came; unstated fees count as zero.
fn by_fee(hints: &[Option<FeeHint>]) -> Vec<usize> {
    let mut queues: Vec<VecDeque<usize>> = Vec::new();
    let mut queue_of: BTreeMap<Address, usize> = BTreeMap::new();
    for (at, hint) in hints.iter().enumerate() {
        let queue = match sender(hint) {
            Some(sender) => *queue_of.entry(sender).or_insert(queues.len()),
            None => queues.len(),
        };
        if queue == queues.len() {
            queues.push(VecDeque::new());
        }
        queues[queue].push_back(at);
    }
    let fee = |at: usize| hints[at].map_or(0, |hint| hint.fee);
    let entry = |at: usize, queue: usize| (fee(at), std::cmp::Reverse(at), queue);
    let mut heads: BinaryHeap<_> =
        queues.iter_mut().enumerate().filter_map(|(queue, ats)| Some(entry(ats.pop_front()?, queue))).collect();
    let mut order = Vec::with_capacity(hints.len());
    while let Some((_, std::cmp::Reverse(at), queue)) = heads.pop() {
        order.push(at);
        heads.extend(queues[queue].pop_front().map(|next| entry(next, queue)));
    }
    order
}

/// Fisher-Yates over numbers that everybody derives from the parent's hash; then a stated sender's own go back into the
/// order they came in, within the places that they drew, so that a shuffle does not tear their nonces apart.
fn shuffled(hints: &[Option<FeeHint>], namespace: NamespaceId, parent: HeaderHash) -> Vec<usize> {
    let mut order: Vec<usize> = (0..hints.len()).collect();
    let mut draws = Draws::new(namespace, parent);
    for last in (1..order.len()).rev() {
        let with = draws.below(last as u64 + 1) as usize;
        order.swap(last, with);
    }
    let mut places: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
    for (place, at) in order.iter().enumerate() {
        if let Some(sender) = sender(&hints[*at]) {
            places.entry(sender).or_default().push(place);
        }
    }
    for places in places.into_values().filter(|places| places.len() > 1) {
        let mut own: Vec<usize> = places.iter().map(|place| order[*place]).collect();
        own.sort_unstable();
        places.into_iter().zip(own).for_each(|(place, at)| order[place] = at);
    }
    order
}

/// A stream of numbers from a seed: blake3 of seed and counter.
struct Draws {
    seed: [u8; 44],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Draws {
    fn new(namespace: NamespaceId, parent: HeaderHash) -> Self {
        let mut seed = [0; 44];
        seed[..32].copy_from_slice(&parent.0);
        seed[32..36].copy_from_slice(&namespace.0.to_be_bytes());
        Self { seed, counter: 0, block: [0; 32], used: 32 }
    }

    fn next(&mut self) -> u64 {
        if self.used == 32 {
            self.seed[36..].copy_from_slice(&self.counter.to_be_bytes());
            self.block = blake3(&self.seed);
            self.counter += 1;
            self.used = 0;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_be_bytes(word)
    }

    // The bias of scaling 64 bits down to a block's transactions is below 2^-46.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squad_types::{IdentifiedTransaction, Transaction, TxId};

    /// Content, and sender with fee.
    type Sketch = (u8, Option<(u8, u64)>);

    fn transactions(list: &[Sketch]) -> Vec<IdentifiedTransaction> {
        let one = |(at, (data, hint)): (usize, &Sketch)| {
            let hint = hint.map(|(sender, fee)| FeeHint { sender: Address([sender; 20]), fee });
            let data = bytes::Bytes::from(vec![at as u8, *data]);
            IdentifiedTransaction::from(Transaction { namespace: NamespaceId(1), valid_until: None, hint, data })
        };
        list.iter().enumerate().map(one).collect()
    }

    fn run(policy: OrderingPolicy, parent: u8, list: &[IdentifiedTransaction]) -> Vec<IdentifiedTransaction> {
        arrange(policy, NamespaceId(1), HeaderHash([parent; 32]), list.to_vec(), |tx| tx.transaction.hint)
    }

    #[test]
    fn higher_fees_come_first_and_a_sender_keeps_its_own_order() {
        let list =
            transactions(&[(0, Some((1, 5))), (1, Some((2, 7))), (2, Some((1, 9))), (3, None), (4, Some((3, 7)))]);
        let order: Vec<u8> =
            run(OrderingPolicy::PriorityFee, 0, &list).iter().map(|tx| tx.transaction.data[1]).collect();
        assert_eq!(order, [1, 4, 0, 2, 3]);
    }

    #[test]
    fn another_parent_shuffles_otherwise() {
        let list = transactions(&[(0, None); 60]);
        assert_ne!(run(OrderingPolicy::Shuffled, 1, &list), run(OrderingPolicy::Shuffled, 2, &list));
        assert_ne!(run(OrderingPolicy::Shuffled, 1, &list), list);
    }

    proptest! {
        #[test]
        fn every_policy_permutes_gives_the_same_twice_and_keeps_senders_in_order(
            list in prop::collection::vec((any::<u8>(), prop::option::of((0_u8..5, 0_u64..6))), 0..80),
            parent: u8,
        ) {
            let list = transactions(&list);
            for policy in [OrderingPolicy::Fifo, OrderingPolicy::PriorityFee, OrderingPolicy::Shuffled] {
                let ordered = run(policy, parent, &list);
                prop_assert_eq!(&ordered, &run(policy, parent, &list));
                let ids = |txs: &[IdentifiedTransaction]| {
                    let mut ids: Vec<TxId> = txs.iter().map(|tx| tx.id).collect();
                    ids.sort_unstable();
                    ids
                };
                prop_assert_eq!(ids(&ordered), ids(&list));
                for name in 0..5 {
                    let of = |txs: &[IdentifiedTransaction]| -> Vec<TxId> {
                        txs.iter().filter(|tx| sender(&tx.transaction.hint) == Some(Address([name; 20]))).map(|tx| tx.id).collect()
                    };
                    prop_assert_eq!(of(&ordered), of(&list));
                }
            }
        }
    }
}
