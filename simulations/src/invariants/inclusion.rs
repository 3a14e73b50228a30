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
    Ack, AckCounter, AckEntries, Address, Epoch, Height, LaneId, Message, Params, Sequence, Signed, Stake, Tip,
    ValidatorIndex, VerifiedMessage, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Vector {
    counter: AckCounter,
    tips: BTreeMap<ValidatorIndex, Tip>,
}

/// What one node knows.
#[derive(Default)]
struct Mind {
    acks: BTreeMap<(Epoch, Address), Vector>,
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
    minds: BTreeMap<NodeIndex, Mind>,
    cuts: BTreeMap<Height, Cut>,
    closed: BTreeSet<LaneId>,
    checked: u64,
}

/// Committees larger than this are not followed: it is quadratic in them, at every node.
const MAX_MEMBERS: usize = 40;

/// Heights whose dues are remembered, for nodes that decide late.
const REMEMBERED: u64 = 16;

fn follows(known: &Known) -> bool {
    known.committees.values().all(|committee| committee.len() <= MAX_MEMBERS)
}

impl Inclusion {
    pub(super) fn new(params: Params) -> Self {
        Self { params, minds: BTreeMap::new(), cuts: BTreeMap::new(), closed: BTreeSet::new(), checked: 0 }
    }

    pub(super) fn checked(&self) -> u64 {
        self.checked
    }

    pub(super) fn crashed(&mut self, node: NodeIndex) {
        self.minds.remove(&node);
    }

    pub(super) fn heard(&mut self, node: NodeIndex, message: &VerifiedMessage, known: &Known) {
        if !follows(known) {
            return;
        }
        match message {
            VerifiedMessage::Ack(ack, entries) => self.learn(node, ack.signed(), entries, known),
            VerifiedMessage::Secured(certificate) => {
                let checked = known.committees.get(&certificate.lane.epoch).is_some_and(|committee| {
                    certificate.verify(&known.domain, committee, &squad_types::KeyedHashVerifier).is_ok()
                });
                if let Some(tip) = certificate.tip().filter(|_| checked) {
                    let learned = self.minds.entry(node).or_default().learned.entry(certificate.lane).or_insert(tip);
                    *learned = (*learned).max(tip);
                }
            }
            _ => {}
        }
    }

    fn learn(&mut self, node: NodeIndex, ack: &Signed<Ack>, entries: &AckEntries, known: &Known) {
        if !known.is_honest(&ack.signer) {
            return;
        }
        let mind = self.minds.entry(node).or_default();
        let vector = mind.acks.entry((ack.statement.epoch, ack.signer)).or_default();
        let entries = match entries {
            AckEntries::Full(entries) => entries,
            AckEntries::Changed { since, entries } if *since == vector.counter => entries,
            AckEntries::Changed { .. } => return,
        };
        if ack.statement.counter < vector.counter {
            return;
        }
        vector.counter = ack.statement.counter;
        for entry in entries {
            if let Some(tip) = entry.tip {
                let slot = vector.tips.entry(entry.lane).or_insert(tip);
                *slot = (*slot).max(tip);
            }
        }
    }

    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Held {
        if !follows(known) {
            return Ok(());
        }
        match observed.output {
            Output::LaneClosed(lane) => {
                self.closed.insert(*lane);
            }
            Output::Send { message, .. } if known.is_honest(&observed.operator) => match message.as_ref() {
                Message::Vote(vote) if vote.signer == observed.operator && vote.statement.kind == VoteKind::Prevote => {
                    self.minds.entry(observed.node).or_default().voted.insert(vote.statement.height);
                }
                Message::Ack(message) if message.ack.signer == observed.operator => {
                    self.learn(observed.node, &message.ack, &message.entries, known);
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
        let mind = self.minds.entry(at).or_default();
        let is_above = |lane: LaneId, tip: Tip| state.tip(lane).is_none_or(|ordered| tip.sequence > ordered.sequence);
        for (lane, waiting) in &mut mind.waiting {
            waiting.retain(|(tip, _)| is_above(*lane, *tip));
        }
        if !decision.caught_up && mind.voted.contains(&header.height) {
            mind.passed += 1;
        }
        mind.voted.retain(|height| *height > header.height);
        for epoch in [header.epoch.previous(), Some(header.epoch)].into_iter().flatten() {
            let Some(committee) = known.committees.get(&epoch) else { continue };
            for author in 0..committee.len() as u16 {
                let lane = LaneId { epoch, author: ValidatorIndex(author) };
                let reached: Vec<(Tip, Stake)> = (committee.members().iter())
                    .filter_map(|member| {
                        let tip = mind.acks.get(&(epoch, member.address))?.tips.get(&lane.author)?;
                        Some((*tip, member.stake))
                    })
                    .collect();
                let certified = committee.reached(reached).1.max(mind.learned.get(&lane).copied());
                let Some(tip) = certified.filter(|tip| node.disk.holds(lane, *tip)) else { continue };
                let waiting = mind.waiting.entry(lane).or_default();
                if is_above(lane, tip) && waiting.last().is_none_or(|(last, _)| last.sequence < tip.sequence) {
                    waiting.push((tip, mind.passed));
                }
            }
        }
        // Known at one height, left out by the next, then K more.
        let heights = self.params.inclusion_heights + 1;
        let passed = mind.passed;
        let due = mind.waiting.iter().filter_map(|(lane, waiting)| {
            let due = waiting.iter().rev().find(|(_, since)| passed >= since + heights)?;
            Some((*lane, due.0.sequence))
        });
        mind.due.insert(header.height, due.collect());
        mind.due.retain(|at, _| at.plus(REMEMBERED) >= header.height);
        mind.waiting.retain(|lane, waiting| !waiting.is_empty() && lane.epoch.next() >= header.epoch);
        mind.acks.retain(|(epoch, _), _| epoch.next() >= header.epoch);
        mind.learned.retain(|lane, _| lane.epoch.next() >= header.epoch);
    }

    /// Whether a decided block moved what was due before it at every honest member.
    fn check(&mut self, height: Height, observed: &Observed<'_>, known: &Known) -> Held {
        let (Some(cut), Some(before)) = (self.cuts.get(&height), height.previous()) else { return Ok(()) };
        let Some(committee) = known.committees.get(&cut.epoch) else { return Ok(()) };
        let mut due: Option<BTreeMap<LaneId, Sequence>> = None;
        for member in committee.members().iter().filter(|member| known.is_honest(&member.address)) {
            let node = observed
                .nodes
                .iter()
                .position(|node| node.config.signer.as_ref().is_some_and(|signer| signer.address() == member.address));
            let Some(own) = node.and_then(|node| self.minds.get(&node)?.due.get(&before)) else { return Ok(()) };
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
