//! Checking one namespace's ordered blocks, one after another.

use crate::follow::CommitteeFollower;
use crate::trust::{TrustError, TrustedCommittee};
use bytes::Bytes;
use squad_types::{
    CommitCertificate, CommitteeProof, Decode, DecodeError, Digest, Encode, Epoch, Genesis, Header, HeaderHash, Height,
    IdentifiedTransaction, NamespaceBlock, NamespaceId, NamespaceProofError, NetworkId, Timestamp, Transaction,
    codec_struct, merkle,
};
use std::sync::Arc;

/// Why a block is refused. [`BlockError::part`] names the part that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not a block.
    #[error("form: {0}")]
    Decode(#[from] DecodeError),
    /// Of another namespace than the one followed.
    #[error("namespace: the block is for namespace {found}, {expected} is followed")]
    Namespace {
        /// Followed.
        expected: NamespaceId,
        /// Found.
        found: NamespaceId,
    },
    /// Not the next height: one is missing, or one came again.
    #[error("height: block {found} came where block {expected} is due")]
    Height {
        /// Due.
        expected: Height,
        /// Found.
        found: Height,
    },
    /// Does not follow from the block before.
    #[error("parent hash: block {height} follows from {found}, the block before it is {expected}")]
    Parent {
        /// The block's height.
        height: Height,
        /// The block before.
        expected: HeaderHash,
        /// What it names.
        found: HeaderHash,
    },
    /// Not later than the block before.
    #[error("timestamp: block {height} is of {found} ms, which is not above its parent's {parent} ms")]
    Timestamp {
        /// The block's height.
        height: Height,
        /// The parent's.
        parent: Timestamp,
        /// Found.
        found: Timestamp,
    },
    /// Of an epoch that cannot come here.
    #[error("epoch: block {height} is of epoch {found}, the one before it of epoch {last}")]
    Epoch {
        /// The block's height.
        height: Height,
        /// The epoch before.
        last: Epoch,
        /// Found.
        found: Epoch,
    },
    /// Of an epoch whose committee is not known: follow the committees up to it first.
    #[error(
        "committee: the committee of epoch {found} is not known, the newest known is of epoch {newest}: follow the committees up to it"
    )]
    UnknownCommittee {
        /// The block's epoch.
        found: Epoch,
        /// The newest known.
        newest: Epoch,
    },
    /// Header or certificate do not hold.
    #[error("block {height}: {error}")]
    Header {
        /// The block's height.
        height: Height,
        /// What does not hold.
        error: TrustError,
    },
    /// The next committee does not hold.
    #[error("next committee: block {height}: {error}")]
    NextCommittee {
        /// The block's height.
        height: Height,
        /// What does not hold.
        error: TrustError,
    },
    /// The first block of an epoch must list the next committee, and only that one may.
    #[error("next committee: block {height} {}", if *.listed { "lists one, but is not the first of its epoch" } else { "is the first of its epoch and must list one" })]
    NextCommitteeListed {
        /// The block's height.
        height: Height,
        /// Whether it lists one.
        listed: bool,
    },
    /// The namespace proof does not hold.
    #[error("namespace proof: block {height}: {error}")]
    NamespaceProof {
        /// The block's height.
        height: Height,
        /// What does not hold.
        error: NamespaceProofError,
    },
    /// More or fewer transactions than the header commits to.
    #[error("transactions: block {height} came with {found}, its header commits to {committed}")]
    Count {
        /// The block's height.
        height: Height,
        /// Committed to.
        committed: u32,
        /// Found.
        found: usize,
    },
    /// Other transactions than the header commits to, or in another order.
    #[error("transactions: those of block {height} are not the ones, or not in the order, that its header commits to")]
    Transactions {
        /// The block's height.
        height: Height,
    },
}

