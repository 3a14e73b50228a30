//! Honest operators are never accused, and every accusation proves itself.

use super::{Held, Known, Observed, holds};
use squad_sequencer::Output;
use squad_types::Address;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct HonestNeverAccused {
    accused: BTreeMap<Address, usize>,
}

impl HonestNeverAccused {
    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Held {
        let Output::Accused { operator, evidence } = observed.output else { return Ok(()) };
        let proved = evidence.verify(&known.domain, known.verifier);
        holds!(proved.as_ref() == Ok(operator), "evidence", "evidence against {operator} proves {proved:?}");
        let (node, honest) = (observed.node, known.is_honest(operator));
        holds!(!honest, "evidence", "node {node} accuses honest {operator}: {evidence:?}");
        *self.accused.entry(*operator).or_default() += 1;
        Ok(())
    }

    pub(super) fn accused(&self) -> &BTreeMap<Address, usize> {
        &self.accused
    }
}
