//! Acks of one epoch: everybody's newest vector, one's own among them.

use crate::limits::FULL_ACK_MEMBERS;
use squad_types::ack::{vector_leaves, vector_root};
use squad_types::{
    Ack, AckCounter, AckEntries, AckEntry, AckMessage, AckProof, Committee, Domain, Signer, Stake, Timestamp, Tip,
    ValidatorIndex, Verified, merkle,
};
use std::sync::Arc;

/// A validator's newest ack, its vector rebuilt.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) ack: Verified<Ack>,
    pub(crate) tips: Vec<Option<Tip>>,
}

/// What came of an ack.
#[derive(Debug)]
pub(crate) enum Taken {
    /// News; the vector before it.
    News(Option<Vector>),
    Stale,
    NeedFull,
    Malformed,
}

/// The acks of one epoch.
#[derive(Debug)]
pub(crate) struct Acks {
    pub(crate) committee: Arc<Committee>,
    vectors: Vec<Option<Vector>>,
    me: Option<ValidatorIndex>,
    pub(crate) sent_at: Option<Timestamp>,
}

impl Acks {
    pub(crate) fn new(committee: Arc<Committee>, me: Option<squad_types::Address>) -> Self {
        let me = me.and_then(|me| committee.index_of(&me));
        Self { vectors: vec![None; committee.len()], committee, me, sent_at: None }
    }

    pub(crate) fn me(&self) -> Option<ValidatorIndex> {
        self.me
    }

    pub(crate) fn vector(&self, validator: ValidatorIndex) -> Option<&Vector> {
        self.vectors.get(validator.position())?.as_ref()
    }

    pub(crate) fn own(&self) -> Option<&Vector> {
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
        match tips {
            Some(tips) if vector_root(&tips) == ack.statement.root => {
                Taken::News(self.vectors[validator.position()].replace(Vector { ack, tips }))
            }
            _ if full => Taken::Malformed,
            _ => Taken::NeedFull,
        }
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
        let before = self.own();
        let counter = before.map_or(AckCounter(1), |own| own.ack.statement.counter.next());
        let statement = Ack { epoch: self.committee.epoch(), counter, root: vector_root(&tips) };
        let ack = Verified::sign(statement, domain, signer);
        let entries = match before {
            Some(own) if self.committee.len() > FULL_ACK_MEMBERS => {
                AckEntries::Changed { since: own.ack.statement.counter, entries: changes(&own.tips, &tips) }
            }
            _ => full(&tips),
        };
        let message = AckMessage { ack: ack.signed().clone(), entries };
        self.vectors[me.position()] = Some(Vector { ack, tips });
        self.sent_at = Some(now);
        Some(message)
    }

    /// One's own newest ack with its whole vector.
    pub(crate) fn full(&self) -> Option<AckMessage> {
        self.own().map(|own| AckMessage { ack: own.ack.signed().clone(), entries: full(&own.tips) })
    }

    /// Puts back an own ack from the log; whether it fits the committee.
    pub(crate) fn restore(&mut self, message: &AckMessage) -> Option<Vec<Option<Tip>>> {
        let me = self.me?;
        let AckEntries::Full(entries) = &message.entries else { return None };
        let tips = self.parse_full(entries)?;
        let newer = self.own().is_none_or(|own| own.ack.statement.counter < message.ack.statement.counter);
        if newer && vector_root(&tips) == message.ack.statement.root {
            let ack = Verified::from_own_log(message.ack.clone());
            self.vectors[me.position()] = Some(Vector { ack, tips: tips.clone() });
        }
        Some(tips)
    }

    /// What each validator acknowledges in a lane, with its weight.
    pub(crate) fn tips_of(&self, lane: ValidatorIndex) -> impl Iterator<Item = (ValidatorIndex, Tip, Stake)> + '_ {
        self.vectors.iter().enumerate().filter_map(move |(at, vector)| {
            let validator = ValidatorIndex(at as u16);
            let tip = vector.as_ref()?.tips.get(lane.position()).copied().flatten()?;
            Some((validator, tip, self.committee.stake(validator)))
        })
    }

    /// The proof of what a validator acknowledges in a lane.
    pub(crate) fn prove(&self, validator: ValidatorIndex, lane: ValidatorIndex) -> Option<AckProof> {
        let vector = self.vector(validator)?;
        let tip = vector.tips.get(lane.position()).copied().flatten()?;
        let path = merkle::prove(&vector_leaves(&vector.tips), lane.position())?;
        Some(AckProof { validator, ack: vector.ack.signed().clone(), tip, path })
    }

    /// The proof as another vector of the same validator gives it.
    pub(crate) fn prove_from(vector: &Vector, validator: ValidatorIndex, lane: ValidatorIndex) -> Option<AckProof> {
        let tip = vector.tips.get(lane.position()).copied().flatten()?;
        let path = merkle::prove(&vector_leaves(&vector.tips), lane.position())?;
        Some(AckProof { validator, ack: vector.ack.signed().clone(), tip, path })
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
