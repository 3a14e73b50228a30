//! What a node does after it has been away: never sign against what it signed before.

use crate::support::*;
use squad_mempool::{AckOutcome, BatchOutcome, Mempool, SealDue};
use squad_types::*;

fn restarted(me: usize, state: &ChainState) -> Mempool {
    let mut node = Mempool::new(config(me), committee(0, 4));
    node.restore_ordered(state);
    node
}

fn own_entry(node: &mut Mempool, me: usize, author: usize) -> Option<Tip> {
    node.make_ack(Timestamp(99_999), Epoch(0), &signer(me));
    node.own_ack_tips(Epoch(0))[author]
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let mut network = Network::new(4, 0);
    for _ in 0..5 {
        network.submit(0, 200);
        network.seal(0);
        network.ack(0);
    }
    network.settle();
    network.order(1);
    network.follow(0);
    for _ in 0..3 {
        network.submit(0, 200);
        network.seal(0);
        network.ack(0);
    }
    let state = network.states[1].clone();
    let before = network.nodes[0].full_ack(Epoch(0)).unwrap();
    let tip = state.tip(lane(0)).unwrap();
    let unordered: Vec<_> = network.batches.values().filter(|b| b.header().sequence > tip.sequence).cloned().collect();
    let top = unordered.iter().map(VerifiedBatch::tip).max();
    let mut node = restarted(0, &state);
    unordered.into_iter().rev().for_each(|batch| node.restore_batch(batch));
    node.restore_ack(&before);
    assert_eq!(node.full_ack(Epoch(0)).map(|m| m.ack), Some(before.ack.clone()));
    assert_eq!(own_entry(&mut node, 0, 0), top);
    assert!(node.full_ack(Epoch(0)).unwrap().ack.statement.counter > before.ack.statement.counter);
    network.nodes[0] = node;
    network.submit(0, 50);
    network.seal(0);
    network.run_dry();
}

#[test]
fn a_transaction_in_an_unordered_own_batch_is_a_duplicate_after_a_restart() {
    let mut network = Network::new(4, 0);
    network.submit(0, 200);
    network.seal(0);
    let batch = network.batches.values().next().cloned().unwrap();
    let mut node = restarted(0, &network.states[0]);
    node.restore_batch(batch.clone());
    let again = batch.payload().transactions()[0].clone();
    assert_eq!(
        node.submit(Timestamp(0), squad_mempool::Source(1), again, None),
        Err(squad_mempool::Rejection::Duplicate)
    );
}

#[test]
fn two_stored_batches_at_one_place_close_the_lane_though_the_proof_was_not_durable() {
    let network = Network::new(4, 1);
    let (one, other) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    let mut before = Mempool::new(config(0), committee(0, 4));
    before.on_batch(one.clone());
    let acked = before.make_ack(Timestamp(0), Epoch(0), &signer(0)).unwrap();
    for order in [[&one, &other], [&other, &one]] {
        let mut node = restarted(0, &network.states[0]);
        order.into_iter().for_each(|batch| node.restore_batch(batch.clone()));
        node.restore_ack(&acked);
        node.on_batch(batch(3, 0, Some(other.tip()), 3, 100));
        assert_eq!(own_entry(&mut node, 0, 3), None);
        assert_eq!(node.stats().lanes_closed, 1);
    }
}

#[test]
fn an_ack_whose_batch_is_not_stored_is_not_said_again_and_allows_no_other_branch() {
    let network = Network::new(4, 1);
    let (first, mine) = {
        let first = batch(3, 0, None, 1, 100);
        (first.clone(), batch(3, 0, Some(first.tip()), 2, 100))
    };
    let mut before = Mempool::new(config(0), committee(0, 4));
    before.on_batch(first.clone());
    let durable = before.make_ack(Timestamp(0), Epoch(0), &signer(0)).unwrap();
    before.on_batch(mine.clone());
    let early = before.make_ack(Timestamp(0), Epoch(0), &signer(0)).unwrap();
    let restored = || {
        let mut node = restarted(0, &network.states[0]);
        node.restore_batch(first.clone());
        node.restore_ack(&durable);
        node.restore_ack(&early);
        node
    };

    // It holds the first batch only, and says no more than that, under a counter that it never used.
    let mut node = restored();
    assert_eq!(node.full_ack(Epoch(0)).map(|message| message.ack), Some(durable.ack.clone()));
    let other = batch(3, 0, Some(first.tip()), 3, 100);
    node.on_batch(other.clone());
    node.on_batch(batch(3, 0, Some(other.tip()), 4, 100));
    assert_eq!(own_entry(&mut node, 0, 3), Some(first.tip()), "another branch than the promised one");
    assert!(node.full_ack(Epoch(0)).unwrap().ack.statement.counter > early.ack.statement.counter);
    assert!(matches!(node.on_batch(mine.clone()), BatchOutcome::Fork { .. }));

    // When the batch comes again, acks go on above it.
    let mut node = restored();
    assert_eq!(own_entry(&mut node, 0, 3), Some(first.tip()));
    node.on_batch(mine.clone());
    let next = batch(3, 0, Some(mine.tip()), 5, 100);
    node.on_batch(next.clone());
    assert_eq!(own_entry(&mut node, 0, 3), Some(next.tip()));

    // When the order takes another branch, there are no more acks in that lane.
    let mut node = restored();
    node.on_batch(other.clone());
    let beside = batch(3, 0, Some(other.tip()), 6, 100);
    node.on_batch(beside.clone());
    let mut state = network.states[0].clone();
    state.set_tip(CutEntry { lane: lane(3), tip: other.tip() });
    node.on_ordered(&state, true, &[], &[]);
    assert_ne!(own_entry(&mut node, 0, 3), Some(beside.tip()));

    // When the order takes the promised one, they go on.
    let mut node = restored();
    node.on_batch(mine.clone());
    node.on_batch(next.clone());
    let mut state = network.states[0].clone();
    state.set_tip(CutEntry { lane: lane(3), tip: mine.tip() });
    node.on_ordered(&state, true, &[], &[]);
    assert_eq!(own_entry(&mut node, 0, 3), Some(next.tip()));
}

