//! The height under way: what comes in is kept, counted and fed to the core in the order that the gate allows.

use crate::consensus::{Config, Error, accuse};
use crate::context::{At, Context, Value, Who, mal_round, mal_round_opt};
use crate::convert::{certificate_of, mal_polka, mal_proposal, mal_vote, mal_vote_of, members_of};
use crate::effects::{Desk, Effects, Keys, LOOKAHEAD, Shared};
use crate::engine::Engine;
use crate::evidence::Added;
use crate::far::FarVotes;
use crate::gate::{Admitted, Feed, Gate};
use crate::input::{StartHeight, Verdict};
use crate::log::{LogEntry, Started};
use crate::output::Output;
use crate::timeouts::{TimeoutKind, TimeoutToken};
use arc_malachitebft_core_consensus::{Input as Core, LocallyProposedValue, ProposedValue};
use arc_malachitebft_core_types as mal;
use squad_types::{
    HeaderHash, Height, ProposedBlock, Round, Signed, Verified, VerifiedProposal, Vote, VoteCertificate, VoteKind,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a call works with beside the height's own state.
pub(crate) struct Tools<'a> {
    pub(crate) config: &'a Config,
    pub(crate) shared: &'a mut Shared,
    pub(crate) keys: Keys<'a>,
    pub(crate) out: &'a mut Vec<Output>,
}

/// One height.
#[derive(Debug)]
pub(crate) struct Running {
    start: StartHeight,
    engine: Engine,
    pub(crate) desk: Desk,
    far: FarVotes,
    /// The quorums for a block seen so far: at most one a round and kind.
    quorums: BTreeSet<(Round, HeaderHash)>,
    /// The last step that was ended because nothing could come of it any more.
    ended: Option<(Round, VoteKind)>,
}

impl Running {
    pub(crate) fn new(start: StartHeight, config: &Config, voting: bool) -> Self {
        let engine = Engine::new(start.height, &start.committee, Arc::clone(&start.proposers), config.address, voting);
        let desk = Desk {
            height: start.height,
            committee: Arc::clone(&start.committee),
            voting,
            replaying: false,
            gate: Gate::default(),
            building: None,
            decided: false,
            quorums: BTreeSet::new(),
            fault: None,
            feeding: None,
        };
        Self { start, engine, desk, far: FarVotes::default(), quorums: BTreeSet::new(), ended: None }
    }

    pub(crate) fn height(&self) -> Height {
        self.start.height
    }

    pub(crate) fn round(&self) -> Round {
        self.engine.round()
    }

    pub(crate) fn proposal_of(&self, round: Round, block: HeaderHash) -> Option<VerifiedProposal> {
        self.desk.gate.proposal(round, block)
    }

    pub(crate) fn start(&self) -> &StartHeight {
        &self.start
    }

    pub(crate) fn is_voting(&self) -> bool {
        self.desk.voting
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.desk.decided
    }

    pub(crate) fn take_fault(&mut self) -> Option<Error> {
        self.desk.fault.take()
    }

    #[cfg(test)]
    pub(crate) fn locked(&self) -> Option<(Round, HeaderHash)> {
        self.engine.locked()
    }

    /// What a second start of the same height needs.
    pub(crate) fn into_parts(self) -> (StartHeight, Vec<VerifiedProposal>) {
        (self.start, self.desk.gate.into_messages())
    }

    /// Begins the height, or takes it up where its log ends, and feeds the votes that came early.
    pub(crate) fn begin(&mut self, recovered: &[LogEntry], tools: &mut Tools<'_>) {
        let known = tools.shared.watch.at(self.height());
        let mine = tools.config.address;
        let votes: Vec<_> =
            known.into_iter().flat_map(|known| known.votes()).filter(|vote| vote.signer != mine).cloned().collect();
        if recovered.iter().any(|entry| matches!(entry, LogEntry::Started(_))) {
            self.replay(recovered, tools);
        } else {
            if self.desk.voting {
                let started = Started { height: self.start.height, epoch: self.start.epoch };
                tools.out.push(Output::Log(LogEntry::Started(started)));
            }
            self.with_engine(tools, |engine, effects| engine.start(effects));
        }
        for vote in votes {
            self.feed_vote(&vote, tools);
        }
    }

