//! What the network task does about gossip, requests and peer exchange.

use std::io;

use bytes::Bytes;
use libp2p::{
    PeerId, gossipsub,
    request_response::{self, InboundFailure, Message, OutboundFailure},
};
use rand::seq::SliceRandom;
use tokio::sync::oneshot;

use crate::{
    binding::{Entry, Record},
    channel::{Channel, Topic},
    counters::count,
    error::{FetchError, WireError},
    event::{GossipId, NetEvent, Verdict},
    exchange::{ExchangeEntry, MAX_EXCHANGE_ENTRIES, decode_exchange, encode_exchange},
    fetch::{Request, Responder, Response},
    lock,
    network::NetworkTask,
    shared::{Internal, Shared},
    standing::{Offence, Rated},
};

/// Peers asked for missing members in one round.
const ASKED_PER_ROUND: usize = 3;

/// Why a request was sent.
pub(crate) enum Asked {
    Driver(oneshot::Sender<Result<Bytes, FetchError>>),
    Exchange,
}

impl NetworkTask {
    pub(crate) fn subscribe(&mut self, topic: Topic) {
        let ident = topic.ident(&self.shared.network);
        if let Err(error) = self.swarm.behaviour_mut().gossip.subscribe(&ident) {
            tracing::warn!(%error, topic = topic.name(), "cannot subscribe");
        }
    }

    pub(crate) fn unsubscribe(&mut self, topic: Topic) {
        let ident = topic.ident(&self.shared.network);
        self.swarm.behaviour_mut().gossip.unsubscribe(&ident);
    }

    pub(crate) fn publish(&mut self, topic: Topic, bytes: Bytes) {
        let size = bytes.len();
        match self.swarm.behaviour_mut().gossip.publish(self.gossip.hash(topic), bytes) {
            Ok(_) => self.shared.counters.topic(topic).sent(size),
            // Somebody else published the same.
            Err(gossipsub::PublishError::Duplicate) => {}
            Err(error) => {
                count(&self.shared.counters.gossip_unpublished);
                tracing::debug!(%error, topic = topic.name(), "not published");
            }
        }
    }

