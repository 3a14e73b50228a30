//! Agreement: what the consensus room wants done.

use crate::fetch::{Haste, Want};
use crate::output::{After, Notice, Output, Recipients};
use crate::record::LogRecord;
use crate::sequencer::{MAX_CASCADE, Outputs, Sequencer};
use crate::timers::Timer;
use squad_consensus::{Input as Agree, Output as Agreed, ProposerRotation, ProposerSchedule, StartHeight, TimeoutKind};
use squad_types::{Height, Message, ProposalRef, ProposedBlock, Round, VerifiedProposal};
use std::sync::Arc;

impl Sequencer {
    /// Feeds agreement. Inputs that its own outputs cause are queued, never nested.
    pub(crate) fn agree(&mut self, input: Agree, outputs: &mut Outputs) {
        let mut next = Some(input);
        if self.agree_running || !self.agree_queue.is_empty() {
            self.agree_queue.extend(next.take());
        }
        if self.agree_running {
            return;
        }
        self.agree_running = true;
        let mut agreed = std::mem::take(&mut self.agreed);
        for _ in 0..MAX_CASCADE {
            let Some(input) = next.take().or_else(|| self.agree_queue.pop_front()) else { break };
            if let (Some(consensus), Some(signer)) = (&mut self.consensus, &self.config.signer) {
                consensus.handle(input, signer.as_ref(), self.config.verifier.as_ref(), &mut agreed);
            }
            for output in agreed.drain(..) {
                self.on_agreed(output, outputs);
            }
        }
        self.agreed = agreed;
        self.agree_running = false;
    }

    fn on_agreed(&mut self, agreed: Agreed, outputs: &mut Outputs) {
        match agreed {
            Agreed::Log(entry) => {
                self.log(LogRecord::Consensus(entry), outputs);
            }
            Agreed::PublishProposal { proposal, .. } => self.publish_proposal(proposal, outputs),
            Agreed::PublishVote { vote, covers_fresh, .. } => {
                let mut after = self.after_log();
                if covers_fresh && let Some(block) = vote.statement.block {
                    after.bulk = self.bulk_of_block(block);
                }
                self.own_votes.insert((vote.statement.kind, vote.statement.round), (vote.clone(), after));
                self.note_late_precommit(&vote);
                self.send(Recipients::Committee, Message::Vote(vote.into_signed()), after, outputs);
            }
            Agreed::PublishVotes(certificate) => {
                self.send(Recipients::Committee, Message::Votes(certificate), self.after_log(), outputs);
            }
            Agreed::RelayVotes(votes) => {
                for vote in votes {
                    self.send(Recipients::Committee, Message::Vote(vote), self.after_log(), outputs);
                }
            }
            Agreed::Judge { block, round, proposer, fresh } => self.judge(block, round, proposer, fresh, outputs),
            Agreed::MissingProposal { height, round, block } => {
                self.want(Want::Proposal(ProposalRef { height, round, block }), None, Haste::Soon, outputs);
            }
            Agreed::BuildValue { height, round } => self.pace.build = Some((height, round)),
            Agreed::Schedule { token, after } => {
                if token.kind == TimeoutKind::Propose {
                    self.pace.propose = Some((token, after));
                } else {
                    self.timers.set(Timer::Consensus(token), self.now.plus(crate::pace::milliseconds(after)));
                }
            }
            Agreed::Cancel(token) => {
                self.timers.cancel(Timer::Consensus(token));
                if self.pace.propose.as_ref().is_some_and(|(waiting, _)| *waiting == token) {
                    self.pace.propose = None;
                }
            }
            Agreed::RoundStarted { height, round, .. } => {
                self.round = round;
                outputs.push(Output::Notice(Notice::Round { height, round }));
            }
            Agreed::Decided { block, certificate } => self.on_decided(block, certificate, outputs),
            Agreed::Evidence(evidence) => {
                if let Ok(accused) = evidence.verify(&self.domain, self.config.verifier.as_ref()) {
                    self.accuse(accused, *evidence, outputs);
                }
            }
            Agreed::Halt(error) => {
                tracing::error!(%error, "agreement cannot go on");
                self.halted = Some(error.to_string());
            }
        }
    }

