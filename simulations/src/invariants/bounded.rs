//! Bounded: whatever happens, what a node holds stays below its limits.

use super::{Held, holds};
use crate::node::Node;
use serde::Serialize;

/// The most that any one node held at any moment looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Most {
    /// Bytes of transactions that no batch has yet.
    pub pool_bytes: usize,
    /// Bytes of batches that are not ordered yet, its own and others'.
    pub lane_bytes: usize,
    /// Outputs that wait for the disk.
    pub waiting: usize,
    /// Records of the log since its last checkpoint.
    pub log_records: usize,
    /// Proofs against others.
    pub evidence: usize,
}

/// Outputs that wait for a disk: far more than a sync's time brings.
const MAX_WAITING: usize = 20_000;

/// Records of the log since its last checkpoint: many rounds of many heights.
const MAX_LOG_RECORDS: usize = 100_000;

/// Proofs that a node keeps.
const MAX_EVIDENCE: usize = 1_024;

pub(super) fn check(nodes: &[Node], most: &mut Most) -> Held {
    for (at, node) in nodes.iter().enumerate() {
        let Some(sequencer) = &node.sequencer else { continue };
        let (status, limits) = (sequencer.status(), &node.config.pool);
        let (pool, lanes) = (status.mempool, node.committees.iter().map(|committee| committee.len()).sum::<usize>());
        holds!(
            pool.pool_bytes <= limits.max_bytes && pool.pool_transactions <= limits.max_transactions,
            "bounded",
            "node {at} holds {} bytes in {} transactions in its pool",
            pool.pool_bytes,
            pool.pool_transactions
        );
        let params = sequencer.ledger().params();
        let lane = u64::from(params.lane_bytes) + 2 * u64::from(params.max_block_bytes);
        holds!(
            pool.lane_bytes as u64 <= lane * lanes.max(1) as u64,
            "bounded",
            "node {at} holds {} bytes in {lanes} lanes",
            pool.lane_bytes
        );
        let (waiting, records, accused) = (node.waiting(), node.disk.log_records(), status.accused);
        most.pool_bytes = most.pool_bytes.max(pool.pool_bytes);
        most.lane_bytes = most.lane_bytes.max(pool.lane_bytes);
        most.waiting = most.waiting.max(waiting);
        most.log_records = most.log_records.max(records);
        most.evidence = most.evidence.max(accused);
        holds!(waiting <= MAX_WAITING, "bounded", "{waiting} outputs of node {at} wait for its disk");
        holds!(
            records <= MAX_LOG_RECORDS,
            "bounded",
            "the log of node {at} has {records} records since its checkpoint"
        );
        holds!(accused <= MAX_EVIDENCE, "bounded", "node {at} keeps {accused} proofs");
        // One of two nodes with one key does right to stop when it sees what it never said.
        let same_key =
            nodes.iter().filter(|other| operator(other).is_some() && operator(other) == operator(node)).count();
        holds!(status.halted.is_none() || same_key > 1, "bounded", "node {at} halted: {:?}", status.halted);
    }
    Ok(())
}

/// Whose key a node has; none of a follower.
fn operator(node: &Node) -> Option<squad_types::Address> {
    node.config.signer.as_ref().map(|signer| signer.address())
}
