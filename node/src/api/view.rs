//! JSON forms of what has none of its own.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use squad_types::{
    CommitCertificate, Committee, Confirmation, Digest, Encode as _, FeeHint, Header, HeaderHash, Member,
    NamespaceBlock, NamespaceId, NamespaceProof, Tier, Timestamp, Transaction, TxId,
};

/// An epoch's committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteeView {
    /// Its epoch and members.
    #[serde(flatten)]
    pub committee: Committee,
    /// What headers call it: keccak256 of the bytes.
    pub hash: Digest,
    /// Its canonical form in hex, as a contract takes it.
    pub bytes: String,
}

impl From<Committee> for CommitteeView {
    fn from(committee: Committee) -> Self {
        let (hash, bytes) = (committee.hash(), format!("0x{}", hex::encode(committee.to_bytes())));
        Self { committee, hash, bytes }
    }
}

/// A transaction of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionView {
    /// Its id on the network.
    pub id: TxId,
    /// Until when it could be ordered; opaque namespaces only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// What its lane's author stated for ordering by fee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<FeeHint>,
    /// Its bytes in hex.
    pub data: String,
}

/// A namespace's block, with all that is needed to verify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// The header's hash.
    pub hash: HeaderHash,
    /// The header.
    pub header: Header,
    /// The quorum that ordered it.
    pub certificate: CommitCertificate,
    /// The next epoch's committee, in the first block of an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_committee: Option<Vec<Member>>,
    /// The namespace.
    pub namespace: NamespaceId,
    /// What the header says of the namespace.
    pub proof: NamespaceProof,
    /// Its transactions in order.
    pub transactions: Vec<TransactionView>,
}

impl From<&NamespaceBlock> for BlockView {
    fn from(block: &NamespaceBlock) -> Self {
        let transaction = |tx: &Transaction| TransactionView {
            id: tx.id(),
            valid_until: tx.valid_until,
            hint: tx.hint,
            data: format!("0x{}", hex::encode(&tx.data)),
        };
        Self {
            hash: block.header.hash(),
            header: block.header.clone(),
            certificate: block.certificate.clone(),
            next_committee: block.next_committee.clone(),
            namespace: block.namespace,
            proof: block.proof.clone(),
            transactions: block.transactions.iter().map(transaction).collect(),
        }
    }
}

impl TryFrom<BlockView> for NamespaceBlock {
    type Error = String;

    /// Takes the bytes as they are: hash and ids are recomputed by whoever verifies the block.
    fn try_from(view: BlockView) -> Result<Self, String> {
        let namespace = view.namespace;
        let transaction = |tx: TransactionView| {
            let data = tx.data.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
            let data = data.ok_or_else(|| format!("transaction {}: its data is no hex", tx.id))?;
            Ok(Transaction { namespace, valid_until: tx.valid_until, hint: tx.hint, data: Bytes::from(data) })
        };
        Ok(Self {
            header: view.header,
            certificate: view.certificate,
            next_committee: view.next_committee,
            namespace,
            proof: view.proof,
            transactions: view.transactions.into_iter().map(transaction).collect::<Result<_, String>>()?,
        })
    }
}

/// The answer to a submission, and to a question about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationView {
    /// The transaction's id on the network.
    pub id: TxId,
    /// The tier that the confirmation proves.
    pub tier: Tier,
    /// The confirmation: feed it to `squad verify`.
    pub confirmation: Confirmation,
}

impl From<Confirmation> for ConfirmationView {
    fn from(confirmation: Confirmation) -> Self {
        Self { id: confirmation.transaction.id(), tier: confirmation.tier(), confirmation }
    }
}
