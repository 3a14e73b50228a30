//! Limits of this room, each with its reason.

/// Batches of one lane that wait for one before them. A lane is fetched in answers of 64; this is several of those.
pub(crate) const MAX_ORPHANS: usize = 512;

/// Batches kept at one place of a forked lane: two prove the fork, more only matter if a quorum orders one of them.
pub(crate) const MAX_FORKS: usize = 4;

/// How far above its ordered tip a lane's batch may lie to be looked at: flow control stops honest authors far earlier.
pub(crate) const MAX_LANE_SPAN: u64 = 4_096;

/// Sources whose rates are remembered. The one that was silent the longest is forgotten first.
pub(crate) const MAX_SOURCES: usize = 65_536;

/// Bytes that one namespace may put into a batch before it is the next one's turn.
pub(crate) const TURN_BYTES: usize = 16 * 1024;

/// What a transaction may take of a source's allowance at once.
pub(crate) const MIN_COST_BYTES: u64 = 64;

/// Milliseconds after which a client may try again when the pool or the lane is full: about the time of a few blocks.
pub(crate) const BUSY_RETRY_MS: u64 = 100;

/// Committees up to this size always send their whole ack vector: it costs less than asking for it once.
pub(crate) const FULL_ACK_MEMBERS: usize = 16;
