//! Flow control: pressure travels back to the author, and nothing hangs.

use crate::support::*;
use squad_mempool::{Rejection, SealDue, Source};
use squad_types::*;

#[test]
fn a_stalled_order_stops_the_author_then_its_clients_and_recovers() {
    let mut network = Network::new(4, 0);
    let mut refused = None;
    for _ in 0..40_000 {
        if !network.submit(0, 2_000) {
            refused = Some(network.nodes[0].submit(network.now, Source(0), transaction(u64::MAX, 2_000), None));
            break;
        }
        network.seal(0);
    }
    assert!(matches!(refused, Some(Err(Rejection::Busy { retry_after_ms })) if retry_after_ms > 0));
    assert_eq!(network.nodes[0].seal_due(Timestamp(u64::MAX / 2)), SealDue::Never);
    let own: usize = network.batches.values().map(|batch| batch.payload().bytes().len()).sum();
    assert!(own <= params().lane_bytes as usize);
    let waiting = network.nodes[0].stats().pool_bytes;
    assert!(waiting <= 2 * (params().max_block_bytes as usize / 4), "{waiting}: a share of two blocks");
    network.settle();
    network.order(1);
    (0..4).for_each(|at| network.follow(at));
    assert_eq!(network.nodes[0].seal_due(network.now.plus(1)), SealDue::Now);
}

#[test]
fn a_trickle_into_a_stalled_lane_never_signs_twice_at_one_place() {
    let mut network = Network::new(4, 0);
    for _ in 0..3_000 {
        network.submit(0, 8);
        network.now = network.now.plus(20);
        network.seal(0);
        network.mail.clear();
    }
    let mut places: Vec<Sequence> = network.batches.values().map(|batch| batch.header().sequence).collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), count);
    assert!((100..=1_024).contains(&count), "{count}");
    // The network comes back: all of it is acknowledged, certified with headers that fit, and ordered.
    let all: Vec<VerifiedBatch> = network.batches.values().cloned().collect();
    for batch in all {
        network.post(0, &Mail::Batch(batch));
    }
    network.settle();
    network.check_certificates();
    let first = network.batches.values().map(VerifiedBatch::tip).min().unwrap();
    let certificate = network.nodes[1].certificate(lane(0), first).unwrap();
    assert_eq!(certificate.verify(&domain(), &committee(0, 4), &KeyedHashVerifier), Ok(first));
    network.run_dry();
}

#[test]
fn an_author_that_ignores_flow_control_is_acknowledged_only_within_it() {
    let mut network = Network::new(4, 1);
    let mut tip = None;
    for nonce in 0..40 {
        let next = batch(3, 0, tip, nonce, 7_000);
        tip = Some(next.tip());
        network.batches.insert(next.id(), next.clone());
        (0..3).for_each(|to| network.receive(to, Mail::Batch(next.clone())));
    }
    network.ack(0);
    let acked = network.nodes[0].own_ack_tips(Epoch(0))[3].unwrap();
    assert_eq!(acked.sequence, Sequence(3), "four of 7 KB are within 32 KiB");
    assert!(network.nodes[0].stats().lane_bytes <= 96 << 10);
    // As the order moves on, so do the acks: what it sends again is taken, and all of it is ordered in the end.
    let mut all: Vec<VerifiedBatch> = network.batches.values().cloned().collect();
    all.sort_by_key(|batch| batch.header().sequence);
    for round in 0..10 {
        all.iter().for_each(|batch| (0..4).for_each(|to| network.receive(to, Mail::Batch(batch.clone()))));
        network.settle();
        network.order(round % 4);
        (0..4).for_each(|at| network.follow(at));
    }
    assert_eq!(network.states.last().unwrap().tip(lane(3)), tip);
}

/// Heights that are left to lanes whose next `turns` batches are certain to be ordered in them.
fn left_for(turns: u64) -> u64 {
    u64::from(params().inclusion_heights) + 6 + turns
}

