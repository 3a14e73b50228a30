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
