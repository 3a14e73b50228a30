//! Asking peers for proofs of misbehaviour that this node missed: it was down, cut off, behind, or its disk is new.
//!
//! One peer is asked at a time: which incidents it has proofs of, then for the proofs of those that are missing here, a part
//! after the other. What every peer has is so fetched once, and where nothing is missing an answer takes a few bytes.
//!
//! A peer that lies costs its answers: to the first question, and to one more. It is asked on only while proofs come that are
//! kept, and of these there are no more than a node keeps at all.

use crate::evidence::Source;
use crate::input::{AskId, Peer};
use crate::output::Output;
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_types::limits::MAX_EVIDENCE_PER_RESPONSE;
use squad_types::{Evidence, Incident, IncidentId, Request, Timestamp};
use std::collections::BTreeSet;
use std::ops::Bound;

/// How often some peer is asked, each in its turn: a proof that was lost on its way is missed by nobody for long, and
/// questions without cause stay rare. Also how often all of them are asked, for a node that is behind again and again.
const EVERY_MS: u64 = 30_000;

/// Whom this node asks, and how far it has come.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    /// Peers to be asked; only connected ones, so it is as bounded as those are.
    due: BTreeSet<Peer>,
    open: Option<Open>,
    /// The last whose turn it was.
    turn: Option<Peer>,
    /// When all were asked.
    all_asked: Timestamp,
}

/// A peer that is being asked.
#[derive(Debug)]
struct Open {
    peer: Peer,
    /// The question under way.
    question: AskId,
    /// Incidents whose proofs are still to come.
    missing: BTreeSet<IncidentId>,
}

impl Sequencer {
    pub(crate) fn start_inquiries(&mut self) {
        // Each begins with who comes after itself, so that not all ask the same peer at once.
        self.inquiry.turn = self.me.map(Peer::Operator);
        self.timers.set(Timer::Inquiry, self.now.plus(EVERY_MS));
    }

    /// Asks this peer when it is its turn.
    pub(crate) fn inquire_of(&mut self, peer: Peer, outputs: &mut Outputs) {
        if matches!(peer, Peer::Operator(_)) {
            self.inquiry.due.insert(peer);
            self.inquire_next(outputs);
        }
    }

    /// Asks everybody: what was said while this node was behind was lost on it, or against operators that it did not know.
    pub(crate) fn inquire_of_all(&mut self, outputs: &mut Outputs) {
        if self.now.since(self.inquiry.all_asked) >= EVERY_MS {
            self.inquiry.all_asked = self.now;
            self.inquiry.due.extend(self.peers.iter().filter(|peer| matches!(peer, Peer::Operator(_))));
            self.inquire_next(outputs);
        }
    }

    /// Asks whose turn it is.
    pub(crate) fn inquire_in_turn(&mut self, outputs: &mut Outputs) {
        self.timers.set(Timer::Inquiry, self.now.plus(EVERY_MS));
        let operators = |peers: Bound<Peer>| {
            let range = self.peers.range((peers, Bound::Unbounded));
            range.copied().find(|peer| matches!(peer, Peer::Operator(_)))
        };
        let after = self.inquiry.turn.and_then(|last| operators(Bound::Excluded(last)));
        let Some(next) = after.or_else(|| self.peers.first().copied()) else { return };
        self.inquiry.turn = Some(next);
        self.inquire_of(next, outputs);
    }

    pub(crate) fn forget_inquiry(&mut self, peer: Peer, outputs: &mut Outputs) {
        self.inquiry.due.remove(&peer);
        self.inquiry.open.take_if(|open| open.peer == peer);
        self.inquire_next(outputs);
    }

    /// A question has no answer: goes on with the next peer.
    pub(crate) fn inquiry_failed(&mut self, question: AskId, outputs: &mut Outputs) {
        if self.inquiry.open.take_if(|open| open.question == question).is_some() {
            self.inquire_next(outputs);
        }
    }

    fn inquire_next(&mut self, outputs: &mut Outputs) {
        if self.inquiry.open.is_none()
            && let Some(peer) = self.inquiry.due.pop_first()
        {
            let question = self.ask(peer, Request::Incidents(self.evidence.digest()), outputs);
            self.inquiry.open = Some(Open { peer, question, missing: BTreeSet::new() });
        }
    }

    pub(crate) fn on_incidents(&mut self, question: AskId, incidents: &[Incident], outputs: &mut Outputs) {
        let Some(open) = self.inquiry.open.take_if(|open| open.question == question) else { return };
        // Whether it proves to be against that operator is seen when it comes.
        let wanted = |incident: &&Incident| {
            self.evidence.has_room(&incident.accused, false) && self.answers_with_stake(&incident.accused)
        };
        let missing = incidents.iter().filter(wanted).map(|incident| incident.id).collect();
        self.ask_for_proofs(Open { missing, ..open }, outputs);
    }

    /// Asks for the next part, or the next peer.
    fn ask_for_proofs(&mut self, mut open: Open, outputs: &mut Outputs) {
        open.missing.retain(|incident| !self.evidence.knows(incident));
        let part: Vec<IncidentId> = open.missing.iter().copied().take(MAX_EVIDENCE_PER_RESPONSE).collect();
        if part.is_empty() {
            return self.inquire_next(outputs);
        }
        open.question = self.ask(open.peer, Request::Evidence(part), outputs);
        self.inquiry.open = Some(open);
    }

    /// Proofs that hold, all of incidents that were asked for.
    pub(crate) fn on_proofs(&mut self, question: AskId, proofs: Vec<(Incident, Evidence)>, outputs: &mut Outputs) {
        let gave_none = proofs.is_empty();
        let brought = self.take_proofs(proofs, outputs);
        let Some(open) = self.inquiry.open.take_if(|open| open.question == question) else { return };
        if gave_none {
            // Nobody forgets what it has.
            let what = "said that it has evidence, and gave none";
            outputs.push(Output::Misbehaved { peer: open.peer, what });
        }
        if brought { self.ask_for_proofs(open, outputs) } else { self.inquire_next(outputs) }
    }

    /// Whether any of these is kept now.
    pub(crate) fn take_proofs(&mut self, proofs: Vec<(Incident, Evidence)>, outputs: &mut Outputs) -> bool {
        let mut brought = false;
        for (Incident { id, accused }, evidence) in proofs {
            self.on_evidence(evidence, accused, Source::Asked, outputs);
            brought |= self.evidence.knows(&id);
        }
        brought
    }
}
