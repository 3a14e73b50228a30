//! Shows its batches to the next proposer first, which may cut them before anybody else has them.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, Response, Round};
use std::sync::Arc;

/// Sends each of its batches to the proposers of this height and the next at once, to all others late, and answers no questions for them.
#[derive(Debug)]
pub struct Baiter {
    /// How late, in milliseconds.
    pub by_ms: u64,
}

impl Behaviour for Baiter {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Batch(_) = message.as_ref() else { return Sent::as_is(message) };
        // Who would propose in the next round proposes at the next height.
        let mut next = [0, 1].into_iter().filter_map(|round| tools.sequencer?.proposer_of(Round(round)));
        let node_of = |proposer| tools.operators.iter().position(|operator| *operator == proposer);
        let is_bait = next.any(|proposer| node_of(proposer) == Some(to));
        if is_bait { Sent::as_is(message) } else { vec![Sent::later(message, self.by_ms)] }
    }

    fn answers(&mut self, _: NodeIndex, response: Response, _: &mut Tools<'_>) -> Option<Response> {
        (!matches!(response, Response::Batches(_))).then_some(response)
    }
}
