//! Clusters of the shipped sequencer under what may happen to them.
#![allow(clippy::unwrap_used, missing_docs)]

use squad_simulations::{Cluster, ClusterConfig};
use squad_types::Height;

mod basics {
    use super::*;

    #[test]
    fn an_idle_cluster_decides_a_block_each_idle_interval() {
        let mut cluster = Cluster::new(&ClusterConfig::equal(1, 4));
        cluster.start_all();
        assert!(cluster.run_until(5_000, |c| c.lowest(0..4) >= Height(10)), "height {}", cluster.lowest(0..4));
    }

    #[test]
    fn what_is_submitted_is_secured_and_ordered_at_once() {
        let mut cluster = Cluster::new(&ClusterConfig::equal(2, 4));
        cluster.start_all();
        cluster.run(500);
        let before = cluster.now();
        let ids: Vec<_> = (0..4).map(|node| cluster.submit(node, 512)).collect();
        assert!(cluster.run_until(2_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
        let took = ids.iter().map(|id| cluster.invariants.ordered_at(id).unwrap().0 - before.0).max().unwrap();
        assert!(took < 100_000, "ordered after {took} µs");
    }
}
