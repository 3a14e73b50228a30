//! Acks: cumulative, one signature for all lanes of an epoch.

use crate::batch::Tip;
use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader, encode_list};
use crate::codec_struct;
use crate::hash::{Digest, MerkleRoot};
use crate::keys::{Address, Statement, StructHash};
use crate::limits::MAX_COMMITTEE;
use crate::merkle;
use crate::quantity::{AckCounter, Epoch, Sequence, ValidatorIndex};
use crate::signed::Signed;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// What a validator signs: the root of its vector of lane tips of one epoch. It holds every batch up to each tip durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The epoch of the lanes.
    pub epoch: Epoch,
    /// How many acks it signed for the epoch; only the newest counts.
    pub counter: AckCounter,
    /// The root over the vector.
    pub root: MerkleRoot,
}

codec_struct!(Ack { epoch, counter, root });

fn of_acks() -> StructHash {
    static TYPE: OnceLock<[u8; 32]> = OnceLock::new();
    StructHash::new(&TYPE, "Ack(uint64 epoch,uint64 counter,bytes32 root)")
}

/// Names a place in an author's lane: an operator may acknowledge one batch in it.
pub(crate) fn slot(author: &Address, epoch: Epoch, sequence: Sequence) -> [u8; 32] {
    of_acks().address(author).number(epoch.0).number(sequence.0).finish()
}

impl Statement for Ack {
    fn struct_hash(&self) -> [u8; 32] {
        of_acks().number(self.epoch.0).number(self.counter.0).word(&self.root.0).finish()
    }
}

/// A lane's entry in a vector: its acknowledged tip; none before the first batch or once the lane is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckEntry {
    /// The lane's author.
    pub lane: ValidatorIndex,
    /// The tip.
    pub tip: Option<Tip>,
}

codec_struct!(AckEntry { lane, tip });

impl ListItem for AckEntry {
    const MAX_ITEMS: usize = MAX_COMMITTEE;
}

impl AckEntry {
    /// The entry's merkle leaf.
    pub fn leaf(&self) -> Digest {
        let lane = self.lane.0.to_be_bytes();
        match &self.tip {
            Some(tip) => merkle::leaf(&[&lane, &tip.sequence.0.to_be_bytes(), &tip.batch.0]),
            None => merkle::leaf(&[&lane]),
        }
    }
}

/// The root over a vector: one leaf for each place of the epoch's committee, in order.
pub fn vector_root(tips: &[Option<Tip>]) -> MerkleRoot {
    merkle::root(&vector_leaves(tips))
}

/// The leaves of a vector.
pub fn vector_leaves(tips: &[Option<Tip>]) -> Vec<Digest> {
    let entry = |(lane, tip): (usize, &Option<Tip>)| AckEntry { lane: ValidatorIndex(lane as u16), tip: *tip };
    tips.iter().enumerate().map(entry).map(|entry| entry.leaf()).collect()
}

/// What of the vector travels with an ack: shared, as everybody takes in the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckEntries {
    /// Every entry.
    Full(Arc<[AckEntry]>),
    /// The entries that changed since the ack of an earlier counter.
    Changed {
        /// The counter that these changes start from.
        since: AckCounter,
        /// The changed entries.
        entries: Arc<[AckEntry]>,
    },
}

impl Encode for AckEntries {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Full(entries) => {
                out.push(0);
                encode_list(entries, out);
            }
            Self::Changed { since, entries } => {
                out.push(1);
                since.encode(out);
                encode_list(entries, out);
            }
        }
    }
}

impl Decode for AckEntries {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Full(Vec::decode(reader)?.into())),
            1 => Ok(Self::Changed { since: Decode::decode(reader)?, entries: Vec::decode(reader)?.into() }),
            value => Err(DecodeError::BadValue { what: "ack entries", value: value.into() }),
        }
    }
}

/// An ack as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckMessage {
    /// The signed root.
    pub ack: Signed<Ack>,
    /// What is needed to rebuild it.
    pub entries: AckEntries,
}

codec_struct!(AckMessage { ack, entries });