    /// A proposal of this height.
    pub(crate) fn proposal(&mut self, message: &VerifiedProposal, tools: &mut Tools<'_>) {
        let signed = message.proposal();
        let Signed { statement, signer, .. } = **signed.shared();
        let proposer = self.start.committee.get(self.start.proposers.proposer(statement.round));
        if proposer.is_none_or(|member| member.address != signer) || statement.round > self.round().plus(LOOKAHEAD) {
            return;
        }
        accuse(tools.shared.watch.add_proposal_in_turn(signed), tools.out);
        if self.desk.decided {
            return;
        }
        let certified = self.quorums.iter().any(|(_, block)| *block == statement.block);
        if let Admitted::Judge { fresh } = self.desk.gate.admit(message, certified) {
            tools.out.push(judge(message, fresh));
        }
    }

    /// A vote of this height.
    pub(crate) fn vote(&mut self, vote: &Verified<Vote>, tools: &mut Tools<'_>) {
        if vote.statement.round > self.round().plus(LOOKAHEAD) {
            if let Some(votes) = self.far.add(vote.clone(), &self.start.committee) {
                self.follow(&votes, tools);
            }
            return;
        }
        // Whether a prevote comes after a quorum of its round agreed on something, all of whose votes the core has: no other quorum
        // can come of that step any more, so this one is kept and neither fed nor logged. Precommits are fed until the decision.
        let Vote { kind, round, block, height } = vote.statement;
        let Some(index) = self.start.committee.index_of(&vote.signer) else { return };
        let Some(known) = tools.shared.watch.at_mut(height) else { return };
        let settled = kind == VoteKind::Prevote && known.has_any_quorum(round, kind);
        let added = known.add_vote_at(index, vote);
        let new = added == Added::New;
        if new && !settled {
            self.desk.quorums.extend(block.filter(|block| known.has_quorum(round, kind, *block)).map(|it| (round, it)));
            self.feed_counted(vote, Who(index), tools);
        } else {
            accuse(added, tools.out);
        }
    }

    /// A certificate over votes of this height, unchecked.
    pub(crate) fn certificate(&mut self, certificate: &VoteCertificate, tools: &mut Tools<'_>) {
        if self.desk.decided {
            return;
        }
        if let Some(polka) = mal_polka(certificate, &self.start.committee) {
            // The core asks for the signatures to be checked, unless it has this certificate already.
            self.feed(Core::PolkaCertificate(polka), tools);
            return;
        }
        let holds = self.with_engine(tools, |_, effects| effects.holds(certificate));
        let Some(members) = members_of(certificate, &self.start.committee).filter(|_| holds) else { return };
        let vote =
            |(signer, signature)| Verified::from_own_log(Signed { statement: certificate.vote, signer, signature });
        let votes: Vec<Verified<Vote>> = members.into_iter().map(vote).collect();
        if certificate.vote.round > self.round().plus(LOOKAHEAD) {
            self.follow(&votes, tools);
        } else {
            for vote in votes.iter().filter(|vote| vote.signer != tools.config.address) {
                self.vote(vote, tools);
            }
        }
    }

    /// The answer to a judge request.
    pub(crate) fn judged(&mut self, round: Round, block: HeaderHash, verdict: Verdict, _: &mut Tools<'_>) {
        self.desk.gate.judged(round, block, verdict);
    }

