//! What the network tells its driver.

use std::sync::Arc;

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use squad_types::Address;
use tokio::sync::{
    Semaphore,
    mpsc::{self, error::TrySendError},
};

use crate::{
    channel::{Channel, Class, Topic},
    fetch::Responder,
};

/// Control events that may wait for the driver; then senders feel back-pressure.
const CONTROL_EVENTS: usize = 8192;
/// Bulk events that may wait for the driver: 64 batches are at most 64 MiB.
const BULK_EVENTS: usize = 64;
/// Bytes of control events that may wait, in units of [`UNIT`]: a queue of the largest proposals would take gigabytes.
const CONTROL_UNITS: usize = 64 * 1024;
/// 1 KiB.
const UNIT: usize = 1024;
/// Control events handed out in a row while bulk waits, so that neither starves.
const CONTROL_RUN: u32 = 64;

/// A peer, and the operator it is bound to at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The peer: authenticated by the connection.
    pub peer: PeerId,
    /// The operator that the peer speaks for; none for followers.
    pub operator: Option<Address>,
}

/// Why a peer was disconnected, and is not dialled again while its ban lasts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another network, or speaks none of this network's protocols.
    #[error("it belongs to another network ({theirs}); check the genesis file and the address")]
    ForeignNetwork {
        /// What it said of itself.
        theirs: String,
    },
    /// Its binding or its record does not verify.
    #[error("forged binding: {0}")]
    Forged(String),
    /// Another peer is bound to its operator by the same or a newer binding.
    #[error("stale binding: another peer is bound to its operator by the same or a newer binding")]
    StaleBinding,
    /// It is bound to this node's own operator.
    #[error("it runs with this node's own operator key; stop one of the two at once, or the operator signs twice")]
    OwnOperator,
    /// Another process with its operator's key is connected and may live; it is being asked.
    #[error("another process with its operator's key was connected before it; that one is asked whether it lives")]
    Contested,
    /// Another process with its operator's key was connected before it, and lives.
    #[error("another process with its operator's key was connected before it, and lives")]
    HeldElsewhere,
    /// It misbehaved; the offence that crossed the line.
    #[error("banned for misbehaviour: {0}")]
    Banned(String),
}

impl Refusal {
    /// Whether it is of one process with an operator's key, and not of the peer: both may have one network identity.
    pub(crate) fn is_of_one_process(&self) -> bool {
        matches!(self, Self::Contested | Self::HeldElsewhere)
    }
}

/// Names a gossip message until its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipId(pub(crate) u64);

/// The driver's answer to a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and new enough: forward it.
    Accept,
    /// Not forwarded, nobody blamed (old, or not to be judged now).
    Ignore,
    /// Invalid for everybody: not forwarded, and whoever forwarded it is blamed.
    Reject,
}

/// What happened.
#[derive(Debug)]
pub enum NetEvent {
    /// This node listens here (the real port where 0 was asked for).
    Listening {
        /// The address.
        address: Multiaddr,
    },
    /// A peer is ready: hellos are exchanged and `send` reaches it.
    PeerConnected {
        /// The peer.
        peer: Origin,
    },
    /// The last connection to a ready peer is gone; batches of it may still follow this event. It is dialled again if
    /// it is a member or a bootstrap peer.
    PeerDisconnected {
        /// The peer.
        peer: Origin,
    },
    /// A peer was refused and disconnected.
    PeerRefused {
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: Refusal,
    },
    /// A peer does not hear this node, since another process with this node's operator key is connected to it, which proved
    /// to live after this one had come. The peer may lie.
    HeldElsewhere {
        /// Who says so.
        by: Origin,
    },
    /// A message on a direct stream, within its size and its sender's rate; from a member where the channel asks it.
    Message {
        /// Who sent it: its author, for nothing is relayed on direct streams.
        from: Origin,
        /// The channel.
        channel: Channel,
        /// The message, not decoded.
        bytes: Bytes,
    },
    /// A message of the mesh. It is forwarded only when [`crate::NetworkHandle::verdict`] says so in time.
    Gossip {
        /// Names it for the verdict.
        id: GossipId,
        /// Who forwarded it; its author is known from its own signatures only.
        from: Origin,
        /// The topic.
        topic: Topic,
        /// For [`Topic::Committee`] the channel that it would have travelled on.
        channel: Option<Channel>,
        /// The message, not decoded.
        bytes: Bytes,
    },
    /// A request to be answered through the responder.
    Request {
        /// Who asks.
        from: Origin,
        /// The request, not decoded.
        bytes: Bytes,
        /// Takes the answer. Dropping it refuses the request.
        responder: Responder,
    },
}

impl NetEvent {
    /// Bytes of its message.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Message { bytes, .. } | Self::Gossip { bytes, .. } | Self::Request { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    fn units(&self) -> u32 {
        // No payload is near 4 TiB.
        u32::try_from(self.payload() / UNIT + 1).unwrap_or(u32::MAX)
    }
}

/// The driver's end of the events: control first, bulk in between.
#[derive(Debug)]
pub struct NetEvents {
    control: mpsc::Receiver<NetEvent>,
    bulk: mpsc::Receiver<NetEvent>,
    budget: Arc<Semaphore>,
    run: u32,
}

impl NetEvents {
    /// The next event; `None` once the network has stopped and everything is read. Safe to cancel.
    pub async fn recv(&mut self) -> Option<NetEvent> {
        if let Some(event) = self.try_recv() {
            return Some(event);
        }
        tokio::select! {
            biased;
            Some(event) = self.control.recv() => Some(self.taken(event)),
            Some(event) = self.bulk.recv() => Some(event),
            else => None,
        }
    }

