//! A voter that votes for the block and for nil.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, Verified, Vote};
use std::sync::Arc;

/// Sends every other node a vote for nil before each of its votes for a block.
#[derive(Debug, Default)]
pub struct EquivocatingVoter;

impl Behaviour for EquivocatingVoter {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Vote(vote) = message.as_ref() else { return Sent::as_is(message) };
        if vote.signer != tools.signer.address() || vote.statement.block.is_none() || to.is_multiple_of(2) {
            return Sent::as_is(message);
        }
        let nil = Verified::sign(Vote { block: None, ..vote.statement }, tools.domain, tools.signer);
        vec![Sent::now(Message::Vote(nil.into_signed())), Sent { message: Arc::clone(message), later_ms: 0 }]
    }
}
