//! What the handle, the network task and the stream tasks share.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use squad_types::{Address, NetworkId};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    binding::{BindingCheck, Book, Learned, check_hello},
    channel::{Channel, Class},
    config::Limits,
    counters::{Counters, count, count_many},
    error::SendError,
    event::{EventSenders, Origin, Refusal},
    hello::{Away, Hello},
    lock,
    outbox::{Outbox, Pushed},
    session::{Process, Sessions},
    standing::{Offence, Standing, Standings},
};

/// One connected peer.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) standing: Arc<Mutex<Standing>>,
    /// Where it is, as its first connection says.
    pub(crate) address: Multiaddr,
    pub(crate) round_trip: Mutex<Option<Duration>>,
    pub(crate) outboxes: [Outbox; 2],
    operator: Mutex<Option<Address>>,
    member: AtomicBool,
}

impl Peer {
    pub(crate) fn origin(&self) -> Origin {
        Origin { peer: self.id, operator: *lock(&self.operator) }
    }

    pub(crate) fn is_member(&self) -> bool {
        self.member.load(Relaxed)
    }

    pub(crate) fn outbox(&self, class: Class) -> &Outbox {
        &self.outboxes[class.index()]
    }
}

/// How a stream task ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The stream or its connection closed, or it broke.
    Closed(String),
    /// The peer may not stay.
    Refused(Refusal),
}

/// What stream tasks tell the network task.
#[derive(Debug)]
pub(crate) enum Internal {
    /// An outbound stream was answered.
    Answered { peer: PeerId, connection: ConnectionId, class: Class },
    /// A stream task ended.
    Ended { peer: PeerId, connection: ConnectionId, class: Class, outbound: bool, end: End },
    /// The book of bindings changed.
    BookChanged,
    /// A peer's hello was taken on that connection.
    Entered { peer: PeerId, connection: ConnectionId },
    /// A peer does not hear this node, for another process with its key.
    TurnedAway { peer: PeerId, connection: ConnectionId, away: Away },
    /// A bootstrap name was looked up.
    Resolved { index: usize, addresses: Vec<Multiaddr> },
    /// A check made elsewhere failed.
    Misbehaved { peer: PeerId, offence: Offence, detail: String },
}

/// The shared state. Locks are held for look-ups only, in the order book, sessions, peers.
pub(crate) struct Shared {
    pub(crate) network: NetworkId,
    pub(crate) local: PeerId,
    pub(crate) operator: Option<Address>,
    pub(crate) binding: Option<Bytes>,
    pub(crate) check: BindingCheck,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) standings: Arc<Standings>,
    pub(crate) book: Mutex<Book>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) peers: RwLock<HashMap<PeerId, Arc<Peer>>>,
    /// The own signed record of addresses.
    pub(crate) record: Mutex<Option<Bytes>>,
    pub(crate) listening: Mutex<Vec<Multiaddr>>,
    /// Members that others lately said they are connected to, and until when that is believed.
    pub(crate) elsewhere: Mutex<HashMap<Address, Instant>>,
    pub(crate) events: EventSenders,
    pub(crate) internal: mpsc::Sender<Internal>,
}

