//! The gossip mesh: headers and certificates to everybody, statements to members without a direct connection.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{
    PeerId,
    gossipsub::{
        Behaviour, ConfigBuilder, MessageAcceptance, MessageAuthenticity, MessageId, TopicHash, ValidationMode,
    },
};
use squad_types::NetworkId;
use tokio::time::Instant;

use crate::{
    channel::Topic,
    config::protocol_prefix,
    error::NetError,
    event::{GossipId, Verdict},
};

/// Messages that wait for their verdict at once; further ones are ignored.
const MAX_PENDING: usize = 8192;
/// gossipsub breaks the stream when a heartbeat's control message is over its limit; at vote rates 16 KiB is too little.
const MAX_CONTROL_MESSAGE_BYTES: usize = 1024 * 1024;
/// Committees up to this size are one full mesh on the committee topic, so that nothing is lost between heartbeats.
/// Larger ones rely on the core's retransmission: a full mesh of 100 would carry each statement 10,000 times.
const COMMITTEE_MESH_LOW: usize = 12;

/// A message that waits for its verdict.
struct Pending {
    message: MessageId,
    relay: PeerId,
    topic: Topic,
    expires: Instant,
}

/// Topics and verdicts.
pub(crate) struct Gossip {
    topics: [TopicHash; Topic::ALL.len()],
    pending: BTreeMap<GossipId, Pending>,
    next: u64,
    timeout: Duration,
}

/// What a verdict led to.
pub(crate) struct Judged {
    pub(crate) relay: PeerId,
    pub(crate) topic: Topic,
}

pub(crate) fn behaviour(network: &NetworkId) -> Result<Behaviour, NetError> {
    let config_error = |error: String| NetError::Config(format!("gossip: {error}"));
    let committee = Topic::Committee.ident(network).hash();
    let largest = Topic::ALL.iter().map(|topic| topic.max_bytes()).max().unwrap_or(0);
    let config = ConfigBuilder::default()
        .protocol_id_prefix(format!("{}/gossip", protocol_prefix(network)))
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        // Content-addressed, so that one statement told by two members travels once.
        .message_id_fn(|message| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(message.topic.as_str().as_bytes()).update(&[0]).update(&message.data);
            MessageId::from(&hasher.finalize().as_bytes()[..20])
        })
        // The payload and the protocol's own fields around it.
        .max_transmit_size(largest + 1024)
        .max_control_message_size(MAX_CONTROL_MESSAGE_BYTES)
        .mesh_n_low_for_topic(COMMITTEE_MESH_LOW, committee.clone())
        .mesh_n_for_topic(COMMITTEE_MESH_LOW + 4, committee.clone())
        .mesh_n_high_for_topic(COMMITTEE_MESH_LOW * 2, committee)
        .heartbeat_initial_delay(Duration::from_millis(500))
        .build()
        .map_err(|error| config_error(error.to_string()))?;
    Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(|error| config_error(error.into()))
}

impl Gossip {
    pub(crate) fn new(network: &NetworkId, timeout: Duration) -> Self {
        let topics = Topic::ALL.map(|topic| topic.ident(network).hash());
        Self { topics, pending: BTreeMap::new(), next: 0, timeout }
    }

    pub(crate) fn topic(&self, hash: &TopicHash) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.topics[topic.index()] == *hash)
    }

    pub(crate) fn hash(&self, topic: Topic) -> TopicHash {
        self.topics[topic.index()].clone()
    }

    /// Keeps a message for its verdict; `None` when too many wait.
    pub(crate) fn keep(&mut self, message: MessageId, relay: PeerId, topic: Topic) -> Option<GossipId> {
        if self.pending.len() >= MAX_PENDING {
            return None;
        }
        let id = GossipId(self.next);
        self.next += 1;
        let expires = Instant::now() + self.timeout;
        self.pending.insert(id, Pending { message, relay, topic, expires });
        Some(id)
    }

    /// Applies a verdict; `None` for one that came too late.
    pub(crate) fn judge(&mut self, mesh: &mut Behaviour, id: GossipId, verdict: Verdict) -> Option<Judged> {
        let pending = self.pending.remove(&id)?;
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        mesh.report_message_validation_result(&pending.message, &pending.relay, acceptance);
        Some(Judged { relay: pending.relay, topic: pending.topic })
    }

    /// Ignores what waited too long; how many.
    pub(crate) fn expire(&mut self, mesh: &mut Behaviour) -> usize {
        let now = Instant::now();
        let mut expired = 0;
        // Ids grow with time, so the oldest come first.
        while let Some(entry) = self.pending.first_entry().filter(|entry| entry.get().expires <= now) {
            let pending = entry.remove();
            mesh.report_message_validation_result(&pending.message, &pending.relay, MessageAcceptance::Ignore);
            expired += 1;
        }
        expired
    }
}
