//! Applying a decided block.

use crate::ledger::Execution;
use crate::output::{Decision, Notice, Output, Recipients};
use crate::record::{Checkpoint, LogRecord, Write};
use crate::sequencer::{Outputs, Sequencer};
use squad_types::limits::SIGNERS_LAG;
use squad_types::{
    Address, Bitmap, CommitCertificate, Epoch, Height, Message, OrderedBlock, ProposedBlock, Ready, Round, Verified,
    Vote, VoteKind,
};
use std::sync::Arc;

/// Newcomers whose readiness is kept until it is ordered.
const MAX_READY: usize = squad_types::limits::MAX_READIES;

/// Who announces a decision. Certificates of one block differ by who signed them, so that gossip carries each by itself: from
/// everybody they would be most of what a large committee sends. With a third of stake silent, all of these are in one height
/// of 27, and whoever only listens has that block together with the next.
const ANNOUNCERS: usize = 3;

impl Sequencer {
    pub(crate) fn apply(
        &mut self,
        block: Arc<ProposedBlock>,
        certificate: CommitCertificate,
        execution: Arc<Execution>,
        caught_up: bool,
        outputs: &mut Outputs,
    ) {
        let ordered = OrderedBlock { block, certificate, skipped: execution.skipped.clone() };
        let height = ordered.block.header().height;
        // Its record precedes every statement about the next height in the same log.
        self.log(LogRecord::Decided(Box::new(ordered.clone())), outputs);
        self.persist(Write::Block(ordered.clone()), outputs);
        let (epoch, proposer) = (ordered.block.header().epoch, ordered.block.header().proposer);
        self.precommitters.insert(height, (epoch, ordered.certificate.signers.clone()));
        self.precommitters.retain(|at, _| at.0 + 2 * SIGNERS_LAG > height.0);
        let applied = self.ledger.apply(&ordered, &execution);
        let committed: Vec<_> = execution.ids().collect();
        let voted = !caught_up && self.own_votes.keys().any(|(kind, _)| *kind == VoteKind::Prevote);
        let outcome = self.mempool.on_ordered(self.ledger.state(), voted, &committed, &execution.rejected_ids());
        for id in outcome.pruned {
            self.writes.batches.remove(&id);
        }
        self.keep_proposals_of(height);
        self.judgements.clear(height);
        let state = self.ledger.state();
        self.fetches.prune(height, |lane, tip| {
            state.tips_of(lane.epoch).is_none() || state.tip(lane).is_some_and(|at| at.sequence >= tip.sequence)
        });
        self.readies.retain(|operator, ready| !state.ready.contains(operator) && ready.statement.epoch == state.epoch);
        self.pace.since = self.now;
        self.pace.went_well = !caught_up && ordered.certificate.round == Round::ZERO;
        let commit = ordered.certificate.clone();
        outputs.push(Output::Ordered(Box::new(Decision { block: ordered, execution, caught_up })));
        if !caught_up && self.announces(epoch, &proposer) {
            self.send(Recipients::Everyone, Message::Commit(commit), Default::default(), outputs);
        }
        for certificate in outcome.left_out {
            self.send(Recipients::Committee, Message::Secured(certificate), self.after_log(), outputs);
        }
        if applied.new_epoch || applied.next_committee {
            self.announce_committees(outputs);
        }
        if self.ledger.starts_epoch_next() {
            self.open_epoch(outputs);
        }
        self.limit_lanes();
        if height.0.is_multiple_of(self.config.checkpoint_interval) {
            self.checkpoint(outputs);
            self.keep_snapshot();
        }
    }

    /// Whether this operator tells everybody of a decision: the proposer does, and those next to it in the committee. Members
    /// see a quorum of precommits themselves; who misses one announcement learns of it from the next, or by asking.
    fn announces(&self, epoch: Epoch, proposer: &Address) -> bool {
        let Some((committee, me)) = self.ledger.committee(epoch).zip(self.me.as_ref()) else { return false };
        let place = |operator| committee.index_of(operator).map(|index| index.position());
        let (Some(mine), Some(first)) = (place(me), place(proposer)) else { return false };
        (mine + committee.len() - first) % committee.len() < ANNOUNCERS
    }

