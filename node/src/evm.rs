//! What an operator checks of an Ethereum transaction where it enters: shape, type, chain id, signature.
//!
//! Operators do not execute: nonce, balance and gas are the executor's to judge, and what cannot pay is skipped there.

use crate::api::rejection::{RejectCode, Rejected};
use alloy_consensus::{SignableTransaction, Signed, Transaction, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::eip2718::Decodable2718;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};
use squad_types::{Address, FeeHint};

/// What an Ethereum transaction's bytes say, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvmFacts {
    /// Who signed it.
    pub sender: Address,
    /// Its nonce.
    pub nonce: u64,
    /// Ethereum's hash of it: keccak256 of its EIP-2718 form.
    pub hash: [u8; 32],
    /// What it pays a unit of gas if the base fee were zero, in wei, capped at 2^64 − 1: the gas price of types 0 and 1,
    /// the smaller of fee cap and tip of types 2 and 4. The order of a `priority-fee` namespace goes by this.
    pub fee: u64,
}

impl EvmFacts {
    /// The hint that a lane's author states for ordering by fee.
    pub fn hint(&self) -> FeeHint {
        FeeHint { sender: self.sender, fee: self.fee }
    }
}

/// The EIP-2718 type of blob transactions.
const BLOB_TYPE: u8 = 3;
/// The EIP-2718 type of set-code transactions: the last that is known here.
const LAST_TYPE: u8 = 4;
/// A first byte from here on begins an RLP list: a legacy transaction.
const FIRST_LIST_BYTE: u8 = 0xc0;

/// Checks the bytes of an Ethereum transaction for a chain.
///
/// # Errors
/// `Empty`, `BlobUnsupported`, `TypeUnsupported`, `MalformedRlp`, `WrongChainId` or `BadSignature`, each with the value.
pub fn check(data: &[u8], chain_id: u64) -> Result<EvmFacts, Rejected> {
    let first = *data.first().ok_or_else(|| Rejected::new(RejectCode::Empty, "the transaction has no bytes"))?;
    match first {
        BLOB_TYPE => Err(Rejected::new(
            RejectCode::BlobUnsupported,
            "blob transactions (type 3) cannot be ordered: blobs do not travel over this network; use type 2",
        )),
        0 => checked::<TxLegacy>(data, chain_id),
        1 => checked::<TxEip2930>(data, chain_id),
        2 => checked::<TxEip1559>(data, chain_id),
        LAST_TYPE => checked::<TxEip7702>(data, chain_id),
        FIRST_LIST_BYTE.. => checked::<TxLegacy>(data, chain_id),
        other => Err(Rejected::new(
            RejectCode::TypeUnsupported,
            format!("transaction type {other} is not known: use a legacy transaction or type 1, 2 or 4"),
        )),
    }
}

fn malformed(what: impl std::fmt::Display) -> Rejected {
    Rejected::new(RejectCode::MalformedRlp, format!("the bytes are no signed Ethereum transaction: {what}"))
}

fn checked<T>(data: &[u8], chain_id: u64) -> Result<EvmFacts, Rejected>
where
    T: Transaction + SignableTransaction<alloy_primitives::Signature>,
    Signed<T>: Decodable2718 + Encodable2718,
{
    let signed = Signed::<T>::decode_2718_exact(data).map_err(malformed)?;
    // One transaction, one form: otherwise its hash here and at an executor could differ.
    if signed.encode_2718_len() != data.len() || signed.encoded_2718() != data {
        return Err(malformed("not in its canonical encoding"));
    }
    let tx = signed.tx();
    match tx.chain_id() {
        Some(id) if id == chain_id => {}
        Some(id) => {
            return Err(Rejected::new(
                RejectCode::WrongChainId,
                format!("signed for chain id {id}, this namespace has {chain_id}: sign it again for {chain_id}"),
            ));
        }
        None => {
            return Err(Rejected::new(
                RejectCode::WrongChainId,
                format!(
                    "signed without a chain id (EIP-155), so it could be replayed anywhere: sign it for {chain_id}"
                ),
            ));
        }
    }
    let sender = recover(signed.signature(), signed.signature_hash())?;
    let fee = tx.effective_tip_per_gas(0).unwrap_or(0);
    Ok(EvmFacts {
        sender,
        nonce: tx.nonce(),
        hash: squad_types::hash::keccak256(data),
        fee: u64::try_from(fee).unwrap_or(u64::MAX),
    })
}

fn recover(signature: &alloy_primitives::Signature, hash: B256) -> Result<Address, Rejected> {
    let bad = |what: &str| Rejected::new(RejectCode::BadSignature, what);
    if signature.normalize_s().is_some() {
        return Err(bad("the signature's s is in the upper half of the group order (EIP-2): use the low form"));
    }
    let mut compact = [0; 64];
    compact[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    compact[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let id = RecoveryId::try_from(i32::from(signature.v())).map_err(|_| bad("the signature's parity is not 0 or 1"))?;
    let none = "the signature recovers to no sender: sign the transaction again";
    let recoverable = RecoverableSignature::from_compact(&compact, id).map_err(|_| bad(none))?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(hash.0), &recoverable).map_err(|_| bad(none))?;
    let digest = squad_types::hash::keccak256(&key.serialize_uncompressed()[1..]);
    let mut sender = Address::ZERO;
    sender.0.copy_from_slice(&digest[12..]);
    Ok(sender)
}

#[cfg(test)]
mod tests;
