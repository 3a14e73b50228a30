//! Inclusion: what is secured is ordered within its K heights, unless blocks are full.
//!
//! Counted as the protocol counts: from when every honest node knew the certificate, in heights in which it voted. What a
//! node knows is followed from outside, by the acks and certificates that reached it; only honest operators' acks count
//! here, so a node knows at least what is taken for known.

use super::{Held, Known, Observed, holds};
use crate::network::NodeIndex;
use crate::node::Node;
use squad_sequencer::{Decision, Output};
use squad_types::{
    Ack, AckCounter, AckEntries, Address, ChainState, Epoch, Height, LaneId, Message, Params, Sequence, Signed, Tip,
    ValidatorIndex, VerifiedMessage, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};

/// What one node knows.
#[derive(Default)]
struct Mind {
    /// The newest ack of each member, by place in the committee.
    counters: BTreeMap<Epoch, Vec<AckCounter>>,
    /// By lane, what each member acknowledges above the ordered tip. Empty lanes are left out, so this is small.
    acks: BTreeMap<LaneId, Vec<Option<Tip>>>,
    learned: BTreeMap<LaneId, Tip>,
    /// Heights in which it voted, and how many since this life began.
    voted: BTreeSet<Height>,
    passed: u32,
    /// Certified tips above the ordered ones, with the count at which each was first known.
    waiting: BTreeMap<LaneId, Vec<(Tip, u32)>>,
    /// What was due after each of the last heights.
    due: BTreeMap<Height, BTreeMap<LaneId, Sequence>>,
}

/// How a decided block moved its lanes.
struct Cut {
    epoch: Epoch,
    to: BTreeMap<LaneId, Sequence>,
    full: bool,
}

pub(super) struct Inclusion {
    params: Params,
    /// By node.
    minds: Vec<Mind>,
    cuts: BTreeMap<Height, Cut>,
    closed: BTreeSet<LaneId>,
    /// Operators' first nodes.
    nodes: BTreeMap<Address, NodeIndex>,
    checked: u64,
}

/// Heights whose dues are remembered, for nodes that decide late.
const REMEMBERED: u64 = 16;

fn is_above(state: &ChainState, lane: LaneId, tip: Tip) -> bool {
    state.tip(lane).is_none_or(|ordered| tip.sequence > ordered.sequence)
}

impl Inclusion {
    pub(super) fn new(params: Params) -> Self {
        Self {
            params,
            minds: Vec::new(),
            cuts: BTreeMap::new(),
            closed: BTreeSet::new(),
            nodes: BTreeMap::new(),
            checked: 0,
        }
    }

    pub(super) fn checked(&self) -> u64 {
        self.checked
    }

    pub(super) fn crashed(&mut self, node: NodeIndex) {
        *self.mind(node) = Mind::default();
    }

    fn mind(&mut self, node: NodeIndex) -> &mut Mind {
        if self.minds.len() <= node {
            self.minds.resize_with(node + 1, Mind::default);
        }
        &mut self.minds[node]
    }

    pub(super) fn heard(&mut self, at: NodeIndex, node: &Node, message: &VerifiedMessage, known: &Known) {
        match message {
            VerifiedMessage::Ack(ack, entries) => self.learn(at, node, ack.signed(), entries, known),
            VerifiedMessage::Secured(certificate) => {
                let checked = known
                    .committees
                    .get(&certificate.lane.epoch)
                    .is_some_and(|committee| certificate.verify(&known.domain, committee, known.verifier).is_ok());
                if let Some(tip) = certificate.tip().filter(|_| checked) {
                    let learned = self.mind(at).learned.entry(certificate.lane).or_insert(tip);
                    *learned = (*learned).max(tip);
                }
            }
            _ => {}
        }
    }

