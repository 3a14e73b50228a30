//! Whom to dial and when: bootstrap addresses and members of the committee, each with its own back-off.

use std::{collections::HashMap, time::Duration};

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

/// A name that is not resolved within this is asked for again.
const RESOLVE_TIME: Duration = Duration::from_secs(15);
/// A peer that hears another process with this operator's key is dialled again after this at the earliest: meanwhile it asks
/// that one whether it lives.
const AWAY_PAUSE: Duration = Duration::from_secs(3);
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
    /// A host name and port to resolve before each dial, as the address behind a name changes.
    name: Option<(String, u16)>,
    resolved: bool,
    failures: u32,
    next: Instant,
    dialing: Option<ConnectionId>,
    /// The address leads back to this node.
    own: bool,
}

impl Target {
    fn new(peer: Option<PeerId>, addresses: Vec<Multiaddr>, now: Instant) -> Self {
        Self {
            peer,
            fixed: peer.is_some(),
            addresses,
            name: None,
            resolved: false,
            failures: 0,
            next: now,
            dialing: None,
            own: false,
        }
    }
}

/// What is due.
#[derive(Debug)]
pub(crate) enum Due {
    /// A dial.
    Dial(DialOpts),
    /// A name of a bootstrap address, to be answered by [`Dialer::resolved`].
    Resolve { index: usize, host: String, port: u16 },
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
            let name = name_of(&address);
            let mut target = Target::new(peer, vec![address], now);
            target.name = name;
            target.own = peer == Some(local);
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
            let target =
                self.targets.entry(Key::Member(*operator)).or_insert_with(|| Target::new(Some(*peer), Vec::new(), now));
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
    ) -> Vec<Due> {
        let now = Instant::now();
        let mut due = Vec::new();
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
            if let (Some((host, port)), Key::Bootstrap(index), false) = (&target.name, key, target.resolved) {
                target.next = now + RESOLVE_TIME;
                due.push(Due::Resolve { index: *index, host: host.clone(), port: *port });
                continue;
            }
            target.resolved = false;
            // A port of its own: from the listen port, crossing dials would be one TCP connection with two dialers.
            let turn = target.failures as usize % target.addresses.len();
            let dial = match known {
                Some(peer) => DialOpts::peer_id(peer)
                    .addresses(target.addresses.clone())
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .allocate_new_port()
                    .build(),
                None => DialOpts::unknown_peer_id().address(target.addresses[turn].clone()).allocate_new_port().build(),
            };
            target.dialing = Some(dial.connection_id());
            self.dials.insert(dial.connection_id(), *key);
            due.push(Due::Dial(dial));
        }
        due
    }

    /// Takes the addresses behind a bootstrap name; none means that it did not resolve.
    pub(crate) fn resolved(&mut self, index: usize, addresses: Vec<Multiaddr>) {
        let Some(target) = self.targets.get_mut(&Key::Bootstrap(index)) else { return };
        if addresses.is_empty() {
            target.failures = target.failures.saturating_add(1);
            target.next = Instant::now() + self.back_off.pause(target.failures, &mut self.rng);
            return;
        }
        target.addresses = addresses;
        target.resolved = true;
        target.next = Instant::now();
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

    /// The peer does not hear this node for another with its key: it is left alone until it may know more.
    pub(crate) fn turned_away(&mut self, peer: &PeerId) {
        for target in self.targets.values_mut().filter(|target| target.peer == Some(*peer)) {
            target.next = Instant::now() + AWAY_PAUSE;
        }
    }

    /// The last connection to the peer is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        for target in self.targets.values_mut().filter(|target| target.peer == Some(*peer)) {
            target.failures = target.failures.saturating_add(1);
            target.next = target.next.max(Instant::now() + self.back_off.pause(target.failures, &mut self.rng));
            if !target.fixed {
                // Another node may listen there now.
                target.peer = None;
            }
        }
    }
}

/// The host name and TCP port of an address that has them.
fn name_of(address: &Multiaddr) -> Option<(String, u16)> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Dns(host) | Protocol::Dns4(host) | Protocol::Dns6(host) => host.into_owned(),
        _ => return None,
    };
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None) => Some((host, port)),
        _ => None,
    }
}

/// Whether a bootstrap address can be used.
pub(crate) fn is_bootstrap(address: &Multiaddr) -> bool {
    let (address, _) = split_peer(address);
    is_dialable(&address) || name_of(&address).is_some()
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
