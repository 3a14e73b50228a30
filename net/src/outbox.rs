//! The bounded queue of frames to one peer and class.

use std::{collections::VecDeque, sync::Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    channel::{Channel, Class},
    lock,
};

/// A queue of small frames must not grow beyond this, whatever its byte limit: each costs its entry.
const MAX_FRAMES: usize = 64 * 1024;

/// Frames that wait for the stream. Pushing copies no payload: `Bytes` is shared by the queues of all peers.
pub(crate) struct Outbox {
    class: Class,
    limit_bytes: usize,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(Channel, Bytes)>,
    bytes: usize,
    closed: bool,
}

/// What a push did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Queued, and so many older frames dropped for it (control only).
    Queued { dropped: usize },
    /// Dropped: the queue is full (bulk only).
    Full,
    /// The peer is gone.
    Closed,
}

impl Outbox {
    pub(crate) fn new(class: Class, limit_bytes: usize) -> Self {
        Self { class, limit_bytes, queue: Mutex::default(), wake: Notify::new() }
    }

    pub(crate) fn push(&self, channel: Channel, frame: Bytes) -> Pushed {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Pushed::Closed;
        }
        let mut dropped = 0;
        while !queue.frames.is_empty()
            && (queue.bytes + frame.len() > self.limit_bytes || queue.frames.len() >= MAX_FRAMES)
        {
            if self.class == Class::Bulk {
                return Pushed::Full;
            }
            if let Some((_, oldest)) = queue.frames.pop_front() {
                queue.bytes -= oldest.len();
                dropped += 1;
            }
        }
        queue.bytes += frame.len();
        queue.frames.push_back((channel, frame));
        drop(queue);
        self.wake.notify_one();
        Pushed::Queued { dropped }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.queue).frames.is_empty()
    }

    /// Ends the stream once what is queued is written.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.wake.notify_one();
    }

    /// Moves frames of up to `max_bytes` (at least one) into `into`, waiting for the first. False: closed and empty.
    /// Safe to cancel: nothing is taken before it returns.
    pub(crate) async fn take(&self, into: &mut Vec<(Channel, Bytes)>, max_bytes: usize) -> bool {
        loop {
            // One writer waits at a time, and a notification with nobody waiting is kept, so none is missed.
            let woken = self.wake.notified();
            {
                let mut queue = lock(&self.queue);
                let mut taken = 0;
                while let Some((_, next)) = queue.frames.front() {
                    if taken > 0 && taken + next.len() > max_bytes {
                        break;
                    }
                    taken += next.len();
                    queue.bytes -= next.len();
                    into.extend(queue.frames.pop_front());
                }
                if !into.is_empty() {
                    return true;
                }
                if queue.closed {
                    return false;
                }
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![length as u8; length])
    }

    #[tokio::test]
    async fn a_full_control_queue_drops_the_oldest() {
        let outbox = Outbox::new(Class::Control, 100);
        assert_eq!(outbox.push(Channel::Vote, frame(40)), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(Channel::Vote, frame(41)), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(Channel::Vote, frame(42)), Pushed::Queued { dropped: 1 });
        let mut frames = Vec::new();
        assert!(outbox.take(&mut frames, 1000).await);
        assert_eq!(frames.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), [41, 42]);
    }

    #[tokio::test]
    async fn a_full_bulk_queue_drops_the_newest() {
        let outbox = Outbox::new(Class::Bulk, 100);
        assert_eq!(outbox.push(Channel::Batch, frame(60)), Pushed::Queued { dropped: 0 });
        assert_eq!(outbox.push(Channel::Batch, frame(60)), Pushed::Full);
        outbox.close();
        assert_eq!(outbox.push(Channel::Batch, frame(1)), Pushed::Closed);
        let mut frames = Vec::new();
        assert!(outbox.take(&mut frames, 1).await, "what was queued is still written");
        frames.clear();
        assert!(!outbox.take(&mut frames, 1).await);
    }

    #[tokio::test]
    async fn takes_several_frames_up_to_the_limit() {
        let outbox = Outbox::new(Class::Control, 1000);
        for _ in 0..4 {
            outbox.push(Channel::Vote, frame(40));
        }
        let mut frames = Vec::new();
        assert!(outbox.take(&mut frames, 100).await);
        assert_eq!(frames.len(), 2);
    }
}
