//! What is kept of an executed block.

use crate::SkipReason;
use alloy_consensus::{Eip658Value, Header, Receipt, ReceiptEnvelope, TxType};
use alloy_primitives::{Address, B256, Bytes, Log};
use alloy_rlp::{RlpDecodable, RlpEncodable};

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct StoredTransaction {
    /// EIP-2718 bytes.
    pub raw: Bytes,
    /// Who signed it.
    pub sender: Address,
    /// Its hash.
    pub hash: B256,
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct StoredReceipt {
    /// EIP-2718 type.
    pub tx_type: u8,
    /// Whether it ran to its end without revert or halt.
    pub success: bool,
    /// Gas it paid for.
    pub gas_used: u64,
    /// Gas of the block up to and including it.
    pub cumulative_gas_used: u64,
    /// Logs it emitted.
    pub logs: Vec<Log>,
}

impl StoredReceipt {
    /// As Ethereum hashes it into the receipts root.
    pub fn envelope(&self) -> ReceiptEnvelope {
        let receipt = Receipt {
            status: Eip658Value::Eip658(self.success),
            cumulative_gas_used: self.cumulative_gas_used,
            logs: self.logs.clone(),
        };
        let tx_type = TxType::try_from(self.tx_type).unwrap_or(TxType::Legacy);
        ReceiptEnvelope::from_typed(tx_type, receipt)
    }
}

/// Transactions and receipts of an EVM block, and the ordered block they came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
pub struct StoredBody {
    /// Ordered height.
    pub ordered_height: u64,
    /// Hash of the ordered header.
    pub ordered_hash: B256,
    /// Which EVM block of that ordered block, from 0.
    pub piece: u32,
    /// Transactions in order.
    pub transactions: Vec<StoredTransaction>,
    /// Their receipts.
    pub receipts: Vec<StoredReceipt>,
    /// EIP-7685 requests, each with its type before it; `None` before Prague.
    pub requests: Option<Vec<Bytes>>,
}

impl StoredBody {
    /// Gas of all its transactions.
    pub(crate) fn gas_used(&self) -> u64 {
        self.receipts.last().map_or(0, |receipt| receipt.cumulative_gas_used)
    }
}

/// A complete EVM block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvmBlock {
    /// The header.
    pub header: Header,
    /// keccak256 of the header's RLP.
    pub hash: B256,
    /// Transactions and receipts.
    pub body: StoredBody,
}

/// An ordered transaction that was not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Position in the namespace's part of the ordered block.
    pub position: u32,
    /// keccak256 of the ordered bytes; for a decodable transaction its Ethereum hash.
    pub hash: B256,
    /// Why.
    pub reason: SkipReason,
}
