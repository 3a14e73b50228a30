//! A few threads that check signatures, so that the sequencer's own thread does not.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::inbox::Room;

/// More threads than this find nothing to do: a quarter of them checks what one sequencer can take.
const MAX_WORKERS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Jobs {
    control: VecDeque<Job>,
    bulk: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        // A job that panics does so outside the lock.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut jobs = self.lock();
            let job = loop {
                if let Some(job) = jobs.control.pop_front().or_else(|| jobs.bulk.pop_front()) {
                    break job;
                }
                if jobs.closed {
                    return;
                }
                jobs = self.wake.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            };
            drop(jobs);
            job();
        }
    }
}

/// The threads. What they are given is bounded by the room that each job holds in the inbox.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(crate) fn start() -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, MAX_WORKERS);
        let shared = Arc::new(Shared::default());
        let spawn = |number| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("squad-verify-{number}")).spawn(move || shared.work())
        };
        let threads = (0..count).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Queues a job; small ones go first.
    pub(crate) fn run(&self, room: Room, job: impl FnOnce() + Send + 'static) {
        let mut jobs = self.shared.lock();
        match room {
            Room::Control => jobs.control.push_back(Box::new(job)),
            Room::Bulk => jobs.bulk.push_back(Box::new(job)),
        }
        drop(jobs);
        self.shared.wake.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // The last one to hold the workers may be a worker.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread that checks signatures panicked");
            }
        }
    }
}
