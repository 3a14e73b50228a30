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
fn nothing_secured_expires_with_its_lane_where_blocks_are_full_and_its_author_forgets_it() {
    holds(include_str!("failures/lanes-expire-in-full-blocks.toml"));
}

#[test]
fn operators_take_no_more_than_the_network_orders_in_time() {
    // Four times too much. Once, all of it was taken, most of it expired in its batches, and the rest took nine seconds.
    let text = "duration_ms = 6000\nsettle_ms = 10000\n[committee]\nmembers = 7\n[network]\ndelay_ms = 20.0\n\
                [params]\nmax_block_bytes = 65536\nidle_interval_ms = 200\nepoch_heights = 16\nepoch_ms = 1000\n\
                [[load]]\nrate = 1600.0\nbytes = 2000\n";
    let mut simulation = Simulation::new(parse(text).unwrap()).unwrap();
    assert_eq!(simulation.run_guarded().verdict, Verdict::Held);
    let (sent, known) = (simulation.sent.len(), &simulation.cluster.invariants);
    assert!(known.refused("busy") > sent / 2, "{} of {sent}", known.refused("busy"));
    assert_eq!(known.refused("expired"), 0);
    for id in simulation.sent.keys() {
        let batched = known.batched_at(id);
        assert_eq!(batched.is_some(), known.ordered_at(id).is_some(), "{id}");
        let took = known.ordered_at(id).zip(batched).map(|(ordered, batched)| ordered.0 - batched.0);
        assert!(took.is_none_or(|took| took < 2_000_000), "{took:?} µs from its batch");
    }
}

#[test]
fn a_lost_disk_is_filled_again_over_a_link_that_its_answers_fill() {
    // Answers came after their time, were not taken, and were asked for again, for ever.
    holds(include_str!("failures/lost-disk-on-a-full-link.toml"));
}

#[test]
fn a_branch_is_fetched_from_its_end_where_answers_do_not_reach_the_fork() {
    holds(include_str!("failures/forked-lane-fills-answers.toml"));
}

#[test]
fn a_quorum_for_nil_decides_nothing() {
    holds(include_str!("failures/nil-passed-off-as-a-decision.toml"));
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

#[test]
fn an_own_batch_leaves_with_the_decision_that_opened_its_epoch() {
    // Its operator is killed: it must know after a start that the place in the lane is taken.
    holds(include_str!("failures/decision-lost-under-own-batch.toml"));
}
