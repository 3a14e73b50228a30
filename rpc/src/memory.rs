//! What requests under way and answers that wait for their clients may hold together.

use crate::refusal;
use jsonrpsee::types::ErrorObjectOwned;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A server's memory for requests and answers.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    room: Arc<Semaphore>,
    bytes: usize,
}

/// A share of it, given back when dropped.
pub(crate) type Held = OwnedSemaphorePermit;

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// Takes a share without waiting: who would wait holds already what the share is for.
    ///
    /// # Errors
    /// The refusal for the client, if there is not as much left.
    pub(crate) fn hold(&self, bytes: usize) -> Result<Held, ErrorObjectOwned> {
        let share = u32::try_from(bytes).ok().and_then(|bytes| self.room.clone().try_acquire_many_owned(bytes).ok());
        share.ok_or_else(|| {
            refusal::exceeded(format!(
                "the server's memory for requests and answers ({} bytes) is taken up; take the answers that wait for you, and \
                 try again",
                self.bytes
            ))
        })
    }
}