impl BlockError {
    /// The part that does not hold, in a stable form.
    pub fn part(&self) -> &'static str {
        match self {
            Self::Decode(_) => "form",
            Self::Namespace { .. } => "namespace",
            Self::Height { .. } => "height",
            Self::Parent { .. } => "parent hash",
            Self::Timestamp { .. } => "timestamp",
            Self::Epoch { .. } => "epoch",
            Self::UnknownCommittee { .. } => "committee",
            Self::Header { error, .. } => match error {
                TrustError::Network { .. } => "network",
                TrustError::Version(_) => "version",
                TrustError::Committee { .. } => "committee",
                TrustError::Epoch { .. } => "epoch",
                TrustError::Certificate(_) => "commit certificate",
                _ => "header",
            },
            Self::NextCommittee { .. } | Self::NextCommitteeListed { .. } => "next committee",
            Self::NamespaceProof { .. } => "namespace proof",
            Self::Count { .. } | Self::Transactions { .. } => "transactions",
        }
    }
}

/// A block of which everything was checked: the only thing that an executor should act on.
///
/// Guarantees that over two thirds of the stake of its epoch's committee ordered it, that it follows from the block
/// before, and that these are all of the namespace's transactions in it, in order. Fee hints are not covered by any
/// proof and are taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBlock {
    hash: HeaderHash,
    header: Header,
    certificate: CommitCertificate,
    namespace: NamespaceId,
    transactions: Vec<IdentifiedTransaction>,
    checkpoint: Checkpoint,
}

impl VerifiedBlock {
    /// The header's hash.
    pub const fn hash(&self) -> HeaderHash {
        self.hash
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The height.
    pub const fn height(&self) -> Height {
        self.header.height
    }

    /// The header's timestamp.
    pub const fn timestamp(&self) -> Timestamp {
        self.header.timestamp
    }

    /// The quorum that ordered it.
    pub const fn certificate(&self) -> &CommitCertificate {
        &self.certificate
    }

    /// The namespace.
    pub const fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// The namespace's transactions in order.
    pub fn transactions(&self) -> &[IdentifiedTransaction] {
        &self.transactions
    }

    /// The namespace's transactions in order.
    pub fn into_transactions(self) -> Vec<IdentifiedTransaction> {
        self.transactions
    }

    /// Where to go on after this block.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// Where a follower stands: enough to check the next block. Keep it in a trusted place, the follower's own disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    height: Height,
    hash: HeaderHash,
    timestamp: Timestamp,
    committee: Arc<TrustedCommittee>,
    next: Option<Arc<TrustedCommittee>>,
}

codec_struct!(Checkpoint { height, hash, timestamp, committee, next });

impl Checkpoint {
    /// The last checked height.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The hash of its header.
    pub const fn hash(&self) -> HeaderHash {
        self.hash
    }

    /// The committee of its epoch.
    pub fn committee(&self) -> &TrustedCommittee {
        &self.committee
    }

    /// The canonical form.
    pub fn to_bytes(&self) -> Bytes {
        Encode::to_bytes(self)
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        Decode::from_bytes(bytes)
    }
}

/// The block that was checked last.
#[derive(Clone, Copy, Debug)]
struct Parent {
    hash: HeaderHash,
    timestamp: Timestamp,
    /// None where no block was checked yet, as at genesis: the next one is the first of its epoch.
    epoch: Option<Epoch>,
}

/// Checks the blocks of one namespace, height by height, and follows the committees that they name.
#[derive(Clone, Debug)]
pub struct BlockVerifier {
    follower: CommitteeFollower,
    namespace: NamespaceId,
    next: Height,
    /// None when started in the middle from a committee alone: then the first block's certificate is the anchor.
    parent: Option<Parent>,
}

/// Everything about a block that passed, before the verifier moves on.
struct Checked {
    hash: HeaderHash,
    next: Option<TrustedCommittee>,
}

impl BlockVerifier {
    /// Starts before the first block of a network.
    ///
    /// # Errors
    /// [`TrustError::Members`] if the genesis names no committee.
    pub fn from_genesis(genesis: &Genesis, namespace: NamespaceId) -> Result<Self, TrustError> {
        Ok(Self {
            follower: CommitteeFollower::from_genesis(genesis)?,
            namespace,
            next: Height::ZERO.next(),
            parent: Some(Parent { hash: genesis.parent_hash(), timestamp: genesis.time, epoch: None }),
        })
    }

