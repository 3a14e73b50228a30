//! Peers as the sequencer tells them apart, and as the network does.

use super::lock;
use squad_net::{Destination, Origin, PeerId, Responder};
use squad_sequencer::{Peer, RequestId};
use squad_types::{Address, CommitCertificate, Committee, Domain, EcdsaVerifier, Height, ValidatorIndex};
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

    /// Whether it falls to an operator to gossip the decision of a height: two members take turns, so that one that is
    /// down does not keep it from followers, and not everybody says the same.
    pub(crate) fn gossips(&self, me: &Address, height: Height) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|committee| {
            let turn = |offset: u64| ValidatorIndex(((height.0 + offset) % committee.len() as u64) as u16);
            committee.index_of(me).is_some_and(|index| index == turn(0) || index == turn(1))
        })
    }
}
