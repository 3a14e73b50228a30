//! Two proposals for one round, shown to different operators; and votes that only look like it.

use squad_sequencer::VerifiedResponse;
use squad_simulations::byzantine::{Behaviour, EquivocatingProposer, Sent, Tools};
use squad_simulations::packet::Kind;
use squad_simulations::{Cluster, ClusterConfig};
use squad_types::{HeaderHash, Height, Message, Round, Verified, VerifiedMessage, Vote, VoteKind};
use std::sync::Arc;

/// Shows one node another block than all others.
struct ToOne {
    node: usize,
    two: EquivocatingProposer,
}

impl Behaviour for ToOne {
    fn rewrite(&mut self, to: usize, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        // Nodes of an even number get what its own code proposes, those of an odd one the other block.
        self.two.rewrite(usize::from(to == self.node), message, tools)
    }
}

/// The turns that an equivocating proposer, the last of so many, had in twenty seconds, and in how many of them each of the others
/// caught it.
fn turns_and_incidents(members: usize, behaviour: impl Behaviour + 'static, slow_ms: u64) -> (usize, Vec<usize>) {
    let mut config = ClusterConfig::equal(80, members);
    config.links.delay = 20_000;
    config.links.jitter = 2_000;
    config.params.propose_timeout_ms = 1_000;
    config.params.vote_timeout_ms = 500;
    let mut cluster = Cluster::new(&config);
    cluster.network.slow_down(0, slow_ms * 1_000);
    cluster.corrupt(members - 1, behaviour);
    cluster.start_all();
    cluster.run(20_000);
    let culprit = cluster.address(members - 1);
    // Where nobody is slow, only its turns fail.
    let failed = |round: Round| slow_ms == 0 && round > Round::ZERO;
    let turns = cluster.invariants.blocks().filter(|block| block.proposer == culprit || failed(block.round));
    let kept = |node: usize| cluster.nodes[node].sequencer.as_ref().unwrap().evidence().len();
    (turns.count(), (0..members - 1).map(kept).collect())
}

#[test]
fn a_proposer_that_shows_two_blocks_is_caught_each_time_however_it_divides_the_others() {
    for members in [4, 7] {
        let halves = turns_and_incidents(members, EquivocatingProposer, 0);
        // The one that is shown another block may be so far away that all others have gone on when its vote arrives.
        let one = |slow_ms| turns_and_incidents(members, ToOne { node: 0, two: EquivocatingProposer }, slow_ms);
        for (turns, incidents) in [halves, one(0), one(60), one(300)] {
            // The last turn's proof may still be on its way.
            let caught = incidents.iter().all(|caught| caught + 1 >= turns);
            assert!(turns >= 4 && caught, "of {members}, caught {incidents:?} times in {turns} turns");
        }
    }
}

/// Hears no votes, and of nobody's lies but from decisions. Where it is asked, or speaks, its own code does.
struct HearsDecisions;

impl Behaviour for HearsDecisions {
    fn hears(&mut self, _: usize, message: &VerifiedMessage, _: &mut Tools<'_>) -> bool {
        !matches!(message, VerifiedMessage::Vote(_) | VerifiedMessage::Votes(_) | VerifiedMessage::Evidence(..))
    }

    fn hears_answer(&mut self, answer: &VerifiedResponse, _: &mut Tools<'_>) -> bool {
        !matches!(answer, VerifiedResponse::Incidents(_))
    }
}

#[test]
fn who_hears_of_a_decision_on_another_block_than_was_proposed_to_it_asks_who_announces_it() {
    let mut cluster = Cluster::new(&ClusterConfig::equal(82, 4));
    cluster.corrupt(3, ToOne { node: 0, two: EquivocatingProposer });
    cluster.corrupt(0, HearsDecisions);
    cluster.start_all();
    let found = |c: &Cluster| !c.nodes[0].sequencer.as_ref().unwrap().evidence().is_empty();
    assert!(cluster.run_until(20_000, found), "it does not ask");
}

/// Votes for one block after another that nobody proposed.
struct VotesForNothing(u64);

impl Behaviour for VotesForNothing {
    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(usize, Sent)> {
        let Some(sequencer) = tools.sequencer else { return Vec::new() };
        let height = sequencer.ledger().height().next();
        let mut said = Vec::new();
        for _ in 0..20 {
            self.0 += 1;
            let mut block = HeaderHash([9; 32]);
            block.0[..8].copy_from_slice(&self.0.to_be_bytes());
            let vote = Vote { kind: VoteKind::Prevote, height, round: Round::ZERO, block: Some(block) };
            let vote = Message::Vote(Verified::sign(vote, tools.domain, tools.signer).into_signed());
            said.extend((0..tools.operators.len()).map(|to| (to, Sent::now(vote.clone()))));
        }
        said
    }
}

#[test]
fn who_votes_for_blocks_that_nobody_proposed_is_asked_for_them_once_a_round() {
    let members = 7;
    let run = |lies: bool| {
        let mut config = ClusterConfig::equal(81, members);
        config.links.delay = 20_000;
        let mut cluster = Cluster::new(&config);
        if lies {
            cluster.corrupt(members - 1, VotesForNothing(0));
        }
        cluster.start_all();
        cluster.run(10_000);
        (cluster.traffic.by_kind[Kind::Request.index()].messages, cluster.lowest(0..members))
    };
    let (without, _) = run(false);
    let (with, Height(heights)) = run(true);
    let bound = (members as u64 - 1) * (heights + 1);
    assert!(
        heights > 20 && with <= without + bound,
        "{without} questions, and {with} where one lies, in {heights} heights"
    );
}