    /// Starts at any height from a trusted committee of that height's epoch or an earlier one; in the latter case
    /// [`BlockVerifier::follow`] must be given the proofs up to it first.
    pub fn from_trusted(follower: CommitteeFollower, namespace: NamespaceId, from: Height) -> Self {
        Self { follower, namespace, next: from.max(Height::ZERO.next()), parent: None }
    }

    /// Goes on after a block that was checked before.
    pub fn resume(checkpoint: Checkpoint, namespace: NamespaceId) -> Self {
        let Checkpoint { height, hash, timestamp, committee, next } = checkpoint;
        let epoch = Some(committee.epoch());
        let mut follower = CommitteeFollower::from_trusted(Arc::unwrap_or_clone(committee));
        if let Some(next) = next {
            // A checkpoint of one's own holds consecutive epochs; if it does not, following stops at the epoch's end.
            let _ = follower.add(Arc::unwrap_or_clone(next));
        }
        Self { follower, namespace, next: height.next(), parent: Some(Parent { hash, timestamp, epoch }) }
    }

    /// The network.
    pub fn network_id(&self) -> NetworkId {
        self.follower.network_id()
    }

    /// The namespace.
    pub const fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// The height that must come next.
    pub const fn next_height(&self) -> Height {
        self.next
    }

    /// The committees known so far.
    pub const fn committees(&self) -> &CommitteeFollower {
        &self.follower
    }

    /// Takes in a proof of a later committee, which blocks before the start would have shown.
    ///
    /// # Errors
    /// [`TrustError`] naming what does not hold.
    pub fn follow(&mut self, proof: &CommitteeProof) -> Result<(), TrustError> {
        self.follower.follow(proof)
    }

    /// Reads the canonical form of a block and checks it as [`BlockVerifier::verify`] does.
    ///
    /// # Errors
    /// [`BlockError`] naming what does not hold. The verifier then stands where it stood.
    pub fn verify_bytes(&mut self, bytes: Bytes) -> Result<VerifiedBlock, BlockError> {
        self.verify(NamespaceBlock::from_bytes(bytes)?)
    }

    /// Checks a block as the next one and moves on to it.
    ///
    /// # Errors
    /// [`BlockError`] naming what does not hold. The verifier then stands where it stood, so that the same height can be
    /// asked of somebody else.
    pub fn verify(&mut self, block: NamespaceBlock) -> Result<VerifiedBlock, BlockError> {
        let Checked { hash, next } = self.check(&block)?;
        let NamespaceBlock { header, certificate, namespace, transactions, .. } = block;
        let transactions = self.check_transactions(&header, &block.proof, transactions)?;
        let (height, epoch, timestamp) = (header.height, header.epoch, header.timestamp);
        if let Some(next) = next {
            self.follower.add(next).map_err(|error| BlockError::NextCommittee { height, error })?;
        }
        let newest = self.follower.newest().epoch();
        let committee = self.follower.shared(epoch).cloned();
        let committee = committee.ok_or(BlockError::UnknownCommittee { found: epoch, newest })?;
        self.next = height.next();
        self.parent = Some(Parent { hash, timestamp, epoch: Some(epoch) });
        let next = self.follower.shared(epoch.next()).cloned();
        let checkpoint = Checkpoint { height, hash, timestamp, committee, next };
        Ok(VerifiedBlock { hash, header, certificate, namespace, transactions, checkpoint })
    }

