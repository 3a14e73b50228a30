//! What a page needs to replay a run, written down as it goes: messages, what each node did, what became of batches.
//!
//! It is bounded. Of each kind of message at most a number is kept, and then every second, fourth, … by lot; what nodes do
//! is kept until it is too much. What was left out is counted, and the page says so.

mod messages;
mod record;

pub use messages::{Counted, Messages};
pub use record::{Batches, Block, Byzantine, Events, Fault, NodeInfo, Place, Replay, Transactions, VERSION};

use crate::cluster::{Cluster, START};
use crate::network::NodeIndex;
use crate::packet::{Body, Parcel};
use crate::queue::Instant;
use squad_sequencer::{Decision, Notice, Output};
use squad_types::{
    Address, BatchCertificate, BatchHeader, Height, Message, NamespaceId, Round, TxId, VerifiedBatch, VerifiedMessage,
    VoteKind,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a node did, in the record's order of fields: `node`, then what stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// It runs.
    Up,
    /// It died.
    Down,
    /// Height, round.
    Proposed,
    /// Height, round, 1 for the block and 0 for nil.
    Prevoted,
    /// Height, round, 1 for the block (which it locks) and 0 for nil.
    Precommitted,
    /// Height, round, 1 if it followed after the fact.
    Decided,
    /// Batch, transactions.
    Batched,
    /// Batch.
    Secured,
    /// Whom.
    Accused,
    /// The lane's author, epoch.
    LaneClosed,
    /// Place of the reason among the record's words.
    Refused,
    /// Height, round.
    Round,
    /// Own height, target.
    CatchingUp,
    /// Height.
    CaughtUp,
    /// Nothing more.
    MaySign,
    /// First height it votes in, first epoch it has a lane in.
    StateLost,
    /// Transactions.
    Rebatched,
    /// Author's place in the committee, from, to.
    Fetching,
    /// Height, round, place of the reason among the record's words.
    NotVotedFor,
    /// Place of the reason among the record's words.
    KeyInUse,
}

impl What {
    /// Whether it happens all the time, so that it is left out when there is too much.
    fn is_routine(self) -> bool {
        matches!(
            self,
            Self::Proposed
                | Self::Prevoted
                | Self::Precommitted
                | Self::Batched
                | Self::Secured
                | Self::Refused
                | Self::Round
                | Self::Fetching
        )
    }
}

/// Routine events that are kept.
const MAX_ROUTINE: usize = 200_000;

/// Other events that are kept.
const MAX_RARE: usize = 100_000;

/// Batches whose fate is kept.
const MAX_BATCHES: usize = 60_000;

/// Something a node did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) node: NodeIndex,
    pub(crate) what: What,
    pub(crate) figures: [u64; 3],
}

/// A batch and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct BatchFate {
    pub(crate) node: NodeIndex,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) count: u64,
    pub(crate) batched: Option<u64>,
    pub(crate) secured: Option<u64>,
    pub(crate) signers: Vec<NodeIndex>,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The height.
    pub height: Height,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its position in the namespace's part of the block.
    pub position: u32,
}

/// The highest slots in which a node was seen to propose, prevote and precommit, so that what it repeats is told once. One
/// each: a proposer's vote may leave before its proposal.
type Slots = [Option<(Height, Round)>; 3];

/// A record in the making.
pub struct Recorder {
    window: Range<u64>,
    operators: BTreeMap<Address, NodeIndex>,
    pub(crate) messages: Messages,
    pub(crate) events: Vec<Event>,
    kept: [usize; 2],
    pub(crate) left_out: u64,
    pub(crate) batches: Vec<BatchFate>,
    batch_places: BTreeMap<(NodeIndex, u64, u64), u32>,
    pub(crate) batch_of: BTreeMap<TxId, u32>,
    pub(crate) placed: BTreeMap<TxId, Placed>,
    last_placed: Option<Height>,
    slots: Vec<Slots>,
    noticed: Vec<usize>,
    pub(crate) words: Vec<String>,
}

impl Recorder {
    /// Records a cluster that has not started. Messages and what happens all the time are kept from this stretch of the
    /// run only, in microseconds since its start.
    pub fn new(cluster: &Cluster, window: Range<u64>) -> Self {
        let operators = (0..cluster.operator_nodes()).rev().map(|node| (cluster.address(node), node)).collect();
        let nodes = cluster.nodes.len();
        Self {
            window,
            operators,
            messages: Messages::new(),
            events: Vec::new(),
            kept: [0; 2],
            left_out: 0,
            batches: Vec::new(),
            batch_places: BTreeMap::new(),
            batch_of: BTreeMap::new(),
            placed: BTreeMap::new(),
            last_placed: None,
            slots: vec![[None; 3]; nodes],
            noticed: vec![0; nodes],
            words: Vec::new(),
        }
    }

