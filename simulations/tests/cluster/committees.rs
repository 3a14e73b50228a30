//! The committee changes while the network runs.

use squad_sequencer::Memory;
use squad_simulations::cluster::StakeTableChange;
use squad_simulations::scenario::parse;
use squad_simulations::simulation::{Simulation, Verdict};
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::{Epoch, Height, L1Anchor, Round};

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
    let change = |epoch, nodes: std::ops::Range<usize>| StakeTableChange {
        epoch,
        at_ms: 0,
        table: nodes.map(|node| (node, 1)).collect(),
    };
    config.stake_changes = vec![change(2, 0..5), change(8, 1..5)];
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

#[test]
fn an_operator_that_was_left_out_while_it_was_away_is_back_two_epochs_after_its_return() {
    let mut config = short_epochs(93);
    config.stakes = vec![1; 5];
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    let epoch = |cluster: &Cluster| cluster.nodes[0].sequencer.as_ref().unwrap().status().epoch;
    assert!(cluster.run_until(5_000, |c| c.height(4) >= Height(5)));
    cluster.crash(4);
    let committee_of = |cluster: &Cluster, epoch: Epoch| {
        cluster.nodes[0].sequencer.as_ref().unwrap().ledger().committee(epoch).map(|committee| committee.len())
    };
    assert!(cluster.run_until(60_000, |c| committee_of(c, epoch(c)) == Some(4)), "it is never left out");
    cluster.restart_in(4, 1, Memory::Kept);
    let back = epoch(&cluster).plus(3);
    let member = |cluster: &Cluster| committee_of(cluster, epoch(cluster)) == Some(5);
    assert!(cluster.run_until(60_000, |c| member(c) || epoch(c) > back), "the network stands");
    assert!(member(&cluster), "not back in epoch {back}");
    let takes = |cluster: &Cluster| cluster.nodes[4].sequencer.as_ref().unwrap().status().closed.is_none();
    assert!(cluster.run_until(5_000, takes), "it takes nothing");
    let id = cluster.submit(4, 100);
    assert!(cluster.run_until(5_000, |c| c.invariants.ordered_at(&id).is_some()), "its lane is not ordered");
}

#[test]
fn the_first_block_of_an_epoch_names_a_block_of_the_settlement_layer_and_the_others_repeat_it() {
    let mut cluster = Cluster::new(&short_epochs(94));
    cluster.start_all();
    let (mut last, mut moved) = (None, 0);
    for height in 1..80 {
        assert!(cluster.run_until(5_000, |c| c.height(0) >= Height(height)), "stands below {height}");
        let ledger = cluster.nodes[0].sequencer.as_ref().unwrap().ledger();
        let header = ledger.tip().unwrap().block.header();
        assert_eq!(header.height, Height(height), "every block is looked at");
        if let Some((epoch, anchor)) = last.replace((header.epoch, header.l1_anchor)) {
            assert!(header.l1_anchor.number >= anchor.number);
            assert!(epoch != header.epoch || header.l1_anchor == anchor, "{height} names another one");
            moved += usize::from(header.l1_anchor != anchor);
        }
    }
    assert!(moved >= 3, "{moved} epochs named another block");
}

#[test]
fn a_block_of_the_settlement_layer_that_is_seen_late_costs_no_round() {
    let mut cluster = Cluster::new(&short_epochs(95));
    cluster.start_all();
    // Longer than proposers leave others to see what they name, shorter than a round waits.
    for node in [2, 3] {
        cluster.lag_l1(node, 700_000, false);
    }
    let mut named = L1Anchor::default();
    let mut moved = 0;
    for height in 1..80 {
        assert!(cluster.run_until(5_000, |c| c.height(0) >= Height(height)), "stands below {height}");
        let tip = cluster.nodes[0].sequencer.as_ref().unwrap().ledger().tip().unwrap();
        assert_eq!(tip.certificate.round, Round(0), "{height} took another round");
        moved += usize::from(std::mem::replace(&mut named, tip.block.header().l1_anchor) != named);
    }
    assert!(moved >= 3, "{moved} epochs named another block");
}

/// A newcomer that the settlement layer has from the second second on, when epoch 1 is under way; the change is for epoch 3.
fn late_table(lag: &str) -> Simulation {
    let text = format!(
        "duration_ms = 12000\n[committee]\nmembers = 4\nnewcomers = 1\n[[committee.change]]\nepoch = 3\nat_ms = 2500\n\
         stakes = [1, 1, 1, 1, 1]\n[params]\nidle_interval_ms = 100\nepoch_heights = 16\nepoch_ms = 2000\n\
         [[load]]\nrate = 40.0\nbytes = 100\n[[fault]]\nat_ms = 0\nl1_lag = {{ {lag}, for_ms = 11000 }}\n"
    );
    Simulation::new(parse(&text).unwrap()).unwrap()
}

#[test]
fn who_sees_a_stake_table_late_follows_the_others() {
    for lag in ["node = 2, by_ms = 4000", "node = 2, by_ms = 4000, unaware = true"] {
        let mut simulation = late_table(lag);
        assert_eq!(simulation.run().verdict, Verdict::Held, "{lag}");
        let member = |node: usize| simulation.cluster.nodes[node].sequencer.as_ref().unwrap().status().member;
        assert!(member(4), "{lag}: the newcomer is no member");
    }
}

#[test]
fn a_stake_table_that_all_see_late_is_waited_for_or_comes_an_epoch_later() {
    for lag in ["by_ms = 4000", "by_ms = 4000, unaware = true"] {
        let mut simulation = late_table(lag);
        assert_eq!(simulation.run().verdict, Verdict::Held, "{lag}");
    }
}

#[test]
fn half_that_see_a_stake_table_late_and_half_that_do_not_agree_in_the_end() {
    for unaware in [false, true] {
        let mut simulation = late_table("node = 0, by_ms = 0");
        for node in [1, 2] {
            simulation.cluster.lag_l1(node, 5_000_000, unaware);
        }
        assert_eq!(simulation.run().verdict, Verdict::Held, "unaware: {unaware}");
    }
}
