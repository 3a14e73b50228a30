//! Peers as the sequencer tells them apart, and as the network does.

use super::lock;
use squad_net::{Destination, Origin, PeerId, Responder};
use squad_sequencer::{Peer, RequestId};
use squad_types::{Address, CommitCertificate, Committee, Domain, EcdsaVerifier, Height};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Who is connected, and who waits for an answer.
#[derive(Default)]
pub(crate) struct Peers {
    known: Mutex<Known>,
    responders: Mutex<BTreeMap<RequestId, Responder>>,
    requests: AtomicU64,
}

#[derive(Default)]
struct Known {
    followers: HashMap<PeerId, u64>,
    ids: HashMap<u64, PeerId>,
    operators: HashMap<Address, PeerId>,
    next: u64,
}

impl Peers {
    /// A peer's name for the sequencer.
    pub(crate) fn of(&self, origin: &Origin) -> Peer {
        let mut known = lock(&self.known);
        if let Some(operator) = origin.operator {
            known.operators.insert(operator, origin.peer);
            return Peer::Operator(operator);
        }
        if let Some(number) = known.followers.get(&origin.peer) {
            return Peer::Follower(*number);
        }
        let number = known.next;
        known.next += 1;
        known.followers.insert(origin.peer, number);
        known.ids.insert(number, origin.peer);
        Peer::Follower(number)
    }

    /// Forgets a peer that left, and gives its name.
    pub(crate) fn left(&self, origin: &Origin) -> Peer {
        let peer = self.of(origin);
        let mut known = lock(&self.known);
        if let Peer::Follower(number) = peer {
            known.followers.remove(&origin.peer);
            known.ids.remove(&number);
        }
        peer
    }

    /// Where to send what is for a peer.
    pub(crate) fn destination(&self, peer: Peer) -> Option<Destination> {
        match peer {
            Peer::Operator(operator) => Some(Destination::Operator(operator)),
            Peer::Follower(number) => lock(&self.known).ids.get(&number).copied().map(Destination::Peer),
        }
    }

    /// A peer's identity on the network, as last seen.
    pub(crate) fn id(&self, peer: Peer) -> Option<PeerId> {
        let known = lock(&self.known);
        match peer {
            Peer::Operator(operator) => known.operators.get(&operator).copied(),
            Peer::Follower(number) => known.ids.get(&number).copied(),
        }
    }

    /// Keeps what a request is answered through.
    pub(crate) fn asked(&self, responder: Responder) -> RequestId {
        let id = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        lock(&self.responders).insert(id, responder);
        id
    }

    /// What a request is answered through; none if it was answered.
    pub(crate) fn responder(&self, id: RequestId) -> Option<Responder> {
        lock(&self.responders).remove(&id)
    }
}

/// The committees in force, as the sequencer last said.
#[derive(Default)]
pub(crate) struct Committees(RwLock<Vec<Arc<Committee>>>);

impl Committees {
    pub(crate) fn set(&self, committees: Vec<Arc<Committee>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = committees;
    }

    pub(crate) fn all(&self) -> Vec<Arc<Committee>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether one of them decided this.
    pub(crate) fn decided(&self, domain: &Domain, certificate: &CommitCertificate) -> bool {
        self.all().iter().any(|committee| certificate.verify(domain, committee, &EcdsaVerifier).is_ok())
    }
}

/// The highest decision that was handed on to whoever only listens. Certificates of one block differ by who signed them, so
/// gossip takes each for another message: the first of a height is enough.
#[derive(Default)]
pub(crate) struct Announced(AtomicU64);

impl Announced {
    /// Whether a decision is old: one of its height was handed on, or later ones were decided here.
    pub(crate) fn is_old(&self, height: Height, tip: Height) -> bool {
        height.0 <= self.0.load(Ordering::Relaxed) || height.next() < tip
    }

    /// One of a height is handed on.
    pub(crate) fn pass(&self, height: Height) {
        self.0.fetch_max(height.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_of_a_height_is_handed_on_by_those_who_have_decided_it_too() {
        let announced = Announced::default();
        let (tip, next) = (Height(7), Height(8));
        assert!(!announced.is_old(next, tip), "news");
        assert!(!announced.is_old(tip, tip), "decided here, and not known to whoever only listens");
        announced.pass(tip);
        assert!(announced.is_old(tip, tip));
        assert!(!announced.is_old(next, tip));
        assert!(announced.is_old(Height(5), tip));
    }
}
