//! What must hold in every run, checked as it goes. A violation ends the run and says what was seen.

mod agreement;
mod confirmations;
mod evidence;
mod exactly_once;
mod signatures;

use crate::network::NodeIndex;
use crate::queue::Instant;
use squad_sequencer::Output;
use squad_types::{Address, Domain, TxId};
use std::collections::{BTreeMap, BTreeSet};

/// Something that left a node.
pub struct Observed<'a> {
    /// When.
    pub at: Instant,
    /// Which node.
    pub node: NodeIndex,
    /// Its operator.
    pub operator: Address,
    /// What.
    pub output: &'a Output,
}

/// All invariants.
pub struct Invariants {
    agreement: agreement::Agreement,
    exactly_once: exactly_once::ExactlyOnce,
    signatures: signatures::OneStatementASlot,
    confirmations: confirmations::Confirmations,
    evidence: evidence::HonestNeverAccused,
    byzantine: BTreeSet<Address>,
}

impl Invariants {
    /// Nothing seen yet.
    pub fn new(domain: Domain) -> Self {
        Self {
            agreement: agreement::Agreement::default(),
            exactly_once: exactly_once::ExactlyOnce::default(),
            signatures: signatures::OneStatementASlot::default(),
            confirmations: confirmations::Confirmations::new(domain),
            evidence: evidence::HonestNeverAccused::new(domain),
            byzantine: BTreeSet::new(),
        }
    }

    /// Nothing is promised about what this operator says.
    pub fn corrupt(&mut self, operator: Address) {
        self.byzantine.insert(operator);
    }

    /// Takes in what left a node.
    ///
    /// # Panics
    /// If an invariant is violated.
    pub fn observe(&mut self, observed: Observed<'_>) {
        // What a Byzantine node's own honest part decides still has to agree, but what it signs is its own affair.
        self.agreement.observe(&observed);
        self.exactly_once.observe(&observed);
        if !self.byzantine.contains(&observed.operator) {
            self.signatures.observe(&observed);
            self.confirmations.observe(&observed);
            self.evidence.observe(&observed, &self.byzantine);
        }
    }

    /// When a transaction was first ordered anywhere.
    pub fn ordered_at(&self, id: &TxId) -> Option<Instant> {
        self.exactly_once.ordered_at(id)
    }

    /// When a transaction was secured.
    pub fn secured_at(&self, id: &TxId) -> Option<Instant> {
        self.confirmations.secured_at(id)
    }

    /// Transactions that were secured and are not ordered: every one of them breaks the promise unless it expired.
    pub fn secured_not_ordered(&self) -> Vec<TxId> {
        let secured = self.confirmations.secured();
        secured.filter(|id| self.ordered_at(id).is_none() && !self.exactly_once.was_rejected(id)).copied().collect()
    }

    /// Whether a transaction's fate is known: it was ordered, or left out because its time was over.
    pub fn is_settled(&self, id: &TxId) -> bool {
        self.ordered_at(id).is_some() || self.exactly_once.was_rejected(id)
    }

    /// Operators that somebody honest accused, with how many proofs.
    pub fn accused(&self) -> &BTreeMap<Address, usize> {
        self.evidence.accused()
    }

    /// How many transactions were ordered.
    pub fn ordered_count(&self) -> usize {
        self.exactly_once.count()
    }

    /// When a transaction was batched.
    pub fn batched_at(&self, id: &TxId) -> Option<Instant> {
        self.confirmations.batched_at(id)
    }

    /// How many submissions were refused with a code.
    pub fn refused(&self, code: &str) -> usize {
        self.confirmations.refused(code)
    }

    /// How many decisions a node reported.
    pub fn blocks_seen_by(&self, node: NodeIndex) -> usize {
        self.agreement.seen_by(node)
    }

    /// The rounds in which heights were decided.
    pub fn decided_rounds(&self) -> impl Iterator<Item = squad_types::Round> + '_ {
        self.agreement.rounds()
    }
}
