//! Never sign twice: over all its lives, an honest operator makes one statement a slot.

use super::Observed;
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
    pub(super) fn observe(&mut self, observed: &Observed<'_>) {
        match observed.output {
            Output::Send { message, .. } => self.message(observed, message),
            Output::Answer { reply: Reply::Now(response), .. } => {
                if let Response::Ack(Some(message)) = response.as_ref() {
                    self.ack(observed, &message.ack);
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, observed: &Observed<'_>, message: &Message) {
        match message {
            Message::Vote(vote) if vote.signer == observed.operator => {
                let slot = (vote.signer, vote.statement.kind, vote.statement.height, vote.statement.round);
                let known = *self.votes.entry(slot).or_insert(vote.statement.block);
                assert_eq!(known, vote.statement.block, "node {} votes twice in {slot:?}", observed.node);
            }
            Message::Proposal(message) if message.proposal.signer == observed.operator => {
                let proposal = &message.proposal;
                let slot = (proposal.signer, proposal.statement.height, proposal.statement.round);
                let known = *self.proposals.entry(slot).or_insert(proposal.statement.block);
                assert_eq!(known, proposal.statement.block, "node {} proposes twice in {slot:?}", observed.node);
            }
            Message::Batch(batch) => self.batch(observed, &batch.header),
            Message::Ack(message) => self.ack(observed, &message.ack),
            _ => {}
        }
    }

    fn batch(&mut self, observed: &Observed<'_>, header: &Signed<BatchHeader>) {
        if header.signer != observed.operator {
            return;
        }
        let slot = (header.signer, header.statement.epoch, header.statement.sequence);
        let known = *self.batches.entry(slot).or_insert(header.statement.id());
        assert_eq!(known, header.statement.id(), "node {} forks its lane at {slot:?}", observed.node);
    }

    fn ack(&mut self, observed: &Observed<'_>, ack: &Signed<squad_types::Ack>) {
        if ack.signer != observed.operator {
            return;
        }
        let slot = (ack.signer, ack.statement.epoch, ack.statement.counter);
        let known = *self.acks.entry(slot).or_insert(ack.statement.root);
        assert_eq!(known, ack.statement.root, "node {} signs two acks in {slot:?}", observed.node);
    }
}
