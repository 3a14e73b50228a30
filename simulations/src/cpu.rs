//! A node's processor: workers that check what arrives, one thread that runs the sequencer, and what each thing costs.

use crate::cluster::Work;
use crate::keys::RunSigner;
use crate::packet::{Kind, Parcel};
use crate::queue::Instant;
use squad_types::{Address, Signature, Signer, SigningDigest, Verifier};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What things cost, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostTable {
    /// One signature.
    pub sign: u64,
    /// Checking one signature.
    pub verify: u64,
    /// Hashing 1,024 bytes for every purpose that a batch's payload is hashed for.
    pub hash_kib: u64,
    /// Reading and decoding a message, and handing it over.
    pub receive: u64,
    /// Sending a message to one peer.
    pub send: u64,
    /// Handling a vote or an ack.
    pub statement: u64,
    /// Handling anything else.
    pub other: u64,
    /// What the program around takes for a message that arrives, beyond all of these, on a lightly loaded machine: threads and
    /// tasks that wake up for it, the network's framing and encryption, calls of the system.
    pub driver: u64,
}

impl CostTable {
    /// As measured on one machine of this project, by its benches: signatures 24 and 35 µs; a payload is hashed once by
    /// blake3 and once by sha256; a vote 1.7 µs in agreement and as much around it.
    pub fn measured() -> Self {
        Self {
            sign: 24_000,
            verify: 35_000,
            hash_kib: 750,
            receive: 7_000,
            send: 7_000,
            statement: 3_500,
            other: 8_000,
            driver: 0,
        }
    }

    fn handling(&self, kind: Option<Kind>) -> u64 {
        match kind {
            Some(Kind::Vote | Kind::Ack) => self.statement,
            Some(_) => self.other,
            None => self.other / 4,
        }
    }
}

/// How much was signed and verified.
#[derive(Debug, Default)]
pub struct Counter {
    signed: AtomicU64,
    verified: AtomicU64,
}

impl Counter {
    fn take(&self) -> (u64, u64) {
        (self.signed.swap(0, Ordering::Relaxed), self.verified.swap(0, Ordering::Relaxed))
    }
}

/// A signer that counts.
pub struct CountingSigner(pub RunSigner, pub Arc<Counter>);

impl Signer for CountingSigner {
    fn address(&self) -> Address {
        self.0.address()
    }

    fn sign(&self, digest: &SigningDigest) -> Signature {
        self.1.signed.fetch_add(1, Ordering::Relaxed);
        self.0.sign(digest)
    }
}

/// A verifier that counts.
pub struct CountingVerifier(pub &'static dyn Verifier, pub Arc<Counter>);

impl Verifier for CountingVerifier {
    fn verify(&self, digest: &SigningDigest, signer: &Address, signature: &Signature) -> bool {
        self.1.verified.fetch_add(1, Ordering::Relaxed);
        self.0.verify(digest, signer, signature)
    }
}

/// The cores of a machine on which several nodes run, each with when it is free.
#[derive(Clone, Debug)]
pub(crate) struct Cores(Arc<Mutex<Vec<Instant>>>);

impl Cores {
    pub(crate) fn new(cores: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Instant::default(); cores.max(1)])))
    }

    /// When work is done that may begin then: it waits for a core.
    fn run(&self, from: Instant, micros: u64) -> Instant {
        let mut cores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(core) = cores.iter_mut().min() else { return from.plus(micros) };
        *core = (*core).max(from).plus(micros);
        *core
    }
}

/// One node's processor.
pub(crate) struct Cpu {
    costs: CostTable,
    /// Those of the machine, if the node shares it with others.
    shared: Option<Cores>,
    workers: Vec<Instant>,
    /// The sequencer's thread is busy until then.
    pub(crate) busy_until: Instant,
    /// What waits for that thread.
    pub(crate) inbox: VecDeque<Work>,
    pub(crate) called: bool,
    pub(crate) counter: Arc<Counter>,
    /// How many times slower than the table says, in percent; 100 is as the table says.
    pub(crate) percent: u64,
    /// Nanoseconds of all its work.
    pub(crate) used: u64,
    pub(crate) most_waiting: usize,
    /// Nanoseconds that rounding to microseconds has left over.
    rest: u64,
}

impl Cpu {
    pub(crate) fn new(costs: CostTable, cores: usize, shared: Option<Cores>, counter: Arc<Counter>) -> Self {
        // One core is the sequencer's; the driver starts at least two workers.
        Self {
            costs,
            shared,
            workers: vec![Instant::default(); cores.saturating_sub(1).max(1)],
            busy_until: Instant::default(),
            inbox: VecDeque::new(),
            called: false,
            counter,
            percent: 100,
            used: 0,
            most_waiting: 0,
            rest: 0,
        }
    }

    fn micros(&mut self, nanos: u64) -> u64 {
        let nanos = nanos * self.percent / 100;
        self.used += nanos;
        let total = nanos + self.rest;
        self.rest = total % 1_000;
        total / 1_000
    }

    /// Whether a worker sleeps then.
    pub(crate) fn has_idle_worker(&self, now: Instant) -> bool {
        self.workers.iter().any(|until| *until <= now)
    }

    /// When a worker is done with a parcel that arrives now.
    pub(crate) fn check(&mut self, now: Instant, parcel: &Parcel, signatures: u32) -> Instant {
        let hashed = if parcel.bytes > 1_024 { u64::from(parcel.bytes) * self.costs.hash_kib / 1_024 } else { 0 };
        let cost =
            self.micros(self.costs.receive + self.costs.driver + u64::from(signatures) * self.costs.verify + hashed);
        let Some(worker) = self.workers.iter_mut().min() else { return now };
        *worker = run(self.shared.as_ref(), (*worker).max(now), cost);
        *worker
    }

    /// When the sequencer's thread is done with an input that it takes now, which made it send so many messages.
    pub(crate) fn handle(&mut self, now: Instant, kind: Option<Kind>, sent: usize) -> Instant {
        let (signed, verified) = self.counter.take();
        let statements = signed * self.costs.sign + verified * self.costs.verify;
        let cost = self.micros(self.costs.handling(kind) + statements + sent as u64 * self.costs.send / 4);
        self.busy_until = run(self.shared.as_ref(), self.busy_until.max(now), cost);
        self.busy_until
    }

    pub(crate) fn crash(&mut self) {
        self.inbox.clear();
        self.counter.take();
    }
}

/// When a thread that can begin then is done.
fn run(shared: Option<&Cores>, from: Instant, micros: u64) -> Instant {
    shared.map_or_else(|| from.plus(micros), |cores| cores.run(from, micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_share_a_machine_wait_for_its_cores() {
        let cores = Cores::new(2);
        let done: Vec<u64> = (0..5).map(|_| cores.run(Instant(100), 10).0).collect();
        assert_eq!(done, [110, 110, 120, 120, 130]);
        assert_eq!(cores.run(Instant(500), 10), Instant(510));
        assert_eq!(run(None, Instant(100), 10), Instant(110));
    }
}
