//! Whom to dial and when: bootstrap addresses and members of the committee, each with its own back-off.

use std::collections::HashMap;

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use rand::{SeedableRng, rngs::StdRng};
use squad_types::Address;
use tokio::time::Instant;

use crate::{binding::is_dialable, config::BackOff};

/// Dials under way at once.
const MAX_DIALS: usize = 32;

/// Why a target is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Bootstrap(usize),
    Member(Address),
}

#[derive(Debug)]
struct Target {
    peer: Option<PeerId>,
    /// Whether the configured address names the peer, so that another one there is wrong.
    fixed: bool,
    addresses: Vec<Multiaddr>,
    failures: u32,
    next: Instant,
    dialing: Option<ConnectionId>,
    /// The address leads back to this node.
    own: bool,
}

/// The dialler.
#[derive(Debug)]
pub(crate) struct Dialer {
    local: PeerId,
    back_off: BackOff,
    rng: StdRng,
    targets: HashMap<Key, Target>,
    dials: HashMap<ConnectionId, Key>,
}

impl Dialer {
    pub(crate) fn new(local: PeerId, back_off: BackOff, bootstrap: &[Multiaddr]) -> Self {
        let now = Instant::now();
        let targets = bootstrap.iter().enumerate().map(|(index, address)| {
            let (address, peer) = split_peer(address);
            let own = peer == Some(local) || !is_dialable(&address);
            let target = Target {
                peer,
                fixed: peer.is_some(),
                addresses: vec![address],
                failures: 0,
                next: now,
                dialing: None,
                own,
            };
            (Key::Bootstrap(index), target)
        });
        Self { local, back_off, rng: StdRng::from_os_rng(), targets: targets.collect(), dials: HashMap::new() }
    }

    /// Brings the member targets in line with the committee and the book.
    pub(crate) fn set_members(&mut self, members: &[(Address, PeerId, Vec<Multiaddr>)]) {
        let now = Instant::now();
        self.targets.retain(|key, _| match key {
            Key::Bootstrap(_) => true,
            Key::Member(operator) => members.iter().any(|(member, ..)| member == operator),
        });
        for (operator, peer, addresses) in members {
            if *peer == self.local {
                continue;
            }
            let target = self.targets.entry(Key::Member(*operator)).or_insert_with(|| Target {
                peer: None,
                fixed: true,
                addresses: Vec::new(),
                failures: 0,
                next: now,
                dialing: None,
                own: false,
            });
            if target.peer != Some(*peer) || target.addresses != *addresses {
                // News about where it is: worth a try at once.
                target.peer = Some(*peer);
                target.addresses.clone_from(addresses);
                target.failures = 0;
                target.next = now;
            }
        }
    }

    /// The dials that are due. `members_wanted` bounds dials to members (followers need only some).
    pub(crate) fn due(
        &mut self,
        is_connected: impl Fn(&PeerId) -> bool,
        is_banned: impl Fn(&PeerId) -> bool,
        mut members_wanted: usize,
    ) -> Vec<DialOpts> {
        let now = Instant::now();
        let mut opts = Vec::new();
        for (key, target) in &mut self.targets {
            let known = target.peer;
            if target.own
                || target.dialing.is_some()
                || target.next > now
                || target.addresses.is_empty()
                || known.is_some_and(|peer| is_connected(&peer) || is_banned(&peer))
                || self.dials.len() >= MAX_DIALS
            {
                continue;
            }
            if let Key::Member(_) = key {
                if members_wanted == 0 {
                    continue;
                }
                members_wanted -= 1;
            }
            // A port of its own: from the listen port, crossing dials would be one TCP connection with two dialers.
            let dial = match known {
                Some(peer) => DialOpts::peer_id(peer)
                    .addresses(target.addresses.clone())
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .allocate_new_port()
                    .build(),
                None => DialOpts::unknown_peer_id().address(target.addresses[0].clone()).allocate_new_port().build(),
            };
            target.dialing = Some(dial.connection_id());
            self.dials.insert(dial.connection_id(), *key);
            opts.push(dial);
        }
        opts
    }

    pub(crate) fn established(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(target) = self.dials.remove(&connection).and_then(|key| self.targets.get_mut(&key)) {
            target.dialing = None;
            target.peer = Some(peer);
        }
    }

    pub(crate) fn failed(&mut self, connection: ConnectionId, error: &DialError) {
        let Some(target) = self.dials.remove(&connection).and_then(|key| self.targets.get_mut(&key)) else {
            return;
        };
        target.dialing = None;
        match error {
            DialError::LocalPeerId { .. } => target.own = true,
            // Connected or being dialled already; not the target's fault.
            DialError::DialPeerConditionFalse(_) => {
                target.next = Instant::now() + self.back_off.pause(1, &mut self.rng);
                return;
            }
            DialError::WrongPeerId { .. } if !target.fixed => target.peer = None,
            _ => {}
        }
        target.failures = target.failures.saturating_add(1);
        target.next = Instant::now() + self.back_off.pause(target.failures, &mut self.rng);
    }

    /// The peer completed its hellos: the next reconnect starts with a short pause.
    pub(crate) fn healthy(&mut self, peer: &PeerId) {
        for target in self.targets.values_mut().filter(|target| target.peer == Some(*peer)) {
            target.failures = 0;
        }
    }

    /// The last connection to the peer is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        for target in self.targets.values_mut().filter(|target| target.peer == Some(*peer)) {
            target.failures = target.failures.saturating_add(1);
            target.next = Instant::now() + self.back_off.pause(target.failures, &mut self.rng);
            if !target.fixed {
                // Another node may listen there now.
                target.peer = None;
            }
        }
    }
}

/// Takes `/p2p/…` off the end of an address.
fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut address = address.clone();
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}
