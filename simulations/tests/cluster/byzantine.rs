//! One of four misbehaves.

use squad_sequencer::Memory;
use squad_simulations::byzantine::{
    Baiter, Behaviour, EquivocatingProposer, EquivocatingVoter, LaneForker, Sent, Silent, Tools,
};
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::{Evidence, HeaderHash, Height, Message, Response, Round, Verified, Vote, VoteKind, VotePair};

fn loaded(cluster: &mut Cluster, nodes: usize, steps: usize) -> Vec<squad_types::TxId> {
    let mut ids = Vec::new();
    for at in 0..steps {
        ids.push(cluster.submit(at % nodes, 300));
        cluster.run(40);
    }
    ids
}

#[test]
fn heights_of_a_silent_proposer_take_another_round_and_end() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(21, 4));
    cluster.corrupt(3, Silent);
    cluster.start_all();
    cluster.run(300);
    let ids = loaded(&mut cluster, 3, 50);
    assert!(cluster.run_until(10_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    assert!(cluster.invariants.decided_rounds().any(|round| round > Round(0)), "no height needed another round");
    assert!(cluster.invariants.accused().is_empty(), "silence is no fault");
}

#[test]
fn an_equivocating_proposer_is_caught_and_stops_nothing() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(22, 4));
    cluster.corrupt(2, EquivocatingProposer);
    cluster.start_all();
    cluster.run(300);
    let ids = loaded(&mut cluster, 4, 60);
    assert!(cluster.run_until(20_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    let culprit = cluster.address(2);
    assert!(cluster.run_until(10_000, |c| c.invariants.accused().contains_key(&culprit)), "nobody noticed");
}

#[test]
fn an_equivocating_voter_is_caught_and_stops_nothing() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(23, 4));
    cluster.corrupt(1, EquivocatingVoter);
    cluster.start_all();
    cluster.run(300);
    let ids = loaded(&mut cluster, 4, 40);
    assert!(cluster.run_until(20_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some())));
    let culprit = cluster.address(1);
    assert!(cluster.invariants.accused().contains_key(&culprit));
}

/// Has itself accused: of another contradiction each time, at heights that nobody is at.
struct SelfAccuser(u64);

impl Behaviour for SelfAccuser {
    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(usize, Sent)> {
        let mut evidence = || {
            self.0 += 1;
            let vote = |block| {
                let (kind, height) = (VoteKind::Precommit, Height(1_000_000 + self.0));
                let vote = Vote { kind, height, round: Round::ZERO, block: Some(HeaderHash([block; 32])) };
                Verified::sign(vote, tools.domain, tools.signer).into_signed()
            };
            Message::Evidence(Box::new(Evidence::Votes(VotePair { first: vote(1), second: vote(2) })))
        };
        (0..60).map(|_| (0, Sent::now(evidence()))).collect()
    }
}

#[test]
fn who_has_itself_accused_a_thousand_times_hides_nobody_else() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(45, 7));
    cluster.corrupt(6, SelfAccuser(0));
    cluster.start_all();
    cluster.run(2_000);
    assert!(cluster.invariants.accused()[&cluster.address(6)] > 0, "nobody noticed");
    cluster.corrupt(5, EquivocatingVoter);
    loaded(&mut cluster, 5, 40);
    let culprit = cluster.address(5);
    assert!(cluster.run_until(10_000, |c| c.invariants.accused().contains_key(&culprit)), "it goes unnoticed");
    let kept = |node: usize| cluster.nodes[node].sequencer.as_ref().unwrap().evidence().len();
    assert!((0..5).all(|node| kept(node) < 200), "{} pieces are kept", kept(0));
}

#[test]
fn a_forked_lane_closes_and_the_others_go_on() {
    for seed in 24..30 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(seed, 4));
        cluster.corrupt(0, LaneForker { at: 2 });
        cluster.start_all();
        cluster.run(300);
        cluster.run(300);
        for _ in 0..30 {
            cluster.submit(0, 200);
            cluster.run(20);
        }
        let culprit = cluster.address(0);
        assert!(cluster.invariants.accused().contains_key(&culprit), "seed {seed}: the fork went unnoticed");
        let ids: Vec<_> = (1..4).map(|node| cluster.submit(node, 300)).collect();
        let ordered = cluster.run_until(10_000, |c| ids.iter().all(|id| c.invariants.ordered_at(id).is_some()));
        assert!(ordered, "seed {seed}: the others' lanes stand still at height {}", cluster.lowest(1..4));
        let height = cluster.lowest(1..4);
        assert!(cluster.run_until(5_000, |c| c.lowest(1..4) > Height(height.0 + 3)), "seed {seed}: no more heights");
    }
}

