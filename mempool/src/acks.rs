//! Acks of one epoch: everybody's newest vector, one's own among them.

use crate::limits::FULL_ACK_MEMBERS;
use squad_types::ack::vector_leaves;
use squad_types::merkle::Tree;
use squad_types::{
    Ack, AckCounter, AckEntries, AckEntry, AckMessage, AckProof, Committee, Digest, Domain, Sequence, Signer, Stake,
    Timestamp, Tip, ValidatorIndex, Verified, merkle,
};
use std::sync::Arc;

/// A validator's ack, its vector rebuilt.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) ack: Verified<Ack>,
    pub(crate) tips: Vec<Option<Tip>>,
    leaves: Vec<Digest>,
}

impl Vector {
    /// The proof of what its signer, at a place in the committee, acknowledges in a lane.
    pub(crate) fn prove(&self, validator: ValidatorIndex, lane: ValidatorIndex) -> Option<AckProof> {
        let tip = self.tips.get(lane.position()).copied().flatten()?;
        let path = merkle::prove(&self.leaves, lane.position())?;
        Some(AckProof { validator, ack: self.ack.signed().clone(), tip, path })
    }
}

/// What came of an ack.
#[derive(Debug)]
pub(crate) enum Taken {
    /// News; the vector before it.
    News(Option<Arc<Vector>>),
    Stale,
    NeedFull,
    Malformed,
}

/// The acks of one epoch.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) committee: Arc<Committee>,
    vectors: Vec<Option<Arc<Vector>>>,
    /// The tree over each of these vectors. An ack changes few entries, so most of its hashes stand already.
    trees: Vec<Option<Tree>>,
    me: Option<ValidatorIndex>,
    /// The highest counter that this operator signed with.
    used: AckCounter,
    pub(crate) sent_at: Option<Timestamp>,
}

impl Acks {
    pub(crate) fn new(committee: Arc<Committee>, me: Option<squad_types::Address>) -> Self {
        let me = me.and_then(|me| committee.index_of(&me));
        let (vectors, trees) = (vec![None; committee.len()], vec![None; committee.len()]);
        Self { vectors, trees, committee, me, used: AckCounter::ZERO, sent_at: None }
    }

    pub(crate) fn me(&self) -> Option<ValidatorIndex> {
        self.me
    }

    pub(crate) fn vector(&self, validator: ValidatorIndex) -> Option<&Arc<Vector>> {
        self.vectors.get(validator.position())?.as_ref()
    }

    pub(crate) fn own(&self) -> Option<&Arc<Vector>> {
        self.vector(self.me?)
    }

    /// Rebuilds and takes in a validator's ack.
    pub(crate) fn take(&mut self, validator: ValidatorIndex, ack: Verified<Ack>, entries: AckEntries) -> Taken {
        let known = self.vector(validator);
        if known.is_some_and(|known| known.ack.statement.counter >= ack.statement.counter) {
            return Taken::Stale;
        }
        let full = matches!(entries, AckEntries::Full(_));
        let tips = match entries {
            AckEntries::Full(entries) => self.parse_full(&entries),
            AckEntries::Changed { since, entries } => match known {
                Some(known) if known.ack.statement.counter == since => apply(&known.tips, &entries),
                _ => return Taken::NeedFull,
            },
        };
        let tree = tips.as_ref().map(|tips| self.tree_over(validator, tips));
        match (tips, tree) {
            (Some(tips), Some(tree)) if tree.root() == ack.statement.root => {
                Taken::News(self.keep(validator, ack, tips, tree))
            }
            _ if full => Taken::Malformed,
            _ => Taken::NeedFull,
        }
    }

    /// The tree over a validator's next vector, made of the one over its last. That one is taken: [`Self::keep`] puts the new
    /// one in its place, or else the next is made from the beginning.
    fn tree_over(&mut self, validator: ValidatorIndex, tips: &[Option<Tip>]) -> Tree {
        let at = validator.position();
        match (self.trees[at].take(), &self.vectors[at]) {
            (Some(mut tree), Some(known)) => {
                let changed = changes(&known.tips, tips);
                tree.update(changed.iter().map(|entry| (entry.lane.position(), entry.leaf())));
                tree
            }
            _ => Tree::new(vector_leaves(tips)),
        }
    }

    fn keep(
        &mut self,
        validator: ValidatorIndex,
        ack: Verified<Ack>,
        tips: Vec<Option<Tip>>,
        tree: Tree,
    ) -> Option<Arc<Vector>> {
        let (at, leaves) = (validator.position(), tree.leaves().to_vec());
        self.trees[at] = Some(tree);
        self.vectors[at].replace(Arc::new(Vector { ack, tips, leaves }))
    }

