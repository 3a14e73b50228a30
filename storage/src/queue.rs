//! A bounded queue that gives everything it holds at once, when somebody is in a hurry: the group of a group commit.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::options::QueueLimits;

/// Why an item was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: u64,
    /// What it holds is to be given out.
    hurry: bool,
    closed: bool,
}

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limits: QueueLimits,
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, hurry: false, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), limits }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an item if there is room, and wakes nobody. An item over the byte limit alone is taken when the queue is empty.
    pub(crate) fn push(&self, item: T, bytes: u64) -> Result<(), (T, Refusal)> {
        let mut state = self.state();
        if state.closed {
            return Err((item, Refusal::Closed));
        }
        let over = state.items.len() >= self.limits.records || state.bytes.saturating_add(bytes) > self.limits.bytes;
        if over && !state.items.is_empty() {
            return Err((item, Refusal::Full));
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.items.push_back(item);
        Ok(())
    }

    /// Has what is queued given out.
    pub(crate) fn hurry(&self) {
        let mut state = self.state();
        if !state.items.is_empty() && !std::mem::replace(&mut state.hurry, true) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Waits for items that are in a hurry and takes all there are; none when the queue is closed and empty.
    pub(crate) fn take_all(&self) -> Option<Vec<T>> {
        let mut state = self.state();
        loop {
            if state.hurry || (state.closed && !state.items.is_empty()) {
                (state.bytes, state.hurry) = (0, false);
                return Some(std::mem::take(&mut state.items).into());
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the queue is closed or the time is over; true if it is closed.
    pub(crate) fn wait_closed(&self, limit: Duration) -> bool {
        let state = self.state();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, limit, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.closed
    }

    /// Takes nothing more. What is queued is still given out.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}
