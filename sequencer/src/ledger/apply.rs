//! Applying a decided block.

use super::window::WindowBlock;
use super::{Execution, Ledger};
use squad_types::{Epoch, OrderedBlock};
use std::sync::Arc;

/// What a decided block changed beside the tip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// It was the first block of another epoch.
    pub new_epoch: bool,
    /// It fixed the next epoch's committee.
    pub next_committee: bool,
    /// Lanes of this epoch can no longer be ordered; their authors batch again what they still hold.
    pub expired: Option<Epoch>,
}

impl Ledger {
    /// Makes a decided block the tip. `execution` is what [`Ledger::judge`] or [`Ledger::build`] gave for it on this tip; the
    /// certificate was verified.
    ///
    /// # Panics
    /// If `execution` is another block's: applying it would fork this node off the network.
    pub fn apply(&mut self, ordered: &OrderedBlock, execution: &Execution) -> Applied {
        let header = ordered.block.header();
        assert_eq!(execution.block, ordered.block.hash(), "an execution is applied with its own block");
        assert_eq!(header.parent_hash, self.tip_hash, "a block is applied on its parent");
        let (before, opened) = (self.state.epoch, self.opens_epoch());
        self.state = Arc::clone(&execution.state);
        self.tip_hash = ordered.block.hash();
        self.tip = Some(ordered.clone());
        self.window.push(WindowBlock {
            height: header.height,
            epoch: header.epoch,
            chain_time: self.state.chain_time,
            cut: ordered.block.cut().to_vec(),
            ids: execution.ids().collect(),
        });
        if opened {
            self.starts.insert(header.epoch, header.height);
        }
        if let Some(committee) = &execution.next_committee {
            self.committees.insert(committee.epoch(), Arc::clone(committee));
        }
        self.forget_old_epochs();
        let new_epoch = before != self.state.epoch;
        let expired = if new_epoch { before.previous() } else { None };
        Applied { new_epoch, next_committee: execution.next_committee.is_some(), expired }
    }

    fn forget_old_epochs(&mut self) {
        while self.committees.len() > super::KEPT_COMMITTEES {
            self.committees.pop_first();
        }
        let oldest = self.committees.keys().next().copied().unwrap_or_default();
        self.starts.retain(|epoch, _| *epoch >= oldest);
    }
}
