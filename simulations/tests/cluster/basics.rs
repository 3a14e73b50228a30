//! Nothing goes wrong.

use squad_sequencer::{Notice, Store as _};
use squad_simulations::node::Node;
use squad_simulations::packet::Kind;
use squad_simulations::{Cluster, ClusterConfig, OPAQUE};
use squad_types::{Height, NamespaceId, Round, Transaction};

#[test]
fn an_idle_cluster_decides_a_block_each_idle_interval() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(1, 4));
    cluster.start_all();
    cluster.run(300);
    assert!(cluster.run_until(5_000, |c| c.lowest(0..4) >= Height(10)), "height {}", cluster.lowest(0..4));
    assert!(cluster.invariants.decided_rounds().all(|round| round == Round(0)));
}

#[test]
fn a_committee_that_starts_at_once_asks_each_peer_once_for_what_it_saw() {
    let members = 20;
    let mut cluster = Cluster::new(&ClusterConfig::equal(1, members));
    cluster.start_all();
    cluster.run(300);
    let signing = |node: &Node| node.sequencer.as_ref().is_some_and(|sequencer| sequencer.status().signing);
    assert!(cluster.nodes.iter().all(signing));
    // Its slots, the tip, the newest ack, incidents.
    let (asked, pairs) = (cluster.traffic.by_kind[Kind::Request.index()].messages, members * (members - 1));
    assert!(asked <= 4 * pairs as u64, "{asked} questions among {pairs} pairs");
}

#[test]
fn one_node_alone_is_a_network() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(1, 1));
    cluster.start_all();
    cluster.run(300);
    let id = cluster.submit(0, 100);
    assert!(cluster.run_until(2_000, |c| c.invariants.ordered_at(&id).is_some()));
}

#[test]
fn what_is_submitted_is_secured_and_ordered_at_once() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(2, 4));
    cluster.start_all();
    cluster.run(300);
    cluster.run(500);
    let before = cluster.now();
    let ids: Vec<_> = (0..4).map(|node| cluster.submit(node, 512)).collect();
    assert!(cluster.run_until(2_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    let took = ids.iter().map(|id| cluster.invariants.ordered_at(id).unwrap().0 - before.0).max().unwrap();
    assert!(took < 100_000, "ordered after {took} µs");
}

#[test]
fn the_same_transaction_at_every_operator_is_ordered_once() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(3, 4));
    cluster.start_all();
    cluster.run(300);
    cluster.run(500);
    let until = cluster.nodes[0].sequencer.as_ref().unwrap().ledger().state().chain_time.plus(5_000);
    let tx = Transaction { namespace: OPAQUE, valid_until: Some(until), hint: None, data: vec![7; 64].into() };
    let ids: Vec<_> = (0..4).map(|node| cluster.submit_transaction(node, tx.clone())).collect();
    assert!(cluster.run_until(2_000, |c| c.invariants.ordered_at(&ids[0]).is_some()));
    cluster.run(1_000);
    // The invariant has watched that it stands in one block only.
    assert_eq!(cluster.invariants.ordered_count(), 1);
}

