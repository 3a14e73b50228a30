//! Checking a confirmation offline, against a trusted committee and nothing else.

use crate::trust::{TrustError, TrustedCommittee};
use squad_types::{
    Address, BadSignature, BatchHeader, Batched, CertificateError, Confirmation, Digest, Domain, EcdsaVerifier, Epoch,
    Evidenced, HeaderHash, Height, MerkleProof, NamespaceId, NamespaceProofError, NetworkId, Ordered, Secured, Tier,
    Timestamp, TransactionRef, TxId,
};

/// Why a confirmation is refused. [`VerifyError::part`] names the part that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The trusted committee may not be used now.
    #[error(transparent)]
    Trust(TrustError),
    /// Of another network.
    #[error(
        "network: the confirmation is of {found}, the trusted committee of {expected}: use a committee of the same network"
    )]
    Network {
        /// The trusted committee's.
        expected: NetworkId,
        /// Found.
        found: NetworkId,
    },
    /// Of an epoch whose committee is not the trusted one.
    #[error(
        "epoch: the confirmation is of epoch {found}, the trusted committee of {expected}: use the committee of epoch {found}"
    )]
    Epoch {
        /// The trusted committee's.
        expected: Epoch,
        /// Found.
        found: Epoch,
    },
    /// Of a protocol that is not known here.
    #[error("version: the header is of protocol version {0}, which this program does not know: update it")]
    Version(u16),
    /// A transaction reference that no transaction has.
    #[error("transaction: a validity of 0 stands for none and is never written out")]
    Transaction,
    /// The transaction is not under the root.
    #[error(
        "transaction proof: transaction {id} does not stand at place {index} of {count} under the root in its {under}"
    )]
    TransactionProof {
        /// The transaction's id.
        id: TxId,
        /// Where it is said to stand.
        index: u64,
        /// Among how many.
        count: u64,
        /// What holds the root.
        under: &'static str,
    },
    /// The operator's signature does not hold.
    #[error("batch header signature: {0}")]
    BatchSignature(#[from] BadSignature),
    /// The batch is signed by somebody else than its operator.
    #[error("batch header signature: the batch of {operator} is signed by {signer}")]
    BatchSigner {
        /// Named by the header.
        operator: Address,
        /// Signed by.
        signer: Address,
    },
    /// The batch's operator is nobody.
    #[error("batch operator: {0} is not in the trusted committee of epoch {1}")]
    BatchOperator(Address, Epoch),
    /// The chain of headers of a batch certificate does not hold.
    #[error("batch certificate: {0}")]
    BatchCertificate(CertificateError),
    /// The acks of a batch certificate do not hold, or are too few.
    #[error("acks: {0}")]
    Acks(CertificateError),
    /// The header names another committee.
    #[error("committee: the header is decided by committee {found}, the trusted one is {expected}")]
    Committee {
        /// Trusted.
        expected: Digest,
        /// Found.
        found: Digest,
    },
    /// The quorum does not hold.
    #[error("commit certificate: {0}")]
    CommitCertificate(CertificateError),
    /// The quorum is for another header.
    #[error("header: it hashes to {found}, the commit certificate is for {certified} at height {height}")]
    Header {
        /// Certified.
        certified: HeaderHash,
        /// Certified height.
        height: Height,
        /// The header's hash.
        found: HeaderHash,
    },
    /// The namespace's leaf does not hold.
    #[error("namespace proof: {0}")]
    NamespaceProof(#[from] NamespaceProofError),
    /// The block holds nothing of the namespace.
    #[error("namespace proof: it shows that the block holds nothing of namespace {0}")]
    Absent(NamespaceId),
}

impl VerifyError {
    /// The part that does not hold, in a stable form.
    pub fn part(&self) -> &'static str {
        match self {
            Self::Trust(_) => "trusted committee",
            Self::Network { .. } => "network",
            Self::Epoch { .. } => "epoch",
            Self::Version(_) => "version",
            Self::Transaction => "transaction",
            Self::TransactionProof { .. } => "transaction proof",
            Self::BatchSignature(_) | Self::BatchSigner { .. } => "batch header signature",
            Self::BatchOperator(..) => "batch operator",
            Self::BatchCertificate(_) => "batch certificate",
            Self::Acks(_) => "acks",
            Self::Committee { .. } => "committee",
            Self::CommitCertificate(_) => "commit certificate",
            Self::Header { .. } => "header",
            Self::NamespaceProof(_) | Self::Absent(_) => "namespace proof",
        }
    }
}

impl From<TrustError> for VerifyError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Network { expected, found } => Self::Network { expected, found },
            TrustError::Version(version) => Self::Version(version),
            TrustError::Epoch { expected, found } => Self::Epoch { expected, found },
            TrustError::Committee { expected, found } => Self::Committee { expected, found },
            TrustError::Header { certified, height, found } => Self::Header { certified, height, found },
            TrustError::Certificate(error) => Self::CommitCertificate(error),
            other => Self::Trust(other),
        }
    }
}

/// What a checked confirmation shows. Made by [`verify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedConfirmation {
    tier: Tier,
    transaction: TransactionRef,
    epoch: Epoch,
    place: Place,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a batch, not ordered yet.
    Batch {
        /// The operator that took it.
        operator: Address,
        /// The batch's place in its lane.
        sequence: squad_types::Sequence,
    },
    /// In a block, for good.
    Block {
        /// The height.
        height: Height,
        /// The header's hash.
        hash: HeaderHash,
        /// The header's timestamp.
        timestamp: Timestamp,
        /// The transaction's place among its namespace's in that block, from 0.
        index: u64,
    },
}