/// Ten nodes, twenty milliseconds apart, one of which gets a transaction every twenty: for each height of an honest proposer in
/// twenty seconds, whether it took more than half as long again as three delays.
fn slow_heights(corrupt: impl Fn(&mut Cluster)) -> Vec<bool> {
    let mut config = ClusterConfig::equal(31, 10);
    config.links.delay = 20_000;
    config.links.jitter = 1_000;
    config.params = squad_types::Params::default();
    let mut cluster = Cluster::new(&config);
    corrupt(&mut cluster);
    cluster.start_all();
    cluster.run(1_000);
    for at in 0..1_000 {
        cluster.submit(at % 10, 200);
        cluster.run(20);
    }
    let decided: Vec<_> = cluster.invariants.blocks().map(|block| (block.at, block.proposer)).collect();
    let honest = decided.windows(2).filter(|pair| (0..7).any(|node| cluster.address(node) == pair[1].1));
    honest.map(|pair| pair[1].0.0 - pair[0].0.0 > 90_000).collect()
}

#[test]
fn who_shows_batches_to_the_next_proposers_alone_is_soon_cut_by_acks_only() {
    let count = |heights: &[bool]| heights.iter().filter(|slow| **slow).count();
    assert_eq!(count(&slow_heights(|_| {})), 0);
    let baited = slow_heights(|cluster| (7..10).for_each(|node| cluster.corrupt(node, Baiter { by_ms: 300 })));
    let (first, last) = baited.split_at(baited.len() / 2);
    assert!(count(first) > 0, "nobody took the bait");
    assert!(count(first) * 4 < first.len(), "{} of {} heights waited", count(first), first.len());
    assert!(count(last) * 10 < last.len(), "{} of the last {} heights waited", count(last), last.len());
}

/// Answers the question for blocks with the answer to another.
struct Evasive;

impl Behaviour for Evasive {
    fn answers(&mut self, _: usize, response: Response, _: &mut Tools<'_>) -> Option<Response> {
        Some(if matches!(response, Response::Blocks(_)) { Response::Tip(None) } else { response })
    }
}

#[test]
fn an_answer_to_another_question_is_none() {
    for seed in 32..44 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(seed, 4));
        cluster.corrupt(1, Evasive);
        cluster.start_all();
        cluster.run(500);
        cluster.crash(0);
        loaded(&mut cluster, 4, 40);
        cluster.restart_in(0, 10, Memory::Kept);
        cluster.run(100);
        let there = cluster.run_until(10_000, |c| c.height(0).0 + 2 >= c.height(2).0);
        assert!(there, "seed {seed}: at {}, the others at {}", cluster.height(0), cluster.height(2));
    }
}

/// Answers the question for blocks with those above.
struct Beside;

impl Behaviour for Beside {
    fn answers(&mut self, _: usize, response: Response, _: &mut Tools<'_>) -> Option<Response> {
        let Response::Blocks(mut blocks) = response else { return Some(response) };
        blocks.drain(..blocks.len().min(1));
        Some(Response::Blocks(blocks))
    }
}

#[test]
fn blocks_beside_those_that_were_asked_for_keep_nobody_behind() {
    for seed in 32..44 {
        let mut cluster = Cluster::new(&ClusterConfig::equal(seed, 4));
        cluster.corrupt(1, Beside);
        cluster.start_all();
        cluster.run(500);
        cluster.crash(0);
        loaded(&mut cluster, 4, 200);
        cluster.restart_in(0, 10, Memory::Kept);
        cluster.run(100);
        let there = cluster.run_until(10_000, |c| c.height(0).0 + 2 >= c.height(2).0);
        assert!(there, "seed {seed}: at {}, the others at {}", cluster.height(0), cluster.height(2));
    }
}
