//! Soft refusals never keep a height from ending, and never turn into votes by themselves.

use super::cluster::{Cluster, Wire};
use crate::{Input, Output, Verdict};
use squad_types::{Height, KeyedHashSigner, KeyedHashVerifier, Round, VoteKind};
use std::collections::BTreeSet;

/// Who published a prevote for something in a round, and whether it said that it covers fresh data.
fn prevotes(cluster: &Cluster, node: usize, round: u32) -> Vec<(bool, bool)> {
    let head = "PublishVote { vote: Verified(Signed { statement: Vote { kind: Prevote,";
    let of_round = format!("round: Round({round})");
    let published =
        cluster.nodes[node].outputs.iter().filter(|output| output.starts_with(head) && output.contains(&of_round));
    published.map(|output| (output.contains("block: Some"), output.contains("covers_fresh: true"))).collect()
}

#[test]
fn one_refusal_of_four_costs_nothing_and_its_node_follows_the_quorum() {
    let mut cluster = Cluster::new(&[1; 4], 5);
    cluster.judge =
        Box::new(|node, _, _, fresh| Some(if node == 3 && fresh { Verdict::Refuse } else { Verdict::Valid }));
    cluster.start();
    cluster.run_until_decided(&[0, 1, 2, 3], 5_000);
    let by_three = (1..=5).filter(|height| cluster.proposer(*height, 0) == 3).count();
    assert!(by_three < 5);
    assert!(cluster.nodes.iter().all(|node| node.decided.iter().all(|certificate| certificate.round == Round(0))));
}

#[test]
fn missing_data_is_no_answer_and_holds_nobody_up() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let without = (0..4).find(|node| *node != cluster.proposer(1, 0)).unwrap();
    cluster.judge = Box::new(move |node, _, _, _| (node != without).then_some(Verdict::Valid));
    cluster.start();
    cluster.run_until_decided(&[0, 1, 2, 3], 5_000);
    // Its own prevote, cast after the quorum's, claims no data.
    assert_eq!(prevotes(&cluster, without, 0), [(true, false)]);
    let judge = (0..4).find(|node| *node != without && *node != cluster.proposer(1, 0)).unwrap();
    assert_eq!(prevotes(&cluster, judge, 0), [(true, true)]);
}

#[test]
fn refusals_by_more_than_a_third_end_the_round_but_not_the_height() {
    for refusing in [2, 3] {
        let mut cluster = Cluster::new(&[1; 4], 3);
        cluster.judge = Box::new(move |node, block, round, fresh| {
            let bad = block.header().height.0 == 1 && round == Round(0);
            Some(if bad && fresh && node < refusing { Verdict::Refuse } else { Verdict::Valid })
        });
        cluster.start();
        cluster.run_until_decided(&[0, 1, 2, 3], 20_000);
    }
}

#[test]
fn a_refused_block_is_not_prevoted_one_round_later_without_a_quorum() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let (first, second) = (cluster.proposer(1, 0), cluster.proposer(1, 1));
    cluster.nodes[first].dead = true;
    cluster.nodes[second].dead = true;
    let honest: Vec<usize> = (0..4).filter(|node| *node != first && *node != second).collect();
    cluster.judge =
        Box::new(|_, _, round, fresh| Some(if fresh && round == Round(0) { Verdict::Refuse } else { Verdict::Valid }));
    cluster.start();
    let block = cluster.block(Height(1), Round(0), first);
    let (fresh, again) =
        (cluster.sign_proposal(first, 0, None, &block), cluster.sign_proposal(second, 1, None, &block));
    let claimed = cluster.sign_proposal(second, 1, Some(0), &block);
    for node in &honest {
        cluster.inject(*node, 1, Wire::Proposal(fresh.clone()));
        // Into round 1: both Byzantine nodes vote nil in round 0, or skip.
        for bad in [first, second] {
            let vote = cluster.sign_vote(bad, VoteKind::Prevote, 1, 1, None);
            cluster.inject(*node, 1_200, Wire::Vote(vote));
        }
    }
    // The same block in round 1: with a quorum that it never had, ahead of time, so that it is found valid while round 0
    // still waits; and as if it were fresh.
    cluster.inject(honest[0], 100, Wire::Proposal(claimed));
    cluster.inject(honest[1], 1_210, Wire::Proposal(again));
    cluster.run_for(4_000);
    for node in &honest {
        assert_eq!(cluster.nodes[*node].consensus.round(), Round(1));
        let cast: BTreeSet<_> = [0, 1].into_iter().flat_map(|round| prevotes(&cluster, *node, round)).collect();
        assert_eq!(cast, [(false, false)].into(), "only nil was prevoted");
    }
}

