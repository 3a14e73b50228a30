//! Starting from a state that a header commits to, instead of from genesis.

use super::window::{Window, WindowBase};
use super::{Ledger, genesis_parts};
use squad_types::{
    CertificateError, Committee, Epoch, Genesis, GenesisError, HeaderHash, NetworkId, Snapshot, Verifier,
};
use std::sync::Arc;

/// Why a snapshot is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The genesis itself is unusable.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The tip is of another network.
    #[error("the snapshot is of network {0}")]
    Network(NetworkId),
    /// The tip's parameters are not the genesis's.
    #[error("the snapshot's parameters are not the network's")]
    Params,
    /// The certificate is for another block than the tip.
    #[error("the snapshot's certificate is for {0}, not for its tip")]
    OtherBlock(HeaderHash),
    /// The state is not the one that the tip commits to.
    #[error("the snapshot's state is not the one that its tip commits to")]
    State,
    /// A committee is missing, or not the one that the tip commits to.
    #[error("the committee of epoch {0} is missing or not the one that the chain fixed")]
    Committee(Epoch),
    /// The quorum does not hold.
    #[error("the snapshot's certificate: {0}")]
    Certificate(#[from] CertificateError),
}

impl Ledger {
    /// A ledger at a snapshot's tip. Follow the blocks after it with [`Ledger::judge_replayed`] until
    /// [`Ledger::window_is_complete`].
    ///
    /// `committees` were learned through proofs from one that is trusted, and hold at least those of the tip's epoch and of
    /// the epochs before and after.
    pub fn from_snapshot(
        genesis: &Genesis,
        committees: Vec<Committee>,
        snapshot: &Snapshot,
        verifier: &dyn Verifier,
    ) -> Result<Self, SnapshotError> {
        let parts = genesis_parts(genesis)?;
        let (ordered, state) = (&snapshot.tip, &snapshot.state);
        let header = ordered.block.header();
        if header.network_id != parts.domain.network() {
            return Err(SnapshotError::Network(header.network_id));
        }
        if header.params_hash != parts.params_hash {
            return Err(SnapshotError::Params);
        }
        if ordered.certificate.block != ordered.block.hash() || ordered.certificate.height != header.height {
            return Err(SnapshotError::OtherBlock(ordered.certificate.block));
        }
        if state.digest() != header.cut_digest || state.epoch != header.epoch {
            return Err(SnapshotError::State);
        }
        let mut committees: std::collections::BTreeMap<_, _> =
            committees.into_iter().map(|committee| (committee.epoch(), Arc::new(committee))).collect();
        let needed = |epoch: Epoch, fits: &dyn Fn(&Committee) -> bool| {
            let known = committees.get(&epoch).filter(|committee| fits(committee));
            known.cloned().ok_or(SnapshotError::Committee(epoch))
        };
        let current =
            needed(header.epoch, &|known| known.hash() == header.committee_hash && known.len() == state.tips.len())?;
        needed(header.epoch.next(), &|known| known.hash() == header.next_committee_hash)?;
        if let Some(previous) = header.epoch.previous() {
            needed(previous, &|known| known.len() == state.previous_tips.len())?;
        }
        if state.named_by.len() != current.len() || state.failed_turns.len() != current.len() {
            return Err(SnapshotError::State);
        }
        ordered.certificate.verify(&parts.domain, &current, verifier)?;
        while committees.len() > super::KEPT_COMMITTEES {
            committees.pop_first();
        }
        let window = u64::from(parts.params.window_ms);
        Ok(Self {
            window: Window::new(window, WindowBase::after(header.height, state)),
            starts: [(state.epoch, state.epoch_start)].into(),
            committees,
            tip_hash: ordered.block.hash(),
            tip: Some(ordered.clone()),
            state: Arc::new(state.clone()),
            ..parts
        })
    }
}
