//! Epochs: lanes live one epoch longer than they are written.

use crate::support::*;
use squad_mempool::{SealDue, Tips};
use squad_types::*;

fn in_epoch(state: &ChainState, epoch: u64) -> ChainState {
    ChainState {
        epoch: Epoch(epoch),
        previous_tips: state.tips.clone(),
        tips: vec![None; state.tips.len()],
        ..state.clone()
    }
}

#[test]
fn lanes_of_the_epoch_before_are_acknowledged_certified_and_cut() {
    let mut network = Network::new(4, 0);
    network.submit(0, 100);
    network.seal(0);
    for node in &mut network.nodes {
        assert!(node.start_epoch(committee(1, 4)).is_empty());
    }
    network.settle();
    let tip = network.batches.values().next().unwrap().tip();
    assert_eq!(network.nodes[1].certified(lane(0)), Some(tip));
    let state = in_epoch(&network.states[0], 1);
    assert_eq!(network.nodes[1].propose_cut(&state, Tips::Available), [CutEntry { lane: lane(0), tip }]);
    // New batches go to the new lane.
    network.submit(0, 100);
    network.seal(0);
    let newest = network.batches.values().find(|batch| batch.header().epoch == Epoch(1)).unwrap();
    assert_eq!(newest.header().sequence, Sequence(0));
}

#[test]
fn what_an_expired_lane_still_held_is_sealed_again_but_not_what_was_ordered_elsewhere() {
    let mut network = Network::new(4, 0);
    for _ in 0..3 {
        network.submit(0, 100);
        network.seal(0);
        network.settle();
    }
    let mut own: Vec<VerifiedBatch> = network.batches.values().cloned().collect();
    own.sort_by_key(|batch| batch.header().sequence);
    let ids: Vec<TxId> = own.iter().map(|batch| batch.payload().transactions()[0].id).collect();
    let mut state = network.states[0].clone();
    state.set_tip(CutEntry { lane: lane(0), tip: own[0].tip() });
    let node = &mut network.nodes[0];
    // The first by its own lane, the second by somebody else's.
    node.on_ordered(&state, true, &ids[..2], &[]);
    assert!(node.start_epoch(committee(1, 4)).is_empty());
    let left = node.start_epoch(committee(2, 4));
    assert_eq!(left.iter().map(|tx| tx.id).collect::<Vec<_>>(), ids[2..]);
    assert_eq!(node.seal_due(Timestamp(u64::MAX)), SealDue::Now);
    let again = node.seal(Timestamp(0), &signer(0)).unwrap();
    assert_eq!((again.header().epoch, again.payload().transactions()[0].id), (Epoch(2), ids[2]));
    assert!(node.lane_of(&address(0), Epoch(0)).is_none());
}

#[test]
fn a_node_outside_the_committee_neither_seals_nor_acknowledges_but_counts_acks() {
    let mut network = Network::new(4, 0);
    let mut follower = squad_mempool::Mempool::new(config(9), committee(0, 4));
    follower.submit(Timestamp(0), squad_mempool::Source(0), transaction(1, 10), None).unwrap();
    assert_eq!(follower.seal_due(Timestamp(9_999)), SealDue::Never);
    assert_eq!(follower.seal(Timestamp(9_999), &signer(9)), None);
    network.submit(0, 100);
    network.settle();
    let batch = network.batches.values().next().unwrap().clone();
    follower.on_batch(batch.clone());
    assert_eq!(follower.ack_due(Timestamp(9_999)), squad_mempool::AckDue::Never);
    for node in &network.nodes {
        let full = node.full_ack(Epoch(0)).unwrap();
        follower.on_ack(full.ack.verify(&domain(), &KeyedHashVerifier).unwrap(), full.entries);
    }
    assert_eq!(follower.certified(lane(0)), Some(batch.tip()));
}
