//! Who waits for which transaction, and the answers they get.

use crate::api::{Accepted, Answer, Answers, RejectCode, Rejected};
use squad_types::hash::IdHasher;
use squad_types::{Confirmation, NamespaceId, Tier, TxId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// What a look-up gets: nothing, if the node never saw the transaction.
pub(crate) type Found = Result<Option<Confirmation>, Rejected>;

/// Where one answer goes.
pub(crate) enum Reply {
    /// To a submitter, under its ticket's number. One sender serves all tickets that came together.
    Ticket { number: u64, answers: Arc<Answers>, with_confirmation: bool },
    /// To somebody who asked.
    LookUp(oneshot::Sender<Found>),
}

/// Somebody who waits for a tier.
pub(crate) struct Waiter {
    pub(crate) namespace: Option<NamespaceId>,
    pub(crate) tier: Tier,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
}

/// Answers under way, gathered so that those of one submitter travel together.
#[derive(Default)]
pub(crate) struct Outgoing {
    groups: Vec<(Arc<Answers>, Vec<Answer>)>,
    /// The group of each sender, by its address.
    places: HashMap<usize, usize>,
}

impl Outgoing {
    fn push(&mut self, answers: Arc<Answers>, answer: Answer) {
        // Neighbours in a batch mostly came together.
        if let Some((_, group)) = self.groups.last_mut().filter(|(last, _)| Arc::ptr_eq(last, &answers)) {
            return group.push(answer);
        }
        let place = *self.places.entry(Arc::as_ptr(&answers) as usize).or_insert(self.groups.len());
        match self.groups.get_mut(place) {
            Some((_, group)) => group.push(answer),
            None => self.groups.push((answers, vec![answer])),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Refuses one ticket.
    pub(crate) fn refuse(&mut self, number: u64, answers: &Arc<Answers>, refusal: Rejected) {
        self.push(Arc::clone(answers), Answer { number, outcome: Err(refusal) });
    }

    /// Refuses whoever waits.
    pub(crate) fn answer(&mut self, waiter: Waiter, refusal: Rejected) {
        match waiter.reply {
            Reply::Ticket { number, answers, .. } => self.push(answers, Answer { number, outcome: Err(refusal) }),
            // Whoever asked may have gone.
            Reply::LookUp(reply) => drop(reply.send(Err(refusal))),
        }
    }

    /// Sends everything that was gathered.
    pub(crate) fn send(&mut self) {
        self.places.clear();
        for (answers, group) in self.groups.drain(..) {
            // Whoever lost interest gets nothing.
            let _ = answers.send(group);
        }
    }
}

/// Mixes the first eight bytes of an id with numbers that nobody outside knows: ids are digests, but clients may choose
/// them with some work.
#[derive(Clone, Copy)]
struct Keyed {
    mask: u64,
    factor: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        let random = || RandomState::new().hash_one(0_u8);
        Self { mask: random(), factor: random() | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { id: IdHasher::default(), key: *self }
    }
}

struct KeyedHasher {
    id: IdHasher,
    key: Keyed,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.id.write(bytes);
    }

    fn write_usize(&mut self, length: usize) {
        self.id.write_usize(length);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.id.finish() ^ self.key.mask) * u128::from(self.key.factor);
        (product >> 64) as u64 ^ product as u64
    }
}

/// Those who wait for one transaction: mostly its submitter.
enum Waiting {
    One(Waiter),
    More(Vec<Waiter>),
}

impl Waiting {
    fn add(&mut self, waiter: Waiter) {
        let all = std::mem::replace(self, Self::More(Vec::new()));
        let mut all = match all {
            Self::One(first) => vec![first],
            Self::More(all) => all,
        };
        all.push(waiter);
        *self = Self::More(all);
    }

    fn as_slice(&self) -> &[Waiter] {
        match self {
            Self::One(waiter) => std::slice::from_ref(waiter),
            Self::More(all) => all,
        }
    }

    fn into_all(self) -> impl Iterator<Item = Waiter> {
        let (one, more) = match self {
            Self::One(waiter) => (Some(waiter), Vec::new()),
            Self::More(all) => (None, all),
        };
        one.into_iter().chain(more)
    }
}

/// All who wait. Bounded by the gates in front of the node, which bound open submissions and look-ups.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: HashMap<TxId, Waiting, Keyed>,
    /// No deadline of those who wait lies before it.
    earliest: Option<Instant>,
}

