//! Where stake comes from.

use squad_types::{Epoch, Genesis, L1Anchor, Member};
use std::collections::BTreeMap;

/// Who is at stake, as some source says it: the genesis file, or a settlement layer.
///
/// What it says may differ between nodes for a while, so it only ever refuses softly.
pub trait StakeTable: Send + Sync {
    /// Everybody at stake for `epoch` as of `anchor`, ascending by address; none if that anchor is not known here yet.
    fn stakes(&self, epoch: Epoch, anchor: &L1Anchor) -> Option<Vec<Member>>;

    /// What a proposal that opens an epoch names, on top of a block that names `parent`: that or something newer, and nothing
    /// that others cannot be expected to know.
    fn anchor(&self, parent: &L1Anchor) -> L1Anchor {
        *parent
    }
}

/// The stakes of a genesis file, with changes by epoch where a schedule was agreed on in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisStakeTable {
    from: BTreeMap<Epoch, Vec<Member>>,
}

impl GenesisStakeTable {
    /// The validators of a genesis, for ever.
    pub fn new(genesis: &Genesis) -> Self {
        Self { from: [(Epoch::ZERO, genesis.validators.clone())].into() }
    }

    /// Other stakes from `epoch` on.
    #[must_use]
    pub fn with_change(mut self, epoch: Epoch, mut members: Vec<Member>) -> Self {
        members.sort_unstable_by_key(|member| member.address);
        members.dedup_by_key(|member| member.address);
        self.from.insert(epoch, members);
        self
    }
}

impl StakeTable for GenesisStakeTable {
    fn stakes(&self, epoch: Epoch, _: &L1Anchor) -> Option<Vec<Member>> {
        self.from.range(..=epoch).next_back().map(|(_, members)| members.clone())
    }
}