#[test]
fn a_shuffled_namespace_is_ordered_alike_by_all() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(4, 4));
    cluster.start_all();
    cluster.run(300);
    cluster.run(300);
    let until = cluster.nodes[0].sequencer.as_ref().unwrap().ledger().state().chain_time.plus(5_000);
    let ids: Vec<_> = (0..40_u8)
        .map(|i| {
            let data = vec![i; 32].into();
            let tx = Transaction { namespace: NamespaceId(2), valid_until: Some(until), hint: None, data };
            cluster.submit_transaction(usize::from(i % 4), tx)
        })
        .collect();
    assert!(cluster.run_until(3_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
}

#[test]
fn two_runs_of_one_seed_are_the_same_run() {
    let run = |seed| {
        let mut cluster = Cluster::new(&ClusterConfig::equal(seed, 4));
        cluster.network.links.loss_per_mille = 50;
        cluster.start_all();
        cluster.run(300);
        for at in 0..40 {
            cluster.submit(at % 4, 200 + at);
            cluster.run(50);
        }
        (cluster.trace(), cluster.handled, cluster.invariants.ordered_count())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn a_lane_at_its_limit_tells_clients_to_wait_and_recovers() {
    let mut config = ClusterConfig::equal(5, 4);
    config.params.lane_bytes = 600_000;
    config.params.max_block_bytes = 2 << 20;
    let mut cluster = Cluster::new(&config);
    for node in &mut cluster.nodes {
        node.config.pool.max_bytes = 400_000;
    }
    cluster.start_all();
    cluster.run(300);
    cluster.run(500);
    // Nobody can order while two of four are away: the lane fills, then the pool, then clients are told to wait.
    cluster.network.partition(&[&[0, 1], &[2, 3]]);
    for _ in 0..200 {
        cluster.submit(0, 10_000);
        cluster.run(2);
    }
    assert!(cluster.invariants.refused("busy") > 0, "nobody was told to wait");
    let refused = cluster.invariants.refused("busy");
    cluster.network.heal();
    let height = cluster.height(0);
    assert!(cluster.run_until(20_000, |c| c.height(0) > Height(height.0 + 3)));
    cluster.run(3_000);
    let id = cluster.submit(0, 1_000);
    assert!(cluster.run_until(5_000, |c| c.invariants.ordered_at(&id).is_some()), "the lane did not recover");
    assert_eq!(cluster.invariants.refused("busy"), refused, "clients are still told to wait");
    assert!(cluster.invariants.secured_not_ordered().is_empty());
}

#[test]
fn a_node_far_behind_joins_by_snapshot() {
    let mut config = ClusterConfig::equal(6, 4);
    config.snapshot_gap = 30;
    config.checkpoint_interval = 8;
    config.params.window_ms = 2_000;
    config.params.epoch_heights = 16;
    config.params.epoch_ms = 1_000;
    let mut cluster = Cluster::new(&config);
    (0..3).for_each(|node| cluster.start(node, squad_sequencer::Memory::Kept));
    for at in 0..80 {
        cluster.submit(at % 3, 300);
        cluster.run(150);
    }
    assert!(cluster.height(0) > Height(60), "height {}", cluster.height(0));
    cluster.start(3, squad_sequencer::Memory::Kept);
    assert!(
        cluster.run_until(20_000, |c| c.height(3) >= c.height(0) && c.height(3) > Height(60)),
        "joined at {}",
        cluster.height(3)
    );
    let skipped = cluster.nodes[3].notices.iter().any(|n| matches!(n, Notice::CaughtUp(_)));
    assert!(skipped, "{:?}", cluster.nodes[3].notices);
    assert!(cluster.invariants.blocks_seen_by(3) < 60, "it followed every block");
}

#[test]
fn everybody_names_the_proposer_of_the_height_under_way() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(6, 4));
    cluster.start_all();
    cluster.run(300);
    let mut seen = std::collections::BTreeSet::new();
    for height in (5..13).map(Height) {
        assert!(cluster.run_until(5_000, |c| (0..4).all(|node| c.height(node) == height)), "height {height}");
        let named = |node: usize| cluster.nodes[node].sequencer.as_ref().map(|sequencer| sequencer.status().proposer);
        let proposer = named(0).flatten().expect("a node that agrees knows who proposes");
        assert!((1..4).all(|node| named(node) == Some(Some(proposer))), "they differ at height {height}");
        assert!(cluster.run_until(5_000, |c| c.height(0) == height.next()));
        let block = cluster.nodes[0].disk.block(height.next()).unwrap();
        assert_eq!(block.block.header().proposer, proposer);
        seen.insert(proposer);
    }
    assert_eq!(seen.len(), 4, "all take their turns");
}
