//! Which peer speaks for which operator, and where it listens: the authenticated address book.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use libp2p::{
    Multiaddr, PeerId,
    core::{PeerRecord, SignedEnvelope},
    multiaddr::Protocol,
};
use squad_types::{Address, Decode, Domain, PeerBinding, Signed, Signer, Timestamp, Verifier};

use crate::{error::WireError, hello::Hello, identity::Identity};

/// Operators outside the committee that are remembered: a bound on what strangers with fresh keys can make us store.
const MAX_STRANGERS: usize = 1024;
/// Addresses taken from one peer's record.
pub(crate) const MAX_ADDRESSES: usize = 8;

/// What a signed binding says, checked: this peer speaks for this operator on this network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The operator that signed it.
    pub(crate) operator: Address,
    /// The peer that speaks for it.
    pub(crate) peer: PeerId,
    /// When it was signed; an older one never replaces a newer one.
    pub(crate) issued: Timestamp,
    /// Where the operator says that the peer listens.
    pub(crate) addresses: Vec<Multiaddr>,
}

/// Signs that `identity` speaks for `signer`'s operator. The newest `issued` counts, so a node that changes its network
/// identity must sign with a later one; two identities with one `issued` are refused by whoever saw the other first.
pub fn bind(
    identity: &Identity,
    domain: &Domain,
    signer: &dyn Signer,
    issued: Timestamp,
    addresses: &[Multiaddr],
) -> Signed<PeerBinding> {
    let statement = PeerBinding {
        peer_id: identity.peer_id().to_bytes().into(),
        issued,
        addresses: addresses.iter().take(MAX_ADDRESSES).map(|address| address.to_vec().into()).collect(),
    };
    let signature = signer.sign(&domain.digest(&statement));
    Signed { statement, signer: signer.address(), signature }
}

/// Checks bindings for one network.
#[derive(Clone)]
pub(crate) struct BindingCheck {
    pub(crate) domain: Domain,
    pub(crate) verifier: Arc<dyn Verifier>,
}

impl BindingCheck {
    /// Decodes a binding and checks its signature and network.
    pub(crate) fn check(&self, bytes: &Bytes) -> Result<Binding, WireError> {
        let refused = |reason: String| WireError::Signature { what: "peer binding", reason };
        let signed: Signed<PeerBinding> =
            Signed::from_bytes(bytes.clone()).map_err(|error| refused(error.to_string()))?;
        signed.check(&self.domain, &*self.verifier).map_err(|error| refused(error.to_string()))?;
        let peer =
            PeerId::from_bytes(&signed.statement.peer_id).map_err(|error| refused(format!("peer id: {error}")))?;
        let addresses = signed
            .statement
            .addresses
            .iter()
            .filter_map(|address| Multiaddr::try_from(address.to_vec()).ok().filter(is_dialable));
        Ok(Binding {
            operator: signed.signer,
            peer,
            issued: signed.statement.issued,
            addresses: addresses.take(MAX_ADDRESSES).collect(),
        })
    }
}

/// A binding with the peer's signed record of its addresses, both checked.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) binding: Binding,
    /// The encoded binding, as others are told it.
    pub(crate) bytes: Bytes,
    pub(crate) record: Option<Record>,
}

impl Entry {
    /// Where to dial: the peer's own record first, for it is newer, then what the operator signed.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses: Vec<Multiaddr> = Vec::new();
        let recorded = self.record.iter().flat_map(|record| &record.addresses);
        for address in recorded.chain(&self.binding.addresses) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses.truncate(MAX_ADDRESSES);
        addresses
    }
}

/// A peer's own signed list of addresses.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    sequence: u64,
    pub(crate) addresses: Vec<Multiaddr>,
}

