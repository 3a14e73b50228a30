//! Transactions as batches carry them, and the payload of a batch.

use crate::codec::{Decode, DecodeError, Encode, Reader, decode_bytes, encode_bytes};
use crate::hash::{Digest, MerkleRoot, PayloadDigest, TxId, blake3, keccak256, sha256};
use crate::keys::Address;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_TRANSACTIONS, MAX_TRANSACTION_BYTES};
use crate::merkle;
use crate::quantity::{NamespaceId, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the lane's author states about a transaction of a `priority-fee` namespace. Used for order; the executor rechecks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeHint {
    /// Who pays.
    pub sender: Address,
    /// The fee a unit of gas, in wei, capped at 2^64 − 1.
    pub fee: u64,
}

crate::codec_struct!(FeeHint { sender, fee });

/// A transaction of any namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The rollup it is for.
    pub namespace: NamespaceId,
    /// Until when it may be ordered, by chain time of the network (milliseconds); none for EVM transactions, whose nonce ends them.
    pub valid_until: Option<Timestamp>,
    /// What its author states for ordering by fee. Not part of its id.
    pub hint: Option<FeeHint>,
    /// Its bytes: the EIP-2718 form for EVM namespaces.
    pub data: Bytes,
}

impl Transaction {
    /// The sha256 leaf over namespace, validity and the hash of its bytes: its identity everywhere on the network.
    pub fn id(&self) -> TxId {
        self.reference().id()
    }

    /// What identifies it without its bytes.
    pub fn reference(&self) -> TransactionRef {
        let data_hash = Digest(sha256(&[&self.data]));
        TransactionRef { namespace: self.namespace, valid_until: self.valid_until, data_hash }
    }

    /// keccak256 of its bytes: what Ethereum calls its hash.
    pub fn ethereum_hash(&self) -> [u8; 32] {
        keccak256(&self.data)
    }

    /// Bytes that it takes in a payload.
    pub fn encoded_len(&self) -> usize {
        4 + 1 + 8 + 4 + self.data.len() + if self.hint.is_some() { 28 } else { 0 }
    }
}

/// A transaction without its bytes: all that its id is made of, so that a confirmation binds its namespace too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRef {
    /// The rollup it is for.
    pub namespace: NamespaceId,
    /// Until when it may be ordered.
    pub valid_until: Option<Timestamp>,
    /// sha256 of its bytes.
    pub data_hash: Digest,
}

crate::codec_struct!(TransactionRef { namespace, valid_until, data_hash });

impl TransactionRef {
    /// The transaction's id.
    pub fn id(&self) -> TxId {
        let until = self.valid_until.unwrap_or(Timestamp::ZERO);
        TxId(merkle::leaf(&[&self.namespace.0.to_be_bytes(), &until.0.to_be_bytes(), &self.data_hash.0]).0)
    }
}

impl Encode for Transaction {
    fn encode(&self, out: &mut Vec<u8>) {
        self.namespace.encode(out);
        self.hint.encode(out);
        self.valid_until.unwrap_or(Timestamp::ZERO).encode(out);
        encode_bytes(&self.data, out);
    }
}

impl Decode for Transaction {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let namespace = NamespaceId::decode(reader)?;
        let hint = Option::decode(reader)?;
        let until = Timestamp::decode(reader)?;
        let data = decode_bytes(reader, MAX_TRANSACTION_BYTES, "transaction")?;
        Ok(Self { namespace, valid_until: (until != Timestamp::ZERO).then_some(until), hint, data })
    }
}

impl crate::codec::ListItem for Transaction {
    const MAX_ITEMS: usize = crate::limits::MAX_BLOCK_TRANSACTIONS;
}

/// A transaction with its id, computed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifiedTransaction {
    /// The id.
    pub id: TxId,
    /// The transaction.
    pub transaction: Transaction,
}

impl From<Transaction> for IdentifiedTransaction {
    fn from(transaction: Transaction) -> Self {
        Self { id: transaction.id(), transaction }
    }
}

/// A batch's content: its bytes as they travel, and what they hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Payload {
    bytes: Bytes,
    digest: PayloadDigest,
    root: MerkleRoot,
    transactions: Arc<Vec<IdentifiedTransaction>>,
}

impl Payload {
    /// Packs transactions. The caller keeps within the limits of a batch.
    pub fn pack(transactions: Vec<IdentifiedTransaction>) -> Self {
        let mut bytes = Vec::with_capacity(transactions.iter().map(|tx| tx.transaction.encoded_len()).sum());
        for identified in &transactions {
            identified.transaction.encode(&mut bytes);
        }
        Self::assemble(bytes.into(), transactions)
    }

    /// Reads a payload, sharing the bytes of its transactions with `bytes`, and computes its digest and root.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(DecodeError::TooLong { what: "batch payload", len: bytes.len(), max: MAX_BATCH_BYTES });
        }
        let mut reader = Reader::new(bytes.clone());
        let mut transactions = Vec::new();
        while reader.remaining() > 0 {
            if transactions.len() == MAX_BATCH_TRANSACTIONS {
                let max = MAX_BATCH_TRANSACTIONS;
                return Err(DecodeError::TooLong { what: "batch transactions", len: max + 1, max });
            }
            let before = reader.remaining();
            transactions.push(Transaction::decode(&mut reader)?.into());
            if transactions.len() == 1 {
                // Most batches hold transactions of one size.
                let more = reader.remaining() / (before - reader.remaining()).max(1);
                transactions.reserve_exact(more.min(MAX_BATCH_TRANSACTIONS));
            }
        }
        Ok(Self::assemble(bytes, transactions))
    }

    fn assemble(bytes: Bytes, transactions: Vec<IdentifiedTransaction>) -> Self {
        let digest = PayloadDigest(blake3(&bytes));
        let root = merkle::root(&ids(&transactions));
        Self { bytes, digest, root, transactions: transactions.into() }
    }

    /// The bytes as they travel.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// blake3 of the bytes.
    pub fn digest(&self) -> PayloadDigest {
        self.digest
    }

    /// The merkle root over the transactions' ids.
    pub fn root(&self) -> MerkleRoot {
        self.root
    }

    /// The transactions in their order.
    pub fn transactions(&self) -> &[IdentifiedTransaction] {
        &self.transactions
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Payload {}

/// The ids of transactions, as merkle leaves.
pub fn ids(transactions: &[IdentifiedTransaction]) -> Vec<Digest> {
    transactions.iter().map(|tx| Digest(tx.id.0)).collect()
}
