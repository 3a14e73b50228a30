//! Heights that need more than one round, and proposers that cheat.

use super::cluster::{Cluster, Wire};
use crate::Verdict;
use squad_types::{Evidence, Height, Round, VoteKind};
use std::sync::Arc;

/// Everybody but these.
fn others(cluster: &Cluster, not: &[usize]) -> Vec<usize> {
    (0..cluster.nodes.len()).filter(|node| !not.contains(node)).collect()
}

#[test]
fn silent_proposers_cost_a_round_each() {
    let mut cluster = Cluster::new(&[1; 7], 1);
    let silent = [cluster.proposer(1, 0), cluster.proposer(1, 1)];
    silent.iter().for_each(|node| cluster.nodes[*node].dead = true);
    cluster.start();
    let alive = others(&cluster, &silent);
    cluster.run_until_decided(&alive, 10_000);
    alive.iter().for_each(|node| assert_eq!(cluster.nodes[*node].decided[0].round, Round(2)));
}

#[test]
fn a_round_that_a_quorum_gave_up_is_left_at_once() {
    let mut cluster = Cluster::new(&[1; 7], 1);
    let silent = cluster.proposer(1, 0);
    cluster.nodes[silent].dead = true;
    cluster.start();
    let alive = others(&cluster, &[silent]);
    cluster.run_until_decided(&alive, 10_000);
    let timeouts = crate::TimeoutConfig::default();
    let both = (timeouts.propose + timeouts.precommit).as_millis() as u64;
    assert!(cluster.now < both, "after the proposal nobody waited for precommits, yet it took {} ms", cluster.now);
}

#[test]
fn a_round_whose_votes_are_split_is_left_once_all_are_known() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let bad = cluster.proposer(1, 0);
    cluster.nodes[bad].dead = true;
    cluster.start();
    let alive = others(&cluster, &[bad]);
    let block = cluster.block(Height(1), Round(0), bad);
    // One of three is shown the block; the liar says to all that it precommits another.
    cluster.inject(alive[0], 5, Wire::Proposal(cluster.sign_proposal(bad, 0, None, &block)));
    for node in &alive {
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            let vote = cluster.sign_vote(bad, kind, 1, 0, Some(squad_types::HeaderHash([3; 32])));
            cluster.inject(*node, 10, Wire::Vote(vote));
        }
    }
    cluster.run_until_decided(&alive, 10_000);
    let timeouts = crate::TimeoutConfig::default();
    let both = (timeouts.propose + timeouts.prevote).as_millis() as u64;
    assert!(cluster.now < both, "nobody waited for votes that could change nothing, yet it took {} ms", cluster.now);
    assert_eq!(cluster.nodes[alive[1]].decided[0].round, Round(1));
}

#[test]
fn an_invalid_block_is_voted_down_at_once() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let bad = cluster.proposer(1, 0);
    cluster.nodes[bad].dead = true;
    cluster.judge = Box::new(|_, _, round, _| Some(if round == Round(0) { Verdict::Invalid } else { Verdict::Valid }));
    cluster.start();
    let block = cluster.block(Height(1), Round(0), bad);
    let proposal = cluster.sign_proposal(bad, 0, None, &block);
    let alive = others(&cluster, &[bad]);
    for node in &alive {
        cluster.inject(*node, 10, Wire::Proposal(proposal.clone()));
    }
    cluster.run_until_decided(&alive, 10_000);
    assert!(cluster.now < 1_000, "nobody waited for the propose timeout, yet it took {} ms", cluster.now);
    assert_eq!(cluster.nodes[alive[0]].decided[0].round, Round(1));
    assert_ne!(cluster.nodes[alive[0]].decided[0].block, block.hash());
}

#[test]
fn a_node_that_was_shown_the_other_block_of_an_equivocating_proposer_decides_with_the_rest() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let bad = cluster.proposer(1, 0);
    cluster.nodes[bad].dead = true;
    cluster.start();
    let alive = others(&cluster, &[bad]);
    let (one, two) = (cluster.block(Height(1), Round(0), bad), cluster.block(Height(1), Round(0), bad));
    let (to_one, to_two) = (cluster.sign_proposal(bad, 0, None, &one), cluster.sign_proposal(bad, 0, None, &two));
    cluster.inject(alive[0], 5, Wire::Proposal(to_one));
    for node in &alive {
        cluster.inject(*node, 10, Wire::Proposal(to_two.clone()));
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            let vote = cluster.sign_vote(bad, kind, 1, 0, Some(two.hash()));
            cluster.inject(*node, 10, Wire::Vote(vote));
        }
    }
    cluster.run_until_decided(&alive, 10_000);
    for node in &alive {
        assert_eq!(cluster.nodes[*node].decided[0].block, two.hash());
    }
    assert!(cluster.evidence.iter().any(|evidence| matches!(evidence, Evidence::Proposals(_))));
}

