//! Proofs of misbehaviour: found, spread and kept. One an incident, and nobody's hide another's.

use crate::output::{Output, Recipients};
use crate::record::LogRecord;
use crate::sequencer::{Outputs, Sequencer};
use squad_types::limits::{MAX_EVIDENCE, MAX_EVIDENCE_BYTES_PER_RESPONSE, MAX_EVIDENCE_PER_RESPONSE};
use squad_types::{
    Address, BatchPair, Digest, Encode as _, Evidence, Incident, IncidentId, LaneId, Message, NetworkId, Proofs,
};
use std::collections::BTreeMap;

/// Of the places for proofs, those for operators against whom nothing is kept yet: many that have themselves accused hide nobody.
const FIRST: usize = MAX_EVIDENCE / 2;

/// Proofs kept against one operator, without those that close a lane, of which an epoch has one: contradictions cost nothing to make.
const MAX_OF_ONE: usize = 64;

/// The proofs that are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    list: Vec<Evidence>,
    /// Where in the list each incident's proof stands, and whom it accuses.
    incidents: BTreeMap<IncidentId, (usize, Address)>,
    against: BTreeMap<Address, usize>,
    /// Names the incidents.
    digest: Digest,
}

impl Kept {
    /// Those that the log holds.
    pub(crate) fn restore(list: Vec<Evidence>, network: &NetworkId) -> Self {
        let (incidents, against) = Default::default();
        let mut kept = Self { list: Vec::new(), incidents, against, digest: IncidentId::digest([]) };
        for evidence in list {
            // Whether it closed a lane was looked at when it was written.
            kept.add(evidence, network, true);
        }
        kept
    }

    pub(crate) fn list(&self) -> &[Evidence] {
        &self.list
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn knows(&self, incident: &IncidentId) -> bool {
        self.incidents.contains_key(incident)
    }

    /// Whether there is room for one more against an operator.
    pub(crate) fn has_room(&self, operator: &Address, closes_lane: bool) -> bool {
        let of_one = self.against.get(operator).copied().unwrap_or_default();
        let room = if of_one == 0 { MAX_EVIDENCE } else { MAX_EVIDENCE - FIRST };
        self.list.len() < room && (of_one < MAX_OF_ONE || closes_lane)
    }

    /// The incidents, ascending, unless they are those of `digest`.
    pub(crate) fn incidents_unless(&self, digest: Digest) -> Vec<Incident> {
        let incidents = self.incidents.iter().filter(|_| digest != self.digest);
        incidents.map(|(id, (_, accused))| Incident { id: *id, accused: *accused }).collect()
    }

    /// The proofs of these incidents, as many as fit an answer, the first in any case.
    pub(crate) fn proofs_of(&self, incidents: &[IncidentId]) -> Proofs {
        let held = incidents.iter().filter_map(|id| self.list.get(self.incidents.get(id)?.0));
        let mut bytes = 0;
        let fitting = held.take(MAX_EVIDENCE_PER_RESPONSE).enumerate().take_while(|(at, evidence)| {
            bytes += evidence.to_bytes().len();
            *at == 0 || bytes <= MAX_EVIDENCE_BYTES_PER_RESPONSE
        });
        Proofs(fitting.map(|(_, evidence)| evidence.clone()).collect())
    }

    /// Takes a proof that holds. False if its incident is proved already, or if there is no room.
    fn add(&mut self, evidence: Evidence, network: &NetworkId, closes_lane: bool) -> bool {
        let Some(incident) = evidence.incident(network) else { return false };
        let operator = against(&evidence);
        if self.knows(&incident) || !self.has_room(&operator, closes_lane) {
            return false;
        }
        *self.against.entry(operator).or_default() += 1;
        self.incidents.insert(incident, (self.list.len(), operator));
        self.list.push(evidence);
        self.digest = IncidentId::digest(self.incidents.keys().copied());
        true
    }
}

/// Whose statements it holds.
fn against(evidence: &Evidence) -> Address {
    match evidence {
        Evidence::Votes(pair) => pair.first.signer,
        Evidence::Proposals(pair) => pair.first.signer,
        Evidence::Batches(pair) => pair.first.signer,
        Evidence::Acks(pair) => pair.lower.ack.signer,
    }
}

/// How this node came by a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was found here, or is going round: everybody is told.
    News,
    /// A peer gave it when asked. Whoever misses it as well asks for it as well.
    Asked,
}

impl Sequencer {
    /// Keeps what this node found itself, and tells everybody.
    pub(crate) fn accuse(&mut self, operator: Address, evidence: Evidence, outputs: &mut Outputs) {
        self.keep(operator, evidence, false, Source::News, outputs);
    }

    /// Two headers at one place: closes the lane, tells everybody, keeps the proof.
    pub(crate) fn on_fork(&mut self, pair: BatchPair, outputs: &mut Outputs) {
        if self.close_lane(&pair, outputs) {
            let operator = pair.first.statement.operator;
            self.keep(operator, Evidence::Batches(pair), true, Source::News, outputs);
        }
    }

    /// Takes a proof that holds, from a peer.
    pub(crate) fn on_evidence(&mut self, evidence: Evidence, accused: Address, source: Source, outputs: &mut Outputs) {
        if !self.answers_with_stake(&accused) {
            return;
        }
        let closes_lane = matches!(&evidence, Evidence::Batches(pair) if self.close_lane(pair, outputs));
        self.keep(accused, evidence, closes_lane, source, outputs);
    }

    /// Whether an operator is or was of a committee that is known here: anybody could sign contradictions with a fresh key. Stake
    /// stays slashable for a while after its operator left, so the committees before count as well.
    pub(crate) fn answers_with_stake(&self, operator: &Address) -> bool {
        self.ledger.committees().any(|committee| committee.contains(operator))
    }

    /// Whether that is news. Lanes of epochs that are over stay as they are.
    fn close_lane(&mut self, pair: &BatchPair, outputs: &mut Outputs) -> bool {
        if !self.mempool.on_fork(pair) {
            return false;
        }
        let (operator, epoch) = (pair.first.statement.operator, pair.first.statement.epoch);
        if let Some(author) = self.ledger.committee(epoch).and_then(|committee| committee.index_of(&operator)) {
            outputs.push(Output::LaneClosed(LaneId { epoch, author }));
        }
        true
    }

    fn keep(
        &mut self,
        operator: Address,
        evidence: Evidence,
        closes_lane: bool,
        source: Source,
        outputs: &mut Outputs,
    ) {
        if !self.evidence.add(evidence.clone(), &self.domain.network(), closes_lane) {
            return;
        }
        self.log(LogRecord::Evidence(Box::new(evidence.clone())), outputs);
        if source == Source::News {
            self.send(Recipients::Everyone, Message::Evidence(Box::new(evidence.clone())), self.after_log(), outputs);
        }
        outputs.push(Output::Accused { operator, evidence: Box::new(evidence) });
    }
}
