//! Proofs of misbehaviour: found, spread and kept. One an incident, and nobody's hide another's.

use crate::output::{Output, Recipients};
use crate::record::LogRecord;
use crate::sequencer::{Outputs, Sequencer};
use squad_types::{Address, Evidence, Message, NetworkId};
use std::collections::{BTreeMap, BTreeSet};

/// Proofs kept: more than a committee's members could earn in an epoch and be left unslashed.
const MAX_EVIDENCE: usize = 1_024;

/// Of these places, those for operators against whom nothing is kept yet: many that have themselves accused hide nobody.
const FIRST: usize = MAX_EVIDENCE / 2;

/// Proofs kept against one operator, without those of its lanes' forks, of which an epoch has one: contradictions cost nothing to make.
const MAX_OF_ONE: usize = 64;

/// The proofs that are kept.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    list: Vec<Evidence>,
    incidents: BTreeSet<[u8; 32]>,
    against: BTreeMap<Address, usize>,
}

impl Proofs {
    /// Those that the log holds.
    pub(crate) fn restore(list: Vec<Evidence>, network: &NetworkId) -> Self {
        let mut proofs = Self::default();
        for evidence in list {
            proofs.add(evidence, network);
        }
        proofs
    }

    pub(crate) fn list(&self) -> &[Evidence] {
        &self.list
    }

    /// Takes a proof that holds. False if its incident is proved already, or if there is no room.
    fn add(&mut self, evidence: Evidence, network: &NetworkId) -> bool {
        let Some(incident) = evidence.incident(network) else { return false };
        let operator = against(&evidence);
        let of_one = self.against.get(&operator).copied().unwrap_or_default();
        let room = if of_one == 0 { MAX_EVIDENCE } else { MAX_EVIDENCE - FIRST };
        let is_fork = matches!(evidence, Evidence::Batches(_));
        if self.list.len() >= room || (of_one >= MAX_OF_ONE && !is_fork) || !self.incidents.insert(incident) {
            return false;
        }
        self.against.insert(operator, of_one + 1);
        self.list.push(evidence);
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

impl Sequencer {
    pub(crate) fn accuse(&mut self, operator: Address, evidence: Evidence, outputs: &mut Outputs) {
        if !self.evidence.add(evidence.clone(), &self.domain.network()) {
            return;
        }
        self.log(LogRecord::Evidence(Box::new(evidence.clone())), outputs);
        self.send(Recipients::Everyone, Message::Evidence(Box::new(evidence.clone())), self.after_log(), outputs);
        outputs.push(Output::Accused { operator, evidence: Box::new(evidence) });
    }

    pub(crate) fn on_evidence(&mut self, evidence: Evidence, accused: Address, outputs: &mut Outputs) {
        // Only members answer with stake; anybody could sign contradictions with a fresh key.
        let epochs = [self.ledger.epoch_of_next().previous(), Some(self.ledger.epoch_of_next())];
        let member = epochs
            .into_iter()
            .flatten()
            .any(|epoch| self.ledger.committee(epoch).is_some_and(|c| c.contains(&accused)));
        if !member {
            return;
        }
        match evidence {
            Evidence::Batches(pair) => self.on_fork(pair, outputs),
            other => self.accuse(accused, other, outputs),
        }
    }
}
