//! Scenarios that once failed, as a campaign found them and `shrink` left them.

use squad_simulations::scenario::parse;
use squad_simulations::simulation::{Simulation, Verdict};

fn holds(text: &str) {
    let outcome = Simulation::new(parse(text).unwrap()).unwrap().run_guarded();
    assert_eq!(outcome.verdict, Verdict::Held);
}

#[test]
fn a_question_lost_while_joining_by_snapshot_is_asked_again() {
    holds(include_str!("failures/lost-while-joining.toml"));
}

#[test]
fn a_node_far_behind_follows_block_by_block_if_nobody_has_a_snapshot() {
    holds(include_str!("failures/nobody-has-a-snapshot.toml"));
}

#[test]
fn a_decided_block_that_only_the_log_of_its_witness_kept_is_written_again() {
    holds(include_str!("failures/decided-block-lost.toml"));
}

#[test]
fn an_author_that_turns_to_its_other_branch_halts_nobody() {
    holds(include_str!("failures/forked-lane-halts.toml"));
}

#[test]
fn a_block_that_is_held_needs_nobody_but_its_certificate() {
    // A liar alone saw the quorum. It says so, and gives the block to nobody.
    holds(include_str!("failures/decided-by-a-liar-alone.toml"));
}

#[test]
fn what_too_few_heard_before_its_author_forgot_it_may_be_said_otherwise() {
    let scenario = parse(include_str!("../../scenarios/stale-disk-heard-by-few.toml")).unwrap();
    let mut simulation = Simulation::new(scenario).unwrap();
    assert_eq!(simulation.run_guarded().verdict, Verdict::Held);
    assert!(simulation.cluster.invariants.forgotten() > 0, "nothing was said anew");
}

#[test]
fn what_many_heard_before_its_author_lost_its_disk_is_not_said_otherwise() {
    let text = "duration_ms = 3000\n[committee]\nmembers = 4\n[[load]]\nrate = 40.0\nbytes = 100\n[[fault]]\nat_ms = 1500\n\
                crash = { node = 2, down_ms = 100, disk = \"lost\" }\n";
    let mut simulation = Simulation::new(parse(text).unwrap()).unwrap();
    assert_eq!(simulation.run_guarded().verdict, Verdict::Held);
    assert_eq!(simulation.cluster.invariants.forgotten(), 0);
}
