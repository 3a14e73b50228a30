//! What nodes wait for: syncs, and a core when a thread wakes up.

use super::{Cluster, ClusterConfig, Event, Work};
use crate::network::NodeIndex;
use crate::queue::Instant;
use crate::rng::{Durations, Rng};

/// Who wakes up in a node; `ARCHITECTURE.md` lists them all.
#[derive(Clone, Copy)]
pub(super) enum Thread {
    /// Reads streams, and what clients send.
    Reader,
    /// Checks what arrived.
    Worker,
    /// Runs the sequencer.
    Sequencer,
    /// Commits the log.
    Log,
    /// Commits batches and blocks.
    Segments,
    /// Tells who waits for a transaction.
    Results,
    /// Writes streams, and answers to clients.
    Writer,
}

const THREADS: usize = Thread::Writer as usize + 1;

/// How long syncs take, and the threads of all nodes, with when each is awake.
pub(super) struct Waits {
    syncs: Durations,
    wakes: Option<Durations>,
    awake: Vec<[Instant; THREADS]>,
}

impl Waits {
    pub(super) fn new(config: &ClusterConfig) -> Self {
        Self {
            syncs: config.sync_times.clone(),
            wakes: config.wake_times.clone(),
            awake: vec![[Instant::default(); THREADS]; config.nodes()],
        }
    }

    pub(super) fn sync(&self, rng: &mut Rng) -> u64 {
        self.syncs.draw(rng)
    }

    /// When a thread runs that has something to do from then on. It waits once for all that comes until it runs.
    fn wake(&mut self, node: NodeIndex, thread: Thread, from: Instant, rng: &mut Rng) -> Instant {
        let Some(wakes) = &self.wakes else { return from };
        let awake = &mut self.awake[node][thread as usize];
        if *awake <= from {
            *awake = from.plus(wakes.draw(rng));
        }
        *awake
    }
}

impl Cluster {
    /// A client's work for a node's thread, once it is read.
    pub(super) fn hear_client(&mut self, node: NodeIndex, work: Work) {
        let at = self.wake(node, Thread::Reader, self.now);
        if at > self.now {
            self.queue.push(at, Event::Work { node, work });
        } else {
            self.run_on(node, work);
        }
    }

    /// When a node's thread runs that has something to do from then on, and did not run before.
    pub(super) fn wake(&mut self, node: NodeIndex, thread: Thread, from: Instant) -> Instant {
        self.waits.wake(node, thread, from, &mut self.rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_waits_once_for_all_that_comes_until_it_runs() {
        let config = ClusterConfig { wake_times: Some(Durations::Even(30, 0)), ..ClusterConfig::equal(1, 2) };
        let mut waits = Waits::new(&config);
        let mut rng = Rng::new(1);
        let mut at = |node, thread, from| waits.wake(node, thread, Instant(from), &mut rng).0;
        assert_eq!([at(0, Thread::Reader, 100), at(0, Thread::Reader, 129)], [130, 130]);
        assert_eq!(at(0, Thread::Reader, 130), 160, "it slept again");
        assert_eq!([at(0, Thread::Writer, 110), at(1, Thread::Reader, 120)], [140, 150], "each for itself");
    }
}
