//! Limits of this room, each with its reason.

use squad_types::Params;
use squad_types::limits::MAX_BATCH_TRANSACTIONS;

/// Batches of one lane above its ordered tip that are sealed or acknowledged: ten seconds at the shortest sealing age, and a
/// certificate's headers stay far below `MAX_HEADER_CHAIN`.
pub(crate) const MAX_LANE_BATCHES: u64 = 1_024;

/// Heights from the acknowledgement of a batch until its certificate's heights are counted, K not included: one until every
/// member knows it, one until a cut left it out, one at whose end it is due, and three for members that are a little behind.
pub(crate) const CERTIFICATE_HEIGHTS: u64 = 6;

/// How often the age at which a batch seals doubles as the lane fills up: once from half on, twice in the last quarter.
pub(crate) const MAX_AGE_DOUBLINGS: u32 = 2;

/// Shares of full blocks that a lane may hold at least, whatever was ordered of late.
pub(crate) const LANE_BLOCKS: usize = 4;

/// Shares of full blocks that the pool may hold at least while the lane is full.
pub(crate) const POOL_BLOCKS: usize = 2;

/// How far above its ordered tip a lane's batch may lie to be kept: twice what an honest author makes, for a node that is behind.
pub(crate) const MAX_LANE_SPAN: u64 = 2 * MAX_LANE_BATCHES;

/// Batches of one lane that wait for one before them. A lane is fetched in answers of 64; this is several of those.
pub(crate) const MAX_ORPHANS: usize = 512;

/// Bytes of batches that wait for one before them, over all lanes of an epoch: each lane has an equal share.
pub(crate) const MAX_ORPHAN_BYTES: usize = 64 << 20;

/// The least share of a lane in these, in batches of the largest size.
pub(crate) const MIN_ORPHANS: usize = 8;

/// Batches kept at one place of a forked lane: two prove the fork, more only matter if a quorum orders one of them.
pub(crate) const MAX_FORKS: usize = 4;

/// Headers kept below a lane's ordered tip: they prove a late fork, and show that an own ack lies on the ordered chain.
pub(crate) const HISTORY_HEADERS: usize = 256;

/// Sources whose rates are remembered. All others share one.
pub(crate) const MAX_SOURCES: usize = 65_536;

/// Milliseconds between two searches for sources that can be forgotten.
pub(crate) const SOURCE_SWEEP_MS: u64 = 1_000;

/// Bytes that one namespace may put into a batch before it is the next one's turn.
pub(crate) const TURN_BYTES: usize = 4 * 1024;

/// What a transaction may take of a source's allowance at once.
pub(crate) const MIN_COST_BYTES: u64 = 64;

/// Milliseconds after which a client may try again when the pool or the lane is full: about the time of a few blocks.
pub(crate) const BUSY_RETRY_MS: u64 = 100;

/// Committees up to this size always send their whole ack vector: it costs less than asking for it once.
pub(crate) const FULL_ACK_MEMBERS: usize = 16;

/// The most transactions of one batch in a committee of `members`. As with bytes, the next batch of every lane of two epochs
/// fits one block: otherwise the inclusion rule could ask for more than a block holds.
pub(crate) fn max_batch_transactions(params: &Params, members: usize) -> usize {
    MAX_BATCH_TRANSACTIONS.min(params.max_block_transactions as usize / (2 * members.max(1))).max(1)
}

/// What flow control and memory allow one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneLimits {
    /// Bytes above the ordered tip that are acknowledged.
    pub(crate) acked_bytes: u64,
    /// Bytes above the ordered tip that are kept: a block more, for a node that is a little behind the author.
    pub(crate) kept_bytes: u64,
    /// Bytes that wait for their parents.
    pub(crate) orphan_bytes: usize,
    /// Bytes of one batch.
    pub(crate) batch_bytes: usize,
    /// Transactions of one batch.
    pub(crate) batch_transactions: usize,
}

impl LaneLimits {
    pub(crate) fn new(params: &Params, members: usize) -> Self {
        let batch_bytes = params.max_batch_bytes(members);
        Self {
            acked_bytes: params.lane_bytes.into(),
            kept_bytes: u64::from(params.lane_bytes) + u64::from(params.max_block_bytes),
            orphan_bytes: (MAX_ORPHAN_BYTES / members.max(1)).max(MIN_ORPHANS * batch_bytes),
            batch_bytes,
            batch_transactions: max_batch_transactions(params, members),
        }
    }
}