    fn parse_full(&self, entries: &[AckEntry]) -> Option<Vec<Option<Tip>>> {
        let in_order = entries.iter().enumerate().all(|(at, entry)| entry.lane.position() == at);
        (in_order && entries.len() == self.committee.len()).then(|| entries.iter().map(|entry| entry.tip).collect())
    }

    /// Signs a vector of one's own and takes it in.
    pub(crate) fn sign(
        &mut self,
        tips: Vec<Option<Tip>>,
        now: Timestamp,
        domain: &Domain,
        signer: &dyn Signer,
    ) -> Option<AckMessage> {
        let me = self.me?;
        let tree = self.tree_over(me, &tips);
        let before = self.own();
        let counter = self.used.next();
        let statement = Ack { epoch: self.committee.epoch(), counter, root: tree.root() };
        let ack = Verified::sign(statement, domain, signer);
        let entries = match before {
            Some(own) if self.committee.len() > FULL_ACK_MEMBERS => {
                AckEntries::Changed { since: own.ack.statement.counter, entries: changes(&own.tips, &tips) }
            }
            _ => full(&tips),
        };
        let message = AckMessage { ack: ack.signed().clone(), entries };
        self.keep(me, ack, tips, tree);
        self.sent_at = Some(now);
        self.used = counter;
        Some(message)
    }

    /// One's own newest ack with its whole vector.
    pub(crate) fn full(&self) -> Option<AckMessage> {
        self.own().map(|own| AckMessage { ack: own.ack.signed().clone(), entries: full(&own.tips) })
    }

    /// Reads an own ack back from the log; none if it does not fit the committee. It is the own newest again if `held` says
    /// that what it covers is here. Its counter is used up in any case.
    pub(crate) fn restore(
        &mut self,
        message: &AckMessage,
        held: impl FnOnce(&[Option<Tip>]) -> bool,
    ) -> Option<Vec<Option<Tip>>> {
        let me = self.me?;
        self.used = self.used.max(message.ack.statement.counter);
        let AckEntries::Full(entries) = &message.entries else { return None };
        let tips = self.parse_full(entries)?;
        let newer = self.own().is_none_or(|own| own.ack.statement.counter < message.ack.statement.counter);
        if newer && held(&tips) {
            let tree = self.tree_over(me, &tips);
            if tree.root() == message.ack.statement.root {
                self.keep(me, Verified::from_own_log(message.ack.clone()), tips.clone(), tree);
            }
        }
        Some(tips)
    }

    /// Whose newest ack names exactly this tip.
    pub(crate) fn naming(&self, lane: ValidatorIndex, tip: Tip) -> impl Iterator<Item = (usize, &Arc<Vector>)> {
        self.vectors.iter().enumerate().filter_map(move |(at, vector)| {
            let vector = vector.as_ref()?;
            (vector.tips.get(lane.position()).copied().flatten() == Some(tip)).then_some((at, vector))
        })
    }

    /// The weight of newest acks whose tip in a lane lies above a sequence.
    pub(crate) fn stake_beyond(&self, lane: ValidatorIndex, sequence: Option<Sequence>) -> Stake {
        let beyond = self.vectors.iter().enumerate().filter(|(_, vector)| {
            let tip = vector.as_ref().and_then(|vector| vector.tips.get(lane.position()).copied().flatten());
            tip.is_some_and(|tip| sequence.is_none_or(|sequence| tip.sequence > sequence))
        });
        Stake(beyond.map(|(at, _)| self.committee.stake(ValidatorIndex(at as u16)).0).sum())
    }
}

fn full(tips: &[Option<Tip>]) -> AckEntries {
    let entry = |(at, tip): (usize, &Option<Tip>)| AckEntry { lane: ValidatorIndex(at as u16), tip: *tip };
    AckEntries::Full(tips.iter().enumerate().map(entry).collect())
}

fn changes(before: &[Option<Tip>], after: &[Option<Tip>]) -> Vec<AckEntry> {
    let changed = before.iter().zip(after).enumerate().filter(|(_, (old, new))| old != new);
    changed.map(|(at, (_, new))| AckEntry { lane: ValidatorIndex(at as u16), tip: *new }).collect()
}

fn apply(before: &[Option<Tip>], entries: &[AckEntry]) -> Option<Vec<Option<Tip>>> {
    let mut tips = before.to_vec();
    for entry in entries {
        *tips.get_mut(entry.lane.position())? = entry.tip;
    }
    Some(tips)
}
