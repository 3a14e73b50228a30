//! Certificates: a quorum's signatures, in ascending order of validator.

use crate::ack::{Ack, AckEntry};
use crate::batch::{BatchHeader, LaneId, Tip};
use crate::codec::ListItem;
use crate::codec_struct;
use crate::committee::{Bitmap, Committee};
use crate::hash::HeaderHash;
use crate::keys::{Domain, Signature, Statement as _, Verifier};
use crate::limits::MAX_COMMITTEE;
use crate::merkle::MerkleProof;
use crate::quantity::{Height, Round, Stake, ValidatorIndex};
use crate::signed::Signed;
use crate::vote::{Vote, VoteKind};
use serde::{Deserialize, Serialize};

/// Why a certificate does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// As many signatures as bits are needed.
    #[error("{signatures} signatures for {signers} signers")]
    Count {
        /// Signatures given.
        signatures: usize,
        /// Bits set.
        signers: usize,
    },
    /// A bit beyond the committee.
    #[error("signer {0} is not in the committee")]
    Stranger(ValidatorIndex),
    /// Signers out of order or twice the same.
    #[error("signer {0} is listed twice or out of order")]
    Order(ValidatorIndex),
    /// A signature that is not its signer's.
    #[error("the signature of validator {0} does not hold")]
    Signature(ValidatorIndex),
    /// Not over two thirds.
    #[error("signed by stake {0}, which is not over two thirds of {1}")]
    NoQuorum(Stake, Stake),
    /// For the zero hash, which votes for nil are signed as.
    #[error("no block has the hash zero: these are votes for nil")]
    ZeroBlock,
    /// The committee is of another epoch.
    #[error("the certificate is of another epoch than the committee")]
    Epoch,
    /// The chain of batch headers does not hold together.
    #[error("batch header {0} of the chain does not follow from the one before")]
    Chain(usize),
    /// An ack's path does not lead to the root it signs.
    #[error("the ack of validator {0} does not cover the batch")]
    Path(ValidatorIndex),
}

/// Over two thirds of precommits for one block in one round: the block is ordered for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitCertificate {
    /// The height.
    pub height: Height,
    /// The round whose precommits these are.
    pub round: Round,
    /// The block.
    pub block: HeaderHash,
    /// Who signed.
    pub signers: Bitmap,
    /// Their signatures, in ascending order of place.
    pub signatures: Vec<Signature>,
}

codec_struct!(CommitCertificate { height, round, block, signers, signatures });

impl CommitCertificate {
    /// Puts precommits into their canonical order. Later ones of the same validator are dropped.
    pub fn assemble(
        height: Height,
        round: Round,
        block: HeaderHash,
        precommits: Vec<(ValidatorIndex, Signature)>,
    ) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = precommits.into_iter().rev().collect();
        let signers = sorted.keys().copied().collect();
        Self { height, round, block, signers, signatures: sorted.into_values().collect() }
    }

    /// The statement that every signer signed.
    pub fn vote(&self) -> Vote {
        Vote { kind: VoteKind::Precommit, height: self.height, round: self.round, block: Some(self.block) }
    }

    /// Checks it against the committee of its height's epoch.
    pub fn verify(
        &self,
        domain: &Domain,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        verify_votes(&self.vote(), &self.signers, &self.signatures, domain, committee, verifier)
    }
}

/// Over two thirds of one kind of vote for one statement, prevotes or precommits, nil included: what a node needs to follow a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteCertificate {
    /// The vote.
    pub vote: Vote,
    /// Who signed.
    pub signers: Bitmap,
    /// Their signatures, in ascending order of place.
    pub signatures: Vec<Signature>,
}

codec_struct!(VoteCertificate { vote, signers, signatures });

impl VoteCertificate {
    /// Checks it against the committee of its height's epoch.
    pub fn verify(
        &self,
        domain: &Domain,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        verify_votes(&self.vote, &self.signers, &self.signatures, domain, committee, verifier)
    }
}

fn verify_votes(
    vote: &Vote,
    signers: &Bitmap,
    signatures: &[Signature],
    domain: &Domain,
    committee: &Committee,
    verifier: &dyn Verifier,
) -> Result<(), CertificateError> {
    if !vote.is_sound() {
        return Err(CertificateError::ZeroBlock);
    }
    if signers.count() != signatures.len() {
        return Err(CertificateError::Count { signatures: signatures.len(), signers: signers.count() });
    }
    if let Some(stranger) = signers.iter().find(|index| committee.get(*index).is_none()) {
        return Err(CertificateError::Stranger(stranger));
    }
    let stake = committee.stake_of_all(signers);
    if !committee.is_quorum(stake) {
        return Err(CertificateError::NoQuorum(stake, committee.total()));
    }
    let digest = domain.digest(vote);
    for (index, signature) in signers.iter().zip(signatures) {
        let member = committee.get(index).ok_or(CertificateError::Stranger(index))?;
        if !verifier.verify(&digest, &member.address, signature) {
            return Err(CertificateError::Signature(index));
        }
    }
    Ok(())
}

