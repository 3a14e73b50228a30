//! Floods: memory stays within its limits, and what is needed still gets through.

use crate::support::*;
use squad_mempool::{BatchFault, BatchOutcome, Mempool, MempoolConfig, PoolLimits, Rejection, Source};
use squad_types::*;

#[test]
fn a_flood_of_batches_without_parents_is_bounded_and_the_lowest_are_kept() {
    let mut node = Mempool::new(config(0), committee(0, 4));
    let mut tip = None;
    let all: Vec<VerifiedBatch> = (0..2_000)
        .map(|nonce| {
            let next = batch(3, 0, tip, nonce, 8);
            tip = Some(next.tip());
            next
        })
        .collect();
    let mut refused = 0;
    for batch in all[1..].iter().rev() {
        refused += usize::from(matches!(node.on_batch(batch.clone()), BatchOutcome::Refused(BatchFault::NoRoom)));
    }
    assert_eq!(node.stats().lane_bytes, 0);
    let BatchOutcome::Stored(stored) = node.on_batch(all[0].clone()) else { panic!() };
    assert_eq!((stored.len(), refused), (513, 0), "those that come next were waiting, the highest gave way");
}

#[test]
fn batches_out_of_bounds_are_refused_and_named_as_a_fault() {
    let mut node = Mempool::new(config(0), committee(0, 4));
    let too_large = batch(1, 0, None, 1, 9_000);
    assert_eq!(node.on_batch(too_large), BatchOutcome::Refused(BatchFault::Size));
    let payload = Payload::pack((0..200).map(|nonce| transaction(nonce, 8)).collect());
    let header = BatchHeader {
        operator: address(1),
        epoch: Epoch(0),
        sequence: Sequence(0),
        parent: BatchId::ZERO,
        payload: payload.digest(),
        transactions_root: payload.root(),
        count: 200,
        bytes: payload.bytes().len() as u32,
    };
    let signed = Verified::sign(header, &domain(), &signer(1)).into_signed();
    // 1024 transactions a block in a committee of four: 128 a batch, or two lanes of each member could not all move.
    assert_eq!(node.on_batch(VerifiedBatch::assemble(signed, payload)), BatchOutcome::Refused(BatchFault::Size));
    assert_eq!(node.on_batch(batch(1, 5, None, 1, 10)), BatchOutcome::Refused(BatchFault::UnknownLane));
    assert_eq!(node.on_batch(batch(9, 0, None, 1, 10)), BatchOutcome::Refused(BatchFault::UnknownLane));
}

fn flooded() -> Mempool {
    let limits = PoolLimits { max_bytes: 100_000, max_namespace_bytes: 90_000, ..PoolLimits::default() };
    Mempool::new(MempoolConfig { pool: limits, ..config(0) }, committee(0, 4))
}

fn offer(node: &mut Mempool, namespace: u32, source: u64, nonce: u64) -> Result<(), Rejection> {
    let mut tx = transaction(nonce, 500).transaction;
    tx.namespace = NamespaceId(namespace);
    node.submit(Timestamp(0), Source(source), tx.into(), None)
}

#[test]
fn flooded_namespaces_and_sources_always_leave_room_for_another() {
    let mut node = flooded();
    let mut taken = [0; 4];
    for nonce in 0..1_000 {
        for namespace in 1..3 {
            // Each transaction from a source of its own: only the namespace holds it back.
            let source = nonce * 2 + u64::from(namespace);
            taken[namespace as usize] += usize::from(offer(&mut node, namespace, source, nonce).is_ok());
        }
    }
    assert!(taken[1].abs_diff(taken[2]) < 4 && taken[1] > 55, "{taken:?}");
    for nonce in 0..30 {
        assert_eq!(offer(&mut node, 3, 9_999_999, nonce), Ok(()));
    }
    let mut node = flooded();
    let greedy = (0..1_000).filter(|nonce| offer(&mut node, 1 + (nonce % 3) as u32, 5, *nonce).is_ok()).count();
    assert!(greedy < 110, "{greedy}");
    for nonce in 5_000..5_030 {
        assert_eq!(offer(&mut node, 2, 6, nonce), Ok(()));
    }
}

#[test]
fn what_is_sealed_or_ordered_elsewhere_frees_its_place() {
    let mut node = flooded();
    let ids: Vec<TxId> = (0..60)
        .map(|nonce| {
            offer(&mut node, 1, 5, nonce).unwrap();
            let mut tx = transaction(nonce, 500).transaction;
            tx.namespace = NamespaceId(1);
            tx.id()
        })
        .collect();
    let before = node.stats().pool_bytes;
    let sealed = node.seal(Timestamp(1), &signer(0)).unwrap();
    let count = sealed.payload().transactions().len();
    assert!(count > 10);
    let state = Network::new(4, 0).states[0].clone();
    node.on_ordered(&state, true, &ids[count..count + 10], &[]);
    assert_eq!(node.stats().pool_transactions, 60 - count - 10);
    assert_eq!(node.stats().pool_bytes, before / 60 * (60 - count - 10));
    assert_eq!(offer(&mut node, 1, 5, 0), Err(Rejection::Duplicate), "it is in a batch of one's own");
}
