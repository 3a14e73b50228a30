//! Tests over real loopback sockets. Waits end with the event they wait for; the timeouts only bound a failure.

mod hostile;
mod mesh;
mod reconnect;
mod traffic;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use squad_types::{Address, Domain, EcdsaSigner, EcdsaVerifier, NetworkId, Signer, Timestamp};

use crate::{BackOff, Channel, Identity, NetConfig, NetEvent, NetEvents, Network, NetworkHandle, bind};

const FAILURE: Duration = Duration::from_secs(120);

fn signer(number: u8) -> EcdsaSigner {
    EcdsaSigner::from_secret([number; 32]).unwrap()
}

fn operator(number: u8) -> Address {
    signer(number).address()
}

fn domain(network: u8) -> Domain {
    Domain::new(NetworkId([network; 32]))
}

fn identity(number: u8) -> Identity {
    Identity::from_secret([number; 32]).unwrap()
}

/// An operator's configuration on network 1.
fn member(number: u8) -> NetConfig {
    let mut config = follower(number);
    config.binding = Some(bind(&config.identity, &config.domain, &signer(number), Timestamp(1), &[]));
    config
}

fn follower(number: u8) -> NetConfig {
    let mut config = NetConfig::new(identity(number), domain(1), Arc::new(EcdsaVerifier));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.back_off = BackOff { first: Duration::from_millis(20), longest: Duration::from_millis(200) };
    config.limits.exchange_interval = Duration::from_millis(500);
    // A loaded machine may take longer than an operator would wait.
    config.limits.drain_time = FAILURE;
    config
}

struct Node {
    handle: NetworkHandle,
    events: NetEvents,
}

impl Node {
    async fn start(mut config: NetConfig, bootstrap: &[&Node]) -> Self {
        config.bootstrap.extend(bootstrap.iter().map(|node| node.address()));
        let (handle, events) = Network::start(config).await.unwrap();
        Self { handle, events }
    }

    fn address(&self) -> Multiaddr {
        self.handle.listen_addresses()[0].clone()
    }

    fn peer(&self) -> PeerId {
        self.handle.local_peer()
    }

    async fn next(&mut self) -> NetEvent {
        tokio::time::timeout(FAILURE, self.events.recv()).await.expect("no event came").expect("network stopped")
    }

    /// Reads events until one gives an answer.
    async fn until<T>(&mut self, mut wanted: impl FnMut(&NetEvent) -> Option<T>) -> T {
        loop {
            let event = self.next().await;
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    async fn until_connected(&mut self, to: PeerId) {
        self.until(|event| match event {
            NetEvent::PeerConnected { peer } => (peer.peer == to).then_some(()),
            _ => None,
        })
        .await;
    }

    /// The next direct message.
    async fn message(&mut self) -> (Option<Address>, Channel, Bytes) {
        self.until(|event| match event {
            NetEvent::Message { from, channel, bytes } => Some((from.operator, *channel, bytes.clone())),
            _ => None,
        })
        .await
    }
}

/// Members 1..=count, each knowing the first, all of one committee, all connected.
async fn committee(count: u8) -> Vec<Node> {
    let members: Vec<_> = (1..=count).map(operator).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for number in 1..=count {
        let first: Vec<&Node> = nodes.first().into_iter().collect();
        let node = Node::start(member(number), &first).await;
        node.handle.set_committee(members.clone());
        nodes.push(node);
    }
    let peers: Vec<_> = nodes.iter().map(Node::peer).collect();
    for node in &mut nodes {
        let mut missing: Vec<_> = peers.iter().filter(|peer| **peer != node.peer()).copied().collect();
        while !missing.is_empty() {
            if let NetEvent::PeerConnected { peer } = node.next().await {
                assert!(peer.operator.is_some());
                missing.retain(|other| *other != peer.peer);
            }
        }
    }
    nodes
}
