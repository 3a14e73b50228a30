//! Named: whoever contradicts itself before one honest node, where the node must notice it, is accused.
//!
//! Noticed must be: two votes of one slot and two proposals of one round, of which the first was heard while its height was under
//! way, the second then or in the sixteen heights after; two batches at one place of a lane, if the first is stored and not ordered yet when the second comes; two whole acks, one after the other, with different
//! batches at one place of a lane, if the later one's is stored and not ordered yet. Answers count as well as messages.

use super::{Held, Known, holds};
use crate::network::NodeIndex;
use crate::node::Node;
use squad_sequencer::VerifiedResponse;
use squad_types::ack::vector_root;
use squad_types::{
    Ack, AckCounter, AckEntries, AckEntry, Address, Epoch, HeaderHash, Height, LaneId, MerkleRoot, Proposal, Round,
    Sequence, Signed, Tip, ValidatorIndex, VerifiedBatch, VerifiedMessage, VerifiedProposal, Vote, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of a height not begun whose statements a node keeps; of later ones nothing is promised.
const LAST_ROUND: Round = Round(3);

/// Heights for which what was said at one is held against what comes later.
const HEIGHTS: u64 = 16;

/// What the members of a committee voted in a slot, by their place in it.
struct Cast {
    epoch: Epoch,
    blocks: Vec<Option<Option<HeaderHash>>>,
}

/// The newest whole ack that a node heard of an operator in an epoch.
struct Vector {
    counter: AckCounter,
    root: MerkleRoot,
    tips: Vec<Option<Tip>>,
}

impl Vector {
    /// Whether its signer signed these tips: if not, nobody took it in.
    fn holds(&self) -> bool {
        vector_root(&self.tips) == self.root
    }
}

/// What one node heard in this life.
#[derive(Default)]
struct Mind {
    /// Of the last heights.
    votes: BTreeMap<(Height, Round, VoteKind), Cast>,
    proposals: BTreeMap<(Height, Address, Round), Proposal>,
    batches: BTreeMap<(Epoch, Address, Sequence), Tip>,
    /// By place in the committee.
    acks: BTreeMap<Epoch, Vec<Option<Vector>>>,
}

#[derive(Default)]
pub(super) struct EquivocatorsNamed {
    /// By node.
    minds: Vec<Mind>,
    /// Who contradicted itself, before whom, and how.
    contradicted: BTreeMap<Address, (NodeIndex, String)>,
    /// Nodes that died: their part of what was heard is forgotten, and so is what only they could prove.
    died: BTreeSet<NodeIndex>,
    found: [u64; 4],
}

impl EquivocatorsNamed {
    pub(super) fn heard(&mut self, at: NodeIndex, node: &Node, message: &VerifiedMessage, known: &Known) {
        match message {
            VerifiedMessage::Vote(vote) => self.vote(at, node, vote.signed(), known),
            VerifiedMessage::Proposal(proposal) => self.proposal(at, node, proposal),
            VerifiedMessage::Batch(batch) => self.batch(at, node, batch, known),
            VerifiedMessage::Ack(ack, entries) => self.ack(at, node, ack.signed(), entries, known),
            _ => {}
        }
    }

    pub(super) fn answered(&mut self, at: NodeIndex, node: &Node, answer: &VerifiedResponse, known: &Known) {
        match answer {
            VerifiedResponse::Proposal(Some(proposal)) => self.proposal(at, node, proposal),
            VerifiedResponse::Ack(Some((ack, entries))) => self.ack(at, node, ack.signed(), entries, known),
            VerifiedResponse::Batches(batches) => batches.iter().for_each(|batch| self.batch(at, node, batch, known)),
            _ => {}
        }
    }

    fn mind(&mut self, node: NodeIndex) -> &mut Mind {
        if self.minds.len() <= node {
            self.minds.resize_with(node + 1, Mind::default);
        }
        &mut self.minds[node]
    }

    fn vote(&mut self, at: NodeIndex, node: &Node, vote: &Signed<Vote>, known: &Known) {
        let Vote { height, round, kind, block } = vote.statement;
        let Some(next) = next_height(node, height, round) else { return };
        let Some(epoch) = node.sequencer.as_ref().map(|sequencer| sequencer.ledger().epoch_of_next()) else { return };
        let votes = &mut self.mind(at).votes;
        while votes.first_key_value().is_some_and(|((known, ..), _)| known.plus(HEIGHTS) < next) {
            votes.pop_first();
        }
        if height == next && !votes.contains_key(&(height, round, kind)) {
            let Some(committee) = known.committees.get(&epoch) else { return };
            votes.insert((height, round, kind), Cast { epoch, blocks: vec![None; committee.len()] });
        }
        let Some(cast) = votes.get_mut(&(height, round, kind)) else { return };
        let index = known.committees.get(&cast.epoch).and_then(|committee| committee.index_of(&vote.signer));
        let Some(first) = index.and_then(|index| cast.blocks.get_mut(index.position())) else { return };
        if height == next {
            first.get_or_insert(block);
        }
        if first.is_some_and(|first| first != block) {
            self.contradiction(0, vote.signer, at, || format!("in votes at height {height}, {round:?}, {kind:?}"));
        }
    }

    fn proposal(&mut self, at: NodeIndex, node: &Node, proposal: &VerifiedProposal) {
        let (statement, signer) = (proposal.proposal().statement, proposal.proposal().signer);
        let (height, round) = (statement.height, statement.round);
        let Some(next) = next_height(node, height, round) else { return };
        let proposals = &mut self.mind(at).proposals;
        proposals.retain(|(known, _, _), _| known.plus(HEIGHTS) >= next);
        if height == next {
            proposals.entry((height, signer, round)).or_insert(statement);
        }
        if proposals.get(&(height, signer, round)).is_some_and(|first| *first != statement) {
            self.contradiction(1, signer, at, || format!("in proposals at height {height}, round {round}"));
        }
    }

    fn batch(&mut self, at: NodeIndex, node: &Node, batch: &VerifiedBatch, known: &Known) {
        let (epoch, author) = (batch.header().epoch, batch.signed_header().signer);
        let Some(lane) = lane_of(known, epoch, &author) else { return };
        let batches = &mut self.mind(at).batches;
        let first = *batches.entry((epoch, author, batch.header().sequence)).or_insert_with(|| batch.tip());
        if first != batch.tip() && is_stored(node, lane, first) {
            self.contradiction(2, author, at, || format!("in batches at {first:?} of lane {lane}"));
        }
    }

    fn ack(&mut self, at: NodeIndex, node: &Node, ack: &Signed<Ack>, entries: &AckEntries, known: &Known) {
        let (epoch, counter) = (ack.statement.epoch, ack.statement.counter);
        let is_open = node.sequencer.as_ref().is_some_and(|node| node.ledger().state().tips_of(epoch).is_some());
        let Some(members) = known.committees.get(&epoch).filter(|_| is_open) else { return };
        let Some(signer) = members.index_of(&ack.signer) else { return };
        let tips = match entries {
            AckEntries::Full(entries) => whole(entries, members.len()),
            // What it stands for is not followed here; it may make an earlier whole one stale.
            AckEntries::Changed { .. } => Some(Vec::new()),
        };
        let Some(tips) = tips else { return };
        let acks = &mut self.mind(at).acks;
        acks.retain(|known, _| known.next() >= epoch);
        let after = Vector { counter, root: ack.statement.root, tips };
        let newest = acks.entry(epoch).or_insert_with(|| members.members().iter().map(|_| None).collect());
        let Some(newest) = newest.get_mut(signer.position()) else { return };
        if newest.as_ref().is_some_and(|newest| newest.counter >= counter) {
            return;
        }
        let Some(before) = newest.replace(after) else { return };
        let Some(after) = newest else { return };
        let pairs = before.tips.iter().zip(&after.tips).enumerate();
        let two = pairs.filter_map(|(author, (one, other))| Some((ValidatorIndex(author as u16), (*one)?, (*other)?)));
        let mut differ = two.filter(|(_, one, other)| one.sequence == other.sequence && one.batch != other.batch);
        let found = differ.find(|(author, _, other)| is_stored(node, LaneId { epoch, author: *author }, *other));
        let found = found.filter(|_| before.holds() && after.holds());
        if let Some((author, one, _)) = found {
            self.contradiction(3, ack.signer, at, || format!("in acks at {one:?} of the lane of {author}"));
        }
    }

    fn contradiction(&mut self, kind: usize, operator: Address, at: NodeIndex, what: impl FnOnce() -> String) {
        self.found[kind] += 1;
        self.contradicted.entry(operator).or_insert_with(|| (at, what()));
    }

    pub(super) fn crashed(&mut self, node: NodeIndex) {
        *self.mind(node) = Mind::default();
        self.died.insert(node);
    }

    /// Contradictions that some honest node had to notice: in votes, proposals, batches and acks.
    pub(super) fn found(&self) -> [u64; 4] {
        self.found
    }

    pub(super) fn check(&self, known: &Known, accused: &BTreeMap<Address, usize>) -> Held {
        for (operator, (node, what)) in &self.contradicted {
            // What a Byzantine node heard it may keep to itself; a dead one may not have written it down.
            let witness = known.committees.values().any(|committee| committee.contains(operator));
            let excused = self.died.contains(node) || !witness;
            holds!(
                excused || accused.contains_key(operator),
                "named",
                "node {node} heard {operator} contradict itself {what}, and nobody accuses it"
            );
        }
        Ok(())
    }
}

/// The vector that these entries are, if they are one.
fn whole(entries: &[AckEntry], members: usize) -> Option<Vec<Option<Tip>>> {
    let in_order = entries.iter().enumerate().all(|(at, entry)| entry.lane.position() == at);
    (in_order && entries.len() == members).then(|| entries.iter().map(|entry| entry.tip).collect())
}

/// The height that a node agrees on, if a statement of this height and round is of it, or of one shortly before, and is looked at.
/// Who follows decided blocks looks at none.
fn next_height(node: &Node, height: Height, round: Round) -> Option<Height> {
    let sequencer = node.sequencer.as_ref().filter(|_| !node.behind && node.votes)?;
    let next = sequencer.ledger().height().next();
    (height <= next && height.plus(HEIGHTS) >= next && round <= LAST_ROUND).then_some(next)
}

/// Whether a node has a batch that is not ordered yet, of a lane in force.
fn is_stored(node: &Node, lane: LaneId, tip: Tip) -> bool {
    let Some(state) = node.sequencer.as_ref().map(|sequencer| sequencer.ledger().state()) else { return false };
    let open = state.tips_of(lane.epoch).is_some();
    open && state.tip(lane).is_none_or(|ordered| tip.sequence > ordered.sequence) && node.disk.holds(lane, tip)
}

fn lane_of(known: &Known, epoch: Epoch, author: &Address) -> Option<LaneId> {
    Some(LaneId { epoch, author: known.committees.get(&epoch)?.index_of(author)? })
}
