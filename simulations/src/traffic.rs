//! What went over the network, by kind and by node.

use crate::network::NodeIndex;
use crate::packet::Kind;

/// A count and its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Messages.
    pub messages: u64,
    /// Their encoded bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u32) {
        self.messages += 1;
        self.bytes += u64::from(bytes);
    }
}

/// Counts of a run.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Sent, by kind.
    pub by_kind: [Amount; Kind::ALL.len()],
    /// Sent, by node.
    pub up: Vec<Amount>,
    /// Received, by node.
    pub down: Vec<Amount>,
    /// Handled by a node's own code, by kind.
    pub deliveries: [u64; Kind::ALL.len()],
}

impl Traffic {
    /// Nothing yet.
    pub fn new(nodes: usize) -> Self {
        Self {
            by_kind: [Amount::default(); Kind::ALL.len()],
            up: vec![Amount::default(); nodes],
            down: vec![Amount::default(); nodes],
            deliveries: [0; Kind::ALL.len()],
        }
    }

    pub(crate) fn sent(&mut self, from: NodeIndex, kind: Kind, bytes: u32) {
        self.by_kind[kind.index()].add(bytes);
        self.up[from].add(bytes);
    }

    pub(crate) fn received(&mut self, to: NodeIndex, bytes: u32) {
        self.down[to].add(bytes);
    }

    pub(crate) fn handled(&mut self, kind: Kind) {
        self.deliveries[kind.index()] += 1;
    }

    /// All messages that a node's own code handled.
    pub fn handled_in_all(&self) -> u64 {
        self.deliveries.iter().sum()
    }
}
