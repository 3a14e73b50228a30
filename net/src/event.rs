//! What the network tells its driver.

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use squad_types::Address;
use tokio::sync::mpsc;

use crate::{
    channel::{Channel, Topic},
    fetch::Responder,
};

/// Control events that may wait for the driver; then senders feel back-pressure.
const CONTROL_EVENTS: usize = 8192;
/// Bulk events that may wait for the driver: 64 batches are at most 64 MiB.
const BULK_EVENTS: usize = 64;
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
    /// It misbehaved; the offence that crossed the line.
    #[error("banned for misbehaviour: {0}")]
    Banned(String),
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

/// The driver's end of the events: control first, bulk in between.
#[derive(Debug)]
pub struct NetEvents {
    control: mpsc::Receiver<NetEvent>,
    bulk: mpsc::Receiver<NetEvent>,
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
            Some(event) = self.control.recv() => Some(event),
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
            return Some(event);
        }
        self.run = 0;
        self.bulk.try_recv().ok()
    }
}

/// The network's end of the events.
#[derive(Debug, Clone)]
pub(crate) struct EventSenders {
    pub(crate) control: mpsc::Sender<NetEvent>,
    pub(crate) bulk: mpsc::Sender<NetEvent>,
}

pub(crate) fn event_channel() -> (EventSenders, NetEvents) {
    let (control, control_events) = mpsc::channel(CONTROL_EVENTS);
    let (bulk, bulk_events) = mpsc::channel(BULK_EVENTS);
    (EventSenders { control, bulk }, NetEvents { control: control_events, bulk: bulk_events, run: 0 })
}