#[test]
fn a_voter_that_says_two_things_is_accused_once_by_everybody_who_heard_both() {
    let mut cluster = Cluster::new(&[1; 4], 3);
    let bad = (0..4).find(|node| (1..=3).all(|height| cluster.proposer(height, 0) != *node)).unwrap();
    cluster.nodes[bad].dead = true;
    cluster.start();
    let alive = others(&cluster, &[bad]);
    let block = cluster.block(Height(1), Round(0), bad);
    for node in &alive {
        for (after, block) in [(1, None), (2, Some(block.hash())), (3, Some(squad_types::HeaderHash([3; 32])))] {
            let vote = cluster.sign_vote(bad, VoteKind::Prevote, 1, 0, block);
            cluster.inject(*node, after, Wire::Vote(vote));
        }
        // A contradiction about a height that is over counts as well.
        for block in [None, Some(block.hash())] {
            let vote = cluster.sign_vote(bad, VoteKind::Precommit, 1, 0, block);
            cluster.inject(*node, 65, Wire::Vote(vote));
        }
    }
    cluster.run_until_decided(&alive, 10_000);
    assert_eq!(cluster.evidence.len(), 2 * alive.len());
}

#[test]
fn a_node_that_missed_round_0_altogether_catches_up_in_round_1() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let deaf = others(&cluster, &[cluster.proposer(1, 0), cluster.proposer(1, 1)])[0];
    // Precommits of round 0 get lost everywhere, so that everybody but the deaf node locks, and nobody decides.
    cluster.route = Box::new(move |_, to, _, wire| match wire {
        Wire::Vote(vote) if vote.statement.round == Round(0) => {
            (to != deaf && vote.statement.kind == VoteKind::Prevote || vote.statement.block.is_none()).then_some(10)
        }
        Wire::Proposal(proposal) if proposal.proposal().statement.round == Round(0) => (to != deaf).then_some(10),
        _ => Some(10),
    });
    cluster.start();
    cluster.run_for(2_000);
    // Their precommits arrive after all, later: relayed by those who enter round 1, or sent again.
    cluster.route = Box::new(|_, _, _, _| Some(10));
    cluster.run_until_decided(&[0, 1, 2, 3], 60_000);
}

#[test]
fn a_lock_survives_rounds_of_lost_precommits_and_its_block_is_proposed_again() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    cluster.route = Box::new(|_, _, now, wire| match wire {
        Wire::Vote(vote) if vote.statement.kind == VoteKind::Precommit && vote.statement.round == Round(0) => {
            (now > 1_500).then_some(10)
        }
        _ => Some(10),
    });
    cluster.start();
    cluster.run_for(100);
    let locked: Vec<_> = cluster.nodes.iter().map(|node| node.consensus.running.as_ref().unwrap().locked()).collect();
    assert!(locked.iter().all(|one| *one == locked[0] && one.is_some()));
    cluster.run_until_decided(&[0, 1, 2, 3], 60_000);
    assert_eq!(cluster.nodes[0].decided[0].block, locked[0].unwrap().1);
}

#[test]
fn a_node_many_rounds_behind_follows_votes_beyond_the_cores_reach() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    cluster.start();
    cluster.judge = Box::new(|_, _, _, _| None);
    // Two of the others are in round 40: one of them is honest.
    for node in [1, 2] {
        let vote = cluster.sign_vote(node, VoteKind::Prevote, 1, 40, None);
        cluster.inject(0, 1, Wire::Vote(vote));
    }
    cluster.run_for(5);
    assert_eq!(cluster.nodes[0].consensus.round(), Round(40));
}

#[test]
fn a_certificate_over_prevotes_is_checked_before_it_counts() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let bad = cluster.proposer(1, 0);
    cluster.nodes[bad].dead = true;
    cluster.judge = Box::new(|_, _, _, _| None);
    cluster.start();
    let block = cluster.block(Height(1), Round(0), bad);
    let to = others(&cluster, &[bad])[0];
    let votes: Vec<_> =
        (0..3).map(|node| cluster.sign_vote(node, VoteKind::Prevote, 1, 0, Some(block.hash()))).collect();
    let certificate = |signatures: Vec<_>| squad_types::VoteCertificate {
        vote: votes[0].statement,
        signers: (0..3).map(squad_types::ValidatorIndex).collect(),
        signatures,
    };
    let good = certificate(votes.iter().map(|vote| vote.signature).collect());
    let forged = certificate(vec![votes[0].signature; 3]);
    let proposal = cluster.sign_proposal(bad, 0, None, &Arc::clone(&block));
    cluster.inject(to, 1, Wire::Proposal(proposal));
    cluster.inject(to, 2, Wire::Votes(forged));
    cluster.run_for(5);
    assert!(!cluster.nodes[to].outputs.iter().any(|output| output.starts_with("PublishVote")));
    cluster.inject(to, 1, Wire::Votes(good));
    cluster.run_for(5);
    assert!(cluster.nodes[to].consensus.running.as_ref().unwrap().locked().is_some());
}
