//! Brings everything against operators that looks like a contradiction, from what they signed in a run.

use crate::common::Draw;
use squad_simulations::witness::Witness;
use squad_types::*;
use std::collections::BTreeMap;

/// Two statements that are brought against who signed them.
pub(crate) struct Charge {
    pub(crate) evidence: Evidence,
    /// Whether they contradict one another: two statements where one is allowed.
    pub(crate) holds: bool,
}

impl Charge {
    /// Against whom.
    pub(crate) fn against(&self) -> Address {
        match &self.evidence {
            Evidence::Votes(pair) => pair.first.signer,
            Evidence::Proposals(pair) => pair.first.signer,
            Evidence::Batches(pair) => pair.first.signer,
            Evidence::Acks(pair) => pair.lower.ack.signer,
        }
    }
}

/// Lanes in which a signer's acks are gone through: all of those with a fork, and of the others no more than this.
const LANES: u64 = 4;

/// Statements of one operator at one height of which any two are compared.
const ALL_PAIRS: usize = 32;

/// Where there are more, each is compared with so many that stand from it on.
const NEAR: usize = 6;

pub(crate) struct Prosecutor<'a> {
    said: &'a Witness,
    headers: BTreeMap<BatchId, &'a Signed<BatchHeader>>,
    draw: Draw,
    charges: Vec<Charge>,
}

impl<'a> Prosecutor<'a> {
    pub(crate) fn new(said: &'a Witness, draw: Draw) -> Self {
        let headers = said.headers.values().flatten().map(|header| (header.statement.id(), header)).collect();
        Self { said, headers, draw, charges: Vec::new() }
    }

    pub(crate) fn charges(mut self) -> Vec<Charge> {
        self.votes();
        self.proposals();
        self.batches();
        self.acks();
        self.charges
    }

    /// Any two votes of a height: in one round and in two, of one kind and of both, the same one twice; and of neighbouring heights.
    fn votes(&mut self) {
        for ((signer, height), votes) in &self.said.votes {
            let next = self.said.votes.get(&(*signer, height.next())).and_then(|votes| votes.first());
            let mut votes: Vec<&Signed<Vote>> = votes.iter().collect();
            votes.sort_by_key(|vote| (vote.statement.round, vote.statement.kind == VoteKind::Precommit));
            for (first, second) in pairs(&votes).chain(votes.first().copied().zip(next)) {
                let (one, other) = (&first.statement, &second.statement);
                let one_slot = (one.kind, one.height, one.round) == (other.kind, other.height, other.round);
                let (first, second) = self.either_way(first, second);
                self.bring(Evidence::Votes(VotePair { first, second }), one_slot && one.block != other.block);
            }
        }
    }

    /// Any two proposals of a height, and of neighbouring ones.
    fn proposals(&mut self) {
        for ((signer, height), proposals) in &self.said.proposals {
            let next = self.said.proposals.get(&(*signer, height.next())).and_then(|proposals| proposals.first());
            let mut proposals: Vec<&Signed<Proposal>> = proposals.iter().collect();
            proposals.sort_by_key(|proposal| proposal.statement.round);
            for (first, second) in pairs(&proposals).chain(proposals.first().copied().zip(next)) {
                let (one, other) = (&first.statement, &second.statement);
                let one_slot = (one.height, one.round) == (other.height, other.round);
                let holds = one_slot && (one.block, one.valid_round) != (other.block, other.valid_round);
                let (first, second) = self.either_way(first, second);
                self.bring(Evidence::Proposals(ProposalPair { first, second }), holds);
            }
        }
    }

    /// Any two headers at one place; and with the next one, and with the one at this place an epoch later.
    fn batches(&mut self) {
        for ((author, epoch, sequence), headers) in &self.said.headers {
            let first_at = |epoch, sequence| self.said.headers.get(&(*author, epoch, sequence))?.first();
            let beside = [first_at(*epoch, sequence.next()), first_at(epoch.next(), *sequence)];
            let beside: Vec<_> =
                beside.into_iter().flatten().filter_map(|other| Some((headers.first()?, other))).collect();
            let headers: Vec<&Signed<BatchHeader>> = headers.iter().collect();
            for (first, second) in pairs(&headers).chain(beside) {
                let (one, other) = (&first.statement, &second.statement);
                let holds = (one.epoch, one.sequence) == (other.epoch, other.sequence) && one.id() != other.id();
                let (first, second) = self.either_way(first, second);
                self.bring(Evidence::Batches(BatchPair { first, second }), holds);
            }
        }
    }

