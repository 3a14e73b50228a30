//! What the network task does about connections, streams and who is refused.

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId, identify, ping,
    swarm::{ConnectionId, ListenError, SwarmEvent},
};
use tokio::time::Instant;

use crate::{
    channel::Class,
    counters::count,
    direct::{read_stream, write_stream},
    event::{NetEvent, Refusal},
    hello::Away,
    link::{Connection, Link, State},
    lock,
    network::NetworkTask,
    shared::{End, Internal},
    standing::{Offence, Rated},
    streams::{StreamEvent, StreamOutcome},
    swarm::{BehaviourEvent, protocol_version},
};

/// Unanswered hellos in a row after which the connection is given up.
const MAX_STREAM_FAILURES: u32 = 5;
/// A foreign peer is not an enemy: its operator may mend its configuration soon.
const FOREIGN_BAN: Duration = Duration::from_secs(30);
/// A foreign peer is disconnected a little later, so that its operator is told as well.
const FOREIGN_GRACE: Duration = Duration::from_secs(1);
/// The same for a second process with an operator's key.
const AWAY_GRACE: Duration = Duration::from_secs(1);
/// What a foreign peer may say of itself in an event.
const MAX_NAME: usize = 80;

impl NetworkTask {
    pub(crate) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(event)) => self.on_stream(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Fetch(event)) => self.on_fetch(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                count(&self.shared.counters.connections);
                lock(&self.shared.sessions).opened(connection_id);
                let since = Instant::now();
                let dialed = endpoint.is_dialer();
                let connection = Connection { id: connection_id, dialed, since, state: State::Good };
                self.on_connected(peer_id, connection, endpoint.get_remote_address().clone());
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                count(&self.shared.counters.disconnections);
                lock(&self.shared.sessions).closed(connection_id);
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, peer_id } => {
                count(&self.shared.counters.dials_failed);
                tracing::debug!(?peer_id, %error, "dial failed");
                self.dialer.failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error: ListenError::Denied { cause }, .. } => {
                count(&self.shared.counters.connections_denied);
                tracing::debug!(%send_back_addr, %cause, "connection denied");
            }
            SwarmEvent::NewListenAddr { address, .. } => self.listens(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listens_no_more(&address),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "no longer listening");
                addresses.iter().for_each(|address| self.listens_no_more(address));
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener failed once"),
            _ => {}
        }
    }

    fn on_connected(&mut self, id: PeerId, connection: Connection, address: Multiaddr) {
        self.dialer.established(connection.id, id);
        if let Some(link) = self.links.get_mut(&id) {
            if let Some(loser) = link.add(&self.shared.local, connection) {
                self.swarm.close_connection(loser);
            }
        } else {
            let peer = self.shared.add_peer(id, address);
            self.links.insert(id, Link::new(peer, connection));
        }
        self.open_streams(&id);
    }

    fn on_closed(&mut self, id: PeerId, connection: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.remove(connection) {
            self.open_streams(&id);
            return;
        }
        let (announced, origin) = (link.announced, link.peer.origin());
        if let Some(link) = self.links.remove(&id) {
            // At most one of each peer: those of its last visit end now.
            self.last_words.insert(id, link.leave(Instant::now() + self.shared.limits.drain_time));
        }
        self.shared.remove_peer(&id);
        self.dialer.disconnected(&id);
        if announced {
            self.emit(NetEvent::PeerDisconnected { peer: origin });
        }
    }

    pub(crate) fn open_streams(&mut self, id: &PeerId) {
        let closing = self.closing.is_some();
        let due = self.links.get_mut(id).map(|link| link.take_due(closing)).unwrap_or_default();
        for (connection, class) in due {
            self.swarm.behaviour_mut().streams.open(*id, connection, class);
        }
    }

    fn on_stream(&mut self, event: StreamEvent) {
        let StreamEvent { peer: id, connection, what } = event;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.refused.is_none()) else { return };
        match what {
            StreamOutcome::Outbound(class, stream) if link.wants(connection, class) => {
                let task = write_stream(stream, class, connection, link.peer.clone(), self.shared.clone());
                link.running(connection, class, self.tasks.spawn(task));
            }
            // The connection lost against another meanwhile.
            StreamOutcome::Outbound(..) => {}
            StreamOutcome::Inbound(class, stream) => {
                if !self.shared.standings.allow(&link.peer.standing, Rated::StreamOpened, 0) {
                    self.blame(&id, Offence::Greedy, "streams opened too often");
                    return;
                }
                let task = read_stream(stream, class, connection, link.peer.clone(), self.shared.clone());
                link.reading(class, self.tasks.spawn(task));
            }
            StreamOutcome::Unsupported => {
                let theirs = "it speaks none of this network's protocols".into();
                self.refuse(&id, Refusal::ForeignNetwork { theirs });
            }
            StreamOutcome::Failed(class, reason) => self.stream_failed(id, connection, class, &reason),
        }
    }

    fn stream_failed(&mut self, id: PeerId, connection: ConnectionId, class: Class, reason: &str) {
        let back_off = self.back_off;
        let Some(link) = self.links.get_mut(&id) else { return };
        let rng = &mut self.rng;
        let Some(failures) = link.failed(connection, class, |failures| back_off.pause(failures, rng)) else { return };
        if self.closing.is_some() {
            return;
        }
        count(&self.shared.counters.streams_failed);
        tracing::debug!(peer = %id, class = class.name(), reason, failures, "direct stream ended");
        if failures >= MAX_STREAM_FAILURES {
            // The connection seems useless; dialling anew may help.
            self.swarm.close_connection(connection);
        }
    }

    pub(crate) fn on_internal(&mut self, word: Internal) {
        match word {
            Internal::Answered { peer, connection, class } => {
                count(&self.shared.counters.streams_opened);
                let Some(link) = self.links.get_mut(&peer) else { return };
                if link.answered(connection, class) && class == Class::Control && !link.announced {
                    link.announced = true;
                    let origin = link.peer.origin();
                    self.dialer.healthy(&peer);
                    self.emit(NetEvent::PeerConnected { peer: origin });
                    self.on_book_changed();
                    self.ask(peer);
                }
            }
            Internal::Ended { peer, connection, end: End::Refused(refusal), .. } if refusal.is_of_one_process() => {
                self.turn_away(&peer, connection, refusal);
            }
            Internal::Ended { peer, end: End::Refused(refusal), .. } => self.refuse(&peer, refusal),
            Internal::Ended { peer, connection, class, outbound, end: End::Closed(reason) } => {
                if outbound {
                    self.stream_failed(peer, connection, class, &reason);
                } else {
                    tracing::trace!(%peer, class = class.name(), reason, "inbound stream ended");
                }
            }
            Internal::BookChanged => self.on_book_changed(),
            Internal::Entered { peer, connection } => {
                if let Some(loser) = self.links.get_mut(&peer).and_then(|link| link.entered(connection)) {
                    self.swarm.close_connection(loser);
                }
                self.open_streams(&peer);
                self.on_book_changed();
            }
            Internal::TurnedAway { peer, connection, away } => {
                self.dialer.turned_away(&peer);
                if let Some(link) = self.links.get_mut(&peer) {
                    link.turn_away(connection, Instant::now() + AWAY_GRACE);
                }
                tracing::warn!(%peer, ?away, "a peer hears another process with this operator's key");
                if away == Away::HeldElsewhere {
                    let by = self.shared.origin(&peer);
                    self.emit(NetEvent::HeldElsewhere { by });
                }
            }
            Internal::Resolved { index, addresses } => {
                self.dialer.resolved(index, addresses);
                self.dial();
            }
            Internal::Misbehaved { peer, offence, detail } => self.blame(&peer, offence, &detail),
        }
    }

    fn on_ping(&mut self, event: ping::Event) {
        match event.result {
            Ok(round_trip) => {
                if let Some(sent) = Instant::now().checked_sub(round_trip) {
                    lock(&self.shared.sessions).lives(event.connection, sent);
                }
                if let Some(link) = self.links.get(&event.peer) {
                    *lock(&link.peer.round_trip) = Some(round_trip);
                }
            }
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                self.swarm.close_connection(event.connection);
            }
            Err(ping::Failure::Unsupported) => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        if info.protocol_version != protocol_version(&self.shared.network) {
            let theirs = info.protocol_version.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
            self.refuse(&peer_id, Refusal::ForeignNetwork { theirs });
        }
    }

    /// Counts an offence, and refuses the peer if it was one too many.
    pub(crate) fn blame(&mut self, id: &PeerId, offence: Offence, detail: &str) {
        let standing = self.shared.standings.of(id);
        if let Some(refusal) = self.shared.penalize(&standing, offence, detail) {
            self.refuse(id, refusal);
        }
    }

    /// Ends a connection of a second process with an operator's key, a little later, so that it is told. The peer's other
    /// connections may be the first one's.
    fn turn_away(&mut self, id: &PeerId, connection: ConnectionId, reason: Refusal) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.turn_away(connection, Instant::now() + AWAY_GRACE) {
            count(&self.shared.counters.peers_refused);
            tracing::warn!(peer = %id, %reason, "peer turned away");
            self.emit(NetEvent::PeerRefused { peer: *id, reason });
        }
    }

    /// Disconnects a peer and says why, once.
    pub(crate) fn refuse(&mut self, id: &PeerId, reason: Refusal) {
        match reason {
            // Its back-off is enough: it may be bound anew soon.
            Refusal::StaleBinding | Refusal::OwnOperator | Refusal::Contested | Refusal::HeldElsewhere => {}
            Refusal::ForeignNetwork { .. } => self.shared.standings.ban(id, FOREIGN_BAN),
            _ => self.shared.standings.ban(id, self.ban),
        }
        let Some(link) = self.links.get_mut(id).filter(|link| link.refused.is_none()) else { return };
        let is_foreign = matches!(reason, Refusal::ForeignNetwork { .. });
        link.refused = Some(Instant::now() + if is_foreign { FOREIGN_GRACE } else { Duration::ZERO });
        count(&self.shared.counters.peers_refused);
        if let Refusal::Banned(_) = reason {
            count(&self.shared.counters.bans);
        }
        tracing::warn!(peer = %id, %reason, "peer refused");
        self.emit(NetEvent::PeerRefused { peer: *id, reason });
        if !is_foreign {
            let _ = self.swarm.disconnect_peer_id(*id);
        }
    }
}