/// One validator's ack of a lane's tip: its signed root and the path of the lane's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckProof {
    /// The validator's place in the committee of the lane's epoch.
    pub validator: ValidatorIndex,
    /// Its signed ack.
    pub ack: Signed<Ack>,
    /// The tip it acknowledges in the lane.
    pub tip: Tip,
    /// The entry's path in its vector.
    pub path: MerkleProof,
}

codec_struct!(AckProof { validator, ack, tip, path });

impl ListItem for AckProof {
    const MAX_ITEMS: usize = MAX_COMMITTEE;
}

/// Over two thirds of stake hold a batch durably: the batch is secured.
///
/// Breaks only if over a third of stake misbehaves. It promises that the batch's content stays available and, with the
/// inclusion rule, that it is ordered or provably expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCertificate {
    /// The lane.
    pub lane: LaneId,
    /// The author's headers from the batch itself up to the highest tip acknowledged below.
    pub headers: Vec<Signed<BatchHeader>>,
    /// Acks whose tips are among these headers, in ascending order of validator.
    pub acks: Vec<AckProof>,
}

codec_struct!(BatchCertificate { lane, headers, acks });

impl BatchCertificate {
    /// The batch that is certified: the first header's. None for a certificate without headers, which never verifies.
    pub fn tip(&self) -> Option<Tip> {
        let header = &self.headers.first()?.statement;
        Some(Tip { sequence: header.sequence, batch: header.id() })
    }

    /// Checks it against the committee of the lane's epoch.
    pub fn verify(
        &self,
        domain: &Domain,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<Tip, CertificateError> {
        if committee.epoch() != self.lane.epoch {
            return Err(CertificateError::Epoch);
        }
        let tips = self.verify_chain(domain, committee, verifier)?;
        let mut stake = 0_u64;
        let mut last = None;
        for proof in &self.acks {
            if last >= Some(proof.validator) {
                return Err(CertificateError::Order(proof.validator));
            }
            last = Some(proof.validator);
            let member = committee.get(proof.validator).ok_or(CertificateError::Stranger(proof.validator))?;
            let entry = AckEntry { lane: self.lane.author, tip: Some(proof.tip) };
            let ack = &proof.ack.statement;
            let covers = tips.contains(&proof.tip)
                && ack.epoch == self.lane.epoch
                && proof.path.index == u64::from(self.lane.author.0)
                && proof.path.count == committee.len() as u64
                && proof.path.holds(&entry.leaf(), &ack.root);
            if !covers {
                return Err(CertificateError::Path(proof.validator));
            }
            if proof.ack.signer != member.address || proof.ack.check(domain, verifier).is_err() {
                return Err(CertificateError::Signature(proof.validator));
            }
            stake = stake.saturating_add(member.stake.0);
        }
        if !committee.is_quorum(Stake(stake)) {
            return Err(CertificateError::NoQuorum(Stake(stake), committee.total()));
        }
        tips.first().copied().ok_or(CertificateError::Chain(0))
    }

    fn verify_chain(
        &self,
        domain: &Domain,
        committee: &Committee,
        verifier: &dyn Verifier,
    ) -> Result<Vec<Tip>, CertificateError> {
        let author = committee.get(self.lane.author).ok_or(CertificateError::Stranger(self.lane.author))?.address;
        let mut tips: Vec<Tip> = Vec::with_capacity(self.headers.len());
        for (at, signed) in self.headers.iter().enumerate() {
            let header = &signed.statement;
            let follows =
                tips.last().is_none_or(|tip| tip.sequence.next() == header.sequence && tip.batch == header.parent);
            let ours = header.operator == author && signed.signer == author && header.epoch == self.lane.epoch;
            // The first header's own signature is what binds the author; those above are bound by the acks.
            if !follows || !ours || signed.check(domain, verifier).is_err() {
                return Err(CertificateError::Chain(at));
            }
            tips.push(Tip { sequence: header.sequence, batch: header.id() });
        }
        Ok(tips)
    }
}