    /// The answer to a build request.
    pub(crate) fn propose(&mut self, round: Round, block: &Arc<ProposedBlock>, tools: &mut Tools<'_>) {
        let header = block.header();
        let fits = header.height == self.height() && header.origin_round == round && self.round() == round;
        if self.desk.decided || self.engine.proposed() || !fits || self.desk.building != Some(round) {
            return;
        }
        self.desk.building = None;
        self.desk.gate.own_block(block);
        let value = Value(block.hash());
        let (height, round) = (At(self.height()), mal_round(round));
        self.feed(Core::Propose(LocallyProposedValue { height, round, value }), tools);
    }

    /// A timer of this height that has run out.
    pub(crate) fn timeout(&mut self, token: TimeoutToken, tools: &mut Tools<'_>) {
        if self.desk.decided || token.height != self.height() {
            return;
        }
        let kind = mal_timeout(token.kind);
        self.feed(Core::TimeoutElapsed(mal::Timeout::new(mal_round(token.round), kind)), tools);
        if token.kind == TimeoutKind::Rebroadcast {
            self.publish_own_proposal(self.round(), tools);
        }
    }

    /// Feeds whatever has become due, until nothing is.
    pub(crate) fn settle(&mut self, tools: &mut Tools<'_>) {
        while !self.desk.decided && self.desk.fault.is_none() {
            self.note_quorums(tools);
            self.far.prune(self.round().plus(LOOKAHEAD));
            match self.desk.gate.next(self.engine.round(), self.engine.proposed()) {
                Some(Feed::Proposal(message)) => {
                    self.feed(Core::Proposal(mal_proposal(message.proposal(), &self.start.committee)), tools)
                }
                Some(Feed::Ruling(message, valid)) => self.feed(self.ruling(&message, valid), tools),
                None if !self.desk.quorums.is_empty() => {}
                None => match self.hopeless(tools) {
                    Some(step) => self.end_step(step, tools),
                    None => break,
                },
            }
        }
        if self.desk.decided {
            tools.out.extend(tools.shared.timers.cancel_all().into_iter().map(Output::Cancel));
        }
    }

    /// A step of this round of which nothing can come any more, so that nobody has to wait for the rest of its votes: prevotes of which
    /// no quorum can come, or precommits that cannot decide a block. The core takes the end of the former only once it has prevoted.
    fn hopeless(&self, tools: &Tools<'_>) -> Option<VoteKind> {
        let round = self.round();
        let known = tools.shared.watch.at(self.height())?;
        let prevoted = || tools.shared.slots.held_vote(self.height(), round, VoteKind::Prevote).is_some();
        let over = |kind| self.ended < Some((round, kind)) && known.is_over(round, kind);
        if over(VoteKind::Precommit) {
            return Some(VoteKind::Precommit);
        }
        Some(VoteKind::Prevote).filter(|kind| over(*kind) && prevoted())
    }

    /// Goes on as if the wait for further votes had run out, which it may at any time.
    fn end_step(&mut self, kind: VoteKind, tools: &mut Tools<'_>) {
        let round = self.round();
        self.ended = Some((round, kind));
        let of = match kind {
            VoteKind::Prevote => mal::TimeoutKind::Prevote,
            VoteKind::Precommit => mal::TimeoutKind::Precommit,
        };
        self.feed(Core::TimeoutElapsed(mal::Timeout::new(mal_round(round), of)), tools);
    }

    fn note_quorums(&mut self, tools: &mut Tools<'_>) {
        for (round, block) in std::mem::take(&mut self.desk.quorums) {
            let missing = self.desk.gate.certify(round, block);
            if self.quorums.insert((round, block)) && missing {
                tools.out.push(Output::MissingProposal { height: self.height(), round, block });
            }
        }
    }

    /// Feeds a vote that is among the height's statements already.
    fn feed_vote(&mut self, vote: &Verified<Vote>, tools: &mut Tools<'_>) {
        self.with_engine(tools, |_, effects| effects.note_quorum(&vote.statement));
        self.feed_counted(vote, Who::of(&vote.signer, &self.start.committee), tools);
    }

