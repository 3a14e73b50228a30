//! Random plans: loss, crashes, partitions and one Byzantine node, drawn from the seed.

use squad_sequencer::Memory;
use squad_simulations::byzantine::{EquivocatingProposer, EquivocatingVoter, LaneForker, Silent};
use squad_simulations::rng::Rng;
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::Height;

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let members = 4 + rng.below(4) as usize;
    let mut config = ClusterConfig::equal(seed, members);
    config.params.epoch_heights = 16;
    config.params.epoch_ms = 3_000;
    let mut cluster = Cluster::new(&config);
    cluster.network.links.loss_per_mille = rng.below(80) as u32;
    let byzantine = members - 1;
    match rng.below(6) {
        0 => cluster.corrupt(byzantine, Silent),
        1 => cluster.corrupt(byzantine, EquivocatingProposer),
        2 => cluster.corrupt(byzantine, EquivocatingVoter),
        3 => cluster.corrupt(byzantine, LaneForker { at: rng.below(6) }),
        _ => {}
    }
    cluster.start_all();
    cluster.run(300);
    for _ in 0..60 {
        let node = rng.below(members as u64) as usize;
        cluster.submit(node, 100 + rng.below(2_000) as usize);
        cluster.run(rng.below(60));
        match rng.below(30) {
            0 => {
                let node = rng.below(members as u64) as usize;
                if cluster.nodes[node].is_up() && (0..members).all(|node| cluster.nodes[node].is_up()) {
                    cluster.crash(node);
                    cluster.restart_in(node, rng.below(800), Memory::Kept);
                }
            }
            1 => cluster.network.cut(rng.below(members as u64) as usize, rng.below(members as u64) as usize),
            2 => cluster.network.heal(),
            _ => {}
        }
    }
    cluster.network.heal();
    cluster.network.links.loss_per_mille = 0;
    cluster.run(2_000);
    let height = cluster.lowest(0..byzantine);
    let goes_on = cluster.run_until(20_000, |c| c.lowest(0..byzantine) > Height(height.0 + 5));
    assert!(goes_on, "seed {seed}: halted at {height}\n{}", cluster.states().join("\n"));
    cluster.run(2_000);
    assert!(cluster.invariants.secured_not_ordered().is_empty(), "seed {seed}: something secured was not ordered");
}

#[test]
fn random_plans_keep_every_invariant_and_go_on_after_the_faults() {
    (0..400).for_each(run);
}
