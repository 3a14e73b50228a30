//! Two proposals for one round, each shown to a part of the others.
//!
//! Nobody holds both. But whoever holds one sees votes for the other, or a certificate, and asks who cast or sent it for what it has
//! seen: the two are evidence. An honest proposer makes one proposal a round, and honest votes name that, so nobody is asked then.

use crate::input::Peer;
use crate::sequencer::{Outputs, Sequencer};
use squad_types::{Address, HeaderHash, Height, ProposalRef, Request, Round, VerifiedProposal};
use std::collections::{BTreeMap, BTreeSet};

/// Heights below the tip whose proposals are asked for, and kept for who asks: those whose statements agreement keeps.
const HEIGHTS: u64 = 16;

/// Proposals of a decided height that are kept: of its first rounds, two of each, which prove as much as more do.
const KEPT_OF_HEIGHT: usize = 8;

/// What is kept of decided heights for the sake of proof.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    /// Who was asked for another proposal of a round: members, of rounds of the last heights whose proposal is held here.
    asked: BTreeSet<(Height, Round, Address)>,
    /// Proposals of the last heights.
    past: BTreeMap<ProposalRef, VerifiedProposal>,
}

impl Sequencer {
    /// An operator names a block. If the proposal of that round is for another one here, it is asked for its own, once a round.
    pub(crate) fn look_at_rival(&mut self, operator: Address, named: ProposalRef, outputs: &mut Outputs) {
        let ProposalRef { height, round, block } = named;
        let is_rival = self.consensus.as_ref().is_some_and(|consensus| consensus.is_rival(height, round, block));
        // Who does not agree on a height now takes in no proposals.
        if !is_rival || self.agreeing.is_none() || !self.peers.contains(&Peer::Operator(operator)) {
            return;
        }
        let member = self.ledger.committee_at(height).is_some_and(|committee| committee.contains(&operator));
        if member && self.rivals.asked.insert((height, round, operator)) {
            self.ask(Peer::Operator(operator), Request::Proposal(named), outputs);
        }
    }

    /// A peer sends a certificate, which may prove to be none.
    pub(crate) fn look_at_certified(
        &mut self,
        from: Peer,
        height: Height,
        round: Round,
        block: Option<HeaderHash>,
        outputs: &mut Outputs,
    ) {
        if let (Peer::Operator(operator), Some(block)) = (from, block) {
            self.look_at_rival(operator, ProposalRef { height, round, block }, outputs);
        }
    }

    /// A proposal came after votes of its round.
    pub(crate) fn look_for_rivals(&mut self, height: Height, round: Round, outputs: &mut Outputs) {
        let votes = self.consensus.as_ref().map(|consensus| consensus.votes_for_rivals(height, round));
        for (operator, block) in votes.unwrap_or_default() {
            self.look_at_rival(operator, ProposalRef { height, round, block }, outputs);
        }
    }

    /// A proposal of a decided height, for who holds another one.
    pub(crate) fn past_proposal(&self, key: &ProposalRef) -> Option<&VerifiedProposal> {
        self.rivals.past.get(key)
    }

    /// A height is decided. Its proposals by those whose turn it was are kept for a while.
    pub(crate) fn keep_proposals_of(&mut self, decided: Height) {
        let oldest = decided.minus(HEIGHTS);
        self.rivals.asked.retain(|(height, _, _)| *height >= oldest);
        self.rivals.past.retain(|key, _| key.height >= oldest);
        let in_turn = |key: &ProposalRef, proposal: &VerifiedProposal| {
            key.height == decided && self.proposer_of(key.round) == Some(proposal.proposal().signer)
        };
        let mut kept: Vec<(ProposalRef, VerifiedProposal)> = Vec::new();
        for (key, proposal) in self.judgements.proposals().filter(|(key, proposal)| in_turn(key, proposal)) {
            let of_round = kept.iter().filter(|(known, _)| known.round == key.round).count();
            if of_round < 2 && kept.len() < KEPT_OF_HEIGHT {
                kept.push((*key, proposal.clone()));
            }
        }
        self.rivals.past.extend(kept);
    }
}
