//! Starting the network, and the one task that runs the swarm.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::PeerRecord,
    identity::Keypair,
    multiaddr::Protocol,
    request_response::{InboundRequestId, OutboundRequestId},
    swarm::SwarmEvent,
};
use rand::{SeedableRng, rngs::StdRng};
use squad_types::Encode;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

use crate::{
    binding::{BindingCheck, Book, Entry, MAX_ADDRESSES, is_dialable},
    channel::Topic,
    config::{Announce, BackOff, NetConfig},
    counters::{Counters, count, count_many},
    dial::{Dialer, Due, is_bootstrap},
    error::NetError,
    event::{DriverGone, NetEvent, NetEvents, Tried, event_channel},
    gossip::Gossip,
    handle::{Command, NetworkHandle},
    link::{LastWords, Link},
    lock,
    requests::Asked,
    shared::{Internal, Shared},
    standing::Standings,
    swarm::{Behaviour, build},
};

/// Commands that may wait; then `send`-like calls of the handle report it.
const COMMANDS: usize = 8192;
/// Words of stream tasks that may wait; then they wait.
const INTERNAL: usize = 1024;
/// Events kept for a slow driver before the swarm is no longer polled.
const MAX_WAITING_EVENTS: usize = 1024;
/// Their bytes.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How often dials, streams to reopen, verdicts and exchange are looked at.
const TICK: Duration = Duration::from_millis(200);
/// A listener must report its address within this.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections may close that long after what was queued had to be written.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// The network of one node.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Listens, then runs the swarm in a task of the current tokio runtime, with one more task per direct stream.
    ///
    /// Nothing is sent to or taken from the committee until [`NetworkHandle::set_committee`].
    ///
    /// # Errors
    /// A listen address that cannot be used, an own binding that peers would refuse, or a bad configuration.
    pub async fn start(config: NetConfig) -> Result<(NetworkHandle, NetEvents), NetError> {
        let check = BindingCheck { domain: config.domain, verifier: config.verifier.clone() };
        let own = own_entry(&config, &check)?;
        if let Some(address) = config.bootstrap.iter().find(|address| !is_bootstrap(address)) {
            return Err(NetError::Config(format!(
                "bootstrap address {address} is no TCP address; write /ip4/HOST/tcp/PORT, /ip6/… or /dns4/…"
            )));
        }
        let standings = Arc::new(Standings::new(config.scoring.clone()));
        let mut swarm = build(&config, &standings)?;
        let listening = listen(&mut swarm, &config.listen).await?;

        let (events, receiver) = event_channel();
        let (internal_sender, internal) = mpsc::channel(INTERNAL);
        let (commands_sender, commands) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared {
            network: config.domain.network(),
            local: config.identity.peer_id(),
            operator: own.as_ref().map(|entry| entry.binding.operator),
            binding: own.as_ref().map(|entry| entry.bytes.clone()),
            check,
            limits: config.limits.clone(),
            counters: Counters::default(),
            standings,
            book: Mutex::new(Book::default()),
            sessions: Mutex::default(),
            peers: RwLock::default(),
            record: Mutex::default(),
            listening: Mutex::new(listening.clone()),
            elsewhere: Mutex::default(),
            events,
            internal: internal_sender,
        });
        if let Some(own) = own {
            shared.learn(own);
        }
        let mut task = NetworkTask {
            gossip: Gossip::new(&shared.network, config.limits.verdict_timeout),
            dialer: Dialer::new(shared.local, config.back_off, &config.bootstrap),
            swarm,
            keypair: config.identity.keypair().clone(),
            announce: config.announce,
            back_off: config.back_off,
            rng: StdRng::from_os_rng(),
            ban: config.scoring.ban,
            commands,
            responders: commands_sender.downgrade(),
            internal,
            links: HashMap::new(),
            last_words: HashMap::new(),
            asked: HashMap::new(),
            serving: HashMap::new(),
            events: listening.into_iter().map(|address| NetEvent::Listening { address }).collect(),
            waiting_bytes: 0,
            tasks: JoinSet::new(),
            exchange_at: Instant::now(),
            in_committee: false,
            closing: None,
            shared: shared.clone(),
        };
        task.sign_record();
        task.subscribe(Topic::Headers);
        task.subscribe(Topic::Evidence);
        tokio::spawn(task.run());
        Ok((NetworkHandle { shared, commands: commands_sender }, receiver))
    }
}

/// The own binding, checked as every peer will check it.
fn own_entry(config: &NetConfig, check: &BindingCheck) -> Result<Option<Entry>, NetError> {
    let Some(signed) = &config.binding else { return Ok(None) };
    let mut bytes = Vec::new();
    signed.encode(&mut bytes);
    let bytes = Bytes::from(bytes);
    let binding = check.check(&bytes).map_err(|error| NetError::OwnBinding { reason: error.to_string() })?;
    let local = config.identity.peer_id();
    if binding.peer != local {
        return Err(NetError::OwnBinding { reason: format!("it names {}, this node is {local}", binding.peer) });
    }
    Ok(Some(Entry { binding, bytes, record: None }))
}

