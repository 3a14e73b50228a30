//! Confirmations: every certificate that a node hands out verifies.

use super::Observed;
use crate::queue::Instant;
use squad_sequencer::Output;
use squad_types::{Committee, Domain, Epoch, KeyedHashVerifier, TxId};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Confirmations {
    domain: Domain,
    committees: BTreeMap<Epoch, Arc<Committee>>,
    batched: BTreeMap<TxId, Instant>,
    secured: BTreeMap<TxId, Instant>,
    refused: BTreeMap<&'static str, usize>,
}

impl Confirmations {
    pub(super) fn new(domain: Domain) -> Self {
        Self {
            domain,
            committees: BTreeMap::new(),
            batched: BTreeMap::new(),
            secured: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn observe(&mut self, observed: &Observed<'_>) {
        match observed.output {
            Output::Ordered(decision) => {
                let header = decision.block.block.header();
                if let Some(members) = decision.block.block.next_committee() {
                    let next = Committee::new(header.epoch.next(), members.to_vec());
                    let next = next.unwrap_or_else(|error| panic!("a block lists no committee: {error}"));
                    assert_eq!(next.hash(), header.next_committee_hash, "the listed committee is the committed one");
                    self.committees.insert(next.epoch(), Arc::new(next));
                }
                if let Some(committee) = self.committees.get(&header.epoch) {
                    let checked = decision.block.certificate.verify(&self.domain, committee, &KeyedHashVerifier);
                    assert_eq!(checked, Ok(()), "the commit certificate of height {} verifies", header.height);
                    assert_eq!(committee.hash(), header.committee_hash, "its header names the committee");
                }
            }
            Output::Secured { batch, certificate } => {
                if let Some(committee) = self.committees.get(&batch.header().epoch) {
                    let checked = certificate.verify(&self.domain, committee, &KeyedHashVerifier);
                    assert_eq!(checked, Ok(batch.tip()), "a batch certificate verifies and is the batch's");
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
            Output::Refused { rejection, .. } => *self.refused.entry(rejection.code()).or_default() += 1,
            _ => {}
        }
    }

    pub(super) fn batched_at(&self, id: &TxId) -> Option<Instant> {
        self.batched.get(id).copied()
    }

    pub(super) fn refused(&self, code: &str) -> usize {
        self.refused.get(code).copied().unwrap_or_default()
    }

    pub(super) fn secured_at(&self, id: &TxId) -> Option<Instant> {
        self.secured.get(id).copied()
    }

    pub(super) fn secured(&self) -> impl Iterator<Item = &TxId> {
        self.secured.keys()
    }
}
