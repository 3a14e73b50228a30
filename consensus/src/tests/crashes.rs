//! Crashes at every output, with nothing left but what was logged.

use super::cluster::{Cluster, Wire};
use crate::{Consensus, Input, LogEntry, Output, Verdict};
use squad_types::{Height, KeyedHashSigner, KeyedHashVerifier, Round, VoteKind};

/// Four nodes, one of them dead, so that nobody can be spared; round 0 is refused by one, in round 1 precommits are lost
/// for a while, so that there are locks, nil votes, timeouts and a block proposed again.
fn rough(torn: bool) -> Cluster {
    let mut cluster = Cluster::new(&[1; 4], 2);
    let dead = (0..4).find(|node| [0, 1, 2].iter().all(|round| cluster.proposer(1, *round) != *node)).unwrap();
    cluster.nodes[dead].dead = true;
    cluster.torn = torn;
    let refusing = cluster.proposer(1, 1);
    cluster.judge = Box::new(move |node, block, round, fresh| {
        let first = block.header().height == Height(1) && round == Round(0);
        Some(if first && fresh && node == refusing { Verdict::Refuse } else { Verdict::Valid })
    });
    cluster.route = Box::new(|from, to, now, wire| match wire {
        Wire::Vote(vote) if vote.statement.kind == VoteKind::Precommit && vote.statement.round == Round(1) => {
            (now > 4_500 || (from + to) % 2 == 1).then_some(10)
        }
        _ => Some(10),
    });
    cluster
}

fn alive(cluster: &Cluster) -> Vec<usize> {
    (0..4).filter(|node| !cluster.nodes[*node].dead).collect()
}

/// Runs to the end, handing over decisions to whoever was left behind.
fn finish(cluster: &mut Cluster, nodes: &[usize]) {
    while nodes.iter().any(|node| cluster.nodes[*node].decided.len() < 2) {
        cluster.run_for(500);
        assert!(cluster.now < 120_000, "no end in sight");
        for node in nodes {
            let ahead = nodes.iter().copied().max_by_key(|other| cluster.nodes[*other].decided.len()).unwrap();
            if !cluster.nodes[*node].dead && cluster.nodes[*node].decided.len() < cluster.nodes[ahead].decided.len() {
                cluster.catch_up(*node, ahead);
            }
        }
    }
}

#[test]
fn the_rough_height_takes_several_rounds() {
    let mut cluster = rough(false);
    let nodes = alive(&cluster);
    cluster.start();
    finish(&mut cluster, &nodes);
    assert!(cluster.nodes[nodes[0]].decided[0].round >= Round(1));
}

#[test]
fn a_crash_at_any_output_signs_nothing_twice_and_the_height_ends() {
    for torn in [false, true] {
        let mut reference = rough(torn);
        let nodes = alive(&reference);
        reference.start();
        finish(&mut reference, &nodes);
        for node in &nodes {
            for at in 0..reference.nodes[*node].outputs.len() {
                let mut cluster = rough(torn);
                cluster.nodes[*node].crash_in = Some(at);
                cluster.start();
                finish(&mut cluster, &nodes);
            }
        }
    }
}

#[test]
fn everybody_crashing_at_once_at_any_moment_goes_on() {
    let mut reference = rough(true);
    let nodes = alive(&reference);
    reference.start();
    finish(&mut reference, &nodes);
    let end = reference.now;
    for at in (0..end.min(9_000)).step_by(97) {
        let mut cluster = rough(true);
        cluster.start();
        cluster.run_for(at);
        for node in &nodes {
            cluster.crash(*node);
        }
        cluster.run_for(60);
        let again = alive(&cluster);
        assert_eq!(again, nodes);
        for node in &nodes {
            cluster.nodes[*node].crash_in = Some(7);
        }
        finish(&mut cluster, &nodes);
    }
}

/// The node that refused nothing, with its log, right after it locked in round 1.
fn locked() -> (Cluster, usize, (Round, squad_types::HeaderHash)) {
    let mut cluster = rough(false);
    let nodes = alive(&cluster);
    cluster.start();
    while cluster.step() {
        for node in &nodes {
            let locked = cluster.nodes[*node].consensus.running.as_ref().and_then(|running| running.locked());
            if let Some(locked) = locked.filter(|(round, _)| *round == Round(1)) {
                return (cluster, *node, locked);
            }
        }
    }
    panic!("nobody locked in round 1");
}

