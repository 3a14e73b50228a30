//! Talks to some and not to others.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, Response};
use std::sync::Arc;

/// What is kept from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Own batches.
    Batches,
    /// Votes and proposals.
    Votes,
    /// Everything, answers too.
    All,
}

/// Sends something to every `nth` peer only.
#[derive(Debug)]
pub struct SelectiveSender {
    /// What it keeps from the others.
    pub kept: Kept,
    /// Which peers get it.
    pub nth: usize,
}

impl Behaviour for SelectiveSender {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, _: &mut Tools<'_>) -> Vec<Sent> {
        let concerned = match self.kept {
            Kept::Batches => matches!(message.as_ref(), Message::Batch(_)),
            Kept::Votes => matches!(message.as_ref(), Message::Vote(_) | Message::Proposal(_)),
            Kept::All => true,
        };
        if concerned && !to.is_multiple_of(self.nth.max(1)) { Vec::new() } else { Sent::as_is(message) }
    }

    fn answers(&mut self, to: NodeIndex, response: Response, _: &mut Tools<'_>) -> Option<Response> {
        let silent = match self.kept {
            Kept::Batches => matches!(response, Response::Batches(_)),
            Kept::Votes => matches!(response, Response::Proposal(_)),
            Kept::All => true,
        };
        (!silent || to.is_multiple_of(self.nth.max(1))).then_some(response)
    }
}