#[test]
fn a_lane_holds_no_more_batches_than_are_certain_to_be_ordered_before_it_expires() {
    let mut network = Network::new(4, 1);
    network.nodes.iter_mut().for_each(|node| node.limit_lanes(|_| left_for(5)));
    for _ in 0..100 {
        network.submit(0, 8);
        network.now = network.now.plus(100);
        network.seal(0);
    }
    assert_eq!(network.batches.len(), 5);
    assert_eq!(network.nodes[0].seal_due(Timestamp(u64::MAX / 2)), SealDue::Never);
    // An author that does not keep to it is acknowledged only so far, and not at all when too few heights are left.
    let mut tip = None;
    for nonce in 0..9 {
        let next = batch(3, 0, tip, 1_000 + nonce, 8);
        tip = Some(next.tip());
        network.batches.insert(next.id(), next.clone());
        (0..3).for_each(|to| network.receive(to, Mail::Batch(next.clone())));
    }
    network.nodes[1].limit_lanes(|_| left_for(0));
    (0..2).for_each(|at| network.ack(at));
    assert_eq!(network.nodes[0].own_ack_tips(Epoch(0))[3].map(|tip| tip.sequence), Some(Sequence(4)));
    assert_eq!(network.nodes[1].own_ack_tips(Epoch(0)).get(3).copied().flatten(), None);
    // What was acknowledged stays so, and as the order moves on, the rest follows.
    network.nodes[0].limit_lanes(|_| left_for(1));
    assert_eq!(network.nodes[0].own_ack_tips(Epoch(0))[3].map(|tip| tip.sequence), Some(Sequence(4)));
    network.nodes.iter_mut().for_each(|node| node.limit_lanes(|_| left_for(5)));
    network.run_dry();
    assert_eq!(network.states.last().unwrap().tip(lane(3)), tip);
}

#[test]
fn the_fuller_a_lane_the_longer_it_gathers_for_a_batch() {
    let mut network = Network::new(4, 0);
    network.nodes[0].limit_lanes(|_| left_for(8));
    let mut waits = Vec::new();
    for _ in 0..8 {
        network.submit(0, 8);
        waits.push(match network.nodes[0].seal_due(network.now) {
            SealDue::At(at) => at.since(network.now),
            now => u64::from(now != SealDue::Now) * u64::MAX,
        });
        network.now = network.now.plus(100);
        network.seal(0);
    }
    assert_eq!(waits, [0, 10, 10, 10, 20, 20, 40, 40]);
}

#[test]
fn what_expires_before_a_batch_takes_it_is_dropped_and_said_so() {
    let mut network = Network::new(4, 0);
    network.submit(0, 100);
    let mut state = network.states[0].clone();
    state.chain_time = Timestamp(5_000);
    let node = &mut network.nodes[0];
    node.on_ordered(&state, true, &[], &[]);
    assert_eq!(node.seal(network.now, &signer(0)), None);
    let dropped = node.take_dropped();
    let expired = Rejection::Expired { until: Timestamp(5_000), chain_time: Timestamp(5_000) };
    assert_eq!(dropped, [(transaction(1, 100).id, expired)]);
    assert_eq!((node.take_dropped(), node.stats().pool_transactions), (Vec::new(), 0));
    assert!(!node.has_taken(&dropped[0].0));
}

#[test]
fn a_batch_larger_than_the_whole_allowance_does_not_stall_its_lane() {
    let mut network = Network::new(4, 0);
    for node in 0..4 {
        let mut config = config(node);
        config.params.lane_bytes = 1_000;
        network.nodes[node] = squad_mempool::Mempool::new(config, committee(0, 4));
    }
    for _ in 0..4 {
        network.submit(2, 3_000);
    }
    network.run_dry();
}

#[test]
fn an_idle_author_seals_at_once_and_a_busy_one_waits_for_more() {
    let mut network = Network::new(4, 0);
    network.submit(0, 100);
    assert_eq!(network.nodes[0].seal_due(network.now), SealDue::Now);
    network.seal(0);
    network.submit(0, 100);
    let at = network.now.plus(params().batch_age_ms.into());
    assert_eq!(network.nodes[0].seal_due(network.now), SealDue::At(at));
    assert_eq!(network.nodes[0].seal_due(at), SealDue::Now);
    (0..100).for_each(|_| assert!(network.submit(0, 100)));
    assert_eq!(network.nodes[0].seal_due(network.now), SealDue::Now, "a full batch waits for nothing");
}
