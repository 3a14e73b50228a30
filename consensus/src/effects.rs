//! What malachite asks for, answered on the spot. Infallible: `process!` would swallow an error and go on.

use crate::consensus::{Config, Error};
use crate::context::{Ballot, Context, Mark, Proposal, round_of};
use crate::convert::{
    certificate_of, checked_vote_of, commit_of, mal_vote, members_of, proposal_of, signed_proposal_of, vote_of,
    votes_of,
};
use crate::evidence::Watch;
use crate::gate::Gate;
use crate::log::{Elapsed, LogEntry, Ruling};
use crate::output::Output;
use crate::slots::Slots;
use crate::timeouts::{TimeoutKind, Timers};
use arc_malachitebft_core_consensus::{Effect, Input as Core, LivenessMsg, Resumable, Resume, SignedConsensusMsg};
use arc_malachitebft_core_types as mal;
use squad_types::{
    Bitmap, Committee, HeaderHash, Height, Round, Signed, Signer, Verified, VerifiedProposal, Verifier, Vote,
    VoteCertificate, VoteKind,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rounds ahead of the current one whose statements the core takes; it drops those beyond.
pub(crate) const LOOKAHEAD: u32 = arc_malachitebft_core_consensus::MAX_FUTURE_ROUND_LOOKAHEAD;

/// What lives longer than a height.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) timers: Timers,
    pub(crate) slots: Slots,
    pub(crate) watch: Watch,
}

/// What belongs to the height under way, beside malachite's own state.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) height: Height,
    pub(crate) committee: Arc<Committee>,
    /// It takes part: it signs and logs. Otherwise it follows, and leaves no trace.
    pub(crate) voting: bool,
    /// The entries being fed are read back from the log: they are durable, and were published.
    pub(crate) replaying: bool,
    pub(crate) gate: Gate,
    /// The round that a block is being built for.
    pub(crate) building: Option<Round>,
    pub(crate) decided: bool,
    /// Quorums for a block that came up while the core was busy.
    pub(crate) quorums: BTreeSet<(Round, HeaderHash)>,
    pub(crate) fault: Option<Error>,
    /// The vote that the core is given now. It was counted before.
    pub(crate) feeding: Option<Verified<Vote>>,
}

/// The keys that a call may use.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) signer: &'a dyn Signer,
    pub(crate) verifier: &'a dyn Verifier,
}

/// Answers the effects of one core input.
pub(crate) struct Effects<'a> {
    pub(crate) config: &'a Config,
    pub(crate) shared: &'a mut Shared,
    pub(crate) desk: &'a mut Desk,
    pub(crate) keys: Keys<'a>,
    pub(crate) out: &'a mut Vec<Output>,
}