    /// The next height is the first of a new epoch: its lanes open.
    fn open_epoch(&mut self, outputs: &mut Outputs) {
        let epoch = self.ledger.epoch_of_next();
        let Some(committee) = self.ledger.committee(epoch).cloned() else { return };
        let rebatched = self.mempool.start_epoch(committee);
        if !rebatched.is_empty() {
            outputs.push(Output::Notice(Notice::Rebatched { count: rebatched.len() }));
        }
        self.seen.retain(|operator| self.ledger.committees().any(|committee| committee.contains(operator)));
        self.follow_members();
        self.announce_committees(outputs);
        self.state_readiness(epoch, outputs);
    }

    /// What is seen of the next height's committee is found by places from now on.
    pub(crate) fn follow_members(&mut self) {
        if let Some(committee) = self.ledger.committee(self.ledger.epoch_of_next()) {
            self.seen.follow(Arc::clone(committee));
        }
    }

    /// Lanes take and acknowledge no more than is certain to be ordered before they expire.
    pub(crate) fn limit_lanes(&mut self) {
        let ledger = &self.ledger;
        self.mempool.limit_lanes(|epoch| ledger.heights_left(epoch));
    }

    pub(crate) fn announce_committees(&self, outputs: &mut Outputs) {
        outputs.push(Output::Committees(self.ledger.committees().cloned().collect()));
    }

    /// A newcomer, at stake but in no committee yet, says that it runs and follows.
    pub(crate) fn state_readiness(&mut self, epoch: Epoch, outputs: &mut Outputs) {
        let (Some(me), Some(signer)) = (self.me, self.signer()) else { return };
        let staked = self
            .config
            .stakes
            .stakes(epoch.plus(2), &self.ledger.anchor())
            .is_some_and(|members| members.iter().any(|m| m.address == me));
        if !staked || self.is_member(epoch) || self.is_member(epoch.next()) || self.catchup.is_behind() {
            return;
        }
        let ready = Verified::sign(Ready { epoch }, &self.domain, signer.as_ref());
        self.send(Recipients::Everyone, Message::Ready(ready.into_signed()), Default::default(), outputs);
    }

    pub(crate) fn on_ready(&mut self, ready: Verified<Ready>, _outputs: &mut Outputs) {
        let state = self.ledger.state();
        let epoch = self.ledger.epoch_of_next();
        let news = ready.statement.epoch == epoch
            && !state.ready.contains(&ready.signer)
            && !self.readies.contains_key(&ready.signer);
        let staked = self.config.stakes.stakes(epoch.plus(2), &self.ledger.anchor());
        let known = staked.is_some_and(|members| members.iter().any(|member| member.address == ready.signer));
        // Who was a member before and was left out since is a newcomer like others.
        let in_office = [epoch, epoch.next()]
            .into_iter()
            .any(|epoch| self.ledger.committee(epoch).is_some_and(|committee| committee.contains(&ready.signer)));
        if news && known && !in_office && self.readies.len() < MAX_READY {
            self.readies.insert(ready.signer, ready);
        }
    }

    /// Precommits that come after the decision still count as activity.
    pub(crate) fn note_late_precommit(&mut self, vote: &Verified<Vote>) {
        if vote.statement.kind != VoteKind::Precommit || vote.statement.block.is_none() {
            return;
        }
        // Most are of the height under way.
        if vote.statement.height > self.ledger.height() {
            return;
        }
        let Some((epoch, signers)) = self.precommitters.get_mut(&vote.statement.height) else { return };
        if let Some(index) = self.ledger.committee(*epoch).and_then(|committee| committee.index_of(&vote.signer)) {
            signers.insert(index);
        }
    }

    pub(crate) fn checkpoint(&mut self, outputs: &mut Outputs) {
        let checkpoint = Checkpoint {
            tip: self.ledger.tip().cloned(),
            state: self.ledger.state().clone(),
            committees: self.ledger.committees().map(|committee| (**committee).clone()).collect(),
            window_base: self.ledger.window_base().clone(),
            acks: self.mempool.full_acks(),
            seen: self.seen.entries(),
            evidence: self.evidence.list().to_vec(),
            restriction: self.guard.restriction(),
        };
        let height = checkpoint.window_base.from.min(Height(self.ledger.height().0.saturating_sub(1)));
        let epoch = self.ledger.state().epoch.minus(1);
        self.persist(Write::Checkpoint(Box::new(checkpoint)), outputs);
        outputs.push(Output::Prunable { height, epoch });
    }
}

pub(crate) type Precommitters = std::collections::BTreeMap<Height, (Epoch, Bitmap)>;
