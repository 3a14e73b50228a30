//! The driver's handle: sends go straight to the queues of the streams; the rest are commands to the network task.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use libp2p::{Multiaddr, PeerId, request_response::ResponseChannel};
use squad_types::Address;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    channel::{Channel, Class, Topic},
    counters::{NetCounters, count},
    error::{FetchError, SendError},
    event::{GossipId, Origin, Verdict},
    fetch::Response,
    lock,
    shared::{Peer, Shared},
    standing::Offence,
};

/// What the handle asks of the network task.
#[derive(Debug)]
pub(crate) enum Command {
    Publish { topic: Topic, bytes: Bytes },
    Verdict { id: GossipId, verdict: Verdict },
    Request { peer: PeerId, bytes: Bytes, reply: oneshot::Sender<Result<Bytes, FetchError>> },
    Respond { channel: ResponseChannel<Response>, response: Response },
    CommitteeChanged,
    Disconnect { peer: PeerId },
    Blame { peer: PeerId, offence: Offence, what: &'static str },
    Shutdown { done: oneshot::Sender<()> },
}

/// Whom to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This peer, bound or not.
    Peer(PeerId),
    /// The connected peer that speaks for this operator.
    Operator(Address),
}

impl From<PeerId> for Destination {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<Address> for Destination {
    fn from(operator: Address) -> Self {
        Self::Operator(operator)
    }
}

impl From<Origin> for Destination {
    fn from(origin: Origin) -> Self {
        Self::Peer(origin.peer)
    }
}

/// A connected peer, for status pages.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// The operator it speaks for.
    pub operator: Option<Address>,
    /// Whether that is a member of the committee.
    pub is_member: bool,
    /// Where it is: dialled address, or where it dialled from.
    pub address: Multiaddr,
    /// The last ping.
    pub round_trip: Option<Duration>,
    /// Penalty points now.
    pub penalty: f64,
}

/// Where a statement to the committee went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Members it was queued for directly.
    pub direct: usize,
    /// Members that are not connected.
    pub missing: usize,
    /// Whether it was gossiped for the sake of missing members that others are connected to.
    pub gossiped: bool,
}

/// The driver's handle. Cheap to clone. The network stops when [`Self::shutdown`] is called or all handles and
/// responders are gone.
#[derive(Clone)]
pub struct NetworkHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for NetworkHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetworkHandle({})", self.shared.local)
    }
}

impl NetworkHandle {
    /// This node's peer id.
    pub fn local_peer(&self) -> PeerId {
        self.shared.local
    }