    /// An event that already waits, to handle several at once.
    pub fn try_recv(&mut self) -> Option<NetEvent> {
        if self.run >= CONTROL_RUN {
            self.run = 0;
            if let Ok(event) = self.bulk.try_recv() {
                return Some(event);
            }
        }
        if let Ok(event) = self.control.try_recv() {
            self.run += 1;
            return Some(self.taken(event));
        }
        self.run = 0;
        self.bulk.try_recv().ok()
    }

    fn taken(&self, event: NetEvent) -> NetEvent {
        self.budget.add_permits(event.units() as usize);
        event
    }
}

/// The driver reads no more events.
#[derive(Debug)]
pub(crate) struct DriverGone;

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The driver will read it.
    Sent,
    /// No room now.
    Full(NetEvent),
    /// The driver reads no more.
    Gone,
}

/// The network's end of the control events, bounded by number and bytes.
#[derive(Debug, Clone)]
pub(crate) struct ControlSender {
    events: mpsc::Sender<NetEvent>,
    budget: Arc<Semaphore>,
}

impl ControlSender {
    /// Hands an event over, or gives it back.
    pub(crate) fn try_send(&self, event: NetEvent) -> Tried {
        match self.budget.try_acquire_many(event.units()) {
            Ok(room) => match self.events.try_send(event) {
                Ok(()) => {
                    // Given back when the driver takes the event.
                    room.forget();
                    Tried::Sent
                }
                Err(TrySendError::Full(event)) => Tried::Full(event),
                Err(TrySendError::Closed(_)) => Tried::Gone,
            },
            Err(_) if self.events.is_closed() => Tried::Gone,
            Err(_) => Tried::Full(event),
        }
    }

    /// Waits for room.
    pub(crate) async fn send(&self, event: NetEvent) -> Result<(), DriverGone> {
        let room = tokio::select! {
            room = self.budget.acquire_many(event.units()) => room.map_err(|_| DriverGone)?,
            () = self.events.closed() => return Err(DriverGone),
        };
        self.events.send(event).await.map_err(|_| DriverGone)?;
        room.forget();
        Ok(())
    }

    /// Waits until an event of any size may be tried again.
    pub(crate) async fn room(&self) -> Result<(), DriverGone> {
        tokio::select! {
            room = self.events.reserve() => room.map(drop).map_err(|_| DriverGone)?,
            () = self.events.closed() => return Err(DriverGone),
        }
        // As much as the largest event takes.
        let largest = u32::try_from(Topic::Headers.max_bytes() / UNIT + 2).unwrap_or(u32::MAX);
        tokio::select! {
            room = self.budget.acquire_many(largest) => room.map(drop).map_err(|_| DriverGone),
            () = self.events.closed() => Err(DriverGone),
        }
    }
}

/// The network's end of the events.
#[derive(Debug, Clone)]
pub(crate) struct EventSenders {
    pub(crate) control: ControlSender,
    pub(crate) bulk: mpsc::Sender<NetEvent>,
}

impl EventSenders {
    /// Hands over a message, waiting for room: that slows its sender down. True: it had to wait.
    pub(crate) async fn message(&self, class: Class, event: NetEvent) -> Result<bool, DriverGone> {
        let tried = match class {
            Class::Control => self.control.try_send(event),
            Class::Bulk => match self.bulk.try_send(event) {
                Ok(()) => Tried::Sent,
                Err(TrySendError::Full(event)) => Tried::Full(event),
                Err(TrySendError::Closed(_)) => Tried::Gone,
            },
        };
        let event = match tried {
            Tried::Sent => return Ok(false),
            Tried::Gone => return Err(DriverGone),
            Tried::Full(event) => event,
        };
        match class {
            Class::Control => self.control.send(event).await?,
            Class::Bulk => self.bulk.send(event).await.map_err(|_| DriverGone)?,
        }
        Ok(true)
    }
}

pub(crate) fn event_channel() -> (EventSenders, NetEvents) {
    let (events, control) = mpsc::channel(CONTROL_EVENTS);
    let (bulk_sender, bulk) = mpsc::channel(BULK_EVENTS);
    let budget = Arc::new(Semaphore::new(CONTROL_UNITS));
    let senders = EventSenders { control: ControlSender { events, budget: budget.clone() }, bulk: bulk_sender };
    (senders, NetEvents { control, bulk, budget, run: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(class: Class, length: usize) -> NetEvent {
        let channel = if class == Class::Bulk { Channel::Batch } else { Channel::Proposal };
        let from = Origin { peer: PeerId::random(), operator: None };
        NetEvent::Message { from, channel, bytes: vec![0; length].into() }
    }

    #[tokio::test]
    async fn waiting_control_events_are_bounded_by_bytes() {
        let (senders, mut events) = event_channel();
        let mut queued = 0;
        while let Tried::Sent = senders.control.try_send(message(Class::Control, 1024 * 1024)) {
            queued += 1;
        }
        assert!((60..=64).contains(&queued), "{queued} MiB wait");
        assert!(events.recv().await.is_some());
        assert!(matches!(senders.control.try_send(message(Class::Control, 1024 * 1024)), Tried::Sent));
        drop(events);
        assert!(senders.control.send(message(Class::Control, 1)).await.is_err());
        assert!(senders.control.room().await.is_err());
    }

    #[tokio::test]
    async fn neither_class_starves() {
        let (senders, mut events) = event_channel();
        for _ in 0..200 {
            assert!(!senders.message(Class::Control, message(Class::Control, 1)).await.unwrap());
        }
        assert!(!senders.message(Class::Bulk, message(Class::Bulk, 1)).await.unwrap());
        let position =
            (0..201).position(|_| matches!(events.try_recv(), Some(NetEvent::Message { channel: Channel::Batch, .. })));
        assert_eq!(position, Some(CONTROL_RUN as usize));
    }
}
