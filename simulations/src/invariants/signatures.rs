//! Never sign twice: over all its lives, an honest operator makes one statement a slot.

use super::{Held, Observed, holds};
use squad_sequencer::{Output, Reply};
use squad_types::{
    AckCounter, Address, BatchHeader, Epoch, HeaderHash, Height, MerkleRoot, Message, Response, Round, Sequence,
    Signed, VoteKind,
};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct OneStatementASlot {
    votes: BTreeMap<(Address, VoteKind, Height, Round), Option<HeaderHash>>,
    proposals: BTreeMap<(Address, Height, Round), HeaderHash>,
    batches: BTreeMap<(Address, Epoch, Sequence), squad_types::BatchId>,
    acks: BTreeMap<(Address, Epoch, AckCounter), MerkleRoot>,
}

impl OneStatementASlot {
    pub(super) fn observe(&mut self, observed: &Observed<'_>) -> Held {
        match observed.output {
            Output::Send { message, .. } => self.message(observed, message),
            Output::Answer { reply: Reply::Now(response), .. } => match response.as_ref() {
                Response::Ack(Some(message)) => self.ack(observed, &message.ack),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn message(&mut self, observed: &Observed<'_>, message: &Message) -> Held {
        match message {
            Message::Vote(vote) if vote.signer == observed.operator => {
                let slot = (vote.signer, vote.statement.kind, vote.statement.height, vote.statement.round);
                let known = *self.votes.entry(slot).or_insert(vote.statement.block);
                let (node, block) = (observed.node, vote.statement.block);
                holds!(known == block, "signatures", "node {node} votes for {known:?} and {block:?} in {slot:?}");
                Ok(())
            }
            Message::Proposal(message) if message.proposal.signer == observed.operator => {
                let proposal = &message.proposal;
                let slot = (proposal.signer, proposal.statement.height, proposal.statement.round);
                let known = *self.proposals.entry(slot).or_insert(proposal.statement.block);
                let (node, block) = (observed.node, proposal.statement.block);
                holds!(known == block, "signatures", "node {node} proposes {known} and {block} in {slot:?}");
                Ok(())
            }
            Message::Batch(batch) => self.batch(observed, &batch.header),
            Message::Ack(message) => self.ack(observed, &message.ack),
            _ => Ok(()),
        }
    }

    fn batch(&mut self, observed: &Observed<'_>, header: &Signed<BatchHeader>) -> Held {
        if header.signer != observed.operator {
            return Ok(());
        }
        let slot = (header.signer, header.statement.epoch, header.statement.sequence);
        let known = *self.batches.entry(slot).or_insert(header.statement.id());
        holds!(known == header.statement.id(), "signatures", "node {} forks its lane at {slot:?}", observed.node);
        Ok(())
    }

    fn ack(&mut self, observed: &Observed<'_>, ack: &Signed<squad_types::Ack>) -> Held {
        if ack.signer != observed.operator {
            return Ok(());
        }
        let slot = (ack.signer, ack.statement.epoch, ack.statement.counter);
        let known = *self.acks.entry(slot).or_insert(ack.statement.root);
        holds!(known == ack.statement.root, "signatures", "node {} signs two acks in {slot:?}", observed.node);
        Ok(())
    }
}