    fn learn(&mut self, at: NodeIndex, node: &Node, ack: &Signed<Ack>, entries: &AckEntries, known: &Known) {
        let (epoch, counter) = (ack.statement.epoch, ack.statement.counter);
        let Some(state) = node.sequencer.as_ref().map(|sequencer| sequencer.ledger().state()) else { return };
        let Some(committee) = known.committees.get(&epoch) else { return };
        let Some(signer) = committee.index_of(&ack.signer) else { return };
        if !known.is_honest(&ack.signer) {
            return;
        }
        let mind = self.mind(at);
        let counters = mind.counters.entry(epoch).or_insert_with(|| vec![AckCounter::default(); committee.len()]);
        let Some(newest) = counters.get_mut(signer.position()) else { return };
        let entries = match entries {
            AckEntries::Full(entries) => entries,
            AckEntries::Changed { since, entries } if since == newest => entries,
            AckEntries::Changed { .. } => return,
        };
        if counter < *newest {
            return;
        }
        *newest = counter;
        for entry in entries.iter() {
            let lane = LaneId { epoch, author: entry.lane };
            if let Some(tip) = entry.tip.filter(|tip| is_above(state, lane, *tip)) {
                let acks = mind.acks.entry(lane).or_insert_with(|| vec![None; committee.len()]);
                if let Some(slot) = acks.get_mut(signer.position()) {
                    *slot = (*slot).max(Some(tip));
                }
            }
        }
    }

    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Held {
        match observed.output {
            Output::LaneClosed(lane) => {
                self.closed.insert(*lane);
            }
            Output::Send { message, .. } if known.is_honest(&observed.operator) => match message.as_ref() {
                Message::Vote(vote) if vote.signer == observed.operator && vote.statement.kind == VoteKind::Prevote => {
                    self.mind(observed.node).voted.insert(vote.statement.height);
                }
                Message::Ack(message) if message.ack.signer == observed.operator => {
                    self.learn(observed.node, &observed.nodes[observed.node], &message.ack, &message.entries, known);
                }
                _ => {}
            },
            Output::Ordered(decision) => {
                let height = decision.block.block.header().height;
                let new = !self.cuts.contains_key(&height);
                if new {
                    self.cuts.insert(height, self.cut(decision, observed, known));
                    self.cuts.retain(|at, _| at.plus(4 * REMEMBERED) >= height);
                }
                if known.is_honest(&observed.operator) {
                    self.pass(observed.node, &observed.nodes[observed.node], decision, known);
                    // Who decides late may complete what was due before the next height.
                    return self
                        .check(height.next(), observed, known)
                        .and_then(|()| self.check(height, observed, known));
                }
                return self.check(height, observed, known);
            }
            _ => {}
        }
        Ok(())
    }

    fn cut(&self, decision: &Decision, observed: &Observed<'_>, known: &Known) -> Cut {
        let epoch = decision.block.block.header().epoch;
        let disk = &observed.nodes[observed.node].disk;
        let (mut bytes, mut count) = (0, 0);
        for span in &decision.execution.spans {
            let (more, transactions) = disk.extent(span.lane, span.above, span.to);
            bytes += more;
            count += transactions;
        }
        // Full as the protocol means it: one more batch of the largest size might not fit.
        let members = [Some(epoch), epoch.previous()].into_iter().flatten();
        let members = members.filter_map(|epoch| known.committees.get(&epoch)).map(|committee| committee.len()).min();
        let members = members.unwrap_or(1);
        let batch_count = (self.params.max_block_transactions as usize / (2 * members)).max(1);
        let full = bytes + self.params.max_batch_bytes(members) >= self.params.max_block_bytes as usize
            || count + batch_count >= self.params.max_block_transactions as usize;
        let to = decision.block.block.cut().iter().map(|entry| (entry.lane, entry.tip.sequence)).collect();
        Cut { epoch, to, full }
    }