impl Record {
    /// Checks a record's signature and that it is `peer`'s. Addresses that this node cannot dial are left out.
    pub(crate) fn check(bytes: &Bytes, peer: &PeerId) -> Result<Self, WireError> {
        let refused = |reason: String| WireError::Signature { what: "peer record", reason };
        let envelope = SignedEnvelope::from_protobuf_encoding(bytes).map_err(|error| refused(error.to_string()))?;
        let record = PeerRecord::from_signed_envelope(envelope).map_err(|error| refused(error.to_string()))?;
        if record.peer_id() != *peer {
            return Err(refused(format!("it is {}'s, not {peer}'s", record.peer_id())));
        }
        let addresses =
            record.addresses().iter().filter(|address| is_dialable(address)).take(MAX_ADDRESSES).cloned().collect();
        Ok(Self { bytes: bytes.clone(), sequence: record.seq(), addresses })
    }
}

/// Whether the transport can dial it: an IP address and a TCP port, with the peer id at most.
pub(crate) fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        _ => false,
    };
    host && matches!(parts.next(), Some(Protocol::Tcp(port)) if port != 0)
        && matches!(parts.next(), None | Some(Protocol::P2p(_)))
        && parts.next().is_none()
}

/// What became of a checked binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// The peer speaks for the operator; a former peer of the operator does not any more.
    Bound { replaced: Option<PeerId> },
    /// A higher counter, or the same for another peer, is known: the peer speaks for nobody.
    Stale,
    /// Too many operators outside the committee are known.
    Full,
}

/// The book of bindings.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: HashMap<Address, Entry>,
    operators: HashMap<PeerId, Address>,
    committee: BTreeSet<Address>,
}

impl Book {
    pub(crate) fn committee(&self) -> &BTreeSet<Address> {
        &self.committee
    }

    pub(crate) fn set_committee(&mut self, committee: BTreeSet<Address>) {
        self.committee = committee;
    }

    pub(crate) fn operator_of(&self, peer: &PeerId) -> Option<Address> {
        self.operators.get(peer).copied()
    }

    pub(crate) fn peer_of(&self, operator: &Address) -> Option<PeerId> {
        self.entries.get(operator).map(|entry| entry.binding.peer)
    }

    pub(crate) fn entry(&self, operator: &Address) -> Option<&Entry> {
        self.entries.get(operator)
    }

    pub(crate) fn is_member(&self, peer: &PeerId) -> bool {
        self.operators.get(peer).is_some_and(|operator| self.committee.contains(operator))
    }

    /// Members of the committee with what is known of them.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Address, Option<&Entry>)> {
        self.committee.iter().map(|operator| (operator, self.entries.get(operator)))
    }

    /// Whether exactly these bytes are already known to be a valid binding of `peer`.
    fn knows(&self, peer: &PeerId, bytes: &[u8]) -> bool {
        self.operators
            .get(peer)
            .and_then(|operator| self.entries.get(operator))
            .is_some_and(|entry| entry.binding.peer == *peer && entry.bytes == bytes)
    }

    /// Takes a checked entry.
    pub(crate) fn learn(&mut self, entry: Entry) -> Learned {
        let operator = entry.binding.operator;
        let peer = entry.binding.peer;
        let strangers = self.entries.len().saturating_sub(self.committee.len());
        let mut replaced = None;
        match self.entries.get_mut(&operator) {
            None if strangers >= MAX_STRANGERS && !self.committee.contains(&operator) => return Learned::Full,
            None => {}
            Some(known) if known.binding.peer == peer => {
                if entry.binding.issued >= known.binding.issued {
                    known.binding = entry.binding;
                    known.bytes = entry.bytes;
                }
                let newest = known.record.as_ref().map_or(0, |record| record.sequence);
                if let Some(record) = entry.record.filter(|record| record.sequence > newest) {
                    known.record = Some(record);
                }
                return Learned::Bound { replaced: None };
            }
            Some(known) if known.binding.issued >= entry.binding.issued => return Learned::Stale,
            Some(known) => {
                replaced = Some(known.binding.peer);
                self.operators.remove(&known.binding.peer);
            }
        }
        // A peer that spoke for another operator before does not any more.
        if let Some(former) = self.operators.insert(peer, operator).filter(|former| *former != operator) {
            self.entries.remove(&former);
        }
        self.entries.insert(operator, entry);
        Learned::Bound { replaced }
    }

    /// Forgets a disconnected peer that is no member.
    pub(crate) fn forget_stranger(&mut self, peer: &PeerId) {
        if !self.is_member(peer)
            && let Some(operator) = self.operators.remove(peer)
        {
            self.entries.remove(&operator);
        }
    }
}