/// Listens on every address and waits until each has reported where.
async fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<Vec<Multiaddr>, NetError> {
    let mut listening = Vec::new();
    for address in addresses {
        let failed = |reason: String| NetError::Listen { address: address.clone(), reason };
        probe(address).map_err(|error| failed(error.to_string()))?;
        let id = swarm.listen_on(address.clone()).map_err(|error| failed(reasons(&error)))?;
        let reported = async {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { listener_id, address } => {
                        listening.push(address);
                        if listener_id == id {
                            return Ok(());
                        }
                    }
                    SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                        return Err(reason.err().map_or("closed".into(), |error| error.to_string()));
                    }
                    _ => {}
                }
            }
        };
        timeout(LISTEN_TIMEOUT, reported)
            .await
            .unwrap_or_else(|_| Err("no address was reported".into()))
            .map_err(failed)?;
    }
    Ok(listening)
}

/// Binds the port once without sharing it: the transport shares ports, so it would not notice another process there.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => std::net::TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Looks a bootstrap name up with the system's resolver.
async fn resolve(index: usize, host: String, port: u16, shared: Arc<Shared>) {
    let addresses = match tokio::net::lookup_host((host.as_str(), port)).await {
        Ok(found) => found
            .take(MAX_ADDRESSES)
            .map(|address| Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port())))
            .collect(),
        Err(error) => {
            tracing::warn!(host, %error, "bootstrap name does not resolve");
            Vec::new()
        }
    };
    let _ = shared.internal.send(Internal::Resolved { index, addresses }).await;
}

/// An error with its causes: the transport's own says little.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// The task that runs the swarm.
pub(crate) struct NetworkTask {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) shared: Arc<Shared>,
    keypair: Keypair,
    announce: Announce,
    pub(crate) back_off: BackOff,
    pub(crate) rng: StdRng,
    /// How long a ban lasts.
    pub(crate) ban: Duration,
    commands: mpsc::Receiver<Command>,
    pub(crate) responders: mpsc::WeakSender<Command>,
    internal: mpsc::Receiver<Internal>,
    pub(crate) links: HashMap<PeerId, Link>,
    /// Of peers that have gone.
    pub(crate) last_words: HashMap<PeerId, LastWords>,
    pub(crate) dialer: Dialer,
    pub(crate) gossip: Gossip,
    pub(crate) asked: HashMap<OutboundRequestId, Asked>,
    pub(crate) serving: HashMap<InboundRequestId, PeerId>,
    events: VecDeque<NetEvent>,
    waiting_bytes: usize,
    pub(crate) tasks: JoinSet<()>,
    exchange_at: Instant,
    in_committee: bool,
    pub(crate) closing: Option<Closing>,
}

/// Being shut down.
pub(crate) struct Closing {
    deadline: Instant,
    done: Vec<oneshot::Sender<()>>,
}

