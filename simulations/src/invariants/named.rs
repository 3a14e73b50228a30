//! Named: whoever contradicts itself before one honest node, in a slot that the node watches, is accused.

use super::{Held, Known, holds};
use crate::network::NodeIndex;
use crate::node::Node;
use squad_types::{Address, HeaderHash, Height, Round, VerifiedMessage, VoteKind};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of a height not begun whose statements a node keeps; of later ones nothing is promised.
const LAST_ROUND: Round = Round(3);

type Slot = (Address, Height, Round, VoteKind);

#[derive(Default)]
pub(super) struct EquivocatorsNamed {
    heard: BTreeMap<NodeIndex, BTreeMap<Slot, Option<HeaderHash>>>,
    contradicted: BTreeMap<Address, (NodeIndex, Slot)>,
    /// Nodes that died: their part of what was heard is forgotten, and so is what only they could prove.
    died: BTreeSet<NodeIndex>,
}

impl EquivocatorsNamed {
    pub(super) fn heard(&mut self, at: NodeIndex, node: &Node, message: &VerifiedMessage) {
        let (VerifiedMessage::Vote(vote), Some(sequencer)) = (message, &node.sequencer) else { return };
        // Who follows decided blocks does not count votes.
        if node.behind || !node.votes {
            return;
        }
        let (statement, height) = (vote.statement, sequencer.ledger().height());
        // Of the height under way; others may be dropped with a reason.
        if statement.height != height.next() || statement.round > LAST_ROUND {
            return;
        }
        let slot = (vote.signer, statement.height, statement.round, statement.kind);
        let heard = self.heard.entry(at).or_default();
        if heard.first_key_value().is_some_and(|((_, at, _, _), _)| at.plus(16) < height) {
            heard.retain(|(_, at, _, _), _| at.plus(4) >= height);
        }
        let first = *heard.entry(slot).or_insert(statement.block);
        if first != statement.block {
            self.contradicted.entry(vote.signer).or_insert((at, slot));
        }
    }

    pub(super) fn crashed(&mut self, node: NodeIndex) {
        self.heard.remove(&node);
        self.died.insert(node);
    }

    pub(super) fn check(&self, known: &Known, accused: &BTreeMap<Address, usize>) -> Held {
        for (operator, (node, slot)) in &self.contradicted {
            // What a Byzantine node heard it may keep to itself; a dead one may not have written it down.
            let witness = known.committees.values().any(|committee| committee.contains(operator));
            let excused = self.died.contains(node) || !witness;
            holds!(
                excused || accused.contains_key(operator),
                "named",
                "node {node} heard {operator} contradict itself at {slot:?}, and nobody accuses it"
            );
        }
        Ok(())
    }
}
