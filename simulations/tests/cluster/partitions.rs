//! The network falls apart and comes together.

use squad_simulations::{Cluster, ClusterConfig};
use squad_types::{Height, TxId};

#[test]
fn no_half_decides_and_both_go_on_after_the_heal() {
    for seed in 0..6 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(50 + seed, 4));
        cluster.start_all();
        cluster.run(300);
        cluster.run(400);
        cluster.network.partition(&[&[0, 1], &[2, 3]]);
        cluster.run(100);
        let height = cluster.lowest(0..4);
        let ids: Vec<_> = (0..4).map(|node| cluster.submit(node, 200)).collect();
        cluster.run(3_000);
        assert!(cluster.height(0).0 <= height.0 + 1 && cluster.height(3).0 <= height.0 + 1, "a half decided");
        cluster.network.heal();
        let done = cluster.run_until(15_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some()));
        assert!(done, "seed {seed}: halted at {} after the heal", cluster.lowest(0..4));
    }
}

#[test]
fn a_minority_catches_up_after_the_heal() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(60, 4));
    cluster.start_all();
    cluster.run(300);
    cluster.run(300);
    cluster.network.partition(&[&[0, 1, 2], &[3]]);
    for at in 0..60 {
        cluster.submit(at % 3, 300);
        cluster.run(40);
    }
    assert!(cluster.height(0).0 > cluster.height(3).0 + 5);
    cluster.network.heal();
    assert!(
        cluster.run_until(10_000, |c| c.height(3) >= c.height(0)),
        "{} of {}",
        cluster.height(3),
        cluster.height(0)
    );
}

#[test]
fn only_far_behind_a_node_takes_no_transactions() {
    for (missed, refused) in [(3, 0), (40, 1)] {
        let mut cluster = Cluster::new(&ClusterConfig::equal(61, 4));
        cluster.start_all();
        cluster.run(600);
        cluster.network.partition(&[&[0, 1, 2], &[3]]);
        let top = cluster.height(3).0 + missed;
        while cluster.height(0).0 < top {
            cluster.submit(0, 300);
            cluster.run(5);
        }
        cluster.network.heal();
        let behind = |c: &Cluster| c.nodes[3].sequencer.as_ref().unwrap().status().catching_up_to.is_some();
        assert!(cluster.run_until(10_000, behind), "{missed} heights behind and it never knew");
        let id = cluster.submit(3, 300);
        assert_eq!(cluster.invariants.refused("catching_up"), refused, "{missed} heights behind");
        let settled = cluster.run_until(10_000, |c| c.height(3) >= c.height(0) && c.invariants.is_settled(&id));
        assert!(refused == 1 || settled && cluster.invariants.ordered_at(&id).is_some());
    }
}

#[test]
fn one_way_cuts_and_loss_do_not_halt() {
    for seed in 0..6 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(70 + seed, 4));
        cluster.network.links.loss_per_mille = 50;
        cluster.network.cut(0, 3);
        cluster.network.cut(2, 1);
        cluster.start_all();
        let open = |c: &Cluster| (0..4).all(|node| c.nodes[node].sequencer.as_ref().unwrap().status().closed.is_none());
        assert!(cluster.run_until(20_000, open), "seed {seed}: somebody never came to take transactions");
        let mut ids = Vec::new();
        for at in 0..40 {
            ids.push(cluster.submit(at % 4, 300));
            cluster.run(40);
        }
        // Where a tenth of everything is lost, some outlive their validity, and who falls behind refuses: answers too. A height
        // takes seconds: who does not hear the proposer needs another round.
        let answered = |c: &Cluster, id: &TxId| c.invariants.is_settled(id) || c.invariants.was_refused(id);
        let done = cluster.run_until(240_000, |c| ids.iter().all(|id| answered(c, id)));
        assert!(done, "seed {seed}: not all have a fate: {:#?}", cluster.states());
        let refused = ids.iter().filter(|id| cluster.invariants.was_refused(id)).count();
        assert!(refused < ids.len() / 2, "seed {seed}: {refused} of {} were refused", ids.len());
    }
}

#[test]
fn a_certificate_that_one_validator_knows_alone_delays_nothing_for_ever() {
    // Node 0 hears all acks; the others hear none of node 1's and 2's for a while, so only node 0 knows certificates.
    for seed in 0..4 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(80 + seed, 4));
        cluster.start_all();
        cluster.run(300);
        cluster.run(300);
        cluster.network.cut(1, 2);
        cluster.network.cut(2, 1);
        cluster.network.cut(1, 3);
        cluster.network.cut(2, 3);
        let id = cluster.submit(0, 300);
        cluster.run(2_000);
        cluster.network.heal();
        assert!(cluster.run_until(10_000, |c| c.invariants.ordered_at(&id).is_some()));
        let height = cluster.lowest(0..4);
        assert!(cluster.run_until(5_000, |c| c.lowest(0..4) > Height(height.0 + 5)), "seed {seed}: halted at {height}");
    }
}
