//! Beyond what is promised: a third of stake misbehaves, and still there is proof.

use squad_simulations::invariants::Fork;
use squad_simulations::scenario::parse;
use squad_simulations::simulation::{Simulation, Verdict};
use squad_types::Stake;

/// Two operators of four run two nodes each, and each half of the network has one node of both.
fn forked(twins: [usize; 2], seed: u64) -> Vec<Fork> {
    let mut scenario = parse(include_str!("../../scenarios/two-halves.toml")).unwrap();
    let others: Vec<usize> = (0..4).filter(|node| !twins.contains(node)).collect();
    scenario.seed = seed;
    scenario.committee.twins = twins.to_vec();
    let partition = scenario.fault[0].partition.as_mut().unwrap();
    partition.groups = vec![vec![twins[0], twins[1], others[0]], vec![4, 5, others[1]]];
    let mut simulation = Simulation::new(scenario).unwrap();
    let outcome = simulation.run_guarded();
    assert!(matches!(outcome.verdict, Verdict::Beyond(_)), "twins {twins:?}: {:?}", outcome.verdict);
    let liars: Vec<_> = twins.iter().map(|node| simulation.cluster.address(*node)).collect();
    let forks = simulation.cluster.invariants.forks().to_vec();
    assert!(forks.iter().flat_map(|fork| &fork.named).all(|named| liars.contains(named)));
    forks
}

#[test]
fn a_fork_in_one_round_names_who_signed_both_and_one_across_rounds_is_kept() {
    let pairs = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
    let forks: Vec<Fork> =
        (1..=3).flat_map(|seed| pairs.into_iter().flat_map(move |twins| forked(twins, seed))).collect();
    let (same, across): (Vec<&Fork>, Vec<&Fork>) = forks.iter().partition(|fork| fork.first.round == fork.second.round);
    assert!(!same.is_empty() && same.iter().all(|fork| fork.named.len() == 2 && fork.stake == Stake(2)), "{same:?}");
    assert!(!across.is_empty() && across.iter().all(|fork| fork.named.is_empty()), "{across:?}");
    assert!(forks.iter().all(|fork| fork.first.block != fork.second.block));
}
