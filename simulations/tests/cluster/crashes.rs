//! Nodes die, with what was not synced, and come back; or their disks do not.

use squad_sequencer::{Input, Memory, Notice, Peer};
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::Height;

#[test]
fn a_node_killed_under_load_comes_back_and_nothing_secured_is_lost() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(31, 4));
    cluster.start_all();
    cluster.run(300);
    let mut ids = Vec::new();
    for at in 0..120_usize {
        if at == 30 {
            cluster.crash(1);
            cluster.restart_in(1, 1_500, Memory::Kept);
        }
        ids.push(cluster.submit([0, 2, 3][at % 3], 400));
        cluster.run(25);
    }
    assert!(cluster.run_until(10_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    assert!(cluster.run_until(10_000, |c| c.height(1) >= c.height(0)), "it stays behind at {}", cluster.height(1));
    assert!(cluster.invariants.secured_not_ordered().is_empty());
}

#[test]
fn what_was_batched_before_a_kill_is_ordered_after_the_restart() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(32, 4));
    cluster.start_all();
    cluster.run(500);
    let id = cluster.submit(2, 500);
    assert!(cluster.run_until(1_000, |c| c.invariants.batched_at(&id).is_some()));
    cluster.crash(2);
    cluster.restart_in(2, 1_000, Memory::Kept);
    assert!(cluster.run_until(8_000, |c| c.invariants.ordered_at(&id).is_some()), "what was batched is lost");
}

#[test]
fn all_killed_at_once_continue_and_sign_nothing_twice() {
    for seed in 0..12 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(400 + seed, 4));
        cluster.start_all();
        for round in 0..4_u64 {
            for at in 0..4 {
                cluster.submit(at, 300);
                cluster.run(11 + seed * 3 + round);
            }
            (0..4).for_each(|node| cluster.crash(node));
            (0..4).for_each(|node| cluster.start(node, Memory::Kept));
            let height = cluster.lowest(0..4);
            assert!(
                cluster.run_until(10_000, |c| c.lowest(0..4) > Height(height.0 + 2)),
                "seed {seed}: halted at {height}"
            );
        }
        cluster.run(1_000);
        assert!(cluster.invariants.secured_not_ordered().is_empty(), "seed {seed}");
    }
}

/// A crash before every output index of a loaded stretch; recovery from durable records only.
#[test]
fn a_crash_before_any_output_is_recovered_from() {
    // Every index of the first few hundred outputs, in steps that are coprime with what a height takes.
    for index in (0..420).step_by(7) {
        let mut cluster = Cluster::new(&ClusterConfig::equal(33, 4));
        cluster.nodes[1].crash_at = Some(index);
        cluster.start_all();
        cluster.run(300);
        let mut ids = Vec::new();
        for at in 0..24 {
            ids.push(cluster.submit([0, 2, 3][at % 3], 300));
            cluster.submit(1, 200);
            cluster.run(20);
            if !cluster.nodes[1].is_up() {
                cluster.start(1, Memory::Kept);
            }
        }
        let done = cluster.run_until(10_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some()));
        assert!(done, "crash before output {index}: not everything is ordered");
        let level = cluster.run_until(10_000, |c| c.height(1) >= c.height(0));
        assert!(
            level,
            "crash before output {index}: it stays behind at {} of {}",
            cluster.height(1),
            cluster.height(0)
        );
        cluster.run(1_000);
        assert!(cluster.invariants.secured_not_ordered().is_empty(), "crash before output {index}");
    }
}

#[test]
fn a_node_whose_disk_is_lost_waits_before_it_signs_and_then_takes_part_again() {
    let mut config = ClusterConfig::equal(34, 4);
    config.params.epoch_heights = 16;
    config.params.epoch_ms = 2_000;
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    for at in 0..40 {
        cluster.submit(at % 4, 300);
        cluster.run(30);
    }
    cluster.crash(3);
    cluster.nodes[3].disk.lose();
    cluster.start(3, Memory::Kept);
    assert!(cluster.run_until(5_000, |c| c.nodes[3].notices.iter().any(|n| matches!(n, Notice::StateLost { .. }))));
    let refused = cluster.invariants.refused("state_lost") + cluster.invariants.refused("starting");
    cluster.submit(3, 100);
    assert!(
        cluster.invariants.refused("state_lost")
            + cluster.invariants.refused("starting")
            + cluster.invariants.refused("catching_up")
            > refused
    );
    // It is whole again after the epoch that follows: its submissions are ordered.
    cluster.run(12_000);
    let id = cluster.submit(3, 100);
    assert!(
        cluster.run_until(8_000, |c| c.invariants.ordered_at(&id).is_some()),
        "{:?}",
        cluster.nodes[3].notices.last()
    );
    assert!(cluster.invariants.accused().is_empty());
}

