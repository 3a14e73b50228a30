//! How far each validator acknowledges a lane.

use super::{Lane, Reached};
use crate::acks::Vector;
use squad_types::{Stake, Tip};
use std::sync::Arc;

impl Lane {
    /// Notes what a validator acknowledges here. Only what is held counts, and only what is higher on the same chain replaces:
    /// whoever acknowledges another branch later takes nothing back, and no certificate is lost by it. `tip` is what its newest
    /// ack names, `stake` its weight. Whether it moved.
    pub(crate) fn note(&mut self, validator: usize, stake: Stake, tip: Tip) -> bool {
        if self.find(tip).is_none() {
            return false;
        }
        let replaces =
            |known: &Reached| known.tip.sequence <= tip.sequence && (!self.branched || self.descends(tip, known.tip));
        if validator >= self.members || !self.reached_by(validator).is_none_or(replaces) {
            return false;
        }
        if self.reached.is_empty() {
            self.reached = vec![None; self.members];
        }
        let before = self.reached[validator].replace(Reached { tip, older: None }).map(|before| before.tip);
        if before == Some(tip) {
            return false;
        }
        if let Some(before) = before {
            self.weigh(before, |known| known.0 - stake.0);
        }
        self.weigh(tip, |known| known.0 + stake.0);
        true
    }

    fn weigh(&mut self, tip: Tip, change: impl FnOnce(Stake) -> u64) {
        match self.weights.binary_search_by(|(at, _)| at.cmp(&tip)) {
            Ok(at) => self.weights[at].1 = Stake(change(self.weights[at].1)),
            Err(at) => self.weights.insert(at, (tip, Stake(change(Stake::ZERO)))),
        }
        self.weights.retain(|(_, stake)| *stake > Stake::ZERO);
    }

    pub(crate) fn weights(&self) -> &[(Tip, Stake)] {
        &self.weights
    }

    pub(crate) fn reached_by(&self, validator: usize) -> Option<&Reached> {
        self.reached.get(validator)?.as_ref()
    }

    /// A validator's newest ack names another tip than the one before it: keeps that one, if it shows what counts.
    pub(crate) fn hold_older(&mut self, validator: usize, before: &Arc<Vector>) {
        if let Some(Some(reached)) = self.reached.get_mut(validator) {
            reached.older.get_or_insert_with(|| Arc::clone(before));
        }
    }
}
