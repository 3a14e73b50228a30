//! Wakes tasks to within some tens of microseconds. The runtime's own timers are no finer than a millisecond, which is a
//! tenth of the way between near regions.

use anyhow::Context;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;
use tokio::sync::oneshot;

/// One that waits.
struct Waiting {
    until: Instant,
    wake: oneshot::Sender<()>,
}

/// A thread that wakes tasks. It ends when nobody can ask it any more.
#[derive(Clone)]
pub(super) struct Alarm(Sender<Waiting>);

impl Alarm {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("squad-alarm".to_owned());
        thread.spawn(move || run(&receiver)).context("cannot start a thread")?;
        Ok(Self(sender))
    }

    /// Waits until then.
    pub(super) async fn at(&self, until: Instant) {
        if until <= Instant::now() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        if self.0.send(Waiting { until, wake }).is_ok() {
            // The thread drops nobody who waits.
            let _ = woken.await;
        }
    }
}

fn run(asked: &Receiver<Waiting>) {
    let mut due = BinaryHeap::new();
    let mut waiting = BTreeMap::new();
    let mut number = 0_u64;
    loop {
        let next = match due.peek() {
            Some(Reverse((until, _))) => asked.recv_timeout(Instant::duration_since(until, Instant::now())),
            None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Waiting { until, wake }) => {
                due.push(Reverse((until, number)));
                waiting.insert(number, wake);
                number += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while let Some(Reverse((_, number))) = due.peek().filter(|Reverse((until, _))| *until <= now).copied() {
            due.pop();
            if let Some(wake) = waiting.remove(&number) {
                // One that is gone meanwhile need not be woken.
                let _ = wake.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn nobody_is_woken_early_and_the_earliest_is_woken_first() {
        let alarm = Alarm::start().unwrap();
        let start = Instant::now();
        let at = async |ms| {
            let until = start + Duration::from_millis(ms);
            alarm.at(until).await;
            assert!(Instant::now() >= until);
            ms
        };
        assert_eq!(tokio::join!(at(30), at(10), at(0)), (30, 10, 0));
    }
}
