//! Proofs of misbehaviour reach who was away when they went round.

use squad_sequencer::{Memory, Peer};
use squad_simulations::byzantine::{Behaviour, EquivocatingVoter, LaneForker, Sent, Tools};
use squad_simulations::cluster::StakeTableChange;
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::{
    Epoch, Evidence, HeaderHash, Height, Incident, IncidentId, Message, Proofs, Response, Round, Verified, Vote,
    VoteKind, VotePair,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn incidents(cluster: &Cluster, node: usize) -> BTreeSet<IncidentId> {
    let network = cluster.genesis.network_id();
    let kept = cluster.nodes[node].sequencer.as_ref().unwrap().evidence();
    kept.iter().map(|evidence| evidence.incident(&network).unwrap()).collect()
}

/// Four operators, of whom the third contradicts itself for a while. `leave` takes the fourth away before, `come` brings it back
/// after.
fn away_while_somebody_lied(seed: u64, leave: impl Fn(&mut Cluster), come: impl Fn(&mut Cluster)) -> Cluster {
    let mut cluster = Cluster::new(&ClusterConfig::equal(seed, 4));
    cluster.start_all();
    cluster.run(500);
    leave(&mut cluster);
    cluster.run(200);
    cluster.corrupt(2, EquivocatingVoter);
    assert!(cluster.run_until(10_000, |c| incidents(c, 0).len() >= 5), "nobody noticed");
    cluster.redeem(2);
    // What was said goes round.
    cluster.run(2_000);
    come(&mut cluster);
    cluster
}

fn comes_to_know(cluster: &mut Cluster, node: usize) {
    let known = incidents(cluster, 0);
    let done = cluster.run_until(20_000, |c| incidents(c, node).is_superset(&known));
    assert!(done, "it knows {} of {} incidents", incidents(cluster, node).len(), known.len());
    assert!(cluster.nodes[node].blamed.is_empty(), "{:?}", cluster.nodes[node].blamed);
}

#[test]
fn a_node_that_was_down_learns_of_it() {
    let mut cluster = away_while_somebody_lied(
        70,
        |cluster| cluster.crash(3),
        |cluster| {
            cluster.restart_in(3, 10, Memory::Kept);
            cluster.run(50);
        },
    );
    comes_to_know(&mut cluster, 3);
}

#[test]
fn a_node_that_was_cut_off_learns_of_it() {
    let cut = |cluster: &mut Cluster| cluster.network.partition(&[&[0, 1, 2], &[3]]);
    let mut cluster = away_while_somebody_lied(71, cut, |cluster| {
        assert!(incidents(cluster, 3).is_empty());
        cluster.network.heal();
    });
    comes_to_know(&mut cluster, 3);
}

#[test]
fn a_node_that_lost_its_disk_learns_of_it_anew() {
    let mut cluster = away_while_somebody_lied(
        72,
        |_| {},
        |cluster| {
            assert!(!incidents(cluster, 3).is_empty());
            cluster.crash(3);
            cluster.nodes[3].disk.lose();
            cluster.restart_in(3, 10, Memory::Kept);
            cluster.run(50);
        },
    );
    comes_to_know(&mut cluster, 3);
}

/// Accuses itself before one peer alone.
struct Confessor {
    to: usize,
    heights: std::ops::Range<u64>,
}

impl Behaviour for Confessor {
    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(usize, Sent)> {
        let evidence = |height| {
            let vote = |block| {
                let vote = Vote {
                    kind: VoteKind::Precommit,
                    height,
                    round: Round::ZERO,
                    block: Some(HeaderHash([block; 32])),
                };
                Verified::sign(vote, tools.domain, tools.signer).into_signed()
            };
            Message::Evidence(Box::new(Evidence::Votes(VotePair { first: vote(1), second: vote(2) })))
        };
        std::mem::take(&mut self.heights).map(|height| (self.to, Sent::now(evidence(Height(height))))).collect()
    }
}

#[test]
fn what_was_lost_on_its_way_is_learnt_in_turn() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(73, 4));
    cluster.start_all();
    cluster.run(500);
    // Nobody is behind and nobody connects: only the first hears of it, and what it tells everybody is lost.
    (1..4).for_each(|other| cluster.network.cut(0, other));
    cluster.corrupt(3, Confessor { to: 0, heights: 1_000..1_003 });
    assert!(cluster.run_until(5_000, |c| incidents(c, 0).len() == 3));
    cluster.redeem(3);
    cluster.run(100);
    cluster.network.heal();
    cluster.run(1_000);
    assert!((1..4).all(|node| incidents(&cluster, node).is_empty()), "it came without being asked for");
    let known = incidents(&cluster, 0);
    let all = |c: &Cluster| (0..4).all(|node| incidents(c, node) == known);
    assert!(cluster.run_until(100_000, all), "it never comes");
}

#[test]
fn more_than_fits_an_answer_comes_in_parts() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(74, 7));
    cluster.start_all();
    cluster.run(500);
    cluster.crash(0);
    cluster.corrupt(5, Confessor { to: 1, heights: 1_000..1_060 });
    cluster.corrupt(6, Confessor { to: 1, heights: 1_000..1_060 });
    assert!(cluster.run_until(5_000, |c| incidents(c, 1).len() == 120));
    cluster.run(500);
    cluster.restart_in(0, 10, Memory::Kept);
    cluster.run(50);
    let done = cluster.run_until(10_000, |c| incidents(c, 0).len() == 120);
    assert!(done, "it has {}", incidents(&cluster, 0).len());
}

