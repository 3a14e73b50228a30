//! Messages of peers, by kind; and peers that come.

use crate::evidence::Source;
use crate::input::Peer;
use crate::output::{Output, Recipients};
use crate::sequencer::{Outputs, Sequencer};
use squad_consensus::Input as Agree;
use squad_types::{
    CommitCertificate, Message, ProposalRef, Request, Verified, VerifiedMessage, VerifiedProposal, Vote, VoteKind,
};

impl Sequencer {
    pub(crate) fn on_message(&mut self, from: Peer, message: VerifiedMessage, outputs: &mut Outputs) {
        match message {
            VerifiedMessage::Proposal(proposal) => self.on_proposal(proposal, outputs),
            VerifiedMessage::Vote(vote) => self.on_vote(vote, outputs),
            VerifiedMessage::Votes(certificate) => {
                if self.agreeing.is_some() {
                    let Vote { height, round, block, .. } = certificate.vote;
                    self.agree(Agree::Votes(certificate), outputs);
                    self.look_at_certified(from, height, round, block, outputs);
                }
            }
            VerifiedMessage::Commit(certificate) => {
                let CommitCertificate { height, round, block, .. } = certificate;
                self.look_at_certified(from, height, round, Some(block), outputs);
                self.on_commit(from, certificate, outputs);
            }
            VerifiedMessage::Batch(batch) => {
                self.seen.batch(batch.signed_header());
                self.note_streamed(from, &batch);
                self.on_batch(Some(from), batch, outputs);
            }
            VerifiedMessage::Ack(ack, entries) => self.on_ack(from, ack, entries, outputs),
            VerifiedMessage::Secured(certificate) => self.on_secured(from, certificate, outputs),
            VerifiedMessage::Evidence(evidence, accused) => {
                self.on_evidence(*evidence, accused, Source::News, outputs);
            }
            VerifiedMessage::Ready(ready) => self.on_ready(ready, outputs),
        }
    }

    pub(crate) fn on_proposal(&mut self, proposal: VerifiedProposal, outputs: &mut Outputs) {
        self.seen.proposal(proposal.proposal());
        let statement = proposal.proposal().statement;
        self.note_wait(&proposal.proposal().signer, statement.height, statement.round);
        self.help_laggard(proposal.proposal().signer, statement.height, outputs);
        if statement.height == self.ledger.height().next() {
            let key = ProposalRef { height: statement.height, round: statement.round, block: statement.block };
            self.judgements.keep_proposal(key, proposal.clone());
        }
        // Of a height that was decided, it is held against what was said then.
        if self.agreeing.is_some() {
            self.agree(Agree::Proposal(proposal), outputs);
            self.look_for_rivals(statement.height, statement.round, outputs);
        }
    }

    fn on_vote(&mut self, vote: Verified<Vote>, outputs: &mut Outputs) {
        self.seen.vote(&vote);
        if vote.statement.kind == VoteKind::Precommit {
            self.note_late_precommit(&vote);
        }
        let (signer, Vote { height, round, block, .. }) = (vote.signer, vote.statement);
        self.help_laggard(signer, height, outputs);
        if self.agreeing.is_some() {
            self.agree(Agree::Vote(vote), outputs);
            if let Some(block) = block {
                self.look_at_rival(signer, ProposalRef { height, round, block }, outputs);
            }
        }
    }

    pub(crate) fn on_connected(&mut self, peer: Peer, outputs: &mut Outputs) {
        self.peers.insert(peer);
        if let Peer::Operator(operator) = peer {
            self.guard.is_heard_by(&operator);
            self.ask(peer, Request::Tip(self.ledger.epoch_of_next()), outputs);
            self.ask_for_acks(peer, outputs);
            self.ask_for_slots_of(peer, outputs);
            self.inquire_of(peer, outputs);
            // What was sent while it was away: our newest acks, and our statements of this height.
            let current = self.ledger.epoch_of_next();
            for epoch in [current.previous(), Some(current)].into_iter().flatten() {
                if let Some(message) = self.mempool.full_ack(epoch) {
                    let after = self.after_own_ack(epoch);
                    self.send(Recipients::One(peer), Message::Ack(message), after, outputs);
                }
            }
            for (message, after) in self.own_statements() {
                outputs.push(Output::Send { to: Recipients::One(peer), message: std::sync::Arc::new(message), after });
            }
            self.restart_catch_up(outputs);
        }
    }
}
