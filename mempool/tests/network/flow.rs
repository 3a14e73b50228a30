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
