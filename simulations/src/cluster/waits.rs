//! What nodes wait for: syncs, and a core when a thread wakes up.

use super::{Cluster, ClusterConfig};
use crate::network::NodeIndex;
use crate::queue::Instant;
use crate::rng::{Durations, Rng};

/// Who wakes up in a node; `ARCHITECTURE.md` lists them all.
#[derive(Clone, Copy)]
pub(super) enum Thread {
    /// Reads streams.
    Reader,
    /// Checks what arrived.
    Worker,
    /// Runs the sequencer.
    Sequencer,
    /// Commits the log.
    Log,
    /// Commits batches and blocks.
    Segments,
    /// Writes streams, or answers clients.
    Writer,
}

/// How long syncs take, and the threads of all nodes, with when each is awake.
pub(super) struct Waits {
    syncs: Durations,
    wakes: Option<Durations>,
    awake: Vec<[Instant; 6]>,
}

impl Waits {
    pub(super) fn new(config: &ClusterConfig) -> Self {
        Self {
            syncs: config.sync_times.clone(),
            wakes: config.wake_times.clone(),
            awake: vec![[Instant::default(); 6]; config.nodes()],
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