    /// For each lane, each tip that somebody acknowledged, and the next known one: so that any two of them are compared through
    /// those between.
    fn acks(&mut self) {
        for acks in self.said.acks.values() {
            let vectors: Vec<(&AckMessage, Vec<Option<Tip>>)> =
                acks.iter().filter_map(|ack| Some((ack, vector(ack)?))).collect();
            let lanes = vectors.iter().map(|(_, tips)| tips.len()).max().unwrap_or_default();
            for lane in 0..lanes {
                // Each tip with the first and the last ack of it.
                let mut tips: BTreeMap<Tip, (usize, usize)> = BTreeMap::new();
                for (at, (_, vector)) in vectors.iter().enumerate() {
                    if let Some(tip) = vector.get(lane).copied().flatten() {
                        tips.entry(tip).or_insert((at, at)).1 = at;
                    }
                }
                let places = tips.keys().map(|tip| tip.sequence);
                let is_forked = places.clone().zip(places.skip(1)).any(|(one, next)| one == next);
                if is_forked || self.draw.below(lanes as u64) < LANES {
                    self.acks_of_lane(lane, &vectors, &tips);
                }
            }
        }
    }

    fn acks_of_lane(
        &mut self,
        lane: usize,
        vectors: &[(&AckMessage, Vec<Option<Tip>>)],
        tips: &BTreeMap<Tip, (usize, usize)>,
    ) {
        let proof = |at: usize, tip: Tip| {
            let (message, vector) = &vectors[at];
            let path = merkle::prove(&ack::vector_leaves(vector), lane).unwrap();
            AckProof { validator: ValidatorIndex(0), ack: message.ack.clone(), tip, path }
        };
        for (low, (first, last)) in tips {
            let known = |tip: &Tip| self.headers.contains_key(&tip.batch);
            let same_place = tips.keys().find(|tip| tip.sequence == low.sequence && *tip != low && known(tip));
            let above = tips.keys().find(|tip| tip.sequence > low.sequence && known(tip));
            let itself = (first != last && known(low)).then_some(low);
            for high in [same_place, above, itself].into_iter().flatten() {
                let Some(headers) = self.chain(low, high) else { continue };
                let holds = headers[0].statement.id() != low.batch;
                let (lower, higher) = (proof(*last, *low), proof(tips[high].0, *high));
                let pair = AckPair { lower, higher, lane: ValidatorIndex(lane as u16), headers };
                if self.draw.one_in(8) && low.sequence < high.sequence {
                    let turned = AckPair { lower: pair.higher.clone(), higher: pair.lower.clone(), ..pair.clone() };
                    self.bring(Evidence::Acks(turned), false);
                }
                if let Some(other) = self.sibling(&pair.headers[0]) {
                    let mut grafted = pair.clone();
                    grafted.headers[0] = other;
                    self.bring(Evidence::Acks(grafted), false);
                }
                self.bring(Evidence::Acks(pair), holds);
            }
        }
    }

    /// The author's headers from one tip's place up to another tip.
    fn chain(&self, low: &Tip, high: &Tip) -> Option<Vec<Signed<BatchHeader>>> {
        let mut chain = Vec::new();
        let mut next = high.batch;
        loop {
            let header = *self.headers.get(&next)?;
            chain.push(header.clone());
            if header.statement.sequence <= low.sequence {
                break;
            }
            next = header.statement.parent;
        }
        chain.reverse();
        Some(chain)
    }

    /// Another header at the same place.
    fn sibling(&self, header: &Signed<BatchHeader>) -> Option<Signed<BatchHeader>> {
        let place = (header.signer, header.statement.epoch, header.statement.sequence);
        self.said.headers.get(&place)?.iter().find(|other| *other != header).cloned()
    }

    fn either_way<T: Clone>(&mut self, first: &T, second: &T) -> (T, T) {
        let turned = self.draw.one_in(2);
        let (first, second) = if turned { (second, first) } else { (first, second) };
        (first.clone(), second.clone())
    }

    fn bring(&mut self, evidence: Evidence, holds: bool) {
        self.charges.push(Charge { evidence, holds });
    }
}

/// Any two, and each with itself. Of a height with very many rounds, those that stand near each other: the order brings together
/// what was said in one slot, and in the next ones.
fn pairs<'a, T>(list: &[&'a T]) -> impl Iterator<Item = (&'a T, &'a T)> {
    let near = if list.len() <= ALL_PAIRS { list.len() } else { NEAR };
    let others = move |at: usize| list[at..].iter().take(near);
    list.iter().enumerate().flat_map(move |(at, first)| others(at).map(|second| (*first, *second)))
}

/// The vector that an ack is of, if what travels with it is that.
fn vector(message: &AckMessage) -> Option<Vec<Option<Tip>>> {
    let AckEntries::Full(entries) = &message.entries else { return None };
    let tips: Vec<Option<Tip>> = entries.iter().map(|entry| entry.tip).collect();
    (ack::vector_root(&tips) == message.ack.statement.root).then_some(tips)
}
