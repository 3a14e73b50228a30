//! A voter that is against everything.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, Verified, Vote};
use std::sync::Arc;

/// Votes nil, always.
#[derive(Debug, Default)]
pub struct Naysayer;

impl Behaviour for Naysayer {
    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Vote(vote) = message.as_ref() else { return Sent::as_is(message) };
        if vote.signer != tools.signer.address() {
            return Sent::as_is(message);
        }
        let nil = Verified::sign(Vote { block: None, ..vote.statement }, tools.domain, tools.signer);
        vec![Sent::now(Message::Vote(nil.into_signed()))]
    }
}
