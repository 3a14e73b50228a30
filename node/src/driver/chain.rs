//! The decided chain as readers see it: recent blocks from memory, older ones from the store.

use super::kept::KeptBlock;
use super::stored::{Records, StoredBlock};
use crate::api::{CertifiedHeader, RejectCode, Rejected};
use squad_sequencer::ledger::{namespace_block, recompute};
use squad_types::{CommitteeProof, Epoch, Height, NamespaceBlock, NamespaceId, NamespaceSpec, TxId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Blocks kept in memory, for confirmations and for readers at the tip.
const MAX_BLOCKS: usize = 256;
/// Bytes of their transactions: the tenth of a gigabyte holds seconds of the highest load.
const MAX_BYTES: usize = 64 << 20;
/// First heights of epochs remembered.
const MAX_STARTS: usize = 4_096;

#[derive(Default)]
struct Recent {
    /// Consecutive heights, oldest first.
    blocks: VecDeque<Arc<KeptBlock>>,
    bytes: usize,
}

/// The decided chain, for reading.
pub(crate) struct Chain {
    recent: RwLock<Recent>,
    records: Records,
    namespaces: Arc<Vec<NamespaceSpec>>,
    starts: Mutex<BTreeMap<Epoch, Height>>,
}

fn height_of(block: &KeptBlock) -> Height {
    block.decision.block.block.header().height
}

impl Chain {
    pub(crate) fn new(records: Records, namespaces: Arc<Vec<NamespaceSpec>>) -> Self {
        Self { recent: RwLock::default(), records, namespaces, starts: Mutex::default() }
    }

    /// Takes in the next decided block.
    pub(crate) fn push(&self, block: Arc<KeptBlock>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        let follows = recent.blocks.back().is_none_or(|last| height_of(last).next() == height_of(&block));
        if !follows {
            // A snapshot skipped some.
            *recent = Recent::default();
        }
        recent.bytes += block.bytes;
        recent.blocks.push_back(block);
        while recent.blocks.len() > MAX_BLOCKS || (recent.bytes > MAX_BYTES && recent.blocks.len() > 1) {
            let Some(oldest) = recent.blocks.pop_front() else { break };
            recent.bytes -= oldest.bytes;
        }
    }

    fn recent(&self, height: Height) -> Option<Arc<KeptBlock>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let first = height_of(recent.blocks.front()?);
        recent.blocks.get(usize::try_from(height.0.checked_sub(first.0)?).ok()?).cloned()
    }

    /// The newest of the kept blocks that holds a transaction.
    pub(crate) fn holding(&self, id: &TxId) -> Option<Arc<KeptBlock>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let blocks: Vec<_> = recent.blocks.iter().rev().cloned().collect();
        drop(recent);
        blocks.into_iter().find(|block| block.confirm(None, id).is_some())
    }

    /// Why one of the kept blocks left a transaction out for good, if one did.
    pub(crate) fn rejection(&self, id: &TxId) -> Option<String> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let mut rejected = recent.blocks.iter().rev().flat_map(|block| &block.decision.execution.rejected);
        rejected.find(|(rejected, _)| rejected == id).map(|(_, why)| why.to_string())
    }

    fn tip(&self) -> Option<Height> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let in_memory = recent.blocks.back().map(|block| height_of(block));
        drop(recent);
        in_memory.or_else(|| self.records.0.last_block().ok().flatten().map(Height))
    }

    /// The lowest height that can be served.
    pub(crate) fn oldest(&self) -> Height {
        self.records.0.first_block().ok().flatten().map_or(Height::ZERO, Height)
    }

    fn missing(&self, height: Height) -> Rejected {
        let (oldest, tip) = (self.oldest(), self.tip().unwrap_or_default());
        let reason =
            format!("height {height} is not kept any more: heights {oldest} to {tip} are; ask another operator");
        Rejected::new(RejectCode::Pruned, reason)
    }

    /// A stored block; none above the tip.
    fn stored(&self, height: Height) -> Result<Option<StoredBlock>, Rejected> {
        if height == Height::ZERO || self.tip().is_none_or(|tip| height > tip) {
            return Ok(None);
        }
        self.records.stored_block(height).map(Some).ok_or_else(|| self.missing(height))
    }

    /// The header at a height; none above the tip. Reads the disk.
    pub(crate) fn header(&self, height: Height) -> Result<Option<CertifiedHeader>, Rejected> {
        let certified = |ordered: &squad_types::OrderedBlock| CertifiedHeader {
            header: ordered.block.header().clone(),
            certificate: ordered.certificate.clone(),
        };
        if let Some(block) = self.recent(height) {
            return Ok(Some(certified(&block.decision.block)));
        }
        Ok(self.stored(height)?.map(|stored| certified(&stored.ordered)))
    }

    /// A namespace's block from memory.
    pub(crate) fn recent_block(&self, namespace: NamespaceId, height: Height) -> Option<Arc<NamespaceBlock>> {
        let kept = self.recent(height)?;
        Some(Arc::new(kept.decision.execution.namespace_block(&kept.decision.block, namespace)))
    }

    /// A namespace's block, computed again from the store; none above the tip. Reads the disk.
    pub(crate) fn block(
        &self,
        namespace: NamespaceId,
        height: Height,
    ) -> Result<Option<Arc<NamespaceBlock>>, Rejected> {
        if let Some(block) = self.recent_block(namespace, height) {
            return Ok(Some(block));
        }
        let Some(stored) = self.stored(height)? else { return Ok(None) };
        let parts = recompute(&stored.ordered, &stored.spans(), &self.namespaces, &self.records).map_err(|error| {
            tracing::warn!(height = height.0, %error, "a stored block cannot be served");
            self.missing(height)
        })?;
        Ok(Some(Arc::new(namespace_block(&stored.ordered, &parts, namespace))))
    }

    fn epoch_at(&self, height: Height) -> Option<Epoch> {
        if let Some(block) = self.recent(height) {
            return Some(block.decision.block.block.header().epoch);
        }
        self.records.stored_block(height).map(|stored| stored.ordered.block.header().epoch)
    }

    /// The first height of an epoch, by bisection of the stored heights. Reads the disk.
    fn start_of(&self, epoch: Epoch) -> Option<Height> {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(height) = starts.get(&epoch) {
            return Some(*height);
        }
        let (mut low, mut high) = (self.oldest().max(Height(1)), self.tip()?);
        if self.epoch_at(high)? < epoch || self.epoch_at(low)? > epoch {
            return None;
        }
        while low < high {
            let middle = Height(low.0 + (high.0 - low.0) / 2);
            if self.epoch_at(middle)? < epoch { low = middle.next() } else { high = middle }
        }
        // Where pruning cut the epoch's beginning off, its first stored block is not its first.
        let found = (self.epoch_at(low)? == epoch).then_some(low)?;
        if starts.len() >= MAX_STARTS {
            starts.pop_first();
        }
        starts.insert(epoch, found);
        Some(found)
    }

    /// The proof of the committee after an epoch. Reads the disk.
    pub(crate) fn proof_after(&self, epoch: Epoch) -> Option<CommitteeProof> {
        let height = self.start_of(epoch)?;
        let ordered = match self.recent(height) {
            Some(block) => block.decision.block.clone(),
            None => self.records.stored_block(height)?.ordered,
        };
        let members = ordered.block.next_committee()?.to_vec();
        Some(CommitteeProof { header: ordered.block.header().clone(), certificate: ordered.certificate, members })
    }

    /// The store.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }
}
