//! One end of a node's connection: what is sent at once shares its width fairly (generalised processor sharing; Parekh and
//! Gallager, 1993). Each message is a fluid: all peers' flows drain at the same speed, messages of one flow one by one.

use crate::queue::Instant;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// What one flow has in the pipe.
#[derive(Debug, Default)]
struct Flow {
    waiting: usize,
    last: f64,
}

struct Waiting<T> {
    finish: f64,
    order: u64,
    flow: usize,
    bytes: u64,
    item: T,
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest first.
        other.finish.total_cmp(&self.finish).then(other.order.cmp(&self.order))
    }
}

/// A connection of a fixed width.
pub struct Pipe<T> {
    /// Bytes a microsecond.
    rate: f64,
    /// Bytes that each active flow has drained since the pipe was last empty.
    served: f64,
    at: Instant,
    flows: BTreeMap<usize, Flow>,
    waiting: BinaryHeap<Waiting<T>>,
    order: u64,
    watched: Option<Instant>,
    /// Bytes in it now.
    pub backlog: u64,
    /// The most bytes that were ever in it.
    pub most: u64,
}

impl<T> Pipe<T> {
    /// A pipe of so many bytes a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            rate: bytes_per_second.max(1) as f64 / 1e6,
            served: 0.0,
            at: Instant::default(),
            flows: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            order: 0,
            watched: None,
            backlog: 0,
            most: 0,
        }
    }

    /// Puts something in. What is through by now comes out of [`Self::through`]: take that first.
    pub fn push(&mut self, now: Instant, flow: usize, bytes: u64, item: T) {
        self.advance(now);
        let state = self.flows.entry(flow).or_default();
        let start = if state.waiting == 0 { self.served } else { state.last };
        let finish = start + bytes as f64;
        state.waiting += 1;
        state.last = finish;
        self.order += 1;
        self.backlog += bytes;
        self.most = self.most.max(self.backlog);
        self.waiting.push(Waiting { finish, order: self.order, flow, bytes, item });
    }

    /// What is through at `now`, in order.
    pub fn through(&mut self, now: Instant) -> Vec<T> {
        let mut out = Vec::new();
        while let Some(next) = self.next_at().filter(|next| *next <= now) {
            self.advance(next);
            let Some(done) = self.waiting.pop() else { break };
            self.served = self.served.max(done.finish);
            self.backlog -= done.bytes;
            if let Some(flow) = self.flows.get_mut(&done.flow) {
                flow.waiting -= 1;
                if flow.waiting == 0 {
                    self.flows.remove(&done.flow);
                }
            }
            out.push(done.item);
        }
        if self.waiting.is_empty() {
            self.served = 0.0;
        }
        out
    }

    /// When the next one is through, if nothing else comes.
    pub fn next_at(&self) -> Option<Instant> {
        let next = self.waiting.peek()?;
        let micros = (next.finish - self.served).max(0.0) * self.flows.len() as f64 / self.rate;
        Some(self.at.plus(micros.ceil() as u64))
    }

    /// A moment at which to look again, if nobody looks before.
    pub(crate) fn watch_next(&mut self, now: Instant) -> Option<Instant> {
        let next = self.next_at()?;
        if self.watched.is_some_and(|watched| watched > now && watched <= next) {
            return None;
        }
        self.watched = Some(next);
        self.watched
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.0.saturating_sub(self.at.0);
        self.at = self.at.max(now);
        if !self.flows.is_empty() {
            self.served += elapsed as f64 * self.rate / self.flows.len() as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pipe: &mut Pipe<&'static str>) -> Vec<(u64, &'static str)> {
        let mut out = Vec::new();
        while let Some(at) = pipe.next_at() {
            out.extend(pipe.through(at).into_iter().map(|item| (at.0, item)));
        }
        out
    }

    #[test]
    fn one_flow_takes_the_whole_width_and_two_take_half_each() {
        let mut pipe = Pipe::new(1_000_000);
        pipe.push(Instant(0), 1, 1_000, "alone");
        assert_eq!(drain(&mut pipe), vec![(1_000, "alone")]);
        pipe.push(Instant(10_000), 1, 1_000, "first");
        pipe.push(Instant(10_000), 2, 1_000, "second");
        assert_eq!(drain(&mut pipe), vec![(12_000, "first"), (12_000, "second")]);
    }

    #[test]
    fn a_vote_does_not_wait_for_a_batch_to_another_peer() {
        let mut pipe = Pipe::new(1_000_000);
        pipe.push(Instant(0), 1, 500_000, "batch");
        pipe.push(Instant(100), 2, 200, "vote");
        assert_eq!(drain(&mut pipe), vec![(500, "vote"), (500_200, "batch")]);
    }

    #[test]
    fn messages_of_one_flow_keep_their_order_and_the_backlog_is_counted() {
        let mut pipe = Pipe::new(1_000_000);
        pipe.push(Instant(0), 1, 300, "a");
        pipe.push(Instant(0), 1, 10, "b");
        assert_eq!(pipe.most, 310);
        assert_eq!(drain(&mut pipe), vec![(300, "a"), (310, "b")]);
        assert_eq!(pipe.backlog, 0);
    }
}
