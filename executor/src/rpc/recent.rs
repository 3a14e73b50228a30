//! The blocks that were read last, decoded once for all who ask for them.
//!
//! Wallets poll receipts, and every subscription looks at every new block: mostly the same few blocks.

use super::{
    RpcContext,
    args::{Reply, internal},
};
use crate::evm::StoredBody;
use alloy_consensus::Header;
use alloy_primitives::B256;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Blocks kept. A full one takes some megabytes.
const KEPT: usize = 16;

/// A block with all that is stored of it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) header: Header,
    pub(super) hash: B256,
    pub(super) body: StoredBody,
}

/// The latest blocks read, newest first. Blocks are final, so none is ever out of date.
#[derive(Debug, Default)]
pub(super) struct Recent {
    blocks: Mutex<VecDeque<Arc<Loaded>>>,
}

impl Recent {
    /// Looks for a block and moves it to the front.
    fn find(&self, number: u64) -> Option<Arc<Loaded>> {
        let mut blocks = self.lock();
        let at = blocks.iter().position(|block| block.header.number == number)?;
        let block = blocks.remove(at)?;
        blocks.push_front(block.clone());
        Some(block)
    }

    fn keep(&self, block: Arc<Loaded>) {
        let mut blocks = self.lock();
        // Two may have read it at once.
        blocks.retain(|kept| kept.header.number != block.header.number);
        blocks.push_front(block);
        blocks.truncate(KEPT);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Loaded>>> {
        // The list stays usable whatever a panicking holder left.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RpcContext {
    /// Block `number`, which must not lie above the head.
    pub(super) fn loaded(&self, number: u64) -> Reply<Arc<Loaded>> {
        if let Some(block) = self.recent.find(number) {
            return Ok(block);
        }
        let (header, hash) = self.header(number)?;
        let block = Arc::new(Loaded { header, hash, body: self.body(number)? });
        self.recent.keep(block.clone());
        Ok(block)
    }

    /// Transactions and receipts of block `number`, for those who read many and once.
    pub(super) fn body(&self, number: u64) -> Reply<StoredBody> {
        let body = self.chain.store.body(number).map_err(internal)?;
        body.ok_or_else(|| internal(format!("body {number} is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> Arc<Loaded> {
        let header = Header { number, ..Header::default() };
        Arc::new(Loaded { header, hash: B256::ZERO, body: StoredBody::default() })
    }

    #[test]
    fn keeps_those_that_were_asked_for_last() {
        let recent = Recent::default();
        (0..KEPT as u64).for_each(|number| recent.keep(block(number)));
        assert!(recent.find(0).is_some());
        recent.keep(block(99));
        recent.keep(block(99));
        assert!(recent.find(1).is_none(), "1 was asked for longest ago");
        assert!(recent.find(0).is_some() && recent.find(99).is_some());
        assert_eq!(recent.lock().len(), KEPT);
    }
}