#[test]
fn replay_rebuilds_the_lock_and_publishes_only_the_last_own_statements() {
    let (cluster, node, lock) = locked();
    let log = cluster.nodes[node].log.clone();
    let mut recovered = Consensus::recover(cluster.config(node), log);
    let (signer, mut out) = (KeyedHashSigner(super::cluster::address(node)), Vec::new());
    recovered.handle(Input::StartHeight(cluster.start_height(Height(1), true)), &signer, &KeyedHashVerifier, &mut out);
    assert!(!recovered.is_voting());
    assert!(out.iter().all(|output| !matches!(output, Output::Log(_) | Output::PublishVote { .. })));
    out.clear();
    recovered.handle(Input::AllowSigning { from: Height(1) }, &signer, &KeyedHashVerifier, &mut out);
    assert!(recovered.is_voting());
    assert_eq!(recovered.running.as_ref().unwrap().locked(), Some(lock));
    assert_eq!(recovered.round(), Round(1));
    assert!(out.iter().all(|output| !matches!(output, Output::Log(_))), "everything was logged before");
    let votes = out.iter().filter_map(|output| match output {
        Output::PublishVote { vote, .. } => Some(vote.statement),
        _ => None,
    });
    let votes = votes.collect::<Vec<_>>();
    assert_eq!(votes.len(), 2);
    assert!(votes.iter().all(|vote| vote.round == Round(1)));
}

#[test]
fn a_log_below_which_a_height_is_begun_is_not_signed_over() {
    let (cluster, node, _) = locked();
    let mut log = cluster.nodes[node].log.clone();
    log.push(LogEntry::Started(crate::Started { height: Height(9), epoch: squad_types::Epoch(0) }));
    let mut recovered = Consensus::recover(cluster.config(node), log);
    let (signer, mut out) = (KeyedHashSigner(super::cluster::address(node)), Vec::new());
    for input in [Input::AllowSigning { from: Height(1) }, Input::StartHeight(cluster.start_height(Height(1), true))] {
        recovered.handle(input, &signer, &KeyedHashVerifier, &mut out);
    }
    assert!(!recovered.is_voting());
}

#[test]
fn a_log_that_lost_its_blocks_halts() {
    let (cluster, node, _) = locked();
    let log = cluster.nodes[node].log.iter().filter(|entry| !matches!(entry, LogEntry::Block(_))).cloned();
    let mut recovered = Consensus::recover(cluster.config(node), log);
    let (signer, mut out) = (KeyedHashSigner(super::cluster::address(node)), Vec::new());
    for input in [Input::AllowSigning { from: Height(1) }, Input::StartHeight(cluster.start_height(Height(1), true))] {
        recovered.handle(input, &signer, &KeyedHashVerifier, &mut out);
    }
    assert!(matches!(out.last(), Some(Output::Halt(crate::Error::BlockNotLogged { .. }))));
}

#[test]
fn a_node_whose_log_was_lost_gives_its_peers_the_vote_that_they_remember() {
    let mut cluster = Cluster::new(&[1; 4], 1);
    let node = (cluster.proposer(1, 0) + 1) % 4;
    let echoed = cluster.sign_vote(node, VoteKind::Prevote, 1, 0, None);
    cluster.input(node, Input::StartHeight(cluster.start_height(Height(1), true)));
    cluster.input(node, Input::Vote(echoed.clone()));
    cluster.input(node, Input::AllowSigning { from: Height(1) });
    let proposer = cluster.proposer(1, 0);
    let block = cluster.block(Height(1), Round(0), proposer);
    let proposal = cluster.sign_proposal(proposer, 0, None, &block);
    cluster.input(node, Input::Proposal(proposal));
    cluster.run_for(5);
    let vote = format!("{:?}", echoed.signed());
    let published = cluster.nodes[node].outputs.iter().find(|output| output.starts_with("PublishVote")).unwrap();
    assert!(published.contains(&vote), "{published}");
    // And after another crash it still does, without the core's replay taking offence.
    cluster.crash(node);
    cluster.run_for(100);
    assert!(!cluster.nodes[node].dead);
    assert!(cluster.nodes[node].consensus.is_voting());
    assert_eq!(cluster.nodes[node].consensus.own_statements().prevote.as_ref(), Some(echoed.signed()));
}
