//! Verifying ordered blocks of one namespace, from a trusted committee onwards.
//!
//! What has passed here needs no trust in the operator that served it: over two thirds of the followed committee's
//! stake signed the header, the header follows the last one, and it commits to exactly these transactions.

use crate::{Error, Result, source::OrderedBlock};
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use squad_types::{
    Committee, Decode, Digest, Domain, EcdsaVerifier, Encode, Genesis, HeaderHash, Height, NamespaceBlock, NamespaceId,
    PROTOCOL_VERSION, Timestamp, codec_struct, merkle,
};

/// Where following stands: enough to verify the next block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Checkpoint {
    /// The last verified block; zero before the first.
    height: Height,
    hash: HeaderHash,
    timestamp: Timestamp,
    /// The committee of its epoch.
    committee: Committee,
    /// The committee of the epoch after, once the first block of the epoch named it.
    next: Option<Committee>,
}

codec_struct!(Checkpoint { height, hash, timestamp, committee, next });

/// Follows one namespace's blocks and the committees that sign them.
#[derive(Clone, Debug)]
pub struct BlockVerifier {
    domain: Domain,
    namespace: NamespaceId,
    at: Checkpoint,
}

/// Which part of a block does not hold, and how.
type Refused = (&'static str, String);

fn require(holds: bool, part: &'static str, detail: impl FnOnce() -> String) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err((part, detail())) }
}

impl BlockVerifier {
    /// Follows from the network's genesis on.
    ///
    /// # Errors
    /// [`Error::Config`] if the network genesis names no sound committee.
    pub fn from_genesis(genesis: &Genesis, namespace: NamespaceId) -> Result<Self> {
        let committee = genesis.committee().map_err(|error| Error::Config(format!("network genesis: {error}")))?;
        let at = Checkpoint {
            height: Height::ZERO,
            hash: genesis.parent_hash(),
            timestamp: genesis.time,
            committee,
            next: None,
        };
        Ok(Self { domain: Domain::new(genesis.network_id()), namespace, at })
    }

    /// Continues where [`BlockVerifier::checkpoint`] was taken; the bytes must come from a trusted place (the own
    /// database).
    ///
    /// # Errors
    /// [`Error::Damaged`] if they do not decode.
    pub fn resume(genesis: &Genesis, namespace: NamespaceId, checkpoint: Bytes) -> Result<Self> {
        let at = Checkpoint::from_bytes(checkpoint)
            .map_err(|error| Error::Damaged(format!("follower checkpoint: {error}")))?;
        Ok(Self { domain: Domain::new(genesis.network_id()), namespace, at })
    }

    /// What [`BlockVerifier::resume`] needs to go on after the last verified block.
    pub fn checkpoint(&self) -> Bytes {
        self.at.to_bytes()
    }

    /// The height that must come next.
    pub fn next_height(&self) -> u64 {
        self.at.height.next().0
    }

    /// Checks `block` as the next one and moves on to it.
    ///
    /// # Errors
    /// [`Error::Gap`] if it is above the next height; [`Error::Forged`] naming the part that does not hold. The
    /// verifier then stands where it stood.
    pub fn verify(&mut self, block: NamespaceBlock) -> Result<OrderedBlock> {
        let height = block.header.height;
        if height > self.at.height.next() {
            let (last, expected) = (self.at.height.0, self.next_height());
            return Err(Error::Gap { last, expected, found: height.0 });
        }
        let at = self.check(&block).map_err(|(part, detail)| Error::Forged {
            height: height.0,
            part: part.to_owned(),
            detail,
        })?;
        self.at = at;
        Ok(OrderedBlock {
            height: height.0,
            timestamp_ms: block.header.timestamp.0,
            hash: B256::from(self.at.hash.0),
            parent_hash: B256::from(block.header.parent_hash.0),
            proposer: Address::from(block.header.proposer.0),
            transactions: block.transactions.into_iter().map(|transaction| transaction.data).collect(),
            checkpoint: self.checkpoint(),
        })
    }

    fn check(&self, block: &NamespaceBlock) -> Result<Checkpoint, Refused> {
        let header = &block.header;
        let network = self.domain.network();
        require(header.network_id == network, "network id", || {
            format!("it is of network {}, not {network}", header.network_id)
        })?;
        require(header.version == PROTOCOL_VERSION, "protocol version", || {
            format!("it is {}, this executor knows {PROTOCOL_VERSION}; update it", header.version)
        })?;
        require(header.height == self.at.height.next(), "height", || {
            format!("it is {}, {} must come next", header.height, self.at.height.next())
        })?;
        require(header.parent_hash == self.at.hash, "parent hash", || {
            format!("it names {} as its parent, but block {} is {}", header.parent_hash, self.at.height, self.at.hash)
        })?;
        require(header.timestamp > self.at.timestamp, "timestamp", || {
            format!("{} is not above the parent's {}", header.timestamp, self.at.timestamp)
        })?;
        let (committee, first) = self.committee_of(block)?;
        require(header.committee_hash == committee.hash(), "committee hash", || {
            format!("it is {}, the followed committee of epoch {} is another", header.committee_hash, header.epoch)
        })?;
        let hash = header.hash();
        self.check_certificate(block, hash, &committee)?;
        let next = self.next_committee(block, first)?;
        self.check_transactions(block)?;
        Ok(Checkpoint { height: header.height, hash, timestamp: header.timestamp, committee, next })
    }

    /// The committee of the block's epoch, and whether the block is the first of that epoch.
    fn committee_of(&self, block: &NamespaceBlock) -> Result<(Committee, bool), Refused> {
        let epoch = block.header.epoch;
        let current = &self.at.committee;
        if epoch == current.epoch() {
            return Ok((current.clone(), self.at.height == Height::ZERO));
        }
        match &self.at.next {
            Some(next) if epoch == next.epoch() => Ok((next.clone(), true)),
            _ => Err(("epoch", format!("it is {epoch}, after one of epoch {}", current.epoch()))),
        }
    }

    fn check_certificate(
        &self,
        block: &NamespaceBlock,
        hash: HeaderHash,
        committee: &Committee,
    ) -> Result<(), Refused> {
        let certificate = &block.certificate;
        require(certificate.height == block.header.height, "commit certificate", || {
            format!("it is for height {}", certificate.height)
        })?;
        require(certificate.block == hash, "commit certificate", || {
            format!("it is for block {}, the header's hash is {hash}", certificate.block)
        })?;
        certificate
            .verify(&self.domain, committee, &EcdsaVerifier)
            .map_err(|error| ("commit certificate", error.to_string()))
    }

    /// The committee of the epoch after the block's.
    fn next_committee(&self, block: &NamespaceBlock, first: bool) -> Result<Option<Committee>, Refused> {
        let header = &block.header;
        let part = "next committee";
        let next = if first {
            let members = block.next_committee.clone();
            let members = members.ok_or_else(|| (part, "the first block of an epoch must list it".to_owned()))?;
            let next = Committee::new(header.epoch.next(), members).map_err(|error| (part, error.to_string()))?;
            Some(next)
        } else {
            require(block.next_committee.is_none(), part, || "only the first block of an epoch lists it".to_owned())?;
            self.at.next.clone()
        };
        let found = next.as_ref().map(Committee::hash);
        require(found == Some(header.next_committee_hash), part, || {
            format!("its hash is not the header's {}", header.next_committee_hash)
        })?;
        Ok(next)
    }

    fn check_transactions(&self, block: &NamespaceBlock) -> Result<(), Refused> {
        let namespace = self.namespace;
        require(block.namespace == namespace, "namespace", || {
            format!("it is {}, {namespace} is followed", block.namespace)
        })?;
        let leaf = block
            .proof
            .verify(namespace, &block.header.namespaces_root)
            .map_err(|error| ("namespace proof", error.to_string()))?;
        let (count, transactions) = (leaf.map_or(0, |leaf| leaf.count), &block.transactions);
        require(transactions.len() as u64 == u64::from(count), "transactions", || {
            format!("{} were served, the header commits to {count}", transactions.len())
        })?;
        if let Some(stranger) = transactions.iter().find(|transaction| transaction.namespace != namespace) {
            return Err(("transactions", format!("one is of namespace {}", stranger.namespace)));
        }
        let ids: Vec<_> = transactions.iter().map(|transaction| Digest(transaction.id().0)).collect();
        let holds = leaf.is_none_or(|leaf| merkle::root(&ids) == leaf.transactions_root);
        require(holds, "transactions", || "they are not those that the header commits to".to_owned())
    }
}