    /// Where this node listens now, with real ports.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        lock(&self.shared.listening).clone()
    }

    /// Counters for metrics.
    pub fn counters(&self) -> NetCounters {
        self.shared.counters.snapshot()
    }

    /// Connected peers, those whose hello is still to come included.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let info = |peer: &Arc<Peer>| {
            let Origin { peer: id, operator } = peer.origin();
            PeerInfo {
                peer: id,
                operator,
                is_member: peer.is_member(),
                address: peer.address.clone(),
                round_trip: *lock(&peer.round_trip),
                penalty: self.penalty(&id),
            }
        };
        self.shared.all_peers().iter().map(info).collect()
    }

    /// Penalty points of a peer now; at [`crate::Scoring::ban_at`] it is banned.
    pub fn penalty(&self, peer: &PeerId) -> f64 {
        self.shared.standings.points(peer)
    }

    /// Says who may use committee channels: the union of the committees that count now. Takes effect at once.
    pub fn set_committee(&self, members: Vec<Address>) {
        self.shared.set_committee(BTreeSet::from_iter(members));
        // If the queue is full the next tick sees the change.
        let _ = self.commands.try_send(Command::CommitteeChanged);
    }

    /// Queues a message for one connected peer. It may still be lost with the connection, or dropped for newer ones
    /// when the queue is full (control), which the counters tell.
    pub fn send(&self, to: impl Into<Destination>, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        check_size(bytes.len(), channel.max_bytes())?;
        let peer = match to.into() {
            Destination::Peer(id) => self.shared.peer(&id),
            Destination::Operator(operator) => self.shared.peer_of(&operator),
        };
        self.shared.push(&*peer.ok_or(SendError::NotConnected)?, channel, bytes)
    }

    /// Queues a message for every connected member but this node. Control messages are gossiped as well if a member is
    /// missing that another member lately said it is connected to. The payload is shared, not copied per peer.
    pub fn send_committee(&self, channel: Channel, bytes: Bytes) -> Result<Sent, SendError> {
        check_size(bytes.len(), channel.max_bytes())?;
        let members: Vec<(Address, Option<PeerId>)> = lock(&self.shared.book)
            .members()
            .filter(|(operator, _)| Some(**operator) != self.shared.operator)
            .map(|(operator, entry)| (*operator, entry.map(|entry| entry.binding.peer)))
            .collect();
        let mut sent = Sent::default();
        let mut reachable_elsewhere = false;
        for (operator, id) in members {
            match id.and_then(|id| self.shared.peer(&id)) {
                // A full queue is counted; the member is connected, so gossip would not reach it better.
                Some(peer) => {
                    let _ = self.shared.push(&peer, channel, bytes.clone());
                    sent.direct += 1;
                }
                None => {
                    sent.missing += 1;
                    let elsewhere = lock(&self.shared.elsewhere).get(&operator).copied();
                    reachable_elsewhere |= elsewhere.is_some_and(|until| until > Instant::now());
                }
            }
        }
        if reachable_elsewhere && channel.class() == Class::Control {
            let mut tagged = BytesMut::with_capacity(1 + bytes.len());
            tagged.put_u8(channel.tag());
            tagged.put_slice(&bytes);
            sent.gossiped = self.publish(Topic::Committee, tagged.freeze()).is_ok();
        }
        Ok(sent)
    }

    /// Publishes to everybody. What cannot be published now (nobody subscribed yet) is counted and lost.
    pub fn gossip(&self, topic: Topic, bytes: Bytes) -> Result<(), SendError> {
        check_size(bytes.len(), topic.max_bytes())?;
        self.publish(topic, bytes)
    }

    fn publish(&self, topic: Topic, bytes: Bytes) -> Result<(), SendError> {
        self.commands.try_send(Command::Publish { topic, bytes }).map_err(|_| {
            count(&self.shared.counters.topic(topic).dropped_out);
            SendError::Busy
        })
    }

    /// Answers a gossip message. Too late, it counts as [`Verdict::Ignore`].
    pub fn verdict(&self, id: GossipId, verdict: Verdict) {
        let _ = self.commands.try_send(Command::Verdict { id, verdict });
    }

    /// Asks a connected peer. The future ends with the response, or within the request timeout.
    pub fn request<T: Into<Destination>>(
        &self,
        to: T,
        bytes: Bytes,
    ) -> impl Future<Output = Result<Bytes, FetchError>> + Send + use<T> {
        let peer = match to.into() {
            Destination::Peer(id) => self.shared.peer(&id),
            Destination::Operator(operator) => self.shared.peer_of(&operator),
        };
        let limit = self.shared.limits.request_bytes;
        let commands = self.commands.clone();
        async move {
            if bytes.len() > limit {
                return Err(FetchError::TooLarge { what: "request", limit });
            }
            let peer = peer.ok_or(FetchError::NotConnected)?.id;
            let (reply, response) = oneshot::channel();
            commands.send(Command::Request { peer, bytes, reply }).await.map_err(|_| FetchError::Closed)?;
            response.await.map_err(|_| FetchError::Closed)?
        }
    }

    /// Counts an offence against a peer, found by whoever decodes and verifies its messages; enough of them ban it.
    pub fn blame(&self, peer: PeerId, offence: Offence, what: &'static str) {
        // If the queue is full, a peer that goes on misbehaving is blamed the next time.
        let _ = self.commands.try_send(Command::Blame { peer, offence, what });
    }

    /// Closes the connections to a peer (a driver that found it useless). It may be dialled again.
    pub fn disconnect(&self, peer: PeerId) {
        let _ = self.commands.try_send(Command::Disconnect { peer });
    }

    /// Writes what is queued, within [`crate::Limits::drain_time`], closes every connection and stops. Returns when
    /// that is done.
    pub async fn shutdown(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Shutdown { done }).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

fn check_size(size: usize, limit: usize) -> Result<(), SendError> {
    match size {
        0 => Err(SendError::Empty),
        size if size > limit => Err(SendError::TooLarge { size, limit }),
        _ => Ok(()),
    }
}
