//! Confirmations: every certificate that a node hands out verifies.

use super::{Held, Known, Observed, holds};
use crate::queue::Instant;
use squad_sequencer::Output;
use squad_types::{CommitCertificate, Height, TxId};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Confirmations {
    /// Commit certificates that were checked, so that the same one is not checked for every node.
    checked: BTreeMap<Height, Vec<CommitCertificate>>,
    batched: BTreeMap<TxId, Instant>,
    secured: BTreeMap<TxId, Instant>,
    refused: BTreeMap<&'static str, usize>,
}

/// Different certificates of one height that are remembered as checked.
const REMEMBERED: usize = 8;

impl Confirmations {
    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Held {
        match observed.output {
            Output::Ordered(decision) => self.ordered(&decision.block, known)?,
            Output::Secured { batch, certificate } => {
                if let Some(committee) = known.committees.get(&batch.header().epoch) {
                    let checked = certificate.verify(&known.domain, committee, known.verifier);
                    holds!(
                        checked.as_ref() == Ok(&batch.tip()),
                        "confirmations",
                        "node {} secures {:?} by a certificate that gives {checked:?}",
                        observed.node,
                        batch.tip()
                    );
                }
                for tx in batch.payload().transactions() {
                    self.secured.entry(tx.id).or_insert(observed.at);
                }
            }
            Output::Batched { batch, .. } => {
                for tx in batch.payload().transactions() {
                    self.batched.entry(tx.id).or_insert(observed.at);
                }
            }
            Output::Refused { rejection, .. } | Output::Dropped { rejection, .. } => {
                *self.refused.entry(rejection.code()).or_default() += 1
            }
            _ => {}
        }
        Ok(())
    }

    fn ordered(&mut self, block: &squad_types::OrderedBlock, known: &Known) -> Held {
        let header = block.block.header();
        let Some(committee) = known.committees.get(&header.epoch) else { return Ok(()) };
        let checked = self.checked.entry(header.height).or_default();
        if checked.contains(&block.certificate) {
            return Ok(());
        }
        let outcome = block.certificate.verify(&known.domain, committee, known.verifier);
        let height = header.height;
        holds!(
            outcome.is_ok(),
            "confirmations",
            "the commit certificate of height {height} does not hold: {outcome:?}"
        );
        holds!(
            block.certificate.block == block.block.hash(),
            "confirmations",
            "height {height} has another's certificate"
        );
        holds!(
            committee.hash() == header.committee_hash,
            "confirmations",
            "the header of height {height} names another committee"
        );
        if checked.len() < REMEMBERED {
            checked.push(block.certificate.clone());
        }
        Ok(())
    }

    pub(super) fn batched_at(&self, id: &TxId) -> Option<Instant> {
        self.batched.get(id).copied()
    }

    pub(super) fn refused(&self, code: &str) -> usize {
        self.refused.get(code).copied().unwrap_or_default()
    }

    pub(super) fn refused_in_all(&self) -> usize {
        self.refused.values().sum()
    }

    pub(super) fn secured_at(&self, id: &TxId) -> Option<Instant> {
        self.secured.get(id).copied()
    }

    pub(super) fn secured(&self) -> impl Iterator<Item = &TxId> {
        self.secured.keys()
    }
}
