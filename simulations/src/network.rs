//! The network between nodes: delay with jitter, loss, and links that are cut one way or both.

use crate::rng::Rng;
use std::collections::BTreeSet;

/// A node's place in the cluster.
pub type NodeIndex = usize;

/// How links behave. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// Every message takes this long.
    pub delay: u64,
    /// And up to this much more, evenly spread; messages overtake one another.
    pub jitter: u64,
    /// Messages lost, in a thousand. Answers to questions are lost as well.
    pub loss_per_mille: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { delay: 5_000, jitter: 1_000, loss_per_mille: 0 }
    }
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// How links behave.
    pub links: Links,
    cut: BTreeSet<(NodeIndex, NodeIndex)>,
    rng: Rng,
    /// Messages that went over it.
    pub sent: u64,
}

impl Network {
    /// A whole network.
    pub fn new(links: Links, rng: Rng) -> Self {
        Self { links, cut: BTreeSet::new(), rng, sent: 0 }
    }

    /// How long a message takes from one node to another; none if it is lost.
    pub fn carry(&mut self, from: NodeIndex, to: NodeIndex) -> Option<u64> {
        self.sent += 1;
        // Drawn in any case, so that a cut link does not shift the luck of the others.
        let jitter = self.rng.below(self.links.jitter + 1);
        let lost = self.rng.per_mille(self.links.loss_per_mille);
        (!lost && !self.cut.contains(&(from, to))).then_some(self.links.delay + jitter)
    }

    /// Cuts a link one way.
    pub fn cut(&mut self, from: NodeIndex, to: NodeIndex) {
        self.cut.insert((from, to));
    }

    /// Cuts all links between the groups, both ways.
    pub fn partition(&mut self, groups: &[&[NodeIndex]]) {
        for (at, group) in groups.iter().enumerate() {
            for other in groups.iter().enumerate().filter(|(place, _)| *place != at).flat_map(|(_, other)| other.iter())
            {
                group.iter().for_each(|node| self.cut(*node, *other));
            }
        }
    }

    /// Mends all links.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether a link is cut.
    pub fn is_cut(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.cut.contains(&(from, to))
    }
}