impl Waiters {
    pub(crate) fn add(&mut self, id: TxId, waiter: Waiter) {
        self.earliest = Some(self.earliest.map_or(waiter.deadline, |earliest| earliest.min(waiter.deadline)));
        match self.waiting.entry(id) {
            Entry::Vacant(place) => drop(place.insert(Waiting::One(waiter))),
            Entry::Occupied(mut place) => place.get_mut().add(waiter),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Answers those who wait for `tier` or a lower one. `confirm` makes the proof where one is wanted. Says when the first
    /// of all who wait for the transaction came.
    pub(crate) fn reach(
        &mut self,
        id: &TxId,
        tier: Tier,
        outgoing: &mut Outgoing,
        confirm: impl Fn() -> Option<Confirmation>,
    ) -> Option<Instant> {
        let Entry::Occupied(mut place) = self.waiting.entry(*id) else { return None };
        let all = place.get().as_slice();
        let first = all.iter().map(|waiter| waiter.arrived).min();
        if all.iter().all(|waiter| waiter.tier > tier) {
            return first;
        }
        let mut reached = |waiter: Waiter| match waiter.reply {
            Reply::Ticket { number, answers, with_confirmation } => {
                let confirmation = if with_confirmation { confirm().map(Box::new) } else { None };
                outgoing.push(answers, Answer { number, outcome: Ok(Accepted { id: *id, tier, confirmation }) });
            }
            // Whoever asked may have gone.
            Reply::LookUp(reply) => drop(reply.send(Ok(confirm()))),
        };
        match place.get_mut() {
            Waiting::More(all) if all.iter().any(|waiter| waiter.tier > tier) => {
                all.extract_if(.., |waiter| waiter.tier <= tier).for_each(reached);
            }
            _ => place.remove().into_all().for_each(&mut reached),
        }
        first
    }

    /// Refuses all who wait for a transaction.
    pub(crate) fn refuse(&mut self, id: &TxId, refusal: &Rejected, outgoing: &mut Outgoing) {
        for waiter in self.waiting.remove(id).into_iter().flat_map(Waiting::into_all) {
            outgoing.answer(waiter, refusal.clone());
        }
    }

    /// Answers those whose time is over. Nobody is looked at before the earliest deadline.
    pub(crate) fn time_out(&mut self, now: Instant, outgoing: &mut Outgoing) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let over = |waiter: &Waiter| waiter.deadline <= now;
        let late: Vec<TxId> =
            self.waiting.iter().filter(|(_, all)| all.as_slice().iter().any(over)).map(|(id, _)| *id).collect();
        for id in late {
            let Some(all) = self.waiting.remove(&id) else { continue };
            for waiter in all.into_all() {
                if !over(&waiter) {
                    self.add(id, waiter);
                    continue;
                }
                let after = now.duration_since(waiter.arrived).as_millis();
                let reason = format!(
                    "transaction {id} is not {} after {after} ms; it may still be ordered: ask squad_getConfirmation",
                    waiter.tier
                );
                outgoing.answer(waiter, Rejected::new(RejectCode::Timeout, reason));
            }
        }
        let left = self.waiting.values().flat_map(Waiting::as_slice);
        self.earliest = left.map(|waiter| waiter.deadline).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn ticket(number: u64, tier: Tier, answers: &Arc<Answers>, deadline: Instant) -> Waiter {
        let reply = Reply::Ticket { number, answers: Arc::clone(answers), with_confirmation: false };
        Waiter { namespace: None, tier, arrived: deadline - Duration::from_secs(1), deadline, reply }
    }

    fn answered(answers: &mut UnboundedReceiver<Vec<Answer>>) -> Vec<(u64, bool)> {
        let mut all: Vec<_> = std::iter::from_fn(|| answers.try_recv().ok()).flatten().collect();
        all.sort_by_key(|answer| answer.number);
        all.into_iter().map(|answer| (answer.number, answer.outcome.is_ok())).collect()
    }

    #[test]
    fn each_who_waits_for_a_transaction_is_answered_once_at_its_tier_or_its_deadline() {
        let (sender, mut answers) = unbounded_channel();
        let (sender, start) = (Arc::new(sender), Instant::now());
        let (soon, late) = (start + Duration::from_secs(2), start + Duration::from_secs(60));
        let (mut waiters, mut outgoing) = (Waiters::default(), Outgoing::default());
        let id = TxId([7; 32]);
        waiters.add(id, ticket(1, Tier::Ordered, &sender, late));
        waiters.add(id, ticket(2, Tier::Batched, &sender, late));
        waiters.add(id, ticket(3, Tier::Ordered, &sender, soon));
        waiters.add(TxId([8; 32]), ticket(4, Tier::Batched, &sender, late));
        let mut reach = |waiters: &mut Waiters, tier| {
            let first = waiters.reach(&id, tier, &mut outgoing, || None);
            outgoing.send();
            first
        };
        assert_eq!(reach(&mut waiters, Tier::Batched), Some(soon - Duration::from_secs(1)));
        assert_eq!(answered(&mut answers), [(2, true)]);
        reach(&mut waiters, Tier::Secured);
        assert_eq!(answered(&mut answers), []);
        let mut timed_out = Outgoing::default();
        waiters.time_out(soon, &mut timed_out);
        timed_out.send();
        assert_eq!(answered(&mut answers), [(3, false)]);
        reach(&mut waiters, Tier::Ordered);
        assert_eq!(answered(&mut answers), [(1, true)]);
        assert_eq!(reach(&mut waiters, Tier::Ordered), None);
        assert!(!waiters.is_empty());
        waiters.time_out(late, &mut timed_out);
        timed_out.send();
        assert_eq!(answered(&mut answers), [(4, false)]);
        assert!(waiters.is_empty());
    }

    #[test]
    fn answers_of_one_sender_travel_together_whatever_their_order() {
        let mut outgoing = Outgoing::default();
        let (one, mut ones) = unbounded_channel();
        let (other, mut others) = unbounded_channel();
        let (one, other) = (Arc::new(one), Arc::new(other));
        for number in 0..6 {
            let answers = if number % 3 == 0 { &one } else { &other };
            outgoing.refuse(number, answers, Rejected::new(RejectCode::Timeout, "late"));
        }
        outgoing.send();
        assert!(outgoing.is_empty());
        let numbers = |group: Vec<Answer>| group.iter().map(|answer| answer.number).collect::<Vec<_>>();
        assert_eq!(ones.try_recv().map(numbers), Ok(vec![0, 3]));
        assert_eq!(others.try_recv().map(numbers), Ok(vec![1, 2, 4, 5]));
        assert!(ones.try_recv().is_err() && others.try_recv().is_err());
    }
}
