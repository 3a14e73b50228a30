//! What the executor knows about itself, shared between the follower and RPC.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Live facts about the executor.
#[derive(Debug, Default)]
pub struct Status {
    highest_known: AtomicU64,
    switches: AtomicU64,
    halted: Mutex<Option<String>>,
}

impl Status {
    /// Highest ordered height that the followed operator claims.
    pub fn highest_known(&self) -> u64 {
        self.highest_known.load(Ordering::Relaxed)
    }

    /// How often another operator had to be chosen.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Why execution stopped, if it did.
    pub fn halted(&self) -> Option<String> {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn observe(&self, highest_known: u64, switches: u64) {
        self.highest_known.store(highest_known, Ordering::Relaxed);
        self.switches.store(switches, Ordering::Relaxed);
    }

    pub(crate) fn halt(&self, reason: String) {
        *self.halted.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}
