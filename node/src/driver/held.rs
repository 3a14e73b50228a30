//! The driver's one rule: what waits for a write leaves when that write is durable, and in order.

use squad_sequencer::{After, PersistId};
use std::collections::VecDeque;

/// Up to where each stream is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) log: PersistId,
    pub(crate) bulk: PersistId,
}

impl Durable {
    /// Whether what must come first has come.
    pub(crate) fn covers(&self, after: &After) -> bool {
        after.log.is_none_or(|id| id <= self.log) && after.bulk.is_none_or(|id| id <= self.bulk)
    }
}

/// Effects that wait, in their order.
#[derive(Debug)]
pub(crate) struct Held<T> {
    waiting: VecDeque<(After, T)>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<T> Held<T> {
    /// Gives an effect back if it may leave now, and keeps it otherwise.
    pub(crate) fn offer(&mut self, after: After, effect: T, durable: &Durable) -> Option<T> {
        if durable.covers(&after) {
            return Some(effect);
        }
        self.waiting.push_back((after, effect));
        None
    }

    /// What may leave now, in order. What waits for another stream stays and holds nothing up.
    pub(crate) fn release(&mut self, durable: &Durable) -> Vec<T> {
        let mut released = Vec::new();
        for _ in 0..self.waiting.len() {
            let Some((after, effect)) = self.waiting.pop_front() else { break };
            if durable.covers(&after) {
                released.push(effect);
            } else {
                self.waiting.push_back((after, effect));
            }
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(log: Option<u64>, bulk: Option<u64>) -> After {
        After { log: log.map(PersistId), bulk: bulk.map(PersistId) }
    }

    fn durable(log: u64, bulk: u64) -> Durable {
        Durable { log: PersistId(log), bulk: PersistId(bulk) }
    }

    #[test]
    fn nothing_leaves_before_both_of_its_writes_are_durable() {
        let mut held = Held::default();
        assert_eq!(held.offer(after(None, None), "free", &durable(0, 0)), Some("free"));
        assert_eq!(held.offer(after(Some(1), Some(2)), "vote", &durable(0, 0)), None);
        assert_eq!(held.offer(after(Some(1), None), "ack", &durable(0, 0)), None);
        assert!(held.release(&durable(0, 9)).is_empty());
        assert_eq!(held.release(&durable(1, 1)), ["ack"]);
        assert_eq!(held.release(&durable(1, 2)), ["vote"]);
        assert!(held.waiting.is_empty());
    }

    proptest! {
        #[test]
        fn effects_leave_once_in_order_and_never_early(
            needs in proptest::collection::vec((proptest::option::of(0_u64..20), proptest::option::of(0_u64..20)), 1..40),
            steps in proptest::collection::vec((0_u64..3, 0_u64..3), 1..40),
        ) {
            let mut held = Held::default();
            let (mut mark, mut left) = (Durable::default(), Vec::new());
            for (at, (log, bulk)) in needs.iter().enumerate() {
                if let Some(effect) = held.offer(after(*log, *bulk), at, &mark) {
                    prop_assert!(mark.covers(&after(*log, *bulk)));
                    left.push(effect);
                }
            }
            for (log, bulk) in steps.into_iter().chain([(30, 30)]) {
                mark = durable(mark.log.0 + log, mark.bulk.0 + bulk);
                let released = held.release(&mark);
                prop_assert!(released.is_sorted());
                for at in &released {
                    prop_assert!(mark.covers(&after(needs[*at].0, needs[*at].1)));
                }
                left.extend(released);
            }
            left.sort_unstable();
            prop_assert_eq!(left, (0..needs.len()).collect::<Vec<_>>());
        }
    }
}