    pub(crate) fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source: relay, message_id, message } = event else { return };
        let admitted = self.admit_gossip(&relay, &message);
        let kept = admitted.and_then(|(topic, channel)| {
            self.gossip.keep(message_id.clone(), relay, topic).map(|id| (id, topic, channel))
        });
        let Some((id, topic, channel)) = kept else {
            self.swarm.behaviour_mut().gossip.report_message_validation_result(
                &message_id,
                &relay,
                gossipsub::MessageAcceptance::Ignore,
            );
            return;
        };
        let mut bytes = Bytes::from(message.data);
        if channel.is_some() {
            bytes = bytes.slice(1..);
        }
        self.shared.counters.topic(topic).received(bytes.len());
        let from = self.shared.origin(&relay);
        self.emit(NetEvent::Gossip { id, from, topic, channel, bytes });
    }

    /// Whether a gossip message goes to the driver: rate, sender, size and tag. Offences are counted.
    fn admit_gossip(&mut self, relay: &PeerId, message: &gossipsub::Message) -> Option<(Topic, Option<Channel>)> {
        let topic = self.gossip.topic(&message.topic)?;
        let standing = self.shared.standings.of(relay);
        if !self.shared.standings.allow(&standing, Rated::Gossip, message.data.len()) {
            count(&self.shared.counters.topic(topic).over_rate_in);
            self.blame(relay, Offence::RateExceeded, "gossip");
            return None;
        }
        if message.data.is_empty() || message.data.len() > topic.max_bytes() {
            self.blame(relay, Offence::Malformed, "gossip message empty or too long");
            return None;
        }
        if topic != Topic::Committee {
            return Some((topic, None));
        }
        if !lock(&self.shared.book).is_member(relay) {
            count(&self.shared.counters.topic(topic).not_member_in);
            self.blame(relay, Offence::NotMember, "committee gossip");
            return None;
        }
        let channel = Channel::from_tag(message.data[0])
            .filter(|channel| message.data.len() > 1 && message.data.len() - 1 <= channel.max_bytes());
        if channel.is_none() {
            self.blame(relay, Offence::Malformed, "committee gossip without a channel");
        }
        channel.map(|channel| (topic, Some(channel)))
    }

    pub(crate) fn judge(&mut self, id: GossipId, verdict: Verdict) {
        let Some(judged) = self.gossip.judge(&mut self.swarm.behaviour_mut().gossip, id, verdict) else { return };
        if verdict == Verdict::Reject {
            count(&self.shared.counters.gossip_rejected);
            self.blame(&judged.relay, Offence::Rejected, judged.topic.name());
        }
    }

    pub(crate) fn request(&mut self, peer: PeerId, bytes: Bytes, reply: oneshot::Sender<Result<Bytes, FetchError>>) {
        if !self.links.contains_key(&peer) {
            let _ = reply.send(Err(FetchError::NotConnected));
            return;
        }
        count(&self.shared.counters.requests_out);
        let id = self.swarm.behaviour_mut().fetch.send_request(&peer, Request::Fetch(bytes));
        self.asked.insert(id, Asked::Driver(reply));
    }

    /// Asks a peer for the members it knows.
    pub(crate) fn ask(&mut self, peer: PeerId) {
        let id = self.swarm.behaviour_mut().fetch.send_request(&peer, Request::Exchange);
        self.asked.insert(id, Asked::Exchange);
    }

    /// Asks some peers, if members are missing.
    pub(crate) fn ask_for_missing(&mut self) {
        let missing = {
            let book = lock(&self.shared.book);
            let links = &self.links;
            let own = self.shared.operator;
            book.members().any(|(operator, entry)| {
                Some(*operator) != own && !entry.is_some_and(|entry| links.contains_key(&entry.binding.peer))
            })
        };
        if !missing {
            return;
        }
        let mut peers: Vec<PeerId> =
            self.links.iter().filter(|(_, link)| link.announced).map(|(peer, _)| *peer).collect();
        peers.shuffle(&mut self.rng);
        peers.into_iter().take(ASKED_PER_ROUND).for_each(|peer| self.ask(peer));
    }

    pub(crate) fn on_fetch(&mut self, event: request_response::Event<Request, Response>) {
        match event {
            request_response::Event::Message {
                peer,
                message: Message::Request { request_id, request, channel },
                ..
            } => {
                if let Some(response) = self.refuse_request(&peer, &request) {
                    let _ = self.swarm.behaviour_mut().fetch.send_response(channel, response);
                    return;
                }
                let Request::Fetch(bytes) = request else { return };
                let Some(commands) = self.responders.upgrade() else { return };
                self.serving.insert(request_id, peer);
                count(&self.shared.counters.requests_in);
                let responder = Responder::new(channel, commands, self.shared.limits.response_bytes);
                let from = self.shared.origin(&peer);
                self.emit(NetEvent::Request { from, bytes, responder });
            }
            request_response::Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                match self.asked.remove(&request_id) {
                    Some(Asked::Driver(reply)) => {
                        let _ = reply.send(match response {
                            Response::Found(bytes) => Ok(bytes),
                            Response::Busy => Err(FetchError::Busy),
                            Response::Refused => Err(FetchError::Refused),
                        });
                    }
                    Some(Asked::Exchange) => {
                        if let Response::Found(bytes) = response {
                            self.on_exchange(peer, &bytes);
                        }
                    }
                    None => {}
                }
            }
            request_response::Event::OutboundFailure { request_id, error, peer, .. } => {
                self.on_request_failed(peer, request_id, error);
            }
            request_response::Event::InboundFailure { request_id, peer, error, .. } => {
                self.serving.remove(&request_id);
                if let InboundFailure::Io(error) = error
                    && error.kind() == io::ErrorKind::InvalidData
                {
                    self.blame(&peer, Offence::Malformed, &format!("request: {error}"));
                }
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                self.serving.remove(&request_id);
            }
        }
    }

    /// The answer to a request that the driver need not see.
    fn refuse_request(&mut self, peer: &PeerId, request: &Request) -> Option<Response> {
        let standing = self.shared.standings.of(peer);
        if !self.shared.standings.allow(&standing, Rated::Request, 0) {
            count(&self.shared.counters.requests_refused);
            self.blame(peer, Offence::RateExceeded, "requests");
            return Some(Response::Busy);
        }
        // Too many at once is no offence: what the peer sent before it was told to wait is still on its way.
        let at_once = self.serving.values().filter(|served| *served == peer).count();
        if *request != Request::Exchange && at_once >= self.shared.limits.requests_per_peer {
            count(&self.shared.counters.requests_refused);
            return Some(Response::Busy);
        }
        (*request == Request::Exchange).then(|| Response::Found(self.exchange_answer(peer).into()))
    }

    fn on_request_failed(&mut self, peer: PeerId, id: request_response::OutboundRequestId, error: OutboundFailure) {
        let asked = self.asked.remove(&id);
        let limit = self.shared.limits.response_bytes;
        let error = match error {
            OutboundFailure::Timeout => FetchError::Timeout,
            OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => FetchError::NotConnected,
            OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.blame(&peer, Offence::Malformed, &format!("response: {error}"));
                FetchError::TooLarge { what: "response", limit }
            }
            other => FetchError::Failed(other.to_string()),
        };
        if let Some(Asked::Driver(reply)) = asked {
            count(&self.shared.counters.requests_failed);
            let _ = reply.send(Err(error));
        }
    }

    /// The members that `peer` may want to know.
    fn exchange_answer(&mut self, peer: &PeerId) -> Vec<u8> {
        let book = lock(&self.shared.book);
        let known = book.members().filter_map(|(_, entry)| entry);
        let mut entries: Vec<ExchangeEntry> = known
            .filter(|entry| entry.binding.peer != *peer && entry.binding.peer != self.shared.local)
            .map(|entry| ExchangeEntry {
                binding: entry.bytes.clone(),
                record: entry.record.as_ref().map(|record| record.bytes.clone()).unwrap_or_default(),
                connected: self.links.get(&entry.binding.peer).is_some_and(|link| link.announced),
            })
            .collect();
        if entries.len() > MAX_EXCHANGE_ENTRIES {
            entries.shuffle(&mut self.rng);
        }
        encode_exchange(&entries)
    }

    fn on_exchange(&mut self, peer: PeerId, bytes: &[u8]) {
        let entries = match decode_exchange(bytes) {
            Ok(entries) => entries,
            Err(error) => return self.blame(&peer, Offence::Malformed, &error.to_string()),
        };
        count(&self.shared.counters.exchanges);
        let shared = self.shared.clone();
        // Signature checks of a large committee take milliseconds: not in the task that runs the swarm.
        self.tasks.spawn(async move {
            let trusted = lock(&shared.book).is_member(&peer);
            for entry in entries {
                if let Err(error) = take_entry(&shared, &entry, trusted) {
                    let detail = error.to_string();
                    let word = Internal::Misbehaved { peer, offence: Offence::Forged, detail };
                    let _ = shared.internal.send(word).await;
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = shared.internal.send(Internal::BookChanged).await;
        });
    }
}

/// Checks one entry of an exchange and remembers it if it is a member's.
fn take_entry(shared: &Shared, told: &ExchangeEntry, trusted: bool) -> Result<(), WireError> {
    let binding = shared.check.check(&told.binding)?;
    let operator = binding.operator;
    let (is_member, known) = {
        let book = lock(&shared.book);
        let known = book.entry(&operator).cloned();
        (book.committee().contains(&operator), known)
    };
    if !is_member || Some(operator) == shared.operator {
        return Ok(());
    }
    let record = match known.and_then(|entry| entry.record).filter(|record| record.bytes == told.record) {
        Some(record) => Some(record),
        None if told.record.is_empty() => None,
        None => Some(Record::check(&told.record, &binding.peer)?),
    };
    let peer = binding.peer;
    shared.learn(Entry { binding, bytes: told.binding.clone(), record });
    // Unauthenticated, so taken from members only: at worst it costs gossip that nobody needs.
    if told.connected && trusted && shared.peer(&peer).is_none() {
        shared.heard_elsewhere(operator);
    }
    Ok(())
}
