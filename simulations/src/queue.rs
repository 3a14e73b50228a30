//! Virtual time: events in order of their time, and of their making where times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Microseconds of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// A moment later by microseconds.
    #[must_use]
    pub fn plus(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// A moment later by milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        self.plus(ms.saturating_mul(1_000))
    }
}

/// What lies in the far: the place of its event with when it comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Far {
    at: Instant,
    order: u64,
    place: u32,
}

/// An event with those that come at the same moment after it.
struct Near<E> {
    order: u64,
    event: Option<E>,
    next: u32,
}

/// The first and the last event of one moment.
#[derive(Clone, Copy)]
struct Moment {
    first: u32,
    last: u32,
}

/// No place.
const NONE: u32 = u32::MAX;

/// Microseconds after the last event in which each moment has a list of its own: longer than most messages travel. What comes
/// later, timers above all, waits in a heap. A power of two, and a multiple of 64 squared.
const NEAR: u64 = 1 << 16;

/// Events to come.
///
/// Pushing and taking what comes soon costs the same however many wait: a heap of a large committee's messages is several
/// times larger than a processor's nearest cache, and taking one from it walks from end to end.
pub struct Queue<E> {
    events: Vec<Near<E>>,
    free: Vec<u32>,
    /// By moment, modulo [`NEAR`]; made with the first event.
    moments: Vec<Moment>,
    /// Which moments have events, and which words of that are not zero.
    taken: Vec<u64>,
    words: Vec<u64>,
    /// The near begins here: when the last event that was taken came.
    from: Instant,
    near: usize,
    far: BinaryHeap<Reverse<Far>>,
    made: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            free: Vec::new(),
            moments: Vec::new(),
            taken: Vec::new(),
            words: Vec::new(),
            from: Instant::default(),
            near: 0,
            far: BinaryHeap::new(),
            made: 0,
        }
    }
}

impl<E> Queue<E> {
    /// Adds an event.
    pub fn push(&mut self, at: Instant, event: E) {
        self.made += 1;
        let order = self.made;
        let near = Near { order, event: Some(event), next: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = near;
                place
            }
            None => {
                self.events.push(near);
                (self.events.len() - 1) as u32
            }
        };
        if at < self.from || at.0 - self.from.0 >= NEAR {
            self.far.push(Reverse(Far { at, order, place }));
            return;
        }
        if self.moments.is_empty() {
            self.moments = vec![Moment { first: NONE, last: NONE }; NEAR as usize];
            self.taken = vec![0; NEAR as usize / 64];
            self.words = vec![0; NEAR as usize / 64 / 64];
        }
        let slot = (at.0 % NEAR) as usize;
        let moment = &mut self.moments[slot];
        if moment.first == NONE {
            *moment = Moment { first: place, last: place };
            self.taken[slot / 64] |= 1 << (slot % 64);
            self.words[slot / 64 / 64] |= 1 << (slot / 64 % 64);
        } else {
            self.events[moment.last as usize].next = place;
            moment.last = place;
        }
        self.near += 1;
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        self.pop_until(Instant(u64::MAX))
    }

    /// Takes the next event if it is not after `end`.
    pub fn pop_until(&mut self, end: Instant) -> Option<(Instant, E)> {
        let near = self.next_near();
        let far = self.far.peek().map(|Reverse(far)| (far.at, far.order));
        let near_first = near.map(|at| (at, self.events[self.moments[(at.0 % NEAR) as usize].first as usize].order));
        let (at, place) = match (near_first, far) {
            (Some(near), far) if far.is_none_or(|far| near < far) => {
                if near.0 > end {
                    return None;
                }
                (near.0, self.take_near(near.0))
            }
            (_, Some((at, _))) if at <= end => self.far.pop().map(|Reverse(far)| (far.at, far.place))?,
            _ => return None,
        };
        self.from = self.from.max(at);
        self.free.push(place);
        self.events[place as usize].event.take().map(|event| (at, event))
    }

    fn take_near(&mut self, at: Instant) -> u32 {
        let slot = (at.0 % NEAR) as usize;
        let moment = &mut self.moments[slot];
        let place = moment.first;
        moment.first = self.events[place as usize].next;
        if moment.first == NONE {
            let word = slot / 64;
            self.taken[word] &= !(1 << (slot % 64));
            if self.taken[word] == 0 {
                self.words[word / 64] &= !(1 << (word % 64));
            }
        }
        self.near -= 1;
        place
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.near + self.far.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next event is.
    pub fn next_at(&self) -> Option<Instant> {
        let far = self.far.peek().map(|Reverse(far)| far.at);
        match (self.next_near(), far) {
            (Some(near), Some(far)) => Some(near.min(far)),
            (near, far) => near.or(far),
        }
    }

    /// The first moment of the near that has an event: from where it begins to the end of the table, and on from its start.
    fn next_near(&self) -> Option<Instant> {
        if self.near == 0 {
            return None;
        }
        let from = (self.from.0 % NEAR) as usize;
        let slot = self.first_from(from).or_else(|| self.first_from(0))?;
        Some(self.from.plus((slot as u64).wrapping_sub(self.from.0) % NEAR))
    }

    /// The first moment with an event from one on, by its place in the table.
    fn first_from(&self, slot: usize) -> Option<usize> {
        let word = slot / 64;
        let rest = self.taken[word] & (u64::MAX << (slot % 64));
        if rest != 0 {
            return Some(word * 64 + rest.trailing_zeros() as usize);
        }
        let later = word + 1;
        let group = later / 64;
        let rest = self.words.get(group)? & (u64::MAX << (later % 64));
        let words = std::iter::once(rest).chain(self.words[group + 1..].iter().copied());
        let (at, bits) = words.enumerate().find(|(_, bits)| *bits != 0)?;
        let word = (group + at) * 64 + bits.trailing_zeros() as usize;
        Some(word * 64 + self.taken[word].trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn events_come_in_order_of_their_time_and_of_their_making() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let (mut queue, mut model) = (Queue::default(), BTreeMap::new());
            let mut now = Instant((1 << 30) + rng.below(1 << 40));
            for number in 0..20_000_u64 {
                // At once, soon, at either side of where the near ends, much later, and now and then in the past.
                let ahead = match rng.below(8) {
                    0 => 0,
                    1..=4 => rng.below(2_000),
                    5 => NEAR - 2 + rng.below(4),
                    6 => rng.below(5 * NEAR),
                    _ => rng.below(NEAR),
                };
                let at = if rng.below(50) == 0 { Instant(now.0.saturating_sub(ahead)) } else { now.plus(ahead) };
                queue.push(at, number);
                model.insert((at, number), number);
                // Sometimes it runs empty.
                let takes = if rng.below(2_000) == 0 { usize::MAX } else { rng.below(3) as usize };
                for _ in 0..takes.min(model.len()) {
                    let Some(((at, _), number)) = model.pop_first() else { break };
                    assert_eq!(queue.next_at(), Some(at), "seed {seed}");
                    assert_eq!(queue.pop_until(Instant(at.0 - 1)), None, "seed {seed}");
                    assert_eq!(queue.pop(), Some((at, number)), "seed {seed}");
                    now = now.max(at);
                }
                assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            }
            assert_eq!(std::iter::from_fn(|| queue.pop()).map(|(_, number)| number).collect::<Vec<_>>(), {
                model.into_values().collect::<Vec<_>>()
            });
            assert_eq!((queue.pop(), queue.next_at()), (None, None));
        }
    }
}
