//! What peers send: decoded and checked off the sequencer's thread, then handed to it. Many or long messages are checked by the
//! workers, few short ones where they come.

use super::inbox::{Inbox, Room};
use super::peers::{Announced, Committees, Peers};
use super::workers::Workers;
use bytes::Bytes;
use squad_net::{
    Channel, Class, GossipId, NetEvent, NetEvents, NetworkHandle, Offence, Origin, Refusal, Responder, Verdict,
};
use squad_sequencer::{Input, Peer};
use squad_types::{
    Address, CommitCertificate, Decode as _, Domain, EcdsaVerifier, Height, Message, MessageError, Request,
    VerifiedMessage,
};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// So many messages that came together are checked where they came. To hand one to a thread that sleeps, and to wake the
/// sequencer's from there, costs nearly what its signature does; of many, each worker gets some.
const FEW: usize = 4;
/// Events that are taken together at most.
const TOGETHER: usize = 64;
/// Longer messages, which are batches and proposals of large committees, are the workers' in any case.
const SHORT_BYTES: usize = 32 * 1024;

/// Takes the network's events.
#[derive(Clone)]
pub(crate) struct Incoming {
    pub(crate) net: NetworkHandle,
    pub(crate) peers: Arc<Peers>,
    pub(crate) committees: Arc<Committees>,
    pub(crate) inbox: Inbox,
    pub(crate) workers: Arc<Workers>,
    pub(crate) domain: Domain,
    /// This node's operator.
    pub(crate) me: Address,
    pub(crate) tip: watch::Receiver<Height>,
    pub(crate) announced: Arc<Announced>,
    pub(crate) network_bytes: prometheus::IntCounterVec,
}

impl Incoming {
    /// Works until the network stops. Waiting for room here is what holds senders back.
    pub(crate) async fn run(self, mut events: NetEvents) {
        let mut together = Vec::with_capacity(TOGETHER);
        while let Some(event) = events.recv().await {
            together.push(event);
            while together.len() < TOGETHER
                && let Some(event) = events.try_recv()
            {
                together.push(event);
            }
            let few = together.len() <= FEW;
            for event in together.drain(..) {
                self.take(event, few).await;
            }
        }
    }

    async fn take(&self, event: NetEvent, few: bool) {
        match event {
            NetEvent::Listening { address } => tracing::info!(%address, "listening for peers"),
            NetEvent::PeerConnected { peer } => {
                let name = self.peers.of(&peer);
                tracing::info!(peer = %peer.peer, ?name, "peer connected");
                self.inbox.input(Input::Connected(name), None);
            }
            NetEvent::PeerDisconnected { peer } => {
                let name = self.peers.left(&peer);
                tracing::info!(peer = %peer.peer, ?name, "peer disconnected");
                self.inbox.input(Input::Disconnected(name), None);
            }
            NetEvent::PeerRefused { peer, reason } => {
                tracing::warn!(%peer, %reason, "peer refused");
                if reason == Refusal::OwnOperator {
                    self.inbox.input(Input::HeldElsewhere(self.me), None);
                }
            }
            NetEvent::HeldElsewhere { by } => {
                if let Some(operator) = by.operator {
                    self.inbox.input(Input::HeldElsewhere(operator), None);
                }
            }
            NetEvent::Message { from, channel, bytes } => {
                self.count(&bytes);
                let room = if channel.class() == Class::Bulk { Room::Bulk } else { Room::Control };
                let permit = self.inbox.room(room).await;
                if few && bytes.len() <= SHORT_BYTES {
                    return self.message(&from, channel, bytes, permit);
                }
                let this = self.clone();
                self.workers.run(room, move || this.message(&from, channel, bytes, permit));
            }
            NetEvent::Gossip { id, from, channel, bytes, .. } => {
                self.count(&bytes);
                let permit = self.inbox.room(Room::Control).await;
                let this = self.clone();
                self.workers.run(Room::Control, move || this.gossip(id, &from, channel, bytes, permit));
            }
            NetEvent::Request { from, bytes, responder } => self.request(&from, bytes, responder).await,
        }
    }

    fn count(&self, bytes: &Bytes) {
        self.network_bytes.with_label_values(&["in"]).inc_by(bytes.len() as u64);
    }

    fn verify(&self, bytes: Bytes, channel: Option<Channel>) -> Result<VerifiedMessage, MessageError> {
        let message = Message::from_bytes(bytes.clone())?;
        // A message on a stream that is not its own would get around that stream's limits.
        if channel.is_some_and(|channel| channel != super::courier::channel(&message)) {
            return Err(squad_types::DecodeError::Malformed("message: not one of this channel").into());
        }
        Ok(match message.verify(&self.domain, &EcdsaVerifier)? {
            VerifiedMessage::Batch(batch) => VerifiedMessage::Batch(batch.with_message(bytes)),
            other => other,
        })
    }

    fn message(&self, from: &Origin, channel: Channel, bytes: Bytes, permit: Option<OwnedSemaphorePermit>) {
        match self.verify(bytes, Some(channel)) {
            Ok(message) => {
                let from = self.peers.of(from);
                self.inbox.input(Input::Message { from, message }, permit);
            }
            Err(error) => {
                tracing::warn!(peer = %from.peer, %error, channel = channel.name(), "a message does not hold");
                let offence =
                    if matches!(error, MessageError::Decode(_)) { Offence::Malformed } else { Offence::Forged };
                self.net.blame(from.peer, offence, channel.name());
            }
        }
    }

    fn gossip(
        &self,
        id: GossipId,
        from: &Origin,
        channel: Option<Channel>,
        bytes: Bytes,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let message = match self.verify(bytes, channel) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(peer = %from.peer, %error, "a gossiped message does not hold");
                return self.net.verdict(id, Verdict::Reject);
            }
        };
        let (verdict, wanted) = match (&message, channel) {
            (VerifiedMessage::Commit(certificate), None) => self.judge(certificate),
            // Only these are for everybody.
            (VerifiedMessage::Evidence(..) | VerifiedMessage::Ready(_), None) | (_, Some(_)) => (Verdict::Accept, true),
            (_, None) => (Verdict::Reject, false),
        };
        self.net.verdict(id, verdict);
        if wanted {
            let from: Peer = self.peers.of(from);
            self.inbox.input(Input::Message { from, message }, permit);
        }
    }

    /// Whether to hand a decision on, and whether it is news. A node that has decided it itself hands it on all the same:
    /// three operators announce a decision, and those who only listen may be connected to none of them.
    fn judge(&self, certificate: &CommitCertificate) -> (Verdict, bool) {
        let tip = *self.tip.borrow();
        if self.announced.is_old(certificate.height, tip) {
            return (Verdict::Ignore, false);
        }
        if self.committees.decided(&self.domain, certificate) {
            self.announced.pass(certificate.height);
            return (Verdict::Accept, certificate.height > tip);
        }
        // Of a committee that is not known here: a reason to catch up, not to pass it on. The next height's is known.
        (Verdict::Ignore, certificate.height > tip.next())
    }

    async fn request(&self, from: &Origin, bytes: Bytes, responder: Responder) {
        match Request::from_bytes(bytes) {
            Ok(request) => {
                let permit = self.inbox.room(Room::Control).await;
                let (from, id) = (self.peers.of(from), self.peers.asked(responder));
                self.inbox.input(Input::Request { from, id, request }, permit);
            }
            Err(error) => {
                tracing::warn!(peer = %from.peer, %error, "a request does not decode");
                self.net.blame(from.peer, Offence::Malformed, "request");
            }
        }
    }
}
