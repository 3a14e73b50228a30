//! Says again what others said, later and to others.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Message, VerifiedMessage};
use std::collections::VecDeque;
use std::sync::Arc;

/// Keeps what it hears and repeats it at random: old votes, old acks, old certificates, all with good signatures.
#[derive(Debug, Default)]
pub struct Replayer {
    heard: VecDeque<Arc<Message>>,
}

/// Messages it remembers.
const REMEMBERED: usize = 512;

/// Messages it repeats at a time.
const AT_ONCE: usize = 8;

impl Behaviour for Replayer {
    fn hears(&mut self, _: NodeIndex, message: &VerifiedMessage, tools: &mut Tools<'_>) -> bool {
        if tools.rng.per_mille(250) {
            let message = match message {
                VerifiedMessage::Proposal(proposal) => Message::Proposal(proposal.to_message()),
                VerifiedMessage::Vote(vote) => Message::Vote(vote.signed().clone()),
                VerifiedMessage::Votes(certificate) => Message::Votes(certificate.clone()),
                VerifiedMessage::Commit(certificate) => Message::Commit(certificate.clone()),
                VerifiedMessage::Batch(batch) => Message::Batch(batch.to_batch()),
                VerifiedMessage::Ack(ack, entries) => {
                    Message::Ack(squad_types::AckMessage { ack: ack.signed().clone(), entries: entries.clone() })
                }
                VerifiedMessage::Secured(certificate) => Message::Secured(certificate.clone()),
                VerifiedMessage::Evidence(evidence, _) => Message::Evidence(evidence.clone()),
                VerifiedMessage::Ready(ready) => Message::Ready(ready.signed().clone()),
            };
            self.heard.push_back(Arc::new(message));
            if self.heard.len() > REMEMBERED {
                self.heard.pop_front();
            }
        }
        true
    }

    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(NodeIndex, Sent)> {
        let mut said = Vec::new();
        for _ in 0..AT_ONCE.min(self.heard.len()) {
            let which = tools.rng.below(self.heard.len() as u64) as usize;
            let to = tools.rng.below(tools.operators.len() as u64) as usize;
            said.push((to, Sent { message: Arc::clone(&self.heard[which]), later_ms: 0 }));
        }
        said
    }
}
