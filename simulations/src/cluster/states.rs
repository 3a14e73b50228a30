//! What each node says of itself, for whoever looks at a run that went wrong.

use super::Cluster;
use crate::network::NodeIndex;
use squad_sequencer::Notice;

/// Notices of a node that are shown, beside those of rounds.
const NOTICES: usize = 3;

impl Cluster {
    /// One line a node.
    pub fn states(&self) -> Vec<String> {
        (0..self.nodes.len()).map(|node| self.state(node)).collect()
    }

    fn state(&self, node: NodeIndex) -> String {
        let trusted = node >= self.first_follower || self.invariants.trusts(&self.address(node));
        let honest = if trusted { "honest" } else { "byzantine" };
        let Some(sequencer) = &self.nodes[node].sequencer else { return format!("node {node} ({honest}): down") };
        let status = sequencer.status();
        let rare = |notice: &&Notice| !matches!(notice, Notice::Round { .. });
        let mut last: Vec<&Notice> = self.nodes[node].notices.iter().rev().filter(rare).take(NOTICES).collect();
        last.reverse();
        format!(
            "node {node} ({honest}): height {}, round {}, epoch {}, member {}, signing {}, behind {:?}, closed {:?}, {} peers, \
             pool {} tx, lanes {} bytes, {} accused; last {last:?}",
            status.height,
            status.round,
            status.epoch,
            status.member,
            status.signing,
            status.catching_up_to.map(|height| height.0),
            status.closed.map(|rejection| rejection.code()),
            status.peers,
            status.mempool.pool_transactions,
            status.mempool.lane_bytes,
            status.accused,
        )
    }
}