#[test]
fn a_node_with_a_stale_disk_is_told_by_its_peers() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(35, 4));
    cluster.start_all();
    for at in 0..20 {
        cluster.submit(at % 4, 300);
        cluster.run(30);
    }
    let backup = {
        cluster.crash(2);
        let disk = cluster.nodes[2].disk.clone();
        cluster.start(2, Memory::Kept);
        disk
    };
    for at in 0..40 {
        cluster.submit(at % 4, 300);
        cluster.run(30);
    }
    cluster.crash(2);
    cluster.nodes[2].disk = backup;
    cluster.start(2, Memory::Kept);
    assert!(cluster.run_until(5_000, |c| c.nodes[2].notices.iter().any(|n| matches!(n, Notice::StateLost { .. }))));
    let height = cluster.lowest(0..4);
    assert!(cluster.run_until(20_000, |c| c.lowest(0..4) > Height(height.0 + 10)));
    // That nothing was signed twice is what the invariants watched.
    assert!(cluster.invariants.accused().is_empty());
}

#[test]
fn a_marker_without_a_log_counts_as_lost_even_if_nobody_remembers() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(36, 4));
    (0..3).for_each(|node| cluster.start(node, Memory::Kept));
    cluster.run(500);
    cluster.start(3, Memory::Lost);
    assert!(cluster.run_until(5_000, |c| c.nodes[3].notices.iter().any(|n| matches!(n, Notice::StateLost { .. }))));
}

#[test]
fn who_was_away_catches_up_many_times_faster_than_the_others_go_on() {
    let mut config = ClusterConfig::equal(60, 4);
    config.links.delay = 20_000;
    config.links.jitter = 0;
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    cluster.run(500);
    cluster.crash(3);
    for at in 0..400 {
        cluster.submit(at % 3, 300);
        cluster.run(50);
    }
    let missed = cluster.height(0).0 - cluster.height(3).0;
    cluster.restart_in(3, 10, Memory::Kept);
    let from = cluster.now();
    assert!(cluster.run_until(60_000, |c| c.height(3).0 + 1 >= c.height(0).0 && c.height(3).0 > missed));
    let took = (cluster.now().0 - from.0) / 1_000;
    assert!(took < 10 * missed, "{missed} heights took {took} ms");
}

#[test]
fn a_third_of_stake_cannot_stop_a_node_by_saying_that_its_key_is_in_use() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(97, 7));
    (0..7).for_each(|node| cluster.start(node, Memory::Kept));
    assert!(cluster.run_until(10_000, |c| c.height(0) >= Height(3)));
    let halted = |c: &Cluster, node: usize| c.nodes[node].sequencer.as_ref().unwrap().status().halted;
    let told = |c: &mut Cluster, by: usize| c.input(0, Input::HeldElsewhere(c.address(by)));
    // Two of seven may lie, as often as they like; a third one's word is withdrawn when it hears the node again.
    for by in [5, 6, 5, 6, 4] {
        if by == 4 {
            let heard = Peer::Operator(cluster.address(5));
            cluster.input(0, Input::Connected(heard));
        }
        told(&mut cluster, by);
        assert_eq!(halted(&cluster, 0), None);
    }
    // What signs cannot be stopped by meeting the other one: that one has not signed.
    told(&mut cluster, 0);
    assert_eq!(halted(&cluster, 0), None);
    let at = cluster.height(0);
    assert!(cluster.run_until(10_000, |c| c.height(0) >= at.plus(5)));
    // Three hold somebody honest.
    told(&mut cluster, 5);
    let reason = halted(&cluster, 0).unwrap();
    assert!(reason.contains("3 operators with over a third of stake hear it"), "{reason}");
    assert!(cluster.nodes[0].notices.iter().any(|notice| matches!(notice, Notice::KeyInUse(said) if *said == reason)));
}

#[test]
fn a_node_that_meets_another_with_its_key_before_it_signs_never_does() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(96, 4));
    (0..3).for_each(|node| cluster.start(node, Memory::Kept));
    assert!(cluster.run_until(10_000, |c| c.height(0) >= Height(3)));
    cluster.start(3, Memory::Lost);
    let me = cluster.address(3);
    cluster.input(3, Input::HeldElsewhere(me));
    let at = cluster.height(0);
    assert!(cluster.run_until(60_000, |c| c.height(0) >= at.plus(20)));
    assert!(cluster.nodes[3].sequencer.as_ref().unwrap().status().halted.is_some());
    assert!(!cluster.nodes[3].notices.iter().any(|notice| matches!(notice, Notice::SigningAllowed)));
}

#[test]
fn a_dead_proposer_costs_some_delays_and_not_the_whole_timeout() {
    let mut config = ClusterConfig::equal(95, 4);
    config.params.idle_interval_ms = 100;
    config.params.propose_timeout_ms = 1_000;
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    assert!(cluster.run_until(10_000, |c| c.height(0) >= Height(20)));
    cluster.crash(3);
    let (mut longest, mut rounds) = (0, 0);
    for _ in 0..40 {
        let (before, height) = (cluster.now(), cluster.height(0));
        assert!(cluster.run_until(10_000, |c| c.height(0) > height), "heights go on");
        let took = (cluster.now().0 - before.0) / 1_000;
        longest = longest.max(took);
        rounds += usize::from(took > 200);
    }
    assert!(rounds > 0, "it never had a turn");
    assert!(longest < 500, "a height took {longest} ms");
}