impl NetworkTask {
    async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.dial();
        let control = self.shared.events.control.clone();
        while !self.is_drained() {
            self.hand_out_events();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => self.close(None),
                },
                Some(word) = self.internal.recv() => self.on_internal(word),
                event = self.swarm.select_next_some(), if self.takes_more() => {
                    self.on_swarm_event(event);
                }
                room = control.room(), if !self.events.is_empty() => match room {
                    // Handed out at the next turn.
                    Ok(()) => {}
                    Err(DriverGone) => self.close(None),
                },
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = tick.tick() => self.on_tick(),
            }
        }
        self.finish().await;
    }

    /// Moves events to the driver as long as it takes them.
    fn hand_out_events(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(event.payload());
            match self.shared.events.control.try_send(event) {
                Tried::Sent => {}
                Tried::Full(event) => {
                    self.waiting_bytes += event.payload();
                    return self.events.push_front(event);
                }
                Tried::Gone => return self.close(None),
            }
        }
    }

    fn takes_more(&self) -> bool {
        self.events.len() < MAX_WAITING_EVENTS && self.waiting_bytes < MAX_WAITING_BYTES
    }

    pub(crate) fn emit(&mut self, event: NetEvent) {
        self.waiting_bytes += event.payload();
        self.events.push_back(event);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, bytes } => self.publish(topic, bytes),
            Command::Verdict { id, verdict } => self.judge(id, verdict),
            Command::Request { peer, bytes, reply } => self.request(peer, bytes, reply),
            Command::Respond { channel, response } => {
                // A failure means that the peer is gone.
                let _ = self.swarm.behaviour_mut().fetch.send_response(channel, response);
            }
            Command::CommitteeChanged => self.on_committee_changed(),
            Command::Blame { peer, offence, what } => self.blame(&peer, offence, what),
            Command::Disconnect { peer } => {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::Shutdown { done } => self.close(Some(done)),
        }
    }

    fn on_tick(&mut self) {
        if self.closing.is_some() {
            let peers: Vec<PeerId> = self.links.keys().copied().collect();
            return peers.iter().for_each(|peer| self.open_streams(peer));
        }
        if self.in_committee != self.shared.is_own_committee() {
            self.on_committee_changed();
        }
        self.last_words.retain(|_, words| words.goes_on());
        let expired = self.gossip.expire(&mut self.swarm.behaviour_mut().gossip);
        count_many(&self.shared.counters.gossip_expired, expired);
        self.dial();
        let peers: Vec<PeerId> = self.links.keys().copied().collect();
        for peer in &peers {
            self.open_streams(peer);
            if self.links.get(peer).is_some_and(Link::is_refusal_due) {
                let _ = self.swarm.disconnect_peer_id(*peer);
            }
            for connection in self.links.get(peer).into_iter().flat_map(Link::turned_away_by_now) {
                self.swarm.close_connection(connection);
            }
        }
        if self.exchange_at <= Instant::now() {
            self.exchange_at = Instant::now() + self.shared.limits.exchange_interval;
            self.ask_for_missing();
        }
    }

    /// Subscribes, dials and asks as the committee now wants it.
    fn on_committee_changed(&mut self) {
        self.in_committee = self.shared.is_own_committee();
        if self.in_committee {
            self.subscribe(Topic::Committee);
        } else {
            self.unsubscribe(Topic::Committee);
        }
        self.on_book_changed();
        self.exchange_at = Instant::now() + self.shared.limits.exchange_interval;
        self.ask_for_missing();
    }

    /// Dials as the book now says.
    pub(crate) fn on_book_changed(&mut self) {
        let members: Vec<_> = lock(&self.shared.book)
            .members()
            .filter_map(|(operator, entry)| entry.map(|entry| (*operator, entry.binding.peer, entry.addresses())))
            .collect();
        self.dialer.set_members(&members);
        self.dial();
    }

    pub(crate) fn dial(&mut self) {
        if self.closing.is_some() {
            return;
        }
        let wanted = match self.in_committee {
            true => usize::MAX,
            false => {
                let members = self.links.values().filter(|link| link.peer.is_member()).count();
                self.shared.limits.follower_connections.saturating_sub(members)
            }
        };
        let standings = &self.shared.standings;
        let links = &self.links;
        let due = self.dialer.due(|peer| links.contains_key(peer), |peer| standings.is_banned(peer), wanted);
        for due in due {
            let dial = match due {
                Due::Dial(dial) => dial,
                Due::Resolve { index, host, port } => {
                    self.tasks.spawn(resolve(index, host, port, self.shared.clone()));
                    continue;
                }
            };
            count(&self.shared.counters.dials);
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.dialer.failed(connection, &error);
            }
        }
    }

    /// Takes a new listen address.
    pub(crate) fn listens(&mut self, address: Multiaddr) {
        let mut listening = lock(&self.shared.listening);
        if !listening.contains(&address) {
            listening.push(address.clone());
            drop(listening);
            self.sign_record();
            self.emit(NetEvent::Listening { address });
        }
    }

    pub(crate) fn listens_no_more(&mut self, address: &Multiaddr) {
        lock(&self.shared.listening).retain(|known| known != address);
        self.sign_record();
    }

    /// Signs where this node listens, for hellos and peer exchange.
    fn sign_record(&mut self) {
        let mut addresses = self.announce.addresses(&lock(&self.shared.listening)).to_vec();
        addresses.retain(is_dialable);
        addresses.truncate(MAX_ADDRESSES);
        match PeerRecord::new(&self.keypair, addresses) {
            Ok(record) => {
                let bytes = Bytes::from(record.into_signed_envelope().into_protobuf_encoding());
                *lock(&self.shared.record) = Some(bytes);
            }
            Err(error) => tracing::warn!(%error, "listen addresses cannot be signed; peers will not learn them"),
        }
    }

    fn close(&mut self, done: Option<oneshot::Sender<()>>) {
        let deadline = Instant::now() + self.shared.limits.drain_time;
        let closing = self.closing.get_or_insert(Closing { deadline, done: Vec::new() });
        closing.done.extend(done);
        for link in self.links.values() {
            link.peer.outboxes.iter().for_each(crate::outbox::Outbox::close);
        }
    }

    /// Whether everything queued is written, or the time for it is over.
    fn is_drained(&self) -> bool {
        self.closing
            .as_ref()
            .is_some_and(|closing| closing.deadline <= Instant::now() || !self.links.values().any(Link::is_writing))
    }

    async fn finish(mut self) {
        let deadline = self.closing.as_ref().map_or_else(Instant::now, |closing| closing.deadline) + CLOSE_TIME;
        self.links.values_mut().for_each(Link::abort);
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        // What does not close in time is cut off with the swarm.
        let _ = timeout_at(deadline, closed).await;
        self.tasks.abort_all();
        let waiting = self.closing.take().map(|closing| closing.done).unwrap_or_default();
        drop(self);
        for done in waiting {
            let _ = done.send(());
        }
    }
}
