//! The way to the thread that owns the sequencer: a queue, bounded by permits a class of input.

use crate::api::Answers;
use squad_sequencer::Input;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::facts::Facts;
use super::submit::Prepared;

/// Statements, requests and answers that may wait: some heights of a committee of a hundred.
const CONTROL: usize = 8_192;
/// Batches that may wait, of half a megabyte each at most.
const BULK: usize = 128;
/// Transactions of clients that may wait, in all: a quarter of a second at a hundred thousand a second.
const SUBMISSIONS: usize = 32_768;

/// What the thread is given.
pub(crate) enum Event {
    /// An input of the sequencer.
    Input(Box<Input>, Option<OwnedSemaphorePermit>),
    /// Transactions of a client.
    Submit(Vec<Prepared>, Answers, OwnedSemaphorePermit),
    /// Something became durable; how far is in the marks.
    Durable,
    /// The disk failed: nothing may leave any more.
    Failed(String),
    /// Somebody asks for the node's condition.
    Ask(oneshot::Sender<Box<Facts>>),
    /// Write what is queued, and end.
    Stop,
}

/// How much room an event takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Small.
    Control,
    /// A batch.
    Bulk,
}

/// The senders' end. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inbox {
    events: Sender<Event>,
    control: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    submissions: Arc<Semaphore>,
}

impl Inbox {
    pub(crate) fn new() -> (Self, Receiver<Event>) {
        let (events, receiver) = channel();
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let inbox =
            Self { events, control: semaphore(CONTROL), bulk: semaphore(BULK), submissions: semaphore(SUBMISSIONS) };
        (inbox, receiver)
    }

    /// Waits for room.
    pub(crate) async fn room(&self, room: Room) -> Option<OwnedSemaphorePermit> {
        let semaphore = match room {
            Room::Control => &self.control,
            Room::Bulk => &self.bulk,
        };
        // Never closed.
        Arc::clone(semaphore).acquire_owned().await.ok()
    }

    /// Hands an input over, with the room it takes.
    pub(crate) fn input(&self, input: Input, room: Option<OwnedSemaphorePermit>) {
        self.event(Event::Input(Box::new(input), room));
    }

    /// Hands transactions over, once there is room for them.
    pub(crate) async fn submit(&self, prepared: Vec<Prepared>, answers: Answers) {
        let count = u32::try_from(prepared.len().clamp(1, SUBMISSIONS)).unwrap_or(1);
        if let Ok(permit) = Arc::clone(&self.submissions).acquire_many_owned(count).await {
            self.event(Event::Submit(prepared, answers, permit));
        }
    }

    /// Hands over what takes no room: it is rare, or one is as good as many.
    pub(crate) fn event(&self, event: Event) {
        // After the end nobody listens, and nothing matters any more.
        let _ = self.events.send(event);
    }

    /// The node's condition; none after the end.
    pub(crate) async fn facts(&self) -> Option<Box<Facts>> {
        let (reply, facts) = oneshot::channel();
        self.event(Event::Ask(reply));
        facts.await.ok()
    }
}