impl Shared {
    pub(crate) fn peer(&self, id: &PeerId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn all_peers(&self) -> Vec<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A connected peer by its operator.
    pub(crate) fn peer_of(&self, operator: &Address) -> Option<Arc<Peer>> {
        let id = lock(&self.book).peer_of(operator)?;
        self.peer(&id)
    }

    pub(crate) fn origin(&self, id: &PeerId) -> Origin {
        let operator = lock(&self.book).operator_of(id);
        Origin { peer: *id, operator }
    }

    pub(crate) fn add_peer(&self, id: PeerId, address: Multiaddr) -> Arc<Peer> {
        let (operator, member) = {
            let book = lock(&self.book);
            (book.operator_of(&id), book.is_member(&id))
        };
        let limits = [self.limits.control_queue_bytes, self.limits.bulk_queue_bytes];
        let peer = Arc::new(Peer {
            id,
            standing: self.standings.of(&id),
            address,
            round_trip: Mutex::default(),
            outboxes: Class::ALL.map(|class| Outbox::new(class, limits[class.index()])),
            // A former binding holds: the connection proves the peer id.
            operator: Mutex::new(operator),
            member: AtomicBool::new(member),
        });
        self.peers.write().unwrap_or_else(PoisonError::into_inner).insert(id, peer.clone());
        peer
    }

    pub(crate) fn remove_peer(&self, id: &PeerId) {
        let removed = self.peers.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(peer) = removed {
            peer.outboxes.iter().for_each(Outbox::close);
        }
        lock(&self.book).forget_stranger(id);
    }

    /// Brings what each connected peer may do in line with the book.
    fn refresh(&self, book: &Book) {
        for peer in self.peers.read().unwrap_or_else(PoisonError::into_inner).values() {
            *lock(&peer.operator) = book.operator_of(&peer.id);
            peer.member.store(book.is_member(&peer.id), Relaxed);
        }
    }

    pub(crate) fn set_committee(&self, committee: BTreeSet<Address>) {
        let mut book = lock(&self.book);
        book.set_committee(committee);
        self.refresh(&book);
    }

    pub(crate) fn is_own_committee(&self) -> bool {
        self.operator.is_some_and(|operator| lock(&self.book).committee().contains(&operator))
    }

    /// Checks what a peer says of itself, and remembers it.
    pub(crate) fn register(&self, peer: &Peer, connection: ConnectionId, hello: &Hello) -> Result<(), Refusal> {
        if hello.network != self.network {
            return Err(Refusal::ForeignNetwork { theirs: format!("{:?}", hello.network) });
        }
        let entry = check_hello(hello, &peer.id, &self.book, &self.check)
            .map_err(|error| Refusal::Forged(error.to_string()))?;
        let Some(entry) = entry else { return Ok(()) };
        if Some(entry.binding.operator) == self.operator {
            return Err(Refusal::OwnOperator);
        }
        let operator = entry.binding.operator;
        let process = Process { peer: peer.id, issued: entry.binding.issued };
        let mut book = lock(&self.book);
        let mut sessions = lock(&self.sessions);
        sessions.admits(&operator, process, Instant::now())?;
        if let Learned::Stale = book.learn(entry) {
            return Err(Refusal::StaleBinding);
        }
        sessions.enter(operator, process, connection);
        drop(sessions);
        self.refresh(&book);
        Ok(())
    }

    /// Takes a checked entry that somebody else told, unless another peer speaks for that operator here and now.
    pub(crate) fn learn(&self, entry: crate::binding::Entry) {
        let mut book = lock(&self.book);
        if lock(&self.sessions).is_others(&entry.binding.operator, &entry.binding.peer) {
            return;
        }
        book.learn(entry);
        self.refresh(&book);
    }

    pub(crate) fn push(&self, peer: &Peer, channel: Channel, frame: Bytes) -> Result<(), SendError> {
        match peer.outbox(channel.class()).push(channel, frame) {
            Pushed::Queued { dropped } => {
                if dropped > 0 {
                    count_many(&self.counters.channel(channel).dropped_out, dropped);
                }
                Ok(())
            }
            Pushed::Full => {
                count(&self.counters.channel(channel).dropped_out);
                Err(SendError::QueueFull)
            }
            Pushed::Closed => Err(SendError::NotConnected),
        }
    }

    /// Counts an offence. `Some`: the peer is banned from now on and must be disconnected.
    pub(crate) fn penalize(&self, standing: &Mutex<Standing>, offence: Offence, detail: &str) -> Option<Refusal> {
        count(&self.counters.offences);
        self.standings.penalize(standing, offence).then(|| Refusal::Banned(format!("{offence:?}: {detail}")))
    }

    /// Remembers that `operator` is reachable through somebody else.
    pub(crate) fn heard_elsewhere(&self, operator: Address) {
        // Two rounds of peer exchange without word mean that it is gone.
        let until = Instant::now().checked_add(self.limits.exchange_interval * 2 + Duration::from_secs(1));
        if let Some(until) = until {
            lock(&self.elsewhere).insert(operator, until);
        }
    }

    /// The own hello for a stream of `class`.
    pub(crate) fn hello(&self, class: Class) -> Hello {
        Hello { class, network: self.network, binding: self.binding.clone(), record: lock(&self.record).clone() }
    }
}