/// Checks the binding and record that `peer` presents, unless they are known. `None`: it presents none.
pub(crate) fn check_hello(
    hello: &Hello,
    peer: &PeerId,
    book: &std::sync::Mutex<Book>,
    check: &BindingCheck,
) -> Result<Option<Entry>, WireError> {
    let Some(bytes) = &hello.binding else { return Ok(None) };
    let known = {
        let book = crate::lock(book);
        book.knows(peer, bytes)
            .then(|| book.operator_of(peer).and_then(|operator| book.entry(&operator).cloned()))
            .flatten()
    };
    let binding = match &known {
        Some(entry) => entry.binding.clone(),
        None => check.check(bytes)?,
    };
    if binding.peer != *peer {
        return Err(WireError::Signature {
            what: "peer binding",
            reason: format!("it binds {}, but {peer} presents it", binding.peer),
        });
    }
    let record = match (&hello.record, known.and_then(|entry| entry.record)) {
        (Some(bytes), Some(record)) if record.bytes == *bytes => Some(record),
        (Some(bytes), _) => Some(Record::check(bytes, peer)?),
        (None, record) => record,
    };
    Ok(Some(Entry { binding, bytes: bytes.clone(), record }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(operator: u8, peer: PeerId, issued: u64) -> Entry {
        let binding =
            Binding { operator: Address([operator; 20]), peer, issued: Timestamp(issued), addresses: Vec::new() };
        Entry { binding, bytes: Bytes::from(vec![operator, issued as u8]), record: None }
    }

    #[test]
    fn only_a_newer_binding_moves_an_operator_to_another_peer() {
        let (first, second) = (PeerId::random(), PeerId::random());
        let mut book = Book::default();
        assert_eq!(book.learn(entry(1, first, 5)), Learned::Bound { replaced: None });
        assert_eq!(book.learn(entry(1, second, 5)), Learned::Stale);
        assert_eq!(book.learn(entry(1, second, 4)), Learned::Stale);
        assert_eq!(book.operator_of(&second), None);
        assert_eq!(book.learn(entry(1, second, 6)), Learned::Bound { replaced: Some(first) });
        assert_eq!(book.operator_of(&first), None);
        assert_eq!(book.peer_of(&Address([1; 20])), Some(second));
    }

    #[test]
    fn a_peer_speaks_for_one_operator() {
        let peer = PeerId::random();
        let mut book = Book::default();
        book.learn(entry(1, peer, 1));
        book.learn(entry(2, peer, 1));
        assert_eq!(book.operator_of(&peer), Some(Address([2; 20])));
        assert_eq!(book.peer_of(&Address([1; 20])), None);
    }

    #[test]
    fn strangers_are_bounded_and_members_are_not() {
        let mut book = Book::default();
        book.set_committee(BTreeSet::from([Address([255; 20])]));
        for number in 0..(MAX_STRANGERS + 10) as u32 {
            let mut operator = [0; 20];
            operator[..4].copy_from_slice(&number.to_be_bytes());
            book.learn(Entry {
                binding: Binding { operator: Address(operator), ..entry(0, PeerId::random(), 0).binding },
                ..entry(0, PeerId::random(), 0)
            });
        }
        assert!(book.entries.len() <= MAX_STRANGERS + 1);
        let member = PeerId::random();
        assert_eq!(book.learn(entry(255, member, 0)), Learned::Bound { replaced: None });
        assert!(book.is_member(&member));
    }

    #[test]
    fn only_tcp_addresses_are_dialled() {
        for good in ["/ip4/10.0.0.1/tcp/9000", "/ip6/::1/tcp/1"] {
            assert!(is_dialable(&good.parse().unwrap()), "{good}");
        }
        for bad in [
            "/ip4/0.0.0.0/tcp/9000",
            "/ip4/10.0.0.1/tcp/0",
            "/ip4/10.0.0.1/udp/9000",
            "/unix/tmp",
            "/ip4/224.0.0.1/tcp/2",
        ] {
            assert!(!is_dialable(&bad.parse().unwrap()), "{bad}");
        }
    }
}
