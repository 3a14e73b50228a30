//! Settled: what an honest operator batched is ordered in the end, or left out with a reason.
//!
//! Breaks, by design, only if that operator's disk is lost or it leaves for good.

use super::{Held, Known, Observed, holds};
use squad_sequencer::Output;
use squad_types::{Address, TxId};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Settled {
    batched: BTreeMap<TxId, Address>,
    refused: BTreeMap<TxId, &'static str>,
}

impl Settled {
    pub(super) fn observe(&mut self, observed: &Observed<'_>) {
        match observed.output {
            Output::Batched { batch, .. } => {
                for tx in batch.payload().transactions() {
                    self.batched.entry(tx.id).or_insert(observed.operator);
                }
            }
            Output::Refused { transaction, rejection } | Output::Dropped { transaction, rejection } => {
                self.refused.insert(*transaction, rejection.code());
            }
            _ => {}
        }
    }

    pub(super) fn was_refused(&self, id: &TxId) -> bool {
        self.refused.contains_key(id)
    }

    pub(super) fn check(&self, known: &Known, is_settled: impl Fn(&TxId) -> bool) -> Held {
        let open = self.batched.iter().filter(|(id, operator)| {
            let promised = known.is_honest(operator) && !known.forgetful.contains(*operator);
            promised && !is_settled(id) && !self.refused.contains_key(*id)
        });
        let open: Vec<_> = open.collect();
        holds!(
            open.is_empty(),
            "settled",
            "{} transactions were batched and have no fate: {:?}",
            open.len(),
            open.first()
        );
        Ok(())
    }
}