    /// The stretch of the run that is kept in full, in microseconds since its start.
    pub fn window(&self) -> Range<u64> {
        self.window.clone()
    }

    /// Where a transaction was ordered.
    pub fn placed(&self, id: &TxId) -> Option<Placed> {
        self.placed.get(id).copied()
    }

    fn since_start(at: Instant) -> u64 {
        at.0.saturating_sub(START.0)
    }

    fn event(&mut self, at: Instant, node: NodeIndex, what: What, figures: [u64; 3]) {
        let at = Self::since_start(at);
        let routine = what.is_routine();
        if routine && !self.window.contains(&at) {
            return;
        }
        let (kept, most) = (&mut self.kept[usize::from(routine)], if routine { MAX_ROUTINE } else { MAX_RARE });
        if *kept == most {
            self.left_out += 1;
            return;
        }
        *kept += 1;
        self.events.push(Event { at, node, what, figures });
    }

    /// The place of a text among the record's words.
    fn word(&mut self, text: &str) -> u64 {
        let known = self.words.iter().position(|word| word == text);
        let place = known.unwrap_or_else(|| {
            self.words.push(text.to_owned());
            self.words.len() - 1
        });
        place as u64
    }

    pub(crate) fn life(&mut self, at: Instant, node: NodeIndex, up: bool) {
        self.slots[node] = Slots::default();
        self.event(at, node, if up { What::Up } else { What::Down }, [0; 3]);
    }

    pub(crate) fn send(&mut self, at: Instant, parcel: &Parcel, arrives: Option<Instant>) {
        let sent = Self::since_start(at);
        if !self.window.contains(&sent) {
            return;
        }
        let about = match &parcel.body {
            Body::Message(packet) => packet.verified.as_ref().map_or(0, |message| self.about(message)),
            Body::Question(_) | Body::Answer(_) => 0,
        };
        let took = arrives.map(|arrives| arrives.0.saturating_sub(at.0) as u32);
        self.messages.push(sent, took, (parcel.from, parcel.to), parcel.body.kind(), about);
    }

    /// A height, or a batch's place plus one; zero for neither.
    fn about(&mut self, message: &VerifiedMessage) -> u64 {
        match message {
            VerifiedMessage::Proposal(proposal) => proposal.proposal().statement.height.0,
            VerifiedMessage::Vote(vote) => vote.statement.height.0,
            VerifiedMessage::Votes(votes) => votes.vote.height.0,
            VerifiedMessage::Commit(commit) => commit.height.0,
            VerifiedMessage::Batch(batch) => self.batch(batch.header()).map_or(0, |place| u64::from(place) + 1),
            VerifiedMessage::Secured(certificate) => {
                let header = certificate.headers.first().and_then(|header| self.batch(&header.statement));
                header.map_or(0, |place| u64::from(place) + 1)
            }
            _ => 0,
        }
    }

    /// A batch's place in the record.
    fn batch(&mut self, header: &BatchHeader) -> Option<u32> {
        let node = *self.operators.get(&header.operator)?;
        let key = (node, header.epoch.0, header.sequence.0);
        if let Some(place) = self.batch_places.get(&key) {
            return Some(*place);
        }
        if self.batches.len() == MAX_BATCHES {
            self.left_out += 1;
            return None;
        }
        let place = self.batches.len() as u32;
        let (epoch, sequence, count) = (key.1, key.2, header.count.into());
        self.batches.push(BatchFate {
            node,
            epoch,
            sequence,
            count,
            batched: None,
            secured: None,
            signers: Vec::new(),
        });
        self.batch_places.insert(key, place);
        Some(place)
    }

