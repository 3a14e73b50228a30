//! Nothing goes wrong.

use super::cluster::Cluster;
use crate::Verdict;
use squad_types::Round;

fn decides(stakes: &[u64]) -> Cluster {
    let mut cluster = Cluster::new(stakes, 20);
    cluster.start();
    let nodes: Vec<usize> = (0..stakes.len()).collect();
    cluster.run_until_decided(&nodes, 2_000);
    cluster
}

#[test]
fn one_four_and_seven_nodes_decide_every_height_in_its_first_round() {
    for stakes in [&[1][..], &[1; 4], &[1; 7], &[3, 2, 2, 2]] {
        let cluster = decides(stakes);
        for node in &cluster.nodes {
            assert!(node.decided.iter().all(|certificate| certificate.round == Round(0)));
        }
        assert!(cluster.evidence.is_empty());
        assert!(cluster.missing.is_empty());
    }
}

#[test]
fn a_height_takes_three_delays() {
    let cluster = decides(&[1; 4]);
    // 20 heights; proposal, prevote, precommit, each 10 ms.
    assert!(cluster.now <= 20 * 30 + 30, "took {} ms", cluster.now);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let (one, two) = (decides(&[3, 2, 2, 1]), decides(&[3, 2, 2, 1]));
    for (one, two) in one.nodes.iter().zip(&two.nodes) {
        assert_eq!(one.outputs, two.outputs);
        assert_eq!(one.log, two.log);
    }
}

#[test]
fn late_precommits_are_counted_for_the_decided_block() {
    let cluster = decides(&[1; 4]);
    for node in &cluster.nodes {
        let early = &node.decided[10];
        assert_eq!(node.consensus.precommitters(early.height, early.block).count(), 4);
    }
}

#[test]
fn a_follower_without_stake_decides_too_and_logs_nothing() {
    let mut cluster = Cluster::new(&[1; 4], 5);
    let stranger = crate::Config { address: squad_types::Address([0xee; 20]), ..cluster.config(0) };
    cluster.start();
    cluster.run_until_decided(&[0, 1, 2, 3], 1_000);
    // Replay what node 0 heard and said to somebody outside the committee.
    let log = cluster.nodes[0].log.clone();
    let signer = squad_types::KeyedHashSigner(stranger.address);
    let mut follower = crate::Consensus::new(stranger);
    let mut out = Vec::new();
    follower.handle(
        crate::Input::AllowSigning { from: squad_types::Height(1) },
        &signer,
        &squad_types::KeyedHashVerifier,
        &mut out,
    );
    let start = cluster.start_height(squad_types::Height(1), true);
    follower.handle(crate::Input::StartHeight(start), &signer, &squad_types::KeyedHashVerifier, &mut out);
    assert!(!follower.is_voting());
    for entry in log.iter().filter(|entry| entry.height().0 == 1) {
        let input = match entry {
            crate::LogEntry::Vote(vote) => crate::Input::Vote(squad_types::Verified::from_own_log(vote.clone())),
            crate::LogEntry::Proposal(proposal) => {
                let block = cluster.blocks[&proposal.statement.block].clone();
                let verified = squad_types::Verified::from_own_log(proposal.clone());
                crate::Input::Proposal(squad_types::VerifiedProposal::assemble(verified, block))
            }
            _ => continue,
        };
        follower.handle(input, &signer, &squad_types::KeyedHashVerifier, &mut out);
    }
    assert!(out.iter().any(|output| matches!(output, crate::Output::Decided { .. })));
    assert!(!out.iter().any(|output| matches!(output, crate::Output::Log(_))));
}

#[test]
fn nothing_is_signed_before_it_is_allowed() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    for node in 0..4 {
        let start = cluster.start_height(squad_types::Height(1), true);
        cluster.input(node, crate::Input::StartHeight(start));
    }
    cluster.run_for(5_000);
    for node in &cluster.nodes {
        assert!(!node.outputs.iter().any(|output| output.starts_with("Publish") || output.starts_with("Log")));
        assert!(!node.consensus.is_voting());
    }
    for node in 0..4 {
        cluster.input(node, crate::Input::AllowSigning { from: squad_types::Height(1) });
    }
    cluster.judge = Box::new(|_, _, _, _| Some(Verdict::Valid));
    cluster.run_until_decided(&[0, 1, 2, 3], 10_000);
}

#[test]
fn prevotes_after_a_quorum_are_kept_and_not_logged() {
    let cluster = decides(&[1; 7]);
    let prevotes = |height: u64, node: &super::cluster::Node| {
        let votes = node.log.iter().filter(|entry| entry.height().0 == height);
        votes
            .filter(|entry| matches!(entry, crate::LogEntry::Vote(vote) if vote.statement.kind == squad_types::VoteKind::Prevote))
            .count()
    };
    for node in &cluster.nodes {
        for height in 2..20 {
            assert_eq!(prevotes(height, node), 5, "a quorum of seven");
        }
    }
}
