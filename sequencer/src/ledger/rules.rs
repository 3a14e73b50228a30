//! The hard rules: what makes a block invalid whoever looks at it, and whenever.

use super::Ledger;
use super::committees::CommitteeRule;
use super::turns::Proposers;
use squad_types::{
    Address, Digest, Epoch, Header, HeaderHash, Height, LaneId, MerkleRoot, NetworkId, PROTOCOL_VERSION, Round,
    Timestamp, ValidatorIndex,
};

/// New batches of one block. A proposer that names a tip far ahead must not make everybody fetch without end, and even two
/// epochs of a full committee can all move several times over.
pub const MAX_BLOCK_BATCHES: u64 = 16 * 1024;

/// Why a block is invalid.
///
/// Every reason depends only on bytes that the block's hash commits to and on the parent chain, except those of
/// [`InvalidBlock::is_about_body`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// Another protocol version.
    #[error("protocol version {0}, this node speaks {PROTOCOL_VERSION}")]
    Version(u16),
    /// Another network.
    #[error("network {0} is another one")]
    Network(NetworkId),
    /// Not the next height.
    #[error("height {found}, the next one is {next}")]
    Height {
        /// The block's.
        found: Height,
        /// The ledger's next.
        next: Height,
    },
    /// On another parent.
    #[error("built on {found}, the tip is {tip}")]
    Parent {
        /// The block's parent.
        found: HeaderHash,
        /// The ledger's tip.
        tip: HeaderHash,
    },
    /// Another epoch than the parent chain gives.
    #[error("epoch {found}, the next block is of epoch {expected}")]
    Epoch {
        /// The block's.
        found: Epoch,
        /// What the parent chain gives.
        expected: Epoch,
    },
    /// A timestamp that is not above the parent's.
    #[error("timestamp {found} is not above the parent's {parent}")]
    Timestamp {
        /// The block's.
        found: Timestamp,
        /// The parent's.
        parent: Timestamp,
    },
    /// Other parameters or namespaces.
    #[error("parameters hash to {0}, not to the network's")]
    Params(Digest),
    /// Another committee.
    #[error("committee hashes to {0}, not to this epoch's")]
    Committee(Digest),
    /// Another next committee than the epoch's first block fixed.
    #[error("next committee hashes to {0}, not to the one that the epoch's first block fixed")]
    NextCommittee(Digest),
    /// The next committee breaks a rule of the parent chain.
    #[error("next committee: {0}")]
    NextCommitteeRule(#[from] CommitteeRule),
    /// Built by somebody whose turn it was not.
    #[error("{found} built it for round {round}, whose proposer is another")]
    Proposer {
        /// Who built it.
        found: Address,
        /// For which round.
        round: Round,
    },
    /// An anchor below the parent's, or another block at the same number.
    #[error("settlement anchor {found} goes back behind the parent's {parent}")]
    Anchor {
        /// The block's.
        found: u64,
        /// The parent's.
        parent: u64,
    },
    /// A signer beyond the committee, or signers where no height lies so far back.
    #[error("lists validator {0} as a signer, who is not in that height's committee")]
    Signer(ValidatorIndex),
    /// A lane that goes back, or forks at its ordered tip.
    #[error("lane {0} does not move forward")]
    LaneBack(LaneId),
    /// A lane whose new batches do not follow from its ordered tip, or are not its author's.
    #[error("the new batches of lane {0} do not follow from its ordered tip")]
    OffChain(LaneId),
    /// Too many new batches.
    #[error("{0} new batches are over the limit of {MAX_BLOCK_BATCHES}")]
    TooManyBatches(u64),
    /// Too many new bytes.
    #[error("{found} bytes of new batches are over the cap of {cap}")]
    TooManyBytes {
        /// Bytes.
        found: u64,
        /// The cap.
        cap: u32,
    },
    /// Too many transactions in its new batches.
    #[error("{found} transactions in new batches are over the cap of {cap}")]
    TooManyTransactions {
        /// Transactions.
        found: u64,
        /// The cap.
        cap: u32,
    },
    /// Readiness of somebody who is in the next committee anyway, or of more operators than a committee holds.
    #[error("readiness of {0} is not asked for")]
    UnsolicitedReady(Address),
    /// Another count of ordered transactions.
    #[error("the header counts {found} transactions, its batches give {given}")]
    Count {
        /// The header's.
        found: u32,
        /// What the batches give.
        given: usize,
    },
    /// Another root over namespaces.
    #[error("the header's namespaces root is {0}, its batches give another")]
    NamespacesRoot(MerkleRoot),
    /// The body with it is not the one that its hash commits to; whoever sent it may have changed it.
    #[error("the body is not its header's: {0}")]
    Body(&'static str),
}

impl InvalidBlock {
    /// Whether this speaks of the body that came with the header and not of the block: another body may make the same hash
    /// valid, so agreement must never be told that the hash is invalid.
    pub fn is_about_body(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}

impl Ledger {
    /// Checks a header against the parent chain.
    pub(super) fn check_header(&self, header: &Header, proposers: Proposers) -> Result<(), InvalidBlock> {
        let next = self.height().next();
        let epoch = self.epoch_of_next();
        let hash_of = |epoch: Epoch| self.committee(epoch).map(|committee| committee.hash());
        if header.version != PROTOCOL_VERSION {
            return Err(InvalidBlock::Version(header.version));
        }
        if header.network_id != self.domain.network() {
            return Err(InvalidBlock::Network(header.network_id));
        }
        if header.height != next {
            return Err(InvalidBlock::Height { found: header.height, next });
        }
        if header.parent_hash != self.tip_hash {
            return Err(InvalidBlock::Parent { found: header.parent_hash, tip: self.tip_hash });
        }
        if header.epoch != epoch {
            return Err(InvalidBlock::Epoch { found: header.epoch, expected: epoch });
        }
        if header.timestamp <= self.tip_time() {
            return Err(InvalidBlock::Timestamp { found: header.timestamp, parent: self.tip_time() });
        }
        if header.params_hash != self.params_hash {
            return Err(InvalidBlock::Params(header.params_hash));
        }
        if Some(header.committee_hash) != hash_of(epoch) {
            return Err(InvalidBlock::Committee(header.committee_hash));
        }
        if !self.opens_epoch() && Some(header.next_committee_hash) != hash_of(epoch.next()) {
            return Err(InvalidBlock::NextCommittee(header.next_committee_hash));
        }
        if proposers(header.origin_round) != Some(header.proposer) {
            return Err(InvalidBlock::Proposer { found: header.proposer, round: header.origin_round });
        }
        self.check_anchor(header)?;
        self.check_signers(header)
    }

    fn check_anchor(&self, header: &Header) -> Result<(), InvalidBlock> {
        let (found, parent) = (header.l1_anchor, self.anchor());
        if found.number < parent.number || (found.number == parent.number && found.hash != parent.hash) {
            return Err(InvalidBlock::Anchor { found: found.number, parent: parent.number });
        }
        Ok(())
    }

    fn check_signers(&self, header: &Header) -> Result<(), InvalidBlock> {
        let listed = self.signers_listed_at(header.height);
        let committee = listed.and_then(|(_, epoch)| self.committee(epoch));
        let stranger =
            header.signers.iter().find(|index| committee.is_none_or(|members| members.get(*index).is_none()));
        stranger.map_or(Ok(()), |stranger| Err(InvalidBlock::Signer(stranger)))
    }
}
