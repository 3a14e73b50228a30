//! Never sign twice: before its first signature after a start, a node asks its peers what they saw it sign.
//!
//! If its memory is there and nobody shows more than it remembers, it signs at once. Otherwise its state is lost or stale: it
//! stays silent long enough that nothing it may have signed can matter any more.

use crate::input::Peer;
use crate::output::{Notice, Output};
use crate::record::{LogRecord, Restriction};
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_types::{
    AckCounter, Address, CommitCertificate, Epoch, Height, Request, Round, Sequence, Signed, Slots, Stake, Statement,
};
use std::collections::{BTreeMap, BTreeSet};

/// Heights above the highest proven decision that a node without memory stays silent for: what it signed before lies below.
const SILENT_HEIGHTS: u64 = 5;

/// How often peers that did not answer are asked again.
const ASK_AGAIN_MS: u64 = 500;

/// The highest slots of one's own that are remembered durably.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) prevote: Option<(Height, Round)>,
    pub(crate) precommit: Option<(Height, Round)>,
    pub(crate) proposal: Option<(Height, Round)>,
    /// By epoch, of the lanes that are in force.
    pub(crate) batches: BTreeMap<Epoch, Sequence>,
    /// By epoch, of the lanes that are in force.
    pub(crate) acks: BTreeMap<Epoch, AckCounter>,
    /// Statements about lanes of earlier epochs are moot.
    pub(crate) lanes_from: Epoch,
    /// Own statements at or below this height are moot: it is decided here.
    pub(crate) decided: Height,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for answers of over two thirds of stake.
    Asking,
    /// Memory was found lost or stale: waiting for the tip from others holding over two thirds of all stake.
    LearningTip,
    /// Signing, from a height on.
    Signing,
    /// No key.
    Follower,
}

/// Guards the key.
#[derive(Debug)]
pub(crate) struct Guard {
    phase: Phase,
    remembered: Remembered,
    memory_lost: bool,
    answered: BTreeMap<Address, Height>,
    restriction: Option<Restriction>,
    /// Operators whose last word is that they hear another process with this key.
    held_by: BTreeSet<Address>,
}

impl Guard {
    pub(crate) fn new(
        has_key: bool,
        memory_lost: bool,
        remembered: Remembered,
        restriction: Option<Restriction>,
    ) -> Self {
        let phase = if has_key { Phase::Asking } else { Phase::Follower };
        Self { phase, remembered, memory_lost, answered: BTreeMap::new(), restriction, held_by: BTreeSet::new() }
    }

    /// A peer hears this node.
    pub(crate) fn is_heard_by(&mut self, operator: &Address) {
        self.held_by.remove(operator);
    }

    /// What was put back from the store is remembered as well.
    pub(crate) fn remember_lanes(&mut self, from: Epoch, batches: BTreeMap<Epoch, Sequence>) {
        self.remembered.lanes_from = from;
        self.remembered.batches = batches;
    }

    pub(crate) fn may_sign(&self) -> bool {
        self.phase == Phase::Signing
    }

    /// The first epoch in which this node writes its lane and acknowledges, if that is not `epoch` yet.
    pub(crate) fn lane_closed_until(&self, epoch: Epoch) -> Option<Epoch> {
        self.restriction.map(|restriction| restriction.lane_from).filter(|from| epoch < *from)
    }

    /// The first height it votes in.
    pub(crate) fn votes_from(&self) -> Height {
        self.restriction.map_or(Height::ZERO, |restriction| restriction.votes_from)
    }

    pub(crate) fn restriction(&self) -> Option<Restriction> {
        self.restriction
    }