    fn publish_proposal(&mut self, proposal: VerifiedProposal, outputs: &mut Outputs) {
        let statement = proposal.proposal().statement;
        let key = ProposalRef { height: statement.height, round: statement.round, block: statement.block };
        self.judgements.keep_proposal(key, proposal.clone());
        self.send(Recipients::Committee, Message::Proposal(proposal.to_message()), self.after_log(), outputs);
    }

    /// The last bulk write that a block newly covers.
    fn bulk_of_block(&self, hash: squad_types::HeaderHash) -> Option<crate::output::PersistId> {
        let block = self.judgements.block(&hash)?;
        let state = self.ledger.state();
        let chains =
            block.cut().iter().filter_map(|entry| self.mempool.chain(entry.lane, state.tip(entry.lane), entry.tip));
        chains.flatten().filter_map(|batch| self.writes.batches.get(&batch.id())).max().copied()
    }

    /// Own statements of the height under way, for a peer that just came.
    pub(crate) fn own_statements(&self) -> Vec<(Message, After)> {
        let Some(me) = self.me else { return Vec::new() };
        if self.agreeing.is_none() {
            return Vec::new();
        }
        let proposals = self
            .judgements
            .proposals_of(me)
            .map(|proposal| (Message::Proposal(proposal.to_message()), self.after_log()));
        let votes = self.own_votes.values().map(|(vote, after)| (Message::Vote(vote.signed().clone()), *after));
        proposals.chain(votes).collect()
    }

    /// Who proposes at the next height; none for any other height.
    pub(crate) fn proposers(&self, height: Height) -> Option<Arc<ProposerSchedule>> {
        if height != self.ledger.height().next() {
            return None;
        }
        self.schedule.clone()
    }

    /// Makes the proposer schedule of the next height.
    pub(crate) fn refresh_schedule(&mut self) {
        let epoch = self.ledger.epoch_of_next();
        let Some(committee) = self.ledger.committee(epoch).cloned() else { return };
        let rotation = match &self.rotation {
            Some((known, rotation)) if *known == epoch => Arc::clone(rotation),
            _ => {
                let rotation = Arc::new(ProposerRotation::new(&committee, &self.ledger.epoch_seed()));
                self.rotation = Some((epoch, Arc::clone(&rotation)));
                rotation
            }
        };
        let failed = self.ledger.failed_turns();
        self.schedule = Some(Arc::new(rotation.schedule(self.ledger.height().next(), &failed)));
    }

    /// Begins agreement on the next height, unless this node is behind or no member.
    pub(crate) fn start_next_height(&mut self, outputs: &mut Outputs) {
        self.refresh_schedule();
        self.own_votes.clear();
        self.pace.build = None;
        self.pace.propose = None;
        self.round = Round::ZERO;
        let height = self.ledger.height().next();
        let epoch = self.ledger.epoch_of_next();
        if self.catchup.is_behind() || self.halted.is_some() || !self.is_member(epoch) {
            self.agreeing = None;
            return;
        }
        let (Some(committee), Some(proposers)) = (self.ledger.committee(epoch).cloned(), self.schedule.clone()) else {
            return;
        };
        let next_committee = Arc::clone(self.ledger.committee(epoch.next()).unwrap_or(&committee));
        self.agreeing = Some(height);
        let start = StartHeight { height, epoch, committee, next_committee, proposers, voting: true };
        self.agree(Agree::StartHeight(start), outputs);
    }

    pub(crate) fn on_decided(
        &mut self,
        block: Arc<ProposedBlock>,
        certificate: squad_types::CommitCertificate,
        outputs: &mut Outputs,
    ) {
        let execution = match self.judgements.take_execution(&block.hash()) {
            Some(execution) => execution,
            None => {
                // A quorum decided what this node could not judge yet: get what it misses, as if it were behind.
                let ordered = squad_types::OrderedBlock { block, certificate, skipped: Vec::new() };
                self.catchup.raise_target(ordered.certificate.height);
                self.catchup.queue(ordered);
                self.agreeing = None;
                self.start_catching_up(outputs);
                return;
            }
        };
        self.apply(block, certificate, execution, false, outputs);
        self.start_next_height(outputs);
    }
}
