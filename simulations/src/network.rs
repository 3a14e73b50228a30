//! The network between nodes: how long a message takes, and whether it arrives at all.
//!
//! Three things add up: the way (a fixed delay with even jitter, or a table of places with a distribution each), what goes
//! wrong on it (loss, duplicates, cut links), and, where it is set, the width of each node's own connection ([`pipe`]).

pub mod pipe;

pub use squad_regions::{places, spread};

use crate::queue::Instant;
use crate::rng::Rng;
use places::Places;
use std::collections::{BTreeMap, BTreeSet};

/// A node's place in the cluster.
pub type NodeIndex = usize;

/// How links behave. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// Every message takes this long, unless places say otherwise.
    pub delay: u64,
    /// And up to this much more, evenly spread; messages overtake one another.
    pub jitter: u64,
    /// Messages lost, in a thousand. Questions and answers are lost as well.
    pub loss_per_mille: u32,
    /// Messages that come twice, in a thousand.
    pub duplicate_per_mille: u32,
    /// If set, a lost message is sent again after this long, twice as long if that is lost too, and so on: what a stream
    /// makes of a lossy path. If not, it is gone: what a broken connection makes of it.
    pub retransmit: Option<u64>,
    /// Whether messages of one link arrive in the order in which they were sent.
    pub in_order: bool,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            delay: 5_000,
            jitter: 1_000,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            retransmit: None,
            in_order: false,
        }
    }
}

/// The most often that one message is sent again: at 10 % loss, one of ten million is given up.
const MAX_RETRANSMISSIONS: u32 = 7;

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// How links behave.
    pub links: Links,
    places: Option<Places>,
    cut: BTreeSet<(NodeIndex, NodeIndex)>,
    /// Nodes whose messages take longer, both ways, by microseconds.
    slow: BTreeMap<NodeIndex, u64>,
    /// The last arrival on each link, where order is kept.
    last: BTreeMap<(NodeIndex, NodeIndex), Instant>,
    rng: Rng,
    /// Messages that went over it.
    pub sent: u64,
}

impl Network {
    /// A whole network.
    pub fn new(links: Links, places: Option<Places>, rng: Rng) -> Self {
        Self { links, places, cut: BTreeSet::new(), slow: BTreeMap::new(), last: BTreeMap::new(), rng, sent: 0 }
    }

    /// When a message that leaves now arrives: never if it is lost, twice if it is duplicated.
    pub fn carry(&mut self, now: Instant, from: NodeIndex, to: NodeIndex) -> [Option<Instant>; 2] {
        self.sent += 1;
        // Drawn in any case, so that a cut link does not shift the luck of the others.
        let way = match &self.places {
            Some(places) => places.delay(from, to, self.rng.next()),
            None => self.links.delay + self.rng.below(self.links.jitter + 1),
        };
        let repeated = self.retransmissions();
        let chance = self.links.duplicate_per_mille;
        let twice = (chance > 0 && self.rng.per_mille(chance)).then(|| self.rng.below(way + 1));
        if self.is_cut(from, to) {
            return [None; 2];
        }
        let Some(waited) = repeated else { return [None; 2] };
        let slow = |node| self.slow.get(&node).copied().unwrap_or_default();
        let mut at = now.plus(way + waited + slow(from) + slow(to));
        if self.links.in_order {
            let last = self.last.entry((from, to)).or_default();
            at = at.max(*last);
            *last = at;
        }
        [Some(at), twice.map(|later| at.plus(later))]
    }

    /// How long retransmissions hold a message up; none if it is lost for good.
    fn retransmissions(&mut self) -> Option<u64> {
        let Some(timeout) = self.links.retransmit else {
            return (!self.rng.per_mille(self.links.loss_per_mille)).then_some(0);
        };
        let mut waited = 0;
        for attempt in 0..=MAX_RETRANSMISSIONS {
            if !self.rng.per_mille(self.links.loss_per_mille) {
                return Some(waited);
            }
            waited += timeout << attempt;
        }
        None
    }

    /// Where nodes are, if that matters.
    pub fn places(&self) -> Option<&Places> {
        self.places.as_ref()
    }

    /// Cuts a link one way.
    pub fn cut(&mut self, from: NodeIndex, to: NodeIndex) {
        self.cut.insert((from, to));
    }

    /// Mends a link one way.
    pub fn mend(&mut self, from: NodeIndex, to: NodeIndex) {
        self.cut.remove(&(from, to));
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

    /// Makes everything from and to a node take this much longer; zero ends it.
    pub fn slow_down(&mut self, node: NodeIndex, micros: u64) {
        if micros == 0 {
            self.slow.remove(&node);
        } else {
            self.slow.insert(node, micros);
        }
    }

    /// Mends all links.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
    }

    /// Whether a link is cut.
    pub fn is_cut(&self, from: NodeIndex, to: NodeIndex) -> bool {
        !self.cut.is_empty() && self.cut.contains(&(from, to))
    }
}