    /// Feeds a vote whose quorum, if it completes one, is noted.
    fn feed_counted(&mut self, vote: &Verified<Vote>, who: Who, tools: &mut Tools<'_>) {
        if !self.desk.decided {
            self.desk.feeding = Some(vote.clone());
            self.feed(Core::Vote(mal_vote_of(vote, who)), tools);
            self.desk.feeding = None;
        }
    }

    /// Enters a round beyond the core's reach, on the strength of votes cast in it.
    fn follow(&mut self, votes: &[Verified<Vote>], tools: &mut Tools<'_>) {
        let Some(round) = votes.first().map(|vote| vote.statement.round).filter(|_| !self.desk.decided) else { return };
        let committee = &self.start.committee;
        let precommits = votes.iter().filter(|vote| vote.statement.kind == VoteKind::Precommit);
        let precommits = precommits.filter_map(|vote| committee.index_of(&vote.signer)).collect();
        let kind = if committee.is_quorum(committee.stake_of_all(&precommits)) && precommits.count() == votes.len() {
            mal::RoundCertificateType::Precommit
        } else {
            mal::RoundCertificateType::Skip
        };
        let votes = votes.iter().map(|vote| mal_vote(vote, committee)).collect();
        let certificate = mal::RoundCertificate::new_from_votes(At(self.height()), mal_round(round), kind, votes);
        self.feed(Core::RoundCertificate(certificate), tools);
    }

    /// Sends the own proposal of a round again, with the certificate that a re-proposal rests on.
    pub(crate) fn publish_own_proposal(&self, round: Round, tools: &mut Tools<'_>) {
        let Some(held) = tools.shared.slots.held_proposal(self.height(), round) else { return };
        let Some(block) = self.desk.gate.block(&held.statement.block).filter(|_| self.desk.voting) else { return };
        let polka = held.statement.valid_round.and_then(|valid| self.engine.polka(valid, &held.statement.block));
        tools.out.extend(polka.map(|polka| Output::PublishVotes(certificate_of(polka, &self.start.committee))));
        let proposal = VerifiedProposal::assemble(held.clone(), Arc::clone(block));
        tools.out.push(Output::PublishProposal { proposal, again: true });
    }

    fn ruling(&self, message: &VerifiedProposal, valid: bool) -> Core<Context> {
        let signed = message.proposal();
        let value = ProposedValue {
            height: At(signed.statement.height),
            round: mal_round(signed.statement.round),
            valid_round: mal_round_opt(signed.statement.valid_round),
            proposer: Who::of(&signed.signer, &self.start.committee),
            value: Value(signed.statement.block),
            validity: mal::Validity::from_bool(valid),
        };
        Core::ProposedValue(value, mal::ValueOrigin::Consensus)
    }

    pub(crate) fn feed(&mut self, input: Core<Context>, tools: &mut Tools<'_>) {
        self.with_engine(tools, |engine, effects| engine.feed(input, effects));
    }

    pub(crate) fn with_engine<R>(
        &mut self,
        tools: &mut Tools<'_>,
        act: impl FnOnce(&mut Engine, &mut Effects<'_>) -> R,
    ) -> R {
        let Tools { config, shared, keys, out } = tools;
        let mut effects = Effects { config, shared, desk: &mut self.desk, keys: *keys, out };
        act(&mut self.engine, &mut effects)
    }
}

/// Asks for a judgement.
pub(crate) fn judge(message: &VerifiedProposal, fresh: bool) -> Output {
    let signed = message.proposal();
    Output::Judge { block: Arc::clone(message.block()), round: signed.statement.round, proposer: signed.signer, fresh }
}

/// Malachite's name for a timer.
pub(crate) fn mal_timeout(kind: TimeoutKind) -> mal::TimeoutKind {
    match kind {
        TimeoutKind::Propose => mal::TimeoutKind::Propose,
        TimeoutKind::Prevote => mal::TimeoutKind::Prevote,
        TimeoutKind::Precommit => mal::TimeoutKind::Precommit,
        TimeoutKind::Rebroadcast => mal::TimeoutKind::Rebroadcast,
    }
}