impl VerifiedConfirmation {
    /// How firm it is.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// The transaction: its namespace, validity and the hash of its bytes.
    pub const fn transaction(&self) -> &TransactionRef {
        &self.transaction
    }

    /// The epoch whose committee answers for it.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where the transaction stands.
    pub const fn place(&self) -> Place {
        self.place
    }
}

/// Checks every field of a confirmation against a trusted committee. Needs no server.
///
/// What it shows then is what its tier promises: see [`Tier`]. It does not show that the bytes of the transaction are the
/// reader's own; compare [`VerifiedConfirmation::transaction`] with [`squad_types::Transaction::reference`] for that.
///
/// # Errors
/// [`VerifyError`] naming the first part that does not hold; [`VerifyError::Trust`] if the committee is older than the
/// trusting period at `now`.
pub fn verify(
    confirmation: &Confirmation,
    trusted: &TrustedCommittee,
    now: Timestamp,
) -> Result<VerifiedConfirmation, VerifyError> {
    trusted.check_fresh(now)?;
    let (expected, found) = (trusted.network_id(), confirmation.network_id);
    if found != expected {
        return Err(VerifyError::Network { expected, found });
    }
    let transaction = confirmation.transaction;
    // Zero and none give one id; only one of them may be written.
    if transaction.valid_until == Some(Timestamp::ZERO) {
        return Err(VerifyError::Transaction);
    }
    let place = match &confirmation.evidenced {
        Evidenced::Batched(batched) => check_batched(batched, &transaction, trusted)?,
        Evidenced::Secured(secured) => check_secured(secured, &transaction, trusted)?,
        Evidenced::Ordered(ordered) => check_ordered(ordered, &transaction, trusted)?,
    };
    Ok(VerifiedConfirmation { tier: confirmation.tier(), transaction, epoch: trusted.epoch(), place })
}

fn check_epoch(found: Epoch, trusted: &TrustedCommittee) -> Result<(), VerifyError> {
    let expected = trusted.epoch();
    if found == expected { Ok(()) } else { Err(VerifyError::Epoch { expected, found }) }
}

fn check_transaction(
    transaction: &TransactionRef,
    proof: &MerkleProof,
    root: &squad_types::MerkleRoot,
    leaves: u32,
    under: &'static str,
) -> Result<(), VerifyError> {
    let id = transaction.id();
    if proof.count == u64::from(leaves) && proof.holds(&Digest(id.0), root) {
        return Ok(());
    }
    Err(VerifyError::TransactionProof { id, index: proof.index, count: proof.count, under })
}

fn in_batch(header: &BatchHeader) -> Place {
    Place::Batch { operator: header.operator, sequence: header.sequence }
}

fn check_batched(
    batched: &Batched,
    transaction: &TransactionRef,
    trusted: &TrustedCommittee,
) -> Result<Place, VerifyError> {
    let header = &batched.header.statement;
    check_epoch(header.epoch, trusted)?;
    if batched.header.signer != header.operator {
        return Err(VerifyError::BatchSigner { operator: header.operator, signer: batched.header.signer });
    }
    batched.header.check(&Domain::new(trusted.network_id()), &EcdsaVerifier)?;
    if !trusted.committee().contains(&header.operator) {
        return Err(VerifyError::BatchOperator(header.operator, trusted.epoch()));
    }
    check_transaction(transaction, &batched.proof, &header.transactions_root, header.count, "batch")?;
    Ok(in_batch(header))
}

fn check_secured(
    secured: &Secured,
    transaction: &TransactionRef,
    trusted: &TrustedCommittee,
) -> Result<Place, VerifyError> {
    let certificate = &secured.certificate;
    check_epoch(certificate.lane.epoch, trusted)?;
    let author = certificate.lane.author;
    if trusted.committee().get(author).is_none() {
        return Err(VerifyError::BatchCertificate(CertificateError::Stranger(author)));
    }
    let domain = Domain::new(trusted.network_id());
    certificate.verify(&domain, trusted.committee(), &EcdsaVerifier).map_err(|error| match error {
        CertificateError::Epoch | CertificateError::Chain(_) => VerifyError::BatchCertificate(error),
        error => VerifyError::Acks(error),
    })?;
    let first = certificate.headers.first().ok_or(VerifyError::BatchCertificate(CertificateError::Chain(0)))?;
    let header = &first.statement;
    check_transaction(transaction, &secured.proof, &header.transactions_root, header.count, "batch")?;
    Ok(in_batch(header))
}

fn check_ordered(
    ordered: &Ordered,
    transaction: &TransactionRef,
    trusted: &TrustedCommittee,
) -> Result<Place, VerifyError> {
    let header = &ordered.header;
    trusted.check_header(header, &ordered.certificate)?;
    let leaf = ordered
        .namespace_proof
        .verify(transaction.namespace, &header.namespaces_root)?
        .ok_or(VerifyError::Absent(transaction.namespace))?;
    check_transaction(transaction, &ordered.proof, &leaf.transactions_root, leaf.count, "namespace's leaf")?;
    Ok(Place::Block {
        height: header.height,
        hash: ordered.certificate.block,
        timestamp: header.timestamp,
        index: ordered.proof.index,
    })
}