    fn check(&self, block: &NamespaceBlock) -> Result<Checked, BlockError> {
        let header = &block.header;
        let height = header.height;
        if block.namespace != self.namespace {
            return Err(BlockError::Namespace { expected: self.namespace, found: block.namespace });
        }
        if height != self.next {
            return Err(BlockError::Height { expected: self.next, found: height });
        }
        self.check_epoch(header)?;
        let newest = self.follower.newest().epoch();
        let unknown = BlockError::UnknownCommittee { found: header.epoch, newest };
        let committee = self.follower.committee(header.epoch).ok_or(unknown)?;
        committee.check_header(header, &block.certificate).map_err(|error| BlockError::Header { height, error })?;
        self.check_parent(header)?;
        let next = self.check_next_committee(block, committee)?;
        Ok(Checked { hash: block.certificate.block, next })
    }

    fn check_epoch(&self, header: &Header) -> Result<(), BlockError> {
        let (height, found) = (header.height, header.epoch);
        let last = match self.parent {
            None => return Ok(()),
            Some(Parent { epoch: None, .. }) => {
                return if found == Epoch::ZERO {
                    Ok(())
                } else {
                    Err(BlockError::Epoch { height, last: Epoch::ZERO, found })
                };
            }
            Some(Parent { epoch: Some(last), .. }) => last,
        };
        if found == last || found == last.next() { Ok(()) } else { Err(BlockError::Epoch { height, last, found }) }
    }

    fn check_parent(&self, header: &Header) -> Result<(), BlockError> {
        let (height, Some(parent)) = (header.height, self.parent) else { return Ok(()) };
        if header.parent_hash != parent.hash {
            return Err(BlockError::Parent { height, expected: parent.hash, found: header.parent_hash });
        }
        if header.timestamp <= parent.timestamp {
            return Err(BlockError::Timestamp { height, parent: parent.timestamp, found: header.timestamp });
        }
        Ok(())
    }

    fn check_next_committee(
        &self,
        block: &NamespaceBlock,
        committee: &TrustedCommittee,
    ) -> Result<Option<TrustedCommittee>, BlockError> {
        let (header, height) = (&block.header, block.header.height);
        if let Some(parent) = self.parent {
            let (first, listed) = (parent.epoch != Some(header.epoch), block.next_committee.is_some());
            if first != listed {
                return Err(BlockError::NextCommitteeListed { height, listed });
            }
        }
        let wrong = |error| BlockError::NextCommittee { height, error };
        if let Some(known) = self.follower.committee(header.epoch.next()) {
            let (committed, found) = (header.next_committee_hash, known.hash());
            if committed != found {
                return Err(wrong(TrustError::NextCommittee { committed, found }));
            }
        }
        let Some(members) = &block.next_committee else { return Ok(None) };
        committee.listed(header, members.clone()).map(Some).map_err(wrong)
    }

    fn check_transactions(
        &self,
        header: &Header,
        proof: &squad_types::NamespaceProof,
        transactions: Vec<Transaction>,
    ) -> Result<Vec<IdentifiedTransaction>, BlockError> {
        let (height, found) = (header.height, transactions.len());
        let leaf = proof
            .verify(self.namespace, &header.namespaces_root)
            .map_err(|error| BlockError::NamespaceProof { height, error })?;
        let committed = leaf.map_or(0, |leaf| leaf.count);
        if found as u64 != u64::from(committed) || committed > header.tx_count {
            return Err(BlockError::Count { height, committed, found });
        }
        let Some(leaf) = leaf else { return Ok(Vec::new()) };
        // The id covers namespace, validity and bytes; the hint is nobody's proven word.
        let identified: Vec<IdentifiedTransaction> =
            transactions.into_iter().map(|transaction| Transaction { hint: None, ..transaction }.into()).collect();
        let ids = squad_types::transaction::ids(&identified);
        let ours = identified.iter().all(|tx| tx.transaction.namespace == self.namespace);
        if !ours || merkle::root(&ids) != leaf.transactions_root {
            return Err(BlockError::Transactions { height });
        }
        debug_assert!(ids.iter().zip(&identified).all(|(id, tx)| *id == Digest(tx.id.0)));
        Ok(identified)
    }
}
