//! A voter that forgets what it is locked on.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{HeaderHash, Height, Message, Round, Verified, VerifiedMessage, Vote, VoteKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Prevotes and precommits whatever was proposed in the round, locked or not, justified or not.
#[derive(Debug, Default)]
pub struct LockIgnoringVoter {
    proposed: BTreeMap<(Height, Round), HeaderHash>,
}

/// Proposals it remembers.
const REMEMBERED: usize = 64;

impl Behaviour for LockIgnoringVoter {
    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Vote(vote) = message.as_ref() else { return Sent::as_is(message) };
        if vote.signer != tools.signer.address() {
            return Sent::as_is(message);
        }
        let block = self.proposed.get(&(vote.statement.height, vote.statement.round)).copied();
        if block.is_none() || block == vote.statement.block {
            return Sent::as_is(message);
        }
        let other = Verified::sign(Vote { block, ..vote.statement }, tools.domain, tools.signer);
        vec![Sent::now(Message::Vote(other.into_signed()))]
    }

    fn hears(&mut self, _: NodeIndex, message: &VerifiedMessage, _: &mut Tools<'_>) -> bool {
        if let VerifiedMessage::Proposal(proposal) = message {
            let statement = proposal.proposal().statement;
            self.proposed.insert((statement.height, statement.round), statement.block);
            while self.proposed.len() > REMEMBERED {
                self.proposed.pop_first();
            }
        }
        true
    }

    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(NodeIndex, Sent)> {
        // A precommit for the newest proposal, whether there was a quorum for it or not.
        let Some(((height, round), block)) = self.proposed.last_key_value() else { return Vec::new() };
        let vote = Vote { kind: VoteKind::Precommit, height: *height, round: *round, block: Some(*block) };
        let vote = Message::Vote(Verified::sign(vote, tools.domain, tools.signer).into_signed());
        (0..tools.operators.len()).map(|peer| (peer, Sent::now(vote.clone()))).collect()
    }
}