#[test]
fn whoever_left_the_committee_and_a_lane_that_is_over_are_learnt_of_all_the_same() {
    let mut config = ClusterConfig::equal(75, 5);
    (config.params.epoch_heights, config.params.epoch_ms) = (16, 2_000);
    config.params.idle_interval_ms = 100;
    config.stake_changes = vec![StakeTableChange { epoch: 3, at_ms: 0, table: (0..4).map(|node| (node, 1)).collect() }];
    let mut cluster = Cluster::new(&config);
    cluster.start_all();
    cluster.run(500);
    cluster.crash(3);
    cluster.corrupt(4, LaneForker { at: 1 });
    for _ in 0..20 {
        cluster.submit(4, 200);
        cluster.run(20);
    }
    assert_eq!(incidents(&cluster, 0).len(), 1, "the fork went unnoticed");
    let committee = |c: &Cluster| {
        let sequencer = c.nodes[0].sequencer.as_ref().unwrap();
        let epoch = sequencer.status().epoch;
        (epoch, sequencer.ledger().committee(epoch).unwrap().contains(&c.address(4)))
    };
    let gone = |c: &Cluster| matches!(committee(c), (epoch, false) if epoch >= Epoch(5));
    assert!(cluster.run_until(60_000, gone), "it never leaves: {:?}", committee(&cluster));
    cluster.restart_in(3, 10, Memory::Kept);
    cluster.run(50);
    comes_to_know(&mut cluster, 3);
}

/// Says that it has proofs of a thousand incidents, and gives something else when asked for them.
struct Boaster {
    gives: fn(&mut Tools<'_>) -> Vec<Evidence>,
    asked: Arc<[AtomicU64; 2]>,
}

impl Behaviour for Boaster {
    fn answers(&mut self, _: usize, response: Response, tools: &mut Tools<'_>) -> Option<Response> {
        Some(match response {
            Response::Incidents(_) => {
                self.asked[0].fetch_add(1, Ordering::Relaxed);
                let incident = |at: u64| {
                    let mut id = IncidentId([7; 32]);
                    id.0[..8].copy_from_slice(&at.to_be_bytes());
                    Incident { id, accused: tools.operators[at as usize % tools.operators.len()] }
                };
                Response::Incidents((0..1_024).map(incident).collect())
            }
            Response::Evidence(_) => {
                self.asked[1].fetch_add(1, Ordering::Relaxed);
                Response::Evidence(Proofs((self.gives)(tools)))
            }
            other => other,
        })
    }
}

/// One proof that holds, against itself, over and over.
fn the_same(tools: &mut Tools<'_>) -> Vec<Evidence> {
    let vote = |block| {
        let vote = Vote { kind: VoteKind::Prevote, height: Height(9), round: Round::ZERO, block };
        Verified::sign(vote, tools.domain, tools.signer).into_signed()
    };
    let pair = VotePair { first: vote(None), second: vote(Some(HeaderHash([3; 32]))) };
    vec![Evidence::Votes(pair); 64]
}

/// One that does not.
fn rubbish(tools: &mut Tools<'_>) -> Vec<Evidence> {
    let mut evidence = the_same(tools);
    for piece in &mut evidence {
        if let Evidence::Votes(pair) = piece {
            pair.second = pair.first.clone();
        }
    }
    evidence
}

#[test]
fn who_boasts_of_evidence_is_asked_for_it_once_a_turn_and_blamed() {
    for (gives, is_counted) in
        [(the_same as fn(&mut Tools<'_>) -> Vec<Evidence>, true), (|_| Vec::new(), true), (rubbish, false)]
    {
        let mut cluster = Cluster::new(&ClusterConfig::equal(76, 4));
        let asked = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        cluster.corrupt(1, Boaster { gives, asked: Arc::clone(&asked) });
        cluster.start_all();
        cluster.run(125_000);
        let [listed, given] = [0, 1].map(|at| asked[at].load(Ordering::Relaxed));
        // Three peers ask when they connect and, of four turns in two minutes, in one or two.
        assert!((3..=9).contains(&listed), "asked {listed} times");
        assert_eq!(given, listed, "asked for proofs {given} times in {listed} conversations");
        // What does not hold does not come to the sequencer: the driver counts it.
        let blamed = |node: usize| cluster.nodes[node].blamed.get(&Peer::Operator(cluster.address(1))).copied();
        let counted: u64 = [0, 2, 3].into_iter().filter_map(blamed).sum();
        assert_eq!(counted, if is_counted { given } else { 0 });
        assert!([0, 2, 3].into_iter().all(|node| incidents(&cluster, node).is_empty()));
        assert!(cluster.lowest(0..4) > Height(100), "it holds the others up");
    }
}

/// Answers nothing that has to do with evidence, as code that knows of no such questions.
struct OldCode;

impl Behaviour for OldCode {
    fn answers(&mut self, _: usize, response: Response, _: &mut Tools<'_>) -> Option<Response> {
        (!matches!(response, Response::Incidents(_) | Response::Evidence(_))).then_some(response)
    }
}

#[test]
fn who_knows_of_no_such_questions_keeps_nobody_from_asking_others() {
    let mut cluster = away_while_somebody_lied(
        77,
        |cluster| {
            cluster.crash(3);
            cluster.corrupt(0, OldCode);
        },
        |cluster| {
            cluster.restart_in(3, 10, Memory::Kept);
            cluster.run(50);
        },
    );
    comes_to_know(&mut cluster, 3);
}
