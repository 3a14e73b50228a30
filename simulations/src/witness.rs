//! Keeps what operators signed and sent, and the evidence that was found, for whoever judges it after the run.

use squad_types::{
    AckEntries, AckMessage, Address, BatchHeader, Epoch, Evidence, Height, Message, Proposal, Response, Sequence,
    Signed, Vote,
};
use std::collections::BTreeMap;

/// What operators signed and sent in a run, honest or not, in the order in which it was sent, each piece once.
#[derive(Debug, Default)]
pub struct Witness {
    /// Votes, by signer and height.
    pub votes: BTreeMap<(Address, Height), Vec<Signed<Vote>>>,
    /// Proposals, by signer and height.
    pub proposals: BTreeMap<(Address, Height), Vec<Signed<Proposal>>>,
    /// Batch headers, by author and place.
    pub headers: BTreeMap<(Address, Epoch, Sequence), Vec<Signed<BatchHeader>>>,
    /// Acks, by signer and epoch. Those that only name what changed are left out.
    pub acks: BTreeMap<(Address, Epoch), Vec<AckMessage>>,
    /// Evidence that nodes found, with whom they say it accuses.
    pub evidence: Vec<(Address, Evidence)>,
}

impl Witness {
    /// Somebody says something whose signatures hold.
    pub(crate) fn said(&mut self, message: &Message) {
        match message {
            Message::Vote(vote) => keep(self.votes.entry((vote.signer, vote.statement.height)).or_default(), vote),
            Message::Proposal(message) => {
                let proposal = &message.proposal;
                keep(self.proposals.entry((proposal.signer, proposal.statement.height)).or_default(), proposal);
            }
            Message::Batch(batch) => self.batch(&batch.header),
            Message::Ack(ack) => self.ack(ack),
            _ => {}
        }
    }

    /// Somebody answers. Whether the signatures hold is not known.
    pub(crate) fn answered(&mut self, response: &Response) {
        match response {
            Response::Batches(batches) => batches.iter().for_each(|batch| self.batch(&batch.header)),
            Response::Ack(Some(ack)) => self.ack(ack),
            _ => {}
        }
    }

    pub(crate) fn accused(&mut self, operator: Address, evidence: &Evidence) {
        self.evidence.push((operator, evidence.clone()));
    }

    fn batch(&mut self, header: &Signed<BatchHeader>) {
        let place = (header.signer, header.statement.epoch, header.statement.sequence);
        keep(self.headers.entry(place).or_default(), header);
    }

    fn ack(&mut self, ack: &AckMessage) {
        if let AckEntries::Full(_) = ack.entries {
            keep(self.acks.entry((ack.ack.signer, ack.ack.statement.epoch)).or_default(), ack);
        }
    }
}

fn keep<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    // What is said again was mostly said just before.
    if !list.iter().rev().any(|kept| kept == item) {
        list.push(item.clone());
    }
}
