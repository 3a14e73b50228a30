//! The committee changes while the network runs.

use squad_simulations::{Cluster, ClusterConfig};
use squad_types::{Epoch, Height};

fn short_epochs(seed: u64) -> ClusterConfig {
    let mut config = ClusterConfig::equal(seed, 4);
    config.params.epoch_heights = 16;
    config.params.epoch_ms = 2_000;
    config.params.idle_interval_ms = 100;
    config
}

#[test]
fn epochs_follow_one_another_without_a_gap() {
    let mut cluster = Cluster::new(&short_epochs(90));
    cluster.start_all();
    cluster.run(300);
    let mut ids = Vec::new();
    for at in 0..300 {
        ids.push(cluster.submit(at % 4, 200));
        cluster.run(30);
    }
    let epoch = cluster.nodes[0].sequencer.as_ref().unwrap().status().epoch;
    assert!(epoch >= Epoch(3), "epoch {epoch}");
    assert!(cluster.run_until(5_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
}

#[test]
fn a_newcomer_joins_and_a_leaver_leaves() {
    let mut config = short_epochs(91);
    config.newcomers = 1;
    // From epoch 2 on the newcomer (node 4) is at stake as well; from epoch 8 on node 0 is not.
    config.stake_changes =
        vec![(2, vec![(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]), (8, vec![(1, 1), (2, 1), (3, 1), (4, 1)])];
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    cluster.run(300);
    let member = |cluster: &Cluster, node: usize| cluster.nodes[node].sequencer.as_ref().unwrap().status().member;
    let mut ids = Vec::new();
    let mut joined = false;
    for at in 0..1_200 {
        ids.push(cluster.submit(1 + at % 3, 200));
        cluster.run(20);
        joined = joined || member(&cluster, 4);
    }
    assert!(joined, "the newcomer never joined");
    let left = !member(&cluster, 0);
    let epoch = cluster.nodes[1].sequencer.as_ref().unwrap().status().epoch;
    assert!(left, "the leaver is still in at {epoch}");
    let height = cluster.lowest(1..5);
    assert!(cluster.run_until(5_000, |c| c.lowest(1..5) > Height(height.0 + 5)), "halted after the change");
    assert!(cluster.run_until(5_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    let id = cluster.submit(4, 100);
    assert!(cluster.run_until(5_000, |c| c.invariants.ordered_at(&id).is_some()), "the newcomer's lane is not ordered");
}
