//! Blocks: as proposed, as ordered, and as one namespace sees them.

use crate::batch::CutEntry;
use crate::certificate::CommitCertificate;
use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader};
use crate::codec_struct;
use crate::committee::Member;
use crate::hash::HeaderHash;
use crate::header::{Header, Ready};
use crate::keys::{Domain, Verifier};
use crate::limits::{MAX_BLOCK_TRANSACTIONS, MAX_BLOCKS_PER_RESPONSE};
use crate::namespace::NamespaceProof;
use crate::quantity::NamespaceId;
use crate::signed::{BadSignature, Signed, Verified};
use crate::transaction::Transaction;
use crate::vote::Proposal;
use std::sync::Arc;

/// A proposed block: its header and what the header commits to, without the batches' content. Equal, and ordered, by hash.
#[derive(Clone, Debug)]
pub struct ProposedBlock {
    hash: HeaderHash,
    header: Header,
    cut: Vec<CutEntry>,
    readies: Vec<Signed<Ready>>,
    next_committee: Option<Vec<Member>>,
}

impl ProposedBlock {
    /// Puts a block together. `cut` lists the lanes that moved, ascending; `next_committee` stands in the first block of an epoch.
    pub fn new(
        header: Header,
        cut: Vec<CutEntry>,
        readies: Vec<Signed<Ready>>,
        next_committee: Option<Vec<Member>>,
    ) -> Self {
        Self { hash: header.hash(), header, cut, readies, next_committee }
    }

    /// The header's hash: the block's id.
    pub fn hash(&self) -> HeaderHash {
        self.hash
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The lanes that moved, with their new tips.
    pub fn cut(&self) -> &[CutEntry] {
        &self.cut
    }

    /// Newcomers' statements.
    pub fn readies(&self) -> &[Signed<Ready>] {
        &self.readies
    }

    /// The next epoch's committee, in the first block of an epoch.
    pub fn next_committee(&self) -> Option<&[Member]> {
        self.next_committee.as_deref()
    }
}

impl PartialEq for ProposedBlock {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for ProposedBlock {}

impl PartialOrd for ProposedBlock {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProposedBlock {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.hash.cmp(&other.hash)
    }
}

impl Encode for ProposedBlock {
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.cut.encode(out);
        self.readies.encode(out);
        self.next_committee.encode(out);
    }
}

impl Decode for ProposedBlock {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self::new(
            Decode::decode(reader)?,
            Decode::decode(reader)?,
            Decode::decode(reader)?,
            Decode::decode(reader)?,
        ))
    }
}

/// A proposal as it travels: the proposer's statement and the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalMessage {
    /// The proposer's statement.
    pub proposal: Signed<Proposal>,
    /// The block it names.
    pub block: Arc<ProposedBlock>,
}

codec_struct!(ProposalMessage { proposal, block });

/// A proposal whose signature, and those of the statements in its block, were checked, and whose block is the one it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProposal {
    proposal: Verified<Proposal>,
    block: Arc<ProposedBlock>,
}

/// Why a proposal is refused before anybody judges its block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A signature does not hold.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The block is not the one that the statement names.
    #[error("the proposal names block {named}, the block with it is {sent}")]
    OtherBlock {
        /// Named by the statement.
        named: HeaderHash,
        /// Sent with it.
        sent: HeaderHash,
    },
    /// The statement's height is not the block's.
    #[error("the proposal's height is not its block's")]
    Height,
}

impl ProposalMessage {
    /// Checks the signatures and that statement and block belong together.
    pub fn verify(self, domain: &Domain, verifier: &dyn Verifier) -> Result<VerifiedProposal, ProposalError> {
        let statement = &self.proposal.statement;
        if statement.block != self.block.hash() {
            return Err(ProposalError::OtherBlock { named: statement.block, sent: self.block.hash() });
        }
        if statement.height != self.block.header().height {
            return Err(ProposalError::Height);
        }
        self.block.readies().iter().try_for_each(|ready| ready.check(domain, verifier))?;
        Ok(VerifiedProposal { proposal: self.proposal.verify(domain, verifier)?, block: self.block })
    }
}

impl VerifiedProposal {
    /// A proposal of one's own, or one read back from this node's own log.
    pub fn assemble(proposal: Verified<Proposal>, block: Arc<ProposedBlock>) -> Self {
        debug_assert_eq!(proposal.statement.block, block.hash());
        Self { proposal, block }
    }

    /// The proposer's statement.
    pub fn proposal(&self) -> &Verified<Proposal> {
        &self.proposal
    }

    /// The block.
    pub fn block(&self) -> &Arc<ProposedBlock> {
        &self.block
    }

    /// Its form on the wire.
    pub fn to_message(&self) -> ProposalMessage {
        ProposalMessage { proposal: self.proposal.signed().clone(), block: Arc::clone(&self.block) }
    }
}

impl ListItem for u32 {
    const MAX_ITEMS: usize = MAX_BLOCK_TRANSACTIONS;
}

/// An ordered block as nodes store and pass it on: the batches' content is stored apart, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedBlock {
    /// The block.
    pub block: Arc<ProposedBlock>,
    /// The quorum that ordered it.
    pub certificate: CommitCertificate,
    /// Positions in the interleaved batches that were left out as repeated or expired, ascending. Recomputable by whoever has the window.
    pub skipped: Vec<u32>,
}

codec_struct!(OrderedBlock { block, certificate, skipped });

impl ListItem for OrderedBlock {
    const MAX_ITEMS: usize = MAX_BLOCKS_PER_RESPONSE;
}

/// An ordered block as one namespace sees it: all of its transactions in order, with the proof that these are all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceBlock {
    /// The header.
    pub header: Header,
    /// The quorum that ordered it.
    pub certificate: CommitCertificate,
    /// The next epoch's committee, in the first block of an epoch, so that a follower never needs to ask for one.
    pub next_committee: Option<Vec<Member>>,
    /// The namespace.
    pub namespace: NamespaceId,
    /// What the header says of the namespace.
    pub proof: NamespaceProof,
    /// Its transactions in order.
    pub transactions: Vec<Transaction>,
}

codec_struct!(NamespaceBlock { header, certificate, next_committee, namespace, proof, transactions });
