//! What nodes run on: processors, connections, disks, clocks; and nodes without a key.

use squad_simulations::cpu::CostTable;
use squad_simulations::network::places::Places;
use squad_simulations::rng::Durations;
use squad_simulations::scenario::parse;
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::Height;

fn ordering_micros(config: &ClusterConfig, bytes: usize) -> u64 {
    let mut cluster = Cluster::new(config);
    cluster.start_all();
    cluster.run(800);
    let before = cluster.now();
    let ids: Vec<_> = (0..8).map(|at| cluster.submit(at % 4, bytes)).collect();
    assert!(cluster.run_until(10_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    ids.iter().map(|id| cluster.invariants.ordered_at(id).unwrap().0 - before.0).max().unwrap()
}

#[test]
fn work_that_costs_time_makes_ordering_slower_and_is_counted() {
    let free = ClusterConfig::equal(100, 4);
    let mut costly = free.clone();
    costly.cpu = Some((CostTable::measured(), 2));
    let mut slow = CostTable::measured();
    slow.verify *= 100;
    let mut costlier = free.clone();
    costlier.cpu = Some((slow, 2));
    let (free, costlier) = (ordering_micros(&free, 300), ordering_micros(&costlier, 300));
    assert!(free + 50_000 < costlier, "{free} and {costlier} µs");
    let mut cluster = Cluster::new(&costly);
    cluster.start_all();
    cluster.run(1_000);
    assert!(cluster.cpu_micros(0).unwrap() > 500, "{:?}", cluster.cpu_micros(0));
}

#[test]
fn threads_that_wait_for_a_core_and_disks_that_are_slow_make_ordering_slower() {
    let quick = ClusterConfig::equal(106, 4);
    let fast = ordering_micros(&quick, 300);
    // A message wakes a writer, a reader, a worker and the sequencer; a batch, an ack, a proposal and two votes are five.
    let busy = ClusterConfig { wake_times: Some(Durations::Even(5_000, 0)), ..quick.clone() };
    let micros = ordering_micros(&busy, 300);
    assert!(micros > fast + 80_000, "{fast} and {micros} µs");
    // A batch, a proposal and two votes each wait for a sync.
    let slow = ClusterConfig { sync_times: Durations::Quantiles(vec![20_000, 21_000, 40_000]), ..quick };
    let micros = ordering_micros(&slow, 300);
    assert!(micros > fast + 50_000, "{fast} and {micros} µs");
}

#[test]
fn quantiles_that_are_not_in_order_are_refused() {
    let scenario = |quantiles: &str| {
        parse(&format!(
            "duration_ms = 100\n[committee]\nmembers = 4\n[node]\nwake_us = 400\nsync_quantiles_us = {quantiles}\n"
        ))
    };
    let refused = scenario("[100, 300, 200]").unwrap_err().to_string();
    assert_eq!(refused, "line 6: 300 stands before 200; expected the shortest first");
    assert!(scenario("[100, 100, 200]").is_ok());
}

#[test]
fn a_narrow_connection_makes_large_batches_wait() {
    let wide = ClusterConfig::equal(101, 4);
    let mut narrow = wide.clone();
    // 10 Mbit/s: 100 kB to three peers take a quarter of a second.
    narrow.bandwidth = Some((1_250_000, 1_250_000));
    let (fast, slow) = (ordering_micros(&wide, 100_000), ordering_micros(&narrow, 100_000));
    assert!(slow > fast + 200_000, "{fast} and {slow} µs");
}

#[test]
fn distance_is_what_the_table_says() {
    let near = ordering_micros(&ClusterConfig::equal(102, 4), 300);
    let mut far = ClusterConfig::equal(102, 4);
    far.places = Some(Places::aws(4, &["alto-10".to_owned()]).unwrap());
    far.params = squad_types::Params::default();
    let micros = ordering_micros(&far, 300);
    assert!(micros > near + 100_000 && micros < 3_000_000, "{near} and {micros} µs");
}

#[test]
fn clocks_that_run_fast_or_slow_and_nodes_that_stand_still_stop_nothing() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(103, 4));
    cluster.nodes[0].drift_ppm = 20_000;
    cluster.nodes[1].drift_ppm = -20_000;
    cluster.nodes[2].skew_ms = 200;
    cluster.start_all();
    cluster.run(1_000);
    cluster.pause(3, 2_000);
    let height = cluster.height(0);
    cluster.run(1_500);
    let stopped = cluster.height(3);
    assert!(cluster.height(0) > Height(height.0 + 3), "three of four go on");
    assert!(cluster.run_until(5_000, |c| c.height(3) >= c.height(0) && c.height(3) > stopped), "it does not come back");
    cluster.set_skew(2, -200);
    let height = cluster.lowest(0..4);
    assert!(cluster.run_until(5_000, |c| c.lowest(0..4) > Height(height.0 + 5)));
}

#[test]
fn a_follower_follows_without_a_key() {
    let mut config = ClusterConfig::equal(104, 4);
    config.followers = 3;
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    for at in 0..20 {
        cluster.submit(at % 4, 300);
        cluster.run(50);
    }
    cluster.crash(5);
    cluster.run(500);
    cluster.start(5, squad_sequencer::Memory::Kept);
    let height = cluster.height(0);
    let follows = cluster.run_until(5_000, |c| c.lowest(4..7) >= height);
    assert!(follows, "followers are at {} of {height}", cluster.lowest(4..7));
}

#[test]
fn a_lost_message_that_is_sent_again_is_only_late() {
    let mut config = ClusterConfig::equal(105, 4);
    config.links.loss_per_mille = 300;
    config.links.retransmit = Some(20_000);
    config.links.duplicate_per_mille = 200;
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    cluster.run(1_000);
    let ids: Vec<_> = (0..12).map(|at| cluster.submit(at % 4, 300)).collect();
    assert!(cluster.run_until(10_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
}
