//! Sends as much as it can: everything several times, and votes for heights and rounds that nobody is at.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{HeaderHash, Message, Round, Verified, Vote, VoteKind};
use std::sync::Arc;

/// Repeats itself, and votes far ahead.
#[derive(Debug)]
pub struct Spammer {
    /// How often it says each thing.
    pub times: u64,
}

/// Votes far ahead that each peer gets at a time.
const FAR_VOTES: usize = 6;

impl Behaviour for Spammer {
    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let again = (1..self.times).map(|_| tools.rng.below(200));
        std::iter::once(0).chain(again).map(|later| Sent::later(message, later)).collect()
    }

    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(NodeIndex, Sent)> {
        let Some(height) = tools.sequencer.map(|sequencer| sequencer.ledger().height()) else { return Vec::new() };
        let mut said = Vec::new();
        for peer in 0..tools.operators.len() {
            for _ in 0..FAR_VOTES {
                let kind = if tools.rng.per_mille(500) { VoteKind::Prevote } else { VoteKind::Precommit };
                let height = height.plus(tools.rng.below(5));
                let round = Round(tools.rng.below(2_000) as u32);
                let block = tools.rng.per_mille(500).then(|| HeaderHash([tools.rng.next() as u8; 32]));
                let vote = Verified::sign(Vote { kind, height, round, block }, tools.domain, tools.signer);
                said.push((peer, Sent::now(Message::Vote(vote.into_signed()))));
            }
        }
        said
    }
}