impl Effects<'_> {
    /// Does what the effect asks for and says how the core goes on.
    pub(crate) fn on(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::CancelAllTimeouts(r) => {
                self.cancel_all();
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                if let (Some(kind), Some(round)) = (timeout_kind(timeout.kind), round_of(timeout.round)) {
                    let token = self.shared.timers.cancel(round, kind);
                    self.emit(token.map(Output::Cancel));
                }
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.schedule(timeout);
                r.resume_with(())
            }
            Effect::StartRound(_, round, proposer, _, r) => {
                self.desk.building = None;
                let round = round_of(round).unwrap_or_default();
                self.desk.gate.prune(round);
                self.shared.watch.admit_up_to(self.desk.height, round.plus(LOOKAHEAD));
                let proposer = proposer.address(&self.desk.committee);
                self.emit(Some(Output::RoundStarted { height: self.desk.height, round, proposer }));
                r.resume_with(())
            }
            Effect::GetValue(_, round, _, r) => {
                self.build(round_of(round).unwrap_or_default());
                r.resume_with(())
            }
            Effect::Decide(certificate, _, r) => {
                self.decide(&certificate);
                r.resume_with(())
            }
            Effect::WalAppend(_, input, r) => {
                self.append(input);
                r.resume_with(())
            }
            Effect::SignVote(ballot, r) => r.resume_with(self.sign_vote(&ballot)),
            Effect::SignProposal(proposal, r) => r.resume_with(self.sign_proposal(proposal)),
            other => self.on_message(other),
        }
    }

    fn on_message(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::PublishConsensusMsg(SignedConsensusMsg::Vote(vote), r) => {
                self.publish_vote(&vote, false);
                r.resume_with(())
            }
            Effect::PublishConsensusMsg(SignedConsensusMsg::Proposal(proposal), r) => {
                self.publish_proposal(&proposal);
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                match message {
                    LivenessMsg::Vote(vote) => self.publish_vote(&vote, true),
                    LivenessMsg::PolkaCertificate(polka) => {
                        let certificate = certificate_of(&polka, &self.desk.committee);
                        self.emit(Some(Output::PublishVotes(certificate)));
                    }
                    // Everybody enters a round with the same votes in hand. Who lost some gets them when nothing moves for a while.
                    LivenessMsg::SkipRoundCertificate(_) => {}
                }
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.publish_vote(&vote, true);
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, r) => {
                self.emit(Some(Output::RelayVotes(votes_of(&certificate, &self.desk.committee))));
                r.resume_with(())
            }
            // The proposal goes out whole, with the message that follows this effect.
            Effect::RestreamProposal(.., r) => r.resume_with(()),
            Effect::Finalize(.., r) => r.resume_with(()),
            // Blocks decided elsewhere are applied by whoever catches up, not by the core.
            Effect::CertVerifiedSyncValue(.., r) => r.resume_with(()),
            Effect::CertRejectedSyncValue(.., r) => r.resume_with(()),
            other => self.on_check(other),
        }
    }

    fn on_check(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            // Whatever gets here came in as `Verified` or was signed by this node.
            Effect::VerifySignature(_, _, r) => r.resume_with(true),
            Effect::VerifyPolkaCertificate(polka, _, _, r) => r.resume_with(self.check_polka(&polka)),
            Effect::VerifyRoundCertificate(certificate, _, _, r) => r.resume_with(self.check_round(&certificate)),
            // Built by the core from votes that were checked one by one.
            Effect::VerifyCommitCertificate(.., r) => r.resume_with(Ok(())),
            Effect::VerifyExtendedCommitCertificate(.., r) => {
                r.resume_with(Err(mal::CertificateError::VerificationError(None)))
            }
            Effect::ExtendVote(.., r) => r.resume_with(None),
            Effect::VerifyVoteExtension(.., r) => r.resume_with(Ok(())),
            _ => Resume::Continue,
        }
    }

    fn emit(&mut self, output: Option<Output>) {
        if !self.desk.replaying {
            self.out.extend(output);
        }
    }

    fn cancel_all(&mut self) {
        for token in self.shared.timers.cancel_all() {
            self.emit(Some(Output::Cancel(token)));
        }
    }

    fn schedule(&mut self, timeout: mal::Timeout) {
        let (Some(kind), Some(round)) = (timeout_kind(timeout.kind), round_of(timeout.round)) else { return };
        let token = self.shared.timers.schedule(self.desk.height, round, kind);
        let after = self.config.timeouts.duration(kind, round);
        self.emit(Some(Output::Schedule { token, after }));
    }

    fn build(&mut self, round: Round) {
        // A proposal of this round was signed before: there is nothing left to choose.
        if self.shared.slots.held_proposal(self.desk.height, round).is_none() {
            self.desk.building = Some(round);
            self.emit(Some(Output::BuildValue { height: self.desk.height, round }));
        }
    }

    fn decide(&mut self, certificate: &mal::CommitCertificate<Context>) {
        self.desk.decided = true;
        let certificate = commit_of(certificate, &self.desk.committee);
        match self.desk.gate.block(&certificate.block) {
            // Also while replaying: the decision may not have been acted upon.
            Some(block) => self.out.push(Output::Decided { block: Arc::clone(block), certificate }),
            None => {
                self.desk.fault = Some(Error::Core(format!("decided block {} which never came in", certificate.block)))
            }
        }
    }

    fn sign_vote(&mut self, ballot: &Ballot) -> mal::SignedVote<Context> {
        let wanted = vote_of(ballot);
        let fresh = |block| self.desk.gate.is_fresh_without_quorum(wanted.round, block);
        let covers_fresh = wanted.kind == VoteKind::Prevote && wanted.block.is_some_and(fresh);
        let given = self.shared.slots.vote(wanted, covers_fresh, &self.config.domain, self.keys.signer);
        if given.diverged {
            self.desk.fault = Some(Error::Diverged { height: wanted.height, round: wanted.round });
        }
        mal_vote(&given.statement, &self.desk.committee)
    }

    /// A slot that holds another life's proposal gives that one's signature: it does not fit this proposal, so it tells nobody
    /// anything, and the proposal stays here.
    fn sign_proposal(&mut self, proposal: Proposal) -> mal::SignedProposal<Context> {
        let wanted = proposal_of(&proposal);
        let given = self.shared.slots.proposal(wanted, &self.config.domain, self.keys.signer);
        if given.diverged {
            self.desk.fault = Some(Error::Diverged { height: wanted.height, round: wanted.round });
        }
        mal::SignedMessage::new(proposal, Mark::new(given.statement.signature))
    }

    /// Logs what malachite wants logged. While replaying only an own statement that the crash kept from the log is news.
    fn append(&mut self, input: Core<Context>) {
        match input {
            Core::Vote(vote) => self.append_vote(&vote),
            Core::Proposal(proposal) => self.append_proposal(&proposal),
            Core::ProposedValue(value, _) => {
                let valid = value.validity.is_valid();
                let (round, valid_round) = (round_of(value.round).unwrap_or_default(), round_of(value.valid_round));
                let (block, proposer) = (value.value.0, value.proposer.address(&self.desk.committee));
                let ruling = Ruling { height: self.desk.height, round, valid_round, proposer, block, valid };
                self.log_block(&block);
                self.log_unless_replayed(LogEntry::Ruling(Box::new(ruling)));
            }
            Core::PolkaCertificate(polka) => {
                let certificate = certificate_of(&polka, &self.desk.committee);
                self.log_unless_replayed(LogEntry::Polka(Box::new(certificate)));
            }
            Core::TimeoutElapsed(timeout) => {
                if let (Some(kind), Some(round)) = (timeout_kind(timeout.kind), round_of(timeout.round)) {
                    self.log_unless_replayed(LogEntry::Elapsed(Elapsed { height: self.desk.height, round, kind }));
                }
            }
            // Never persisted, says malachite.
            Core::StartHeight(..) | Core::RoundCertificate(_) | Core::Propose(_) | Core::SyncValueResponse(_) => {}
        }
    }

    fn append_vote(&mut self, vote: &mal::SignedVote<Context>) {
        let vote = checked_vote_of(vote, &self.desk.committee);
        // One that was fed is counted already.
        if self.desk.feeding.as_ref().is_none_or(|fed| !Arc::ptr_eq(fed.shared(), vote.shared())) {
            self.count(&vote);
        }
        if vote.signer != self.config.address {
            self.log_unless_replayed(LogEntry::Vote(Arc::clone(vote.shared())));
        } else if self.shared.slots.log_vote(&vote.statement) && self.desk.voting {
            self.out.push(Output::Log(LogEntry::Vote(Arc::clone(vote.shared()))));
        }
    }

    fn append_proposal(&mut self, proposal: &mal::SignedProposal<Context>) {
        let proposal = Verified::from_own_log(signed_proposal_of(proposal, &self.desk.committee));
        self.shared.watch.add_proposal(&proposal);
        self.desk.gate.fed_proposal(&proposal);
        self.log_block(&proposal.statement.block);
        if proposal.signer != self.config.address {
            self.log_unless_replayed(LogEntry::Proposal(Arc::clone(proposal.shared())));
        } else if self.shared.slots.log_proposal(&proposal.statement) && self.desk.voting {
            self.out.push(Output::Log(LogEntry::Proposal(Arc::clone(proposal.shared()))));
        }
    }

    /// Counts a vote that the core takes in.
    pub(crate) fn count(&mut self, vote: &Verified<Vote>) {
        self.shared.watch.add_vote(vote);
        self.note_quorum(&vote.statement);
    }

    /// Notes whether a vote that was counted completes a quorum for a block.
    pub(crate) fn note_quorum(&mut self, vote: &Vote) {
        let Vote { kind, round, block, height } = *vote;
        let statements = self.shared.watch.at(height);
        if let Some(block) = block.filter(|block| statements.is_some_and(|at| at.has_quorum(round, kind, *block))) {
            self.desk.quorums.insert((round, block));
        }
    }

    fn log_block(&mut self, block: &HeaderHash) {
        if self.desk.voting && !self.desk.replaying {
            let block = self.desk.gate.take_unlogged(block);
            self.out.extend(block.map(|block| Output::Log(LogEntry::Block(block))));
        }
    }

    fn log_unless_replayed(&mut self, entry: LogEntry) {
        if self.desk.voting && !self.desk.replaying {
            self.out.push(Output::Log(entry));
        }
    }

    fn publish_vote(&mut self, vote: &mal::SignedVote<Context>, again: bool) {
        let statement = vote_of(&vote.message);
        let Some((vote, covers_fresh)) = self.shared.slots.held_vote(statement.height, statement.round, statement.kind)
        else {
            return;
        };
        let vote = vote.clone();
        // Malachite logs a vote before it publishes it; were that to change, this would still hold.
        if self.shared.slots.log_vote(&statement) {
            self.out.push(Output::Log(LogEntry::Vote(Arc::clone(vote.shared()))));
        }
        self.emit(Some(Output::PublishVote { vote, covers_fresh, again }));
    }

    fn publish_proposal(&mut self, proposal: &mal::SignedProposal<Context>) {
        let signed = Arc::new(signed_proposal_of(proposal, &self.desk.committee));
        let again = signed.signer != self.config.address;
        let slot = self.shared.slots.held_proposal(signed.statement.height, signed.statement.round);
        if !again && slot.is_none_or(|held| held.statement != signed.statement) {
            return;
        }
        if !again && self.shared.slots.log_proposal(&signed.statement) {
            self.out.push(Output::Log(LogEntry::Proposal(Arc::clone(&signed))));
        }
        if let Some(block) = self.desk.gate.block(&signed.statement.block).cloned() {
            let proposal = VerifiedProposal::assemble(Verified::from_own_log(signed), block);
            self.emit(Some(Output::PublishProposal { proposal, again }));
        }
    }

    /// Checks the signatures of a certificate that the core has not seen. A vote that is here with the same signature was checked.
    fn check_polka(&mut self, polka: &mal::PolkaCertificate<Context>) -> Result<(), mal::CertificateError<Context>> {
        if self.desk.replaying {
            return Ok(());
        }
        let certificate = certificate_of(polka, &self.desk.committee);
        if certificate.signers.count() != polka.polka_signatures.len() || !self.holds(&certificate) {
            return Err(mal::CertificateError::VerificationError(None));
        }
        self.desk.quorums.extend(certificate.vote.block.map(|block| (certificate.vote.round, block)));
        self.accuse_signers(&certificate);
        Ok(())
    }

    /// Whether a certificate is a quorum's, by members, with signatures that hold.
    pub(crate) fn holds(&self, certificate: &VoteCertificate) -> bool {
        let committee = &self.desk.committee;
        if certificate.signers.count() != certificate.signatures.len() {
            return false;
        }
        let digest = self.config.domain.digest(&certificate.vote);
        let known = self.shared.watch.at(certificate.vote.height);
        let mut signatures = certificate.signers.iter().zip(&certificate.signatures);
        committee.is_quorum(committee.stake_of_all(&certificate.signers))
            && signatures.all(|(index, signature)| {
                known.is_some_and(|known| known.holds(index, &certificate.vote, signature))
                    || committee
                        .get(index)
                        .is_some_and(|member| self.keys.verifier.verify(&digest, &member.address, signature))
            })
    }

    /// A certificate whose signatures hold may contain the second vote of somebody whose first is known here.
    fn accuse_signers(&mut self, certificate: &VoteCertificate) {
        let members = members_of(certificate, &self.desk.committee);
        for (signer, signature) in members.into_iter().flatten() {
            let vote = Verified::from_own_log(Signed { statement: certificate.vote, signer, signature });
            let evidence = self.shared.watch.contradiction(&vote);
            self.emit(evidence.map(Output::Evidence));
        }
    }

    /// Counts the stake of a round certificate, whose votes were checked one by one.
    fn check_round(&self, certificate: &mal::RoundCertificate<Context>) -> Result<(), mal::CertificateError<Context>> {
        let committee = &self.desk.committee;
        let mut signers = Bitmap::default();
        for signature in &certificate.round_signatures {
            if certificate.cert_type == mal::RoundCertificateType::Precommit
                && signature.vote_type != mal::VoteType::Precommit
            {
                return Err(mal::CertificateError::InvalidVoteType(signature.address));
            }
            if signers.contains(signature.address.0) {
                return Err(mal::CertificateError::DuplicateVote(signature.address));
            }
            if committee.get(signature.address.0).is_some() {
                signers.insert(signature.address.0);
            }
        }
        let stake = committee.stake_of_all(&signers);
        let enough = match certificate.cert_type {
            mal::RoundCertificateType::Precommit => committee.is_quorum(stake),
            mal::RoundCertificateType::Skip => committee.is_honest_threshold(stake),
        };
        if enough { Ok(()) } else { Err(mal::CertificateError::VerificationError(None)) }
    }
}

/// None for malachite's wait after a decision, which is not used.
fn timeout_kind(kind: mal::TimeoutKind) -> Option<TimeoutKind> {
    match kind {
        mal::TimeoutKind::Propose => Some(TimeoutKind::Propose),
        mal::TimeoutKind::Prevote => Some(TimeoutKind::Prevote),
        mal::TimeoutKind::Precommit => Some(TimeoutKind::Precommit),
        mal::TimeoutKind::Rebroadcast => Some(TimeoutKind::Rebroadcast),
        mal::TimeoutKind::FinalizeHeight(_) => None,
    }
}
