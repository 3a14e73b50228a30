//! Collects acks and keeps its own back, so that it alone can make certificates; lets them out late.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, Response};
use std::sync::Arc;

/// Holds its acks and certificates back, from all but a few by a long time.
#[derive(Debug)]
pub struct CertificateHoarder {
    /// How long, in milliseconds.
    pub hold_ms: u64,
}

impl Behaviour for CertificateHoarder {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        match message.as_ref() {
            Message::Ack(_) | Message::Secured(_) if to.is_multiple_of(3) => {
                vec![Sent::later(message, tools.rng.below(self.hold_ms / 4 + 1))]
            }
            Message::Ack(_) | Message::Secured(_) => vec![Sent::later(message, self.hold_ms)],
            _ => Sent::as_is(message),
        }
    }

    fn answers(&mut self, _: NodeIndex, response: Response, _: &mut Tools<'_>) -> Option<Response> {
        (!matches!(response, Response::Ack(_))).then_some(response)
    }
}
