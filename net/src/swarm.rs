//! Building the swarm: transport, behaviours and their limits.

use std::{sync::Arc, time::Duration};

use libp2p::{
    Swarm, Transport,
    connection_limits::{self, ConnectionLimits},
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    gossipsub, identify, noise, ping, request_response,
    swarm::{self, NetworkBehaviour},
    tcp, yamux,
};
use squad_types::NetworkId;

use crate::{
    config::{NetConfig, protocol_prefix},
    error::NetError,
    fetch::{self, FetchCodec},
    gate::Gate,
    gossip,
    identity::Identity,
    standing::Standings,
    streams::Streams,
};

/// A connection without any stream is closed after this. Direct streams keep theirs open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Transport and security handshake must end within this.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams per connection: two direct ones and a gossip stream each way, identify, ping, and the requests.
const MAX_SUBSTREAMS: usize = 256;
/// A peer that fell silent is noticed, and a second process of one operator told of the first, after about this and the next.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// All protocols of a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) fetch: request_response::Behaviour<FetchCodec>,
    pub(crate) streams: Streams,
}

/// The transport is a seam: TLS, QUIC or a leaner data plane can take this place.
fn transport(identity: &Identity) -> Result<Boxed<(libp2p::PeerId, StreamMuxerBox)>, NetError> {
    let noise = noise::Config::new(identity.keypair())
        .map_err(|error| NetError::Config(format!("noise handshake: {error}")))?;
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MAX_SUBSTREAMS);
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer)
        .timeout(UPGRADE_TIMEOUT)
        .boxed())
}

/// What identify says of the network: a peer of another one is told apart before any other protocol fails.
pub(crate) fn protocol_version(network: &NetworkId) -> String {
    protocol_prefix(network)
}

pub(crate) fn build(config: &NetConfig, standings: &Arc<Standings>) -> Result<Swarm<Behaviour>, NetError> {
    let network = config.domain.network();
    let limits = &config.limits;
    if limits.connections_per_peer < 2 {
        return Err(NetError::Config("connections_per_peer must be at least 2: two dials may cross".into()));
    }
    let connections = ConnectionLimits::default()
        .with_max_established(Some(limits.connections))
        .with_max_established_incoming(Some(limits.inbound_connections))
        .with_max_established_per_peer(Some(limits.connections_per_peer))
        .with_max_pending_incoming(Some(limits.inbound_connections.max(16)))
        .with_max_pending_outgoing(Some(limits.connections.max(16)));
    let identify = identify::Config::new(protocol_version(&network), config.identity.keypair().public())
        .with_agent_version(format!("squad/{}", env!("CARGO_PKG_VERSION")))
        // Addresses come from bindings and signed records only.
        .with_cache_size(0)
        .with_hide_listen_addrs(true);
    let behaviour = Behaviour {
        gate: Gate::new(standings.clone(), limits),
        limits: connection_limits::Behaviour::new(connections),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
        gossip: gossip::behaviour(&network)?,
        fetch: fetch::behaviour(&network, limits),
        streams: Streams::new(&network),
    };
    let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    Ok(Swarm::new(transport(&config.identity)?, behaviour, config.identity.peer_id(), swarm_config))
}