    fn shows_more(&self, slots: &Slots) -> bool {
        let mine = &self.remembered;
        let vote = |signed: &Option<Signed<squad_types::Vote>>, mine: Option<(Height, Round)>| {
            signed
                .as_ref()
                .map(|s| (s.statement.height, s.statement.round))
                .is_some_and(|at| Some(at) > mine && at.0 > self.remembered.decided)
        };
        let proposal = slots.proposal.as_ref().map(|s| (s.statement.height, s.statement.round));
        let in_force = |epoch: Epoch| epoch >= mine.lanes_from;
        let batch = slots.batch.as_ref().map(|s| (s.statement.epoch, s.statement.sequence)).filter(|at| in_force(at.0));
        let ack = slots.ack.as_ref().map(|s| (s.statement.epoch, s.statement.counter)).filter(|at| in_force(at.0));
        vote(&slots.prevote, mine.prevote)
            || vote(&slots.precommit, mine.precommit)
            || proposal.is_some_and(|at| Some(at) > mine.proposal && at.0 > mine.decided)
            || batch.is_some_and(|(epoch, at)| mine.batches.get(&epoch).is_none_or(|known| *known < at))
            || ack.is_some_and(|(epoch, at)| mine.acks.get(&epoch).is_none_or(|known| *known < at))
    }
}

impl Sequencer {
    pub(crate) fn start_guard(&mut self, outputs: &mut Outputs) {
        if self.guard.phase == Phase::Asking {
            if !self.config.guarded {
                return self.allow_signing(outputs);
            }
            self.check_guard(outputs);
        }
        if matches!(self.guard.phase, Phase::Asking | Phase::LearningTip) {
            self.timers.set(Timer::Guard, self.now.plus(ASK_AGAIN_MS));
        }
    }

    pub(crate) fn ask_for_slots(&mut self, outputs: &mut Outputs) {
        if !self.guard_waits() {
            return;
        }
        let peers: Vec<Peer> = self.peers.iter().copied().collect();
        for peer in peers {
            self.ask_for_slots_of(peer, outputs);
        }
        self.timers.set(Timer::Guard, self.now.plus(ASK_AGAIN_MS));
    }

    /// Asks one peer, unless it has answered. The others are asked again by the timer, not whenever somebody connects: a
    /// committee that starts at once would ask each other once for every pair of peers.
    pub(crate) fn ask_for_slots_of(&mut self, peer: Peer, outputs: &mut Outputs) {
        let (Some(me), Peer::Operator(operator)) = (self.me, peer) else { return };
        if self.guard_waits() && !self.guard.answered.contains_key(&operator) {
            self.ask(peer, Request::Slots(me), outputs);
        }
    }

    pub(crate) fn on_slots(&mut self, peer: Peer, slots: Slots, outputs: &mut Outputs) {
        let Peer::Operator(operator) = peer else { return };
        if !matches!(self.guard.phase, Phase::Asking | Phase::LearningTip) || !self.slots_hold(&slots) {
            return;
        }
        let decided = slots.decided.as_ref().map_or(Height::ZERO, |certificate| certificate.height);
        self.guard.answered.insert(operator, decided);
        if let Some(certificate) = slots.decided.clone() {
            self.on_commit(peer, certificate, outputs);
        }
        if self.guard.phase == Phase::Asking && self.guard.shows_more(&slots) {
            tracing::warn!(%operator, "a peer holds a later statement of this node than its own log: its state is lost or stale");
            self.lose_memory();
        }
        self.check_guard(outputs);
    }

    fn lose_memory(&mut self) {
        self.guard.phase = Phase::LearningTip;
        // Tips known before may be as stale as this node: ask once more.
        self.guard.answered.clear();
        self.timers.set(Timer::Guard, self.now);
    }

    /// Own statements prove themselves; a decision must verify with a committee that is known here, or it counts for nothing.
    fn slots_hold(&self, slots: &Slots) -> bool {
        fn own<T: Statement>(sequencer: &Sequencer, signed: &Option<Signed<T>>) -> bool {
            signed.as_ref().is_none_or(|signed| {
                sequencer.is_me(&signed.signer)
                    && signed.check(&sequencer.domain, sequencer.config.verifier.as_ref()).is_ok()
            })
        }
        own(self, &slots.prevote)
            && own(self, &slots.precommit)
            && own(self, &slots.proposal)
            && own(self, &slots.batch)
            && own(self, &slots.ack)
            && slots.decided.as_ref().is_none_or(|certificate| self.verifies(certificate))
    }

