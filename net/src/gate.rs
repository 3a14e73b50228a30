//! Who may connect: refuses banned peers and too many connections from one IP address before any protocol runs.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

use crate::{config::Limits, standing::Standings};

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("peer {0} is banned")]
    Banned(PeerId),
    #[error("{count} connections from {ip} are open, at most {limit} allowed")]
    PerIp { ip: IpAddr, count: u32, limit: u32 },
}

/// The behaviour that refuses.
pub(crate) struct Gate {
    standings: Arc<Standings>,
    per_ip: u32,
    exempt_loopback: bool,
    inbound: HashMap<IpAddr, u32>,
}

impl Gate {
    pub(crate) fn new(standings: Arc<Standings>, limits: &Limits) -> Self {
        let (per_ip, exempt_loopback) = (limits.connections_per_ip, limits.exempt_loopback);
        Self { standings, per_ip, exempt_loopback, inbound: HashMap::new() }
    }

    fn check_ip(&self, address: &Multiaddr) -> Result<(), ConnectionDenied> {
        let Some(ip) = ip_of(address).filter(|ip| !(self.exempt_loopback && ip.is_loopback())) else {
            return Ok(());
        };
        let count = self.inbound.get(&ip).copied().unwrap_or(0);
        if count >= self.per_ip {
            return Err(ConnectionDenied::new(Denied::PerIp { ip, count, limit: self.per_ip }));
        }
        Ok(())
    }

    fn check_ban(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.standings.is_banned(peer) {
            return Err(ConnectionDenied::new(Denied::Banned(*peer)));
        }
        Ok(())
    }
}

pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        // One host of IPv6 owns a whole /64.
        Some(Protocol::Ip6(ip)) if ip.is_loopback() => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            Some(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
        }
        _ => None,
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.check_ip(remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_ban(&peer)?;
        self.check_ip(remote)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_ban(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(event) if event.endpoint.is_listener() => {
                if let Some(ip) = ip_of(event.endpoint.get_remote_address()) {
                    *self.inbound.entry(ip).or_default() += 1;
                }
            }
            FromSwarm::ConnectionClosed(event) if event.endpoint.is_listener() => {
                let Some(ip) = ip_of(event.endpoint.get_remote_address()) else { return };
                if let Some(count) = self.inbound.get_mut(&ip) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.inbound.remove(&ip);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
