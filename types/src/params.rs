//! Parameters that all validators share. They are ordered state: headers commit to them, and they change only between epochs.

use crate::codec::Encode;
use crate::codec_struct;
use crate::hash::{Digest, keccak256};
use crate::limits::MAX_BATCH_BYTES;
use crate::namespace::NamespaceSpec;
use serde::{Deserialize, Serialize};

/// The protocol's parameters. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// K: in how many heights a known certificate must be ordered.
    pub inclusion_heights: u32,
    /// Bytes of new batches that one block may cover.
    pub max_block_bytes: u32,
    /// Transactions that one block may hold.
    pub max_block_transactions: u32,
    /// At most one ack in this time under load.
    pub ack_interval_ms: u32,
    /// A batch seals at most this long after its first transaction.
    pub batch_age_ms: u32,
    /// How often an idle network makes an empty block.
    pub idle_interval_ms: u32,
    /// A proposal this far ahead of a validator's clock is refused for now.
    pub clock_bound_ms: u32,
    /// How long a transaction is remembered for exactly-once, in chain time; also the longest validity.
    pub window_ms: u32,
    /// The fewest heights of an epoch.
    pub epoch_heights: u32,
    /// The least chain time of an epoch.
    pub epoch_ms: u32,
    /// Bytes that a lane may hold above its ordered tip before its batches are no longer acknowledged.
    pub lane_bytes: u32,
    /// How long round 0 waits for a proposal.
    pub propose_timeout_ms: u32,
    /// How long round 0 waits for more prevotes, and for more precommits.
    pub vote_timeout_ms: u32,
    /// What every further round adds to these times.
    pub timeout_step_ms: u32,
}

codec_struct!(Params {
    inclusion_heights,
    max_block_bytes,
    max_block_transactions,
    ack_interval_ms,
    batch_age_ms,
    idle_interval_ms,
    clock_bound_ms,
    window_ms,
    epoch_heights,
    epoch_ms,
    lane_bytes,
    propose_timeout_ms,
    vote_timeout_ms,
    timeout_step_ms,
});

impl Default for Params {
    fn default() -> Self {
        Self {
            inclusion_heights: 3,
            max_block_bytes: 16 * 1024 * 1024,
            max_block_transactions: 64 * 1024,
            ack_interval_ms: 5,
            batch_age_ms: 10,
            idle_interval_ms: 1_000,
            clock_bound_ms: 500,
            window_ms: 10_000,
            epoch_heights: 32,
            epoch_ms: 60_000,
            lane_bytes: 32 * 1024 * 1024,
            propose_timeout_ms: 1_000,
            vote_timeout_ms: 500,
            timeout_step_ms: 500,
        }
    }
}

impl Params {
    /// The largest payload of a batch in a committee of `members`: small enough that every lane's next batch fits one block twice over.
    pub fn max_batch_bytes(&self, members: usize) -> usize {
        MAX_BATCH_BYTES.min(self.max_block_bytes as usize / (2 * members.max(1)))
    }

    /// What headers commit to: keccak256 over the parameters and the namespaces.
    pub fn hash(&self, namespaces: &[NamespaceSpec]) -> Digest {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        crate::codec::encode_list(namespaces, &mut bytes);
        Digest(keccak256(&bytes))
    }
}
