//! What leaves the node for its peers.

use super::chain::Chain;
use super::inbox::Inbox;
use super::peers::{Committees, Peers};
use super::serve::look_up;
use bytes::Bytes;
use squad_net::{Channel, NetworkHandle, Offence, SendError, Topic};
use squad_sequencer::{AskId, Input, Peer, Recipients, Reply, RequestId, VerifiedResponse};
use squad_types::{Address, Decode as _, Domain, EcdsaVerifier, Encode as _, Message, Request, Response};
use std::sync::Arc;

/// Sends, asks and answers.
pub(crate) struct Courier {
    pub(crate) net: NetworkHandle,
    pub(crate) peers: Arc<Peers>,
    pub(crate) committees: Arc<Committees>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) inbox: Inbox,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) domain: Domain,
}

/// Which stream carries a message.
pub(crate) fn channel(message: &Message) -> Channel {
    match message {
        Message::Proposal(_) => Channel::Proposal,
        Message::Vote(_) => Channel::Vote,
        Message::Ack(_) => Channel::Ack,
        Message::Batch(_) => Channel::Batch,
        Message::Votes(_) | Message::Commit(_) | Message::Secured(_) | Message::Evidence(_) => Channel::Statement,
        // Its author is no member yet.
        Message::Ready(_) => Channel::Notice,
    }
}

fn topic(message: &Message) -> Option<Topic> {
    match message {
        Message::Commit(_) | Message::Ready(_) => Some(Topic::Headers),
        Message::Evidence(_) => Some(Topic::Evidence),
        _ => None,
    }
}

impl Courier {
    /// Sends a message whose encoded form is `bytes`. Nothing is certain to arrive: the sequencer repeats and fetches.
    pub(crate) fn send(&self, to: Recipients, message: &Message, bytes: Bytes) {
        let channel = channel(message);
        let outcome = match to {
            Recipients::One(peer) => match self.peers.destination(peer) {
                Some(to) => self.net.send(to, channel, bytes),
                None => Err(SendError::NotConnected),
            },
            Recipients::Committee => self.net.send_committee(channel, bytes).map(|_| ()),
            Recipients::Everyone => {
                let direct = self.net.send_committee(channel, bytes.clone()).map(|_| ());
                match topic(message) {
                    Some(topic) => direct.and(self.net.gossip(topic, bytes)),
                    None => direct,
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, ?to, channel = channel.name(), "not sent");
        }
    }

    /// Asks a peer; its answer comes back as an input, in the network's request time at the latest.
    pub(crate) fn ask(&self, id: AskId, to: Peer, request: &Request) {
        let asked = self.peers.destination(to).map(|to| self.net.request(to, request.to_bytes()));
        let (inbox, domain, net, peer) = (self.inbox.clone(), self.domain, self.net.clone(), self.peers.id(to));
        self.runtime.spawn(async move {
            let answer = match asked {
                Some(asked) => asked.await.inspect_err(|error| tracing::debug!(%error, ?to, "no answer")).ok(),
                None => None,
            };
            let Some(bytes) = answer else { return inbox.input(Input::Response { id, response: None }, None) };
            let check = move || {
                let decoded = Response::from_bytes(bytes).map_err(|error| error.to_string());
                decoded.and_then(|response| {
                    VerifiedResponse::verify(response, &domain, &EcdsaVerifier).map_err(|error| error.to_string())
                })
            };
            let response = match tokio::task::spawn_blocking(check).await {
                Ok(Ok(response)) => Some(response),
                Ok(Err(error)) => {
                    tracing::warn!(%error, ?to, "a peer's answer does not hold");
                    if let Some(peer) = peer {
                        net.blame(peer, Offence::Forged, "answer");
                    }
                    None
                }
                Err(error) => {
                    tracing::error!(%error, "checking an answer failed");
                    None
                }
            };
            inbox.input(Input::Response { id, response }, None);
        });
    }

    /// Answers a peer, from the store on a thread of its own.
    pub(crate) fn answer(&self, request: RequestId, reply: Reply) {
        let Some(responder) = self.peers.responder(request) else { return };
        match reply {
            Reply::Now(response) => drop(responder.respond(response.to_bytes())),
            Reply::FromStore(query) => {
                let chain = Arc::clone(&self.chain);
                self.runtime.spawn_blocking(move || {
                    if !responder.respond(look_up(&chain, query).to_bytes()) {
                        tracing::error!(?query, "an answer from the store is over the limit of an answer");
                    }
                });
            }
        }
    }

    /// Counts a broken rule against a peer.
    pub(crate) fn blame(&self, peer: Peer, what: &'static str) {
        tracing::warn!(?peer, what, "a peer misbehaved");
        if let Some(id) = self.peers.id(peer) {
            self.net.blame(id, Offence::Rejected, what);
        }
    }

    /// Tells the network who may use the committee's channels.
    pub(crate) fn set_committees(&self, committees: Vec<Arc<squad_types::Committee>>) {
        // Older committees are kept to check certificates; only the last three count for connections.
        let recent = committees.iter().rev().take(3);
        let members: std::collections::BTreeSet<Address> =
            recent.flat_map(|committee| committee.members()).map(|member| member.address).collect();
        self.net.set_committee(members.into_iter().collect());
        self.committees.set(committees);
    }
}
