//! The inclusion rule over the whole mempool.

use crate::support::*;
use squad_mempool::Tips;
use squad_types::*;

/// Every member's lane holds as much as flow control lets it, all of it certified.
fn loaded(bytes: usize) -> Network {
    let mut network = Network::new(4, 0);
    for _ in 0..60 {
        for at in 0..4 {
            network.submit(at, bytes);
            network.now = network.now.plus(20);
            network.seal(at);
        }
    }
    network.settle();
    network
}

/// Blocks that take nothing, until what is certified is due everywhere.
fn wait_until_due(network: &mut Network) -> usize {
    let state = network.states[0].clone();
    let mut broadcast = 0;
    for _ in 0..5 {
        for at in 0..4 {
            let left_out = network.nodes[at].on_ordered(&state, true, &[], &[]).left_out;
            for certificate in &left_out {
                assert!(certificate.verify(&domain(), &committee(0, 4), &KeyedHashVerifier).is_ok());
            }
            broadcast += left_out.len();
        }
    }
    broadcast
}

#[test]
fn a_left_out_lane_is_announced_once_and_then_required() {
    let mut network = loaded(100);
    let state = network.states[0].clone();
    assert_eq!(wait_until_due(&mut network), 16, "each node, each lane, once");
    let node = &network.nodes[0];
    let cut = node.propose_cut(&state, Tips::Available);
    assert_eq!(node.check_due(&state, &cut), Ok(()));
    assert_eq!(node.check_due(&state, &[]), Err(lane(0)));
    for skipped in 0..4 {
        let without: Vec<_> = cut.iter().filter(|entry| entry.lane != lane(skipped)).copied().collect();
        assert_eq!(node.check_due(&state, &without), Err(lane(skipped)));
    }
}

#[test]
fn a_part_of_what_is_due_is_enough_only_in_a_full_block() {
    for (bytes, fits) in [(100, true), (3_900, false)] {
        let mut network = loaded(bytes);
        let state = network.states[0].clone();
        wait_until_due(&mut network);
        let node = &network.nodes[0];
        let first = |entry: &CutEntry| {
            let chain = node.chain(entry.lane, None, entry.tip).unwrap();
            CutEntry { tip: chain[0].tip(), ..*entry }
        };
        let cut = node.propose_cut(&state, Tips::Available);
        assert_eq!(node.check_due(&state, &cut), Ok(()));
        let short: Vec<_> = cut.iter().map(first).collect();
        assert_eq!(node.check_due(&state, &short), Err(lane(0)), "one batch each leaves room for more");
        let all = cut.iter().all(|entry| Some(entry.tip) == node.certified(entry.lane));
        assert_eq!(all, fits);
    }
}

#[test]
fn blocks_full_of_the_smallest_transactions_satisfy_the_rule_too() {
    let mut network = Network::new(4, 0);
    for at in 0..4 {
        (0..2_000).for_each(|_| assert!(network.submit(at, 8)));
    }
    network.settle();
    let state = network.states[0].clone();
    let waiting: usize = (0..4)
        .flat_map(|at| network.nodes[0].chain(lane(at), None, network.nodes[0].certified(lane(at)).unwrap()).unwrap())
        .map(|batch| batch.payload().transactions().len())
        .sum();
    assert!(waiting > params().max_block_transactions as usize);
    wait_until_due(&mut network);
    let node = &network.nodes[0];
    let cut = node.propose_cut(&state, Tips::Available);
    assert_eq!(cut.len(), 4);
    assert_eq!(node.check_due(&state, &cut), Ok(()));
    network.run_dry();
}

#[test]
fn a_network_that_runs_well_broadcasts_no_certificate() {
    let mut network = Network::new(4, 0);
    for round in 0..50 {
        (0..4).for_each(|at| assert!(network.submit(at, 200)));
        network.settle();
        network.order(round % 4);
        (0..4).for_each(|at| network.follow(at));
        assert!(!network.mail.iter().any(|(_, mail)| matches!(mail, Mail::Secured(_))));
    }
}

#[test]
fn an_expired_lane_is_never_due() {
    let mut network = loaded(300);
    wait_until_due(&mut network);
    let mut later = network.states[0].clone();
    later.epoch = Epoch(2);
    assert_eq!(network.nodes[0].check_due(&later, &[]), Ok(()));
    assert_eq!(network.nodes[0].propose_cut(&later, Tips::Available), []);
}