    /// What `Due` in the mempool does, from outside.
    fn pass(&mut self, at: NodeIndex, node: &Node, decision: &Decision, known: &Known) {
        let header = decision.block.block.header();
        let Some(state) = node.sequencer.as_ref().map(|sequencer| sequencer.ledger().state()) else { return };
        // Known at one height, left out by the next, then K more.
        let heights = self.params.inclusion_heights + 1;
        let mind = self.mind(at);
        for (lane, waiting) in &mut mind.waiting {
            waiting.retain(|(tip, _)| is_above(state, *lane, *tip));
        }
        if !decision.caught_up && mind.voted.contains(&header.height) {
            mind.passed += 1;
        }
        mind.voted.retain(|height| *height > header.height);
        for (lane, acks) in &mut mind.acks {
            acks.iter_mut().for_each(|tip| *tip = tip.filter(|tip| is_above(state, *lane, *tip)));
        }
        mind.acks.retain(|_, acks| acks.iter().any(Option::is_some));
        let lanes: BTreeSet<LaneId> = mind.acks.keys().chain(mind.learned.keys()).copied().collect();
        for lane in lanes {
            let current = lane.epoch == header.epoch || lane.epoch.next() == header.epoch;
            let Some(committee) = known.committees.get(&lane.epoch).filter(|_| current) else { continue };
            let acks = mind.acks.get(&lane).into_iter().flatten().enumerate();
            let stake = |at: usize| committee.stake(ValidatorIndex(at as u16));
            let reached = acks.filter_map(|(at, tip)| Some(((*tip)?, stake(at)))).collect();
            let certified = committee.reached(reached).1.max(mind.learned.get(&lane).copied());
            let Some(tip) = certified.filter(|tip| node.disk.holds(lane, *tip)) else { continue };
            let waiting = mind.waiting.entry(lane).or_default();
            if is_above(state, lane, tip) && waiting.last().is_none_or(|(last, _)| last.sequence < tip.sequence) {
                waiting.push((tip, mind.passed));
            }
        }
        let passed = mind.passed;
        let due = mind.waiting.iter().filter_map(|(lane, waiting)| {
            let due = waiting.iter().rev().find(|(_, since)| passed >= since + heights)?;
            Some((*lane, due.0.sequence))
        });
        mind.due.insert(header.height, due.collect());
        mind.due.retain(|at, _| at.plus(REMEMBERED) >= header.height);
        mind.waiting.retain(|lane, waiting| !waiting.is_empty() && lane.epoch.next() >= header.epoch);
        mind.acks.retain(|lane, _| lane.epoch.next() >= header.epoch);
        mind.counters.retain(|epoch, _| epoch.next() >= header.epoch);
        mind.learned.retain(|lane, _| lane.epoch.next() >= header.epoch);
    }

    /// Whether a decided block moved what was due before it at every honest member.
    fn check(&mut self, height: Height, observed: &Observed<'_>, known: &Known) -> Held {
        let (Some(cut), Some(before)) = (self.cuts.get(&height), height.previous()) else { return Ok(()) };
        let Some(committee) = known.committees.get(&cut.epoch) else { return Ok(()) };
        if self.nodes.is_empty() {
            let operators = observed.nodes.iter().enumerate().rev();
            let operators = operators.filter_map(|(at, node)| Some((node.config.signer.as_ref()?.address(), at)));
            self.nodes = operators.collect();
        }
        let mut due: Option<BTreeMap<LaneId, Sequence>> = None;
        for member in committee.members().iter().filter(|member| known.is_honest(&member.address)) {
            let node = self.nodes.get(&member.address);
            let Some(own) = node.and_then(|node| self.minds.get(*node)?.due.get(&before)) else { return Ok(()) };
            due = Some(match due {
                None => own.clone(),
                Some(all) => {
                    let both = |(lane, at): (LaneId, Sequence)| Some((lane, at.min(*own.get(&lane)?)));
                    all.into_iter().filter_map(both).collect()
                }
            });
        }
        for (lane, sequence) in due.unwrap_or_default() {
            if self.closed.contains(&lane) || lane.epoch.next() < cut.epoch {
                continue;
            }
            self.checked += 1;
            let moved = cut.to.get(&lane);
            let enough = moved.is_some_and(|to| cut.full || *to >= sequence);
            holds!(
                enough,
                "inclusion",
                "height {height} leaves out {sequence} of lane {lane}, which was due at every honest node; it moves the lane \
                 to {moved:?} and is {}",
                if cut.full { "full" } else { "not full" }
            );
        }
        Ok(())
    }
}
