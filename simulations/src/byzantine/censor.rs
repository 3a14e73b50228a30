//! A proposer that leaves one operator's lane out of its blocks.

use super::{Behaviour, Tools};
use crate::network::NodeIndex;
use squad_sequencer::VerifiedResponse;
use squad_types::{Address, Epoch, Sequence, VerifiedMessage};
use std::collections::BTreeMap;

/// Keeps the victim's batches, and certificates of them, from its own honest part: what is not here is not proposed. What
/// others propose of them it takes in, as it must to follow.
#[derive(Debug)]
pub struct Censor {
    victim: Address,
    /// How far others have proposed the victim's lanes.
    proposed: BTreeMap<Epoch, Sequence>,
}

impl Censor {
    /// Leaves out this operator's lane.
    pub fn new(victim: Address) -> Self {
        Self { victim, proposed: BTreeMap::new() }
    }
}

impl Behaviour for Censor {
    fn hears(&mut self, _: NodeIndex, message: &VerifiedMessage, tools: &mut Tools<'_>) -> bool {
        let ledger = tools.sequencer.map(|sequencer| sequencer.ledger());
        let is_victims = |lane: squad_types::LaneId| {
            let committee = ledger.and_then(|ledger| ledger.committee(lane.epoch));
            committee
                .and_then(|committee| committee.get(lane.author))
                .is_some_and(|author| author.address == self.victim)
        };
        match message {
            VerifiedMessage::Batch(batch) => batch.header().operator != self.victim,
            VerifiedMessage::Secured(certificate) => !is_victims(certificate.lane),
            VerifiedMessage::Proposal(proposal) => {
                for entry in proposal.block().cut().iter().filter(|entry| is_victims(entry.lane)) {
                    let known = self.proposed.entry(entry.lane.epoch).or_default();
                    *known = (*known).max(entry.tip.sequence);
                }
                true
            }
            _ => true,
        }
    }

    fn hears_answer(&mut self, answer: &VerifiedResponse, tools: &mut Tools<'_>) -> bool {
        let VerifiedResponse::Batches(batches) = answer else { return true };
        // A node that only follows needs everything.
        let follows = tools.sequencer.is_none_or(|sequencer| sequencer.status().catching_up_to.is_some());
        let early = |header: &squad_types::BatchHeader| {
            header.operator == self.victim
                && self.proposed.get(&header.epoch).is_none_or(|proposed| header.sequence > *proposed)
        };
        follows || !batches.iter().any(|batch| early(batch.header()))
    }
}