    pub(crate) fn output(&mut self, at: Instant, node: NodeIndex, output: &Output) {
        match output {
            Output::Send { message, .. } => self.said(at, node, message),
            Output::Batched { batch, .. } => self.batched(at, node, batch),
            Output::Secured { batch, certificate } => self.secured(at, node, batch, certificate),
            Output::Ordered(decision) => self.ordered(at, node, decision),
            Output::Accused { operator, .. } => {
                let whom = self.operators.get(operator).map_or(0, |node| *node as u64);
                self.event(at, node, What::Accused, [whom, 0, 0]);
            }
            Output::LaneClosed(lane) => {
                let (author, epoch) = (lane.author.position() as u64, lane.epoch.0);
                self.event(at, node, What::LaneClosed, [author, epoch, 0]);
            }
            Output::Refused { rejection, .. } | Output::Dropped { rejection, .. } => {
                let why = self.word(rejection.code());
                self.event(at, node, What::Refused, [why, 0, 0]);
            }
            _ => {}
        }
    }

    fn said(&mut self, at: Instant, node: NodeIndex, message: &Message) {
        let (slot, what, last) = match message {
            Message::Proposal(message) => {
                let proposal = &message.proposal.statement;
                ((proposal.height, proposal.round), What::Proposed, 0)
            }
            Message::Vote(vote) => {
                let (vote, block) = (&vote.statement, u64::from(vote.statement.block.is_some()));
                let what = match vote.kind {
                    VoteKind::Prevote => What::Prevoted,
                    VoteKind::Precommit => What::Precommitted,
                };
                ((vote.height, vote.round), what, block)
            }
            _ => return,
        };
        let before = &mut self.slots[node][what as usize - What::Proposed as usize];
        if before.is_some_and(|before| before >= slot) {
            return;
        }
        *before = Some(slot);
        self.event(at, node, what, [slot.0.0, slot.1.0.into(), last]);
    }

    fn batched(&mut self, at: Instant, node: NodeIndex, batch: &VerifiedBatch) {
        let Some(place) = self.batch(batch.header()) else { return };
        self.batches[place as usize].batched.get_or_insert(Self::since_start(at));
        for tx in batch.payload().transactions() {
            self.batch_of.entry(tx.id).or_insert(place);
        }
        self.event(at, node, What::Batched, [place.into(), batch.header().count.into(), 0]);
    }

    fn secured(&mut self, at: Instant, node: NodeIndex, batch: &VerifiedBatch, certificate: &BatchCertificate) {
        let Some(place) = self.batch(batch.header()) else { return };
        let fate = &mut self.batches[place as usize];
        if fate.secured.is_none() {
            fate.secured = Some(Self::since_start(at));
            let signers = certificate.acks.iter().filter_map(|proof| self.operators.get(&proof.ack.signer));
            fate.signers = signers.copied().collect();
        }
        self.event(at, node, What::Secured, [place.into(), 0, 0]);
    }

    fn ordered(&mut self, at: Instant, node: NodeIndex, decision: &Decision) {
        let height = decision.block.block.header().height;
        let round = decision.block.certificate.round.0;
        self.event(at, node, What::Decided, [height.0, round.into(), decision.caught_up.into()]);
        // A height is decided somewhere before the next one is.
        if self.last_placed.is_some_and(|last| last >= height) {
            return;
        }
        self.last_placed = Some(height);
        for part in &decision.execution.namespaces {
            for (position, tx) in (0..).zip(&part.transactions) {
                self.placed.insert(tx.id, Placed { height, namespace: part.leaf.namespace, position });
            }
        }
    }

    pub(crate) fn notices(&mut self, at: Instant, node: NodeIndex, all: &[Notice]) {
        let before = std::mem::replace(&mut self.noticed[node], all.len());
        for notice in all.iter().skip(before) {
            let (what, figures) = match notice {
                Notice::SigningAllowed => (What::MaySign, [0; 3]),
                Notice::StateLost { votes_from, lane_from } => (What::StateLost, [votes_from.0, lane_from.0, 0]),
                Notice::CatchingUp { height, target } => (What::CatchingUp, [height.0, target.0, 0]),
                Notice::CaughtUp(height) => (What::CaughtUp, [height.0, 0, 0]),
                Notice::Round { height, round } => (What::Round, [height.0, round.0.into(), 0]),
                Notice::Rebatched { count } => (What::Rebatched, [*count as u64, 0, 0]),
                Notice::Fetching { lane, from, to } => {
                    (What::Fetching, [lane.author.position() as u64, from.0, to.sequence.0])
                }
                Notice::Refusing { height, round, why } => {
                    let why = self.word(why);
                    (What::NotVotedFor, [height.0, round.0.into(), why])
                }
                Notice::KeyInUse(reason) => (What::KeyInUse, [self.word(reason), 0, 0]),
            };
            self.event(at, node, what, figures);
        }
    }
}
