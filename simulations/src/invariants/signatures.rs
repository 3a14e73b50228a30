//! Never sign twice: over all its lives, an honest operator makes one statement a slot.
//!
//! One whose disk was lost or put back is held to it as far as the protocol can hold it: by what peers remember. It waits for
//! over two thirds of stake, itself included. So if more than a third of stake, honest and alive ever since, had heard a
//! statement of that kind, at that place or above, before it came back, it must not make another one. If fewer had, it may:
//! nobody can tell it. From then on nothing is promised about it any more.

use super::{Known, Observed, Violation};
use crate::network::NodeIndex;
use crate::node::Node;
use squad_sequencer::{Output, Reply};
use squad_types::{
    Ack, AckCounter, Address, BatchHeader, BatchId, Epoch, HeaderHash, Height, MerkleRoot, Message, Response, Round,
    Sequence, Signed, Stake, VerifiedMessage, Vote, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

/// A place for one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Prevote(Height, Round),
    Precommit(Height, Round),
    Proposal(Height, Round),
    Batch(Epoch, Sequence),
    Ack(Epoch, AckCounter),
}

/// What stands in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Vote(Option<HeaderHash>),
    Proposal(HeaderHash),
    Batch(BatchId),
    Ack(MerkleRoot),
}

/// Who heard a statement, in a life of its signer that is not over.
#[derive(Debug, Default)]
struct Heard {
    by: BTreeSet<NodeIndex>,
    /// The signer has come back since: what is still on its way comes too late to be remembered for it.
    late: bool,
}

#[derive(Default)]
pub(super) struct OneStatementASlot {
    said: BTreeMap<(Address, Slot), Said>,
    /// Statements of operators that may lose their memory.
    heard: BTreeMap<(Address, Slot), Heard>,
    /// Statements that were made anew because too few had heard the first.
    forgotten: u64,
}

impl OneStatementASlot {
    /// Takes in what leaves an honest operator. An operator whose repeated statement is excused is returned.
    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Result<Option<Address>, Violation> {
        let message = match observed.output {
            Output::Send { message, .. } => message.as_ref(),
            Output::Answer { reply: Reply::Now(response), .. } => match response.as_ref() {
                Response::Ack(Some(message)) => return self.say(observed, known, ack(&message.ack)),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        match statement(message) {
            Some((signer, slot, said)) if signer == observed.operator => {
                self.say(observed, known, (signer, slot, said))
            }
            _ => Ok(None),
        }
    }

    fn say(
        &mut self,
        observed: &Observed<'_>,
        known: &Known,
        (signer, slot, said): (Address, Slot, Said),
    ) -> Result<Option<Address>, Violation> {
        if signer != observed.operator {
            return Ok(None);
        }
        let before = *self.said.entry((signer, slot)).or_insert(said);
        if known.doubtful.contains(&signer) {
            self.heard.entry((signer, slot)).or_default();
        }
        if before == said {
            return Ok(None);
        }
        let remembered = self.remembered(signer, slot, observed.nodes, known);
        if known.forgetful.contains(&signer) && !known.committees.values().all(|c| c.is_honest_threshold(remembered)) {
            self.forgotten += 1;
            return Ok(Some(signer));
        }
        let node = observed.node;
        Err(Violation::new("signatures", format!("node {node} says {before:?} and {said:?} in {slot:?}")))
    }

    /// The stake that had heard a statement of this kind, at this place or above, when its signer came back.
    fn remembered(&self, signer: Address, slot: Slot, nodes: &[Node], known: &Known) -> Stake {
        let same_kind = |key: &(Address, Slot)| key.0 == signer && discriminant(&key.1) == discriminant(&slot);
        let from = self.heard.range((signer, slot)..).take_while(|(key, _)| same_kind(key));
        let by: BTreeSet<NodeIndex> =
            from.filter(|(_, heard)| heard.late).flat_map(|(_, heard)| &heard.by).copied().collect();
        let addresses: BTreeSet<Address> =
            by.iter().filter_map(|node| Some(nodes.get(*node)?.config.signer.as_ref()?.address())).collect();
        let committee = known.committees.values().next_back();
        let counts = |operator: &&Address| known.is_honest(operator) && !known.forgetful.contains(*operator);
        let stakes = addresses.iter().filter(counts).filter_map(|operator| Some(committee?.stake_of(operator).0));
        Stake(stakes.sum())
    }

    /// An honest node takes in a message.
    pub(super) fn heard(&mut self, at: NodeIndex, message: &VerifiedMessage, known: &Known) {
        if known.doubtful.is_empty() {
            return;
        }
        let named = match message {
            VerifiedMessage::Vote(vote) => Some(voted(vote.signed())),
            VerifiedMessage::Proposal(message) => {
                let proposal = message.proposal();
                let slot = Slot::Proposal(proposal.statement.height, proposal.statement.round);
                Some((proposal.signer, slot, Said::Proposal(proposal.statement.block)))
            }
            VerifiedMessage::Batch(batch) => Some(batched(batch.signed_header())),
            VerifiedMessage::Ack(message, _) => Some(ack(message.signed())),
            _ => None,
        };
        let Some((signer, slot, _)) = named else { return };
        if let Some(heard) = self.heard.get_mut(&(signer, slot)).filter(|heard| !heard.late) {
            heard.by.insert(at);
        }
    }

    /// A node died, and with it what it had heard.
    pub(super) fn crashed(&mut self, node: NodeIndex) {
        self.heard.values_mut().for_each(|heard| {
            heard.by.remove(&node);
        });
    }

    /// An operator begins a life: what it said before has been heard by now, or has not.
    pub(super) fn started(&mut self, operator: &Address) {
        self.heard.iter_mut().filter(|((signer, _), _)| signer == operator).for_each(|(_, heard)| heard.late = true);
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

fn statement(message: &Message) -> Option<(Address, Slot, Said)> {
    match message {
        Message::Vote(vote) => Some(voted(vote)),
        Message::Proposal(message) => {
            let statement = &message.proposal.statement;
            let slot = Slot::Proposal(statement.height, statement.round);
            Some((message.proposal.signer, slot, Said::Proposal(statement.block)))
        }
        Message::Batch(batch) => Some(batched(&batch.header)),
        Message::Ack(message) => Some(ack(&message.ack)),
        _ => None,
    }
}

fn voted(vote: &Signed<Vote>) -> (Address, Slot, Said) {
    let (height, round) = (vote.statement.height, vote.statement.round);
    let slot = match vote.statement.kind {
        VoteKind::Prevote => Slot::Prevote(height, round),
        VoteKind::Precommit => Slot::Precommit(height, round),
    };
    (vote.signer, slot, Said::Vote(vote.statement.block))
}

fn batched(header: &Signed<BatchHeader>) -> (Address, Slot, Said) {
    let statement = &header.statement;
    (header.signer, Slot::Batch(statement.epoch, statement.sequence), Said::Batch(statement.id()))
}

fn ack(ack: &Signed<Ack>) -> (Address, Slot, Said) {
    (ack.signer, Slot::Ack(ack.statement.epoch, ack.statement.counter), Said::Ack(ack.statement.root))
}