#[test]
fn a_node_that_refused_follows_the_proposal_made_again_with_a_quorum() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let refusing = (0..4).find(|node| [0, 1, 2].iter().all(|round| cluster.proposer(1, *round) != *node)).unwrap();
    cluster.judge = Box::new(move |node, _, _, fresh| {
        Some(if node == refusing && fresh { Verdict::Refuse } else { Verdict::Valid })
    });
    // It hears no vote of round 0, and all precommits of round 0 are lost: the others lock, it does not.
    cluster.route = Box::new(move |_, to, _, wire| match wire {
        Wire::Vote(vote) if vote.statement.round == Round(0) && vote.statement.block.is_some() => {
            (to != refusing && vote.statement.kind == VoteKind::Prevote).then_some(10)
        }
        Wire::Vote(vote) if vote.statement.round == Round(0) => (to == refusing).then_some(10),
        _ => Some(10),
    });
    cluster.start();
    let block = {
        cluster.run_for(100);
        let locked: Vec<_> =
            cluster.nodes.iter().map(|node| node.consensus.running.as_ref().unwrap().locked()).collect();
        assert_eq!(locked[refusing], None);
        locked[(refusing + 1) % 4].unwrap().1
    };
    // Everybody gets into round 1 by the refusing node's nil and the others' precommits, which arrive late.
    cluster.route = Box::new(move |_, to, _, wire| match wire {
        Wire::Vote(vote) if vote.statement.round == Round(0) && vote.statement.kind == VoteKind::Precommit => {
            (vote.statement.block.is_none() || to == refusing).then_some(10)
        }
        Wire::Vote(vote) if vote.statement.round == Round(0) => (to != refusing).then_some(10),
        _ => Some(10),
    });
    cluster.run_for(3_000);
    cluster.route = Box::new(|_, _, _, _| Some(10));
    cluster.run_until_decided(&[0, 1, 2, 3], 60_000);
    assert_eq!(cluster.nodes[refusing].decided[0].block, block);
}

#[test]
fn a_refusal_may_be_taken_back_while_the_round_lasts() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    cluster.judge = Box::new(|_, _, _, _| Some(Verdict::Refuse));
    cluster.start();
    cluster.run_for(200);
    let proposer = cluster.proposer(1, 0);
    let block = cluster.nodes[proposer].consensus.running.as_ref().unwrap().desk.gate.unjudged().count();
    assert_eq!(block, 0);
    let hash = *cluster.blocks.keys().next().unwrap();
    for node in 0..4 {
        cluster.input(node, Input::Judged { height: Height(1), round: Round(0), block: hash, verdict: Verdict::Valid });
    }
    cluster.run_until_decided(&[0, 1, 2, 3], 500);
}

#[test]
fn a_block_that_was_tampered_with_on_its_way_is_replaced_by_the_right_one() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let (from, to) = (cluster.proposer(1, 0), (cluster.proposer(1, 0) + 1) % 4);
    let mut seen = false;
    cluster.judge = Box::new(move |node, _, _, _| {
        let first = node == to && !seen;
        seen |= node == to;
        Some(if first { Verdict::WrongBody } else { Verdict::Valid })
    });
    // The proposer's own copy comes later than a relay's.
    cluster.route = Box::new(|_, _, _, _| Some(10));
    cluster.start();
    let hash = *cluster.blocks.keys().next().unwrap();
    let proposal = cluster.sign_proposal(from, 0, None, &cluster.blocks[&hash].clone());
    cluster.inject(to, 1, Wire::Proposal(proposal));
    cluster.run_until_decided(&[0, 1, 2, 3], 500);
    assert_eq!(prevotes(&cluster, to, 0), [(true, true)]);
}

#[test]
fn a_quorum_for_a_proposal_that_never_came_asks_for_it() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let proposer = cluster.proposer(1, 0);
    let without = (proposer + 1) % 4;
    cluster.route = Box::new(move |_, to, _, wire| match wire {
        Wire::Proposal(_) if to == without => None,
        _ => Some(10),
    });
    cluster.start();
    let rest: Vec<usize> = (0..4).filter(|node| *node != without).collect();
    cluster.run_until_decided(&rest, 500);
    cluster.run_for(100);
    let block = cluster.nodes[proposer].decided[0].block;
    assert_eq!(cluster.missing, [(without, block)]);
    let proposal = cluster.nodes[proposer].consensus.proposal(Height(1), Round(0), block).unwrap();
    cluster.input(without, Input::Proposal(proposal));
    assert_eq!(cluster.nodes[without].decided[0].block, block);
}

#[test]
fn a_proposal_by_anybody_else_is_nothing() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let other = (cluster.proposer(1, 0) + 1) % 4;
    let start = cluster.start_height(Height(1), true);
    let block = cluster.block(Height(1), Round(0), other);
    let proposal = cluster.sign_proposal(other, 0, None, &block);
    let mut out = Vec::new();
    let mut node = crate::Consensus::new(cluster.config((other + 1) % 4));
    let signer = KeyedHashSigner(super::cluster::address((other + 1) % 4));
    for input in [Input::StartHeight(start), Input::Proposal(proposal)] {
        node.handle(input, &signer, &KeyedHashVerifier, &mut out);
    }
    assert!(!out.iter().any(|output| matches!(output, Output::Judge { .. })));
}
