//! Headers, and the state of the chain that they commit to.

use crate::batch::{CutEntry, LaneId, Tip};
use crate::codec::{Encode, ListItem};
use crate::codec_struct;
use crate::committee::Bitmap;
use crate::hash::{Digest, HeaderHash, MerkleRoot, NetworkId, keccak256};
use crate::keys::Address;
use crate::limits::{MAX_COMMITTEE, MAX_READIES};
use crate::quantity::{Epoch, Height, Round, Timestamp};
use serde::{Deserialize, Serialize};

/// The protocol's version, in every header and handshake.
pub const PROTOCOL_VERSION: u16 = 1;

/// A block of the settlement layer that a header refers to; number 0 and a zero hash where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct L1Anchor {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: Digest,
}

codec_struct!(L1Anchor { number, hash });

/// A header: everything about a block that its hash commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The protocol's version.
    pub version: u16,
    /// The network.
    pub network_id: NetworkId,
    /// The height.
    pub height: Height,
    /// The epoch whose committee decides it.
    pub epoch: Epoch,
    /// The block before; the network id below height 1.
    pub parent_hash: HeaderHash,
    /// Who built it.
    pub proposer: Address,
    /// The round that it was built for.
    pub origin_round: Round,
    /// The proposer's clock, above the parent's timestamp.
    pub timestamp: Timestamp,
    /// The settlement layer's block that this one takes its facts from.
    pub l1_anchor: L1Anchor,
    /// The hash of the [`ChainState`] after this block, the whole vector of lane tips included.
    pub cut_digest: Digest,
    /// The merkle root over the namespaces' leaves.
    pub namespaces_root: MerkleRoot,
    /// Transactions ordered by this block.
    pub tx_count: u32,
    /// The hash of parameters and namespaces.
    pub params_hash: Digest,
    /// The hash of the committee that decides it.
    pub committee_hash: Digest,
    /// The hash of the next epoch's committee.
    pub next_committee_hash: Digest,
    /// Who is known to have precommitted the block `SIGNERS_LAG` heights before, by its committee's places; empty if there is none. Advice only.
    pub signers: Bitmap,
}

codec_struct!(Header {
    version,
    network_id,
    height,
    epoch,
    parent_hash,
    proposer,
    origin_round,
    timestamp,
    l1_anchor,
    cut_digest,
    namespaces_root,
    tx_count,
    params_hash,
    committee_hash,
    next_committee_hash,
    signers,
});

impl Header {
    /// keccak256 of the canonical form.
    pub fn hash(&self) -> HeaderHash {
        HeaderHash(keccak256(&self.to_bytes()))
    }
}

impl ListItem for Header {
    const MAX_ITEMS: usize = 1_024;
}

impl ListItem for Option<Tip> {
    const MAX_ITEMS: usize = MAX_COMMITTEE;
}

impl ListItem for Bitmap {
    const MAX_ITEMS: usize = MAX_COMMITTEE;
}

impl ListItem for u8 {
    const MAX_ITEMS: usize = MAX_COMMITTEE;
}

impl ListItem for Round {
    // Only the last few heights' rounds are pending.
    const MAX_ITEMS: usize = 8;
}

/// All state that the validity of the next block depends on, beside its parent header, the committees and the window.
///
/// Every header commits to it through `cut_digest`, so a late joiner checks a snapshot with one hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainState {
    /// Milliseconds of chain time: the sum over headers of min(timestamp − parent timestamp, one second).
    pub chain_time: Timestamp,
    /// The current epoch.
    pub epoch: Epoch,
    /// The height of its first block.
    pub epoch_start: Height,
    /// The chain time at its first block.
    pub epoch_start_time: Timestamp,
    /// Ordered tips of the epoch before, by place in its committee; empty in epoch 0.
    pub previous_tips: Vec<Option<Tip>>,
    /// Ordered tips of the current epoch, by place in its committee.
    pub tips: Vec<Option<Tip>>,
    /// Operators whose `Ready` for the next epoch but one was ordered, ascending. Only newcomers state it.
    pub ready: Vec<Address>,
    /// For each member of the current committee: which members, as proposers of this epoch, named it among `signers`.
    pub named_by: Vec<Bitmap>,
    /// For each member of the current committee: how many of its last turns as proposer failed in a row, as of three heights ago.
    pub failed_turns: Vec<u8>,
    /// The origin rounds of the last heights of this epoch that `failed_turns` does not count yet, oldest first.
    pub recent_rounds: Vec<Round>,
}

codec_struct!(ChainState {
    chain_time,
    epoch,
    epoch_start,
    epoch_start_time,
    previous_tips,
    tips,
    ready,
    named_by,
    failed_turns,
    recent_rounds,
});

impl ChainState {
    /// What a header's `cut_digest` holds.
    pub fn digest(&self) -> Digest {
        // What most states take, so that it is written in one go.
        let members = self.tips.len() + self.previous_tips.len();
        let mut bytes = Vec::with_capacity(128 + members * 64);
        self.encode(&mut bytes);
        Digest(keccak256(&bytes))
    }

    /// The ordered tip of a lane; none before its first batch was ordered or for a lane of another epoch.
    pub fn tip(&self, lane: LaneId) -> Option<Tip> {
        self.tips_of(lane.epoch)?.get(lane.author.position()).copied().flatten()
    }

    /// The ordered tips of the current or the previous epoch.
    pub fn tips_of(&self, epoch: Epoch) -> Option<&[Option<Tip>]> {
        if epoch == self.epoch {
            Some(&self.tips)
        } else if Some(epoch) == self.epoch.previous() {
            Some(&self.previous_tips)
        } else {
            None
        }
    }

    /// Moves a lane's tip; whether the lane exists.
    pub fn set_tip(&mut self, entry: CutEntry) -> bool {
        let tips = if entry.lane.epoch == self.epoch {
            &mut self.tips
        } else if Some(entry.lane.epoch) == self.epoch.previous() {
            &mut self.previous_tips
        } else {
            return false;
        };
        tips.get_mut(entry.lane.author.position()).map(|slot| *slot = Some(entry.tip)).is_some()
    }
}

/// A newcomer's statement that it runs and follows, so that it may vote from the next epoch that has no committee yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The epoch it was stated in.
    pub epoch: Epoch,
}

codec_struct!(Ready { epoch });

impl crate::keys::Statement for Ready {
    fn struct_hash(&self) -> [u8; 32] {
        static TYPE: std::sync::OnceLock<[u8; 32]> = std::sync::OnceLock::new();
        crate::keys::StructHash::new(&TYPE, "Ready(uint64 epoch)").number(self.epoch.0).finish()
    }
}

impl ListItem for crate::signed::Signed<Ready> {
    const MAX_ITEMS: usize = MAX_READIES;
}