#[test]
fn a_jump_of_the_order_over_the_own_ack_ends_acks_in_that_lane_unless_the_chain_is_known() {
    let chain = {
        let mut tips = Vec::new();
        let mut tip = None;
        for nonce in 0..5 {
            let next = batch(3, 0, tip, nonce, 100);
            tip = Some(next.tip());
            tips.push(next);
        }
        tips
    };
    let fork = batch(3, 0, Some(chain[0].tip()), 77, 100);
    let mut state = Network::new(4, 1).states[0].clone();
    state.set_tip(CutEntry { lane: lane(3), tip: chain[3].tip() });

    // It acknowledged a branch that nobody else has; the order went another way while it was away.
    let mut node = Mempool::new(config(0), committee(0, 4));
    node.on_batch(chain[0].clone());
    node.on_batch(fork.clone());
    let acked = node.make_ack(Timestamp(0), Epoch(0), &signer(0)).unwrap();
    node.restore_ordered(&state);
    node.on_batch(chain[4].clone());
    assert_eq!(own_entry(&mut node, 0, 3), Some(fork.tip()));
    let mut again = restarted(0, &state);
    again.restore_batch(chain[4].clone());
    again.restore_ack(&acked);
    assert_eq!(own_entry(&mut again, 0, 3), Some(fork.tip()));

    // With the chain in between at hand, acks go on, also after a restart that replays it.
    let mut node = Mempool::new(config(0), committee(0, 4));
    node.on_batch(chain[0].clone());
    node.on_batch(chain[1].clone());
    let acked = node.make_ack(Timestamp(0), Epoch(0), &signer(0)).unwrap();
    chain[2..].iter().for_each(|batch| drop(node.on_batch(batch.clone())));
    node.on_ordered(&state, true, &[], &[]);
    assert_eq!(own_entry(&mut node, 0, 3), Some(chain[4].tip()));
    let mut again = Mempool::new(config(0), committee(0, 4));
    chain.iter().for_each(|batch| again.restore_batch(batch.clone()));
    again.on_ordered(&state, false, &[], &[]);
    again.restore_ack(&acked);
    assert_eq!(own_entry(&mut again, 0, 3), Some(chain[4].tip()));
}

#[test]
fn a_node_that_forgot_own_batches_seals_none_in_their_places() {
    let mut network = Network::new(4, 0);
    for _ in 0..3 {
        network.submit(0, 200);
        network.seal(0);
    }
    network.settle();
    // Its disk is gone; two others show what it wrote.
    network.nodes[0] = restarted(0, &network.states[0]);
    for from in 1..3 {
        let full = network.nodes[from].full_ack(Epoch(0)).unwrap();
        let ack = full.ack.verify(&domain(), &KeyedHashVerifier).unwrap();
        assert!(matches!(network.nodes[0].on_ack(ack, full.entries), AckOutcome::Advanced { .. }));
    }
    network.submit(0, 300);
    let now = network.now.plus(1_000);
    assert_eq!(network.nodes[0].seal_due(now), SealDue::Never);
    assert_eq!(network.nodes[0].seal(now, &signer(0)), None);
    // Once they are fetched, it goes on above them.
    let top = network.batches.values().map(VerifiedBatch::tip).max().unwrap();
    let range = network.nodes[0].missing(lane(0), top).unwrap();
    network.fetch(0, range);
    let sealed = network.nodes[0].seal(now, &signer(0)).unwrap();
    assert_eq!(sealed.header().parent, top.batch);
}
