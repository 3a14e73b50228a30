//! What the operator may set, with defaults that suit a committee of about 100.

use std::{sync::Arc, time::Duration};

use libp2p::Multiaddr;
use rand::{Rng, rngs::StdRng};
use squad_types::{Domain, NetworkId, PeerBinding, Signed, Verifier};

use crate::{channel::Channel, identity::Identity};

/// The start of every protocol and topic name. 16 bytes name a network well enough; the hello carries all 32.
pub(crate) fn protocol_prefix(network: &NetworkId) -> String {
    let mut name = String::from("/squad/");
    for byte in &network.0[..16] {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

/// Everything that [`crate::Network::start`] needs.
#[derive(Clone)]
pub struct NetConfig {
    /// TCP addresses to listen on; port 0 takes a free one, which an event and the handle report.
    pub listen: Vec<Multiaddr>,
    /// What peers are told of where to reach this node.
    pub announce: Announce,
    /// Where to start: `/ip4/…/tcp/…`, with or without `/p2p/…`. The own address among them does no harm.
    pub bootstrap: Vec<Multiaddr>,
    /// The Ed25519 key of this node on the network.
    pub identity: Identity,
    /// The network that this node belongs to: part of every protocol name, so that foreign networks never mix.
    pub domain: Domain,
    /// Checks the signatures of bindings.
    pub verifier: Arc<dyn Verifier>,
    /// The signed binding of the identity to the own operator, as [`crate::bind`] makes it; none for followers.
    pub binding: Option<Signed<PeerBinding>>,
    /// Limits of connections, queues and requests.
    pub limits: Limits,
    /// Reconnecting.
    pub back_off: BackOff,
    /// Scores, bans and rates.
    pub scoring: Scoring,
}

impl NetConfig {
    /// A configuration with the default limits, listening nowhere.
    pub fn new(identity: Identity, domain: Domain, verifier: Arc<dyn Verifier>) -> Self {
        Self {
            listen: Vec::new(),
            announce: Announce::default(),
            bootstrap: Vec::new(),
            identity,
            domain,
            verifier,
            binding: None,
            limits: Limits::default(),
            back_off: BackOff::default(),
            scoring: Scoring::default(),
        }
    }
}

/// What peers are told of where to reach a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Announce {
    /// The addresses that it listens on.
    #[default]
    Listening,
    /// Others (behind NAT or a load balancer).
    These(Vec<Multiaddr>),
    /// Nothing. It is reached by who has an address of it among its bootstrap addresses, and dials the others itself.
    Nothing,
}

impl Announce {
    /// The addresses that are told, of a node that listens there.
    pub fn addresses<'a>(&'a self, listening: &'a [Multiaddr]) -> &'a [Multiaddr] {
        match self {
            Self::Listening => listening,
            Self::These(addresses) => addresses,
            Self::Nothing => &[],
        }
    }
}

/// Limits of connections, queues and requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Established connections in all.
    pub connections: u32,
    /// Established inbound connections, so that dialling out stays possible.
    pub inbound_connections: u32,
    /// Established connections per peer; two dials may cross, so at least 2 (and one being closed).
    pub connections_per_peer: u32,
    /// Inbound connections per IP address.
    pub connections_per_ip: u32,
    /// Whether loopback addresses are exempt from `connections_per_ip` (devnet, tests).
    pub exempt_loopback: bool,
    /// Connections a follower keeps to committee members.
    pub follower_connections: usize,
    /// Bytes queued per peer for control frames; the oldest is dropped when full.
    pub control_queue_bytes: usize,
    /// Bytes queued per peer for bulk frames; the newest is dropped when full.
    pub bulk_queue_bytes: usize,
    /// How long a direct stream waits for a hello or its answer; five failures in a row close the connection.
    pub hello_timeout: Duration,
    /// How long a request waits for its response.
    pub request_timeout: Duration,
    /// Longest request in bytes.
    pub request_bytes: usize,
    /// Longest response in bytes.
    pub response_bytes: usize,
    /// Requests of one peer that are served at once.
    pub requests_per_peer: usize,
    /// How often peers are asked for members that are not connected.
    pub exchange_interval: Duration,
    /// How long the driver may take for a gossip verdict before the message is ignored.
    pub verdict_timeout: Duration,
    /// How long what is queued may still be written at shutdown, and how long what a peer sent before it closed its
    /// connection may still be handed over; then it is dropped.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            inbound_connections: 768,
            connections_per_peer: 3,
            connections_per_ip: 32,
            exempt_loopback: true,
            follower_connections: 8,
            // 8 MiB hold 40,000 votes: a stalled peer is better served by what is new.
            control_queue_bytes: 8 * 1024 * 1024,
            // 64 batches of 512 KiB.
            bulk_queue_bytes: 32 * 1024 * 1024,
            hello_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            request_bytes: 64 * 1024,
            // Some batches, or a run of headers with certificates, in one answer.
            response_bytes: 8 * 1024 * 1024,
            requests_per_peer: 16,
            exchange_interval: Duration::from_secs(15),
            // Below gossipsub's own cache of five heartbeats of a second.
            verdict_timeout: Duration::from_secs(4),
            drain_time: Duration::from_secs(1),
        }
    }
}

/// Exponential back-off with jitter.
#[derive(Debug, Clone, Copy)]
pub struct BackOff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(30) }
    }
}

impl BackOff {
    /// The pause after `failures` failures in a row: doubled each time, bounded, with a quarter of jitter either way.
    pub(crate) fn pause(&self, failures: u32, rng: &mut StdRng) -> Duration {
        let doubled = self.first.saturating_mul(1u32 << failures.saturating_sub(1).min(16));
        let jitter = rng.random_range(0.75..1.25);
        doubled.min(self.longest).mul_f64(jitter)
    }
}

/// How misbehaviour is answered.
#[derive(Debug, Clone)]
pub struct Scoring {
    /// Penalty points at which a peer is banned. Malformed bytes and forged bindings cost 100 at once.
    pub ban_at: f64,
    /// Penalty points halve in this time.
    pub half_life: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
    /// Rates per channel, by [`Channel`] in the order of [`Channel::ALL`].
    pub rates: [Rate; Channel::ALL.len()],
    /// Rate of gossip messages forwarded by one peer.
    pub gossip_rate: Rate,
    /// Rate of requests of one peer.
    pub request_rate: Rate,
}

impl Default for Scoring {
    fn default() -> Self {
        // A peer relays nothing on direct streams, so these bound what one operator says: some tens of heights a
        // second with retransmission.
        let mut rates = [Rate { per_second: 1000.0, burst: 4000.0 }; Channel::ALL.len()];
        rates[Channel::Proposal.index()] = Rate { per_second: 100.0, burst: 400.0 };
        rates[Channel::Notice.index()] = Rate { per_second: 20.0, burst: 100.0 };
        Self {
            ban_at: 100.0,
            half_life: Duration::from_secs(60),
            ban: Duration::from_secs(300),
            rates,
            // The relays of a mesh forward what all members say.
            gossip_rate: Rate { per_second: 2000.0, burst: 8000.0 },
            request_rate: Rate { per_second: 200.0, burst: 400.0 },
        }
    }
}

/// A token bucket, in messages. Long messages take more tokens: one more per 16 KiB (gossip: 4 KiB, for it is kept and
/// forwarded), except batches.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Refill per second.
    pub per_second: f64,
    /// Most that can be saved up.
    pub burst: f64,
}
