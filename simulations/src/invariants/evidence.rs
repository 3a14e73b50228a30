//! Honest operators are never accused, and every accusation proves itself.

use super::Observed;
use squad_sequencer::Output;
use squad_types::{Address, Domain, KeyedHashVerifier};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct HonestNeverAccused {
    domain: Domain,
    accused: BTreeMap<Address, usize>,
}

impl HonestNeverAccused {
    pub(super) fn new(domain: Domain) -> Self {
        Self { domain, accused: BTreeMap::new() }
    }

    pub(super) fn observe(&mut self, observed: &Observed<'_>, byzantine: &BTreeSet<Address>) {
        let Output::Accused { operator, evidence } = observed.output else { return };
        let proved = evidence.verify(&self.domain, &KeyedHashVerifier);
        assert_eq!(proved.as_ref(), Ok(operator), "evidence proves whom it accuses");
        assert!(byzantine.contains(operator), "node {} accuses honest {operator}: {evidence:?}", observed.node);
        *self.accused.entry(*operator).or_default() += 1;
    }

    pub(super) fn accused(&self) -> &BTreeMap<Address, usize> {
        &self.accused
    }
}