    /// Whether a decision is signed by a quorum of a committee known here.
    pub(crate) fn verifies(&self, certificate: &CommitCertificate) -> bool {
        let verifier = self.config.verifier.as_ref();
        self.ledger.committees().any(|committee| certificate.verify(&self.domain, committee, verifier).is_ok())
    }

    /// One peer's word counts for little: up to a third of stake may lie. Over a third holds somebody honest.
    pub(crate) fn on_held_elsewhere(&mut self, by: Address, outputs: &mut Outputs) {
        let Some(me) = self.me else { return };
        if by == me {
            // Which of the two is to go on: the one that has signed. It is told by the others if that is not this one.
            if !self.guard.may_sign() {
                self.leave_key_to_another("it is connected to this one", outputs);
            }
            return;
        }
        self.guard.held_by.insert(by);
        let Some(committee) = self.ledger.committee(self.ledger.epoch_of_next()) else { return };
        let stake: u64 = self.guard.held_by.iter().map(|operator| committee.stake_of(operator).0).sum();
        if committee.is_honest_threshold(Stake(stake)) {
            let count = self.guard.held_by.len();
            let how = format!(
                "{count} operators with over a third of stake hear it, were connected to it before, and know that it lives"
            );
            self.leave_key_to_another(&how, outputs);
        }
    }

    fn leave_key_to_another(&mut self, how: &str, outputs: &mut Outputs) {
        if self.halted.is_some() || !self.config.guarded {
            return;
        }
        let reason = format!(
            "another node runs with this operator's key: {how}; two would contradict each other and be slashed, so this one signs \
             nothing; leave it stopped, or stop the other one for good and start this one again"
        );
        self.halted = Some(reason.clone());
        outputs.push(Output::Notice(Notice::KeyInUse(reason)));
    }

    fn check_guard(&mut self, outputs: &mut Outputs) {
        let Some(me) = self.me else { return };
        let epoch = self.ledger.epoch_of_next();
        let Some(committee) = self.ledger.committee(epoch).cloned() else { return };
        let others: u64 = self.guard.answered.keys().map(|operator| committee.stake_of(operator).0).sum();
        match self.guard.phase {
            Phase::Asking if committee.is_quorum(Stake(others.saturating_add(committee.stake_of(&me).0))) => {
                if self.guard.memory_lost {
                    self.lose_memory();
                    self.ask_for_slots(outputs);
                } else {
                    self.allow_signing(outputs);
                }
            }
            Phase::LearningTip if committee.is_quorum(Stake(others)) => {
                let highest = self.guard.answered.values().copied().max().unwrap_or_default().max(self.ledger.height());
                let restriction = Restriction {
                    votes_from: highest.plus(SILENT_HEIGHTS + 1),
                    // The epoch of that height is this one or, if it is about to end, the next; the one after is safe.
                    lane_from: self.ledger.latest_epoch_of(highest.plus(SILENT_HEIGHTS)).next(),
                };
                self.guard.restriction = Some(restriction);
                self.log(LogRecord::Restricted(restriction), outputs);
                let Restriction { votes_from, lane_from } = restriction;
                outputs.push(Output::Notice(Notice::StateLost { votes_from, lane_from }));
                self.allow_signing(outputs);
            }
            _ => {}
        }
    }

    fn allow_signing(&mut self, outputs: &mut Outputs) {
        if self.halted.is_some() {
            return;
        }
        self.guard.phase = Phase::Signing;
        self.timers.cancel(Timer::Guard);
        outputs.push(Output::Notice(Notice::SigningAllowed));
        self.agree(squad_consensus::Input::AllowSigning { from: self.guard.votes_from() }, outputs);
    }

    /// When the guard has last to be asked; for status.
    pub(crate) fn guard_waits(&self) -> bool {
        matches!(self.guard.phase, Phase::Asking | Phase::LearningTip)
    }
}
