//! From ordered bytes to an executable transaction, or the reason why not.

use crate::devnet::address_of;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Signature, keccak256};
use revm::{
    context::{TxEnv, either::Either},
    context_interface::result::InvalidTransaction,
};
use secp256k1::{
    Message, SECP256K1,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use serde::{Deserialize, Serialize};

/// Why an ordered transaction was not executed. It depends on the transaction and the state at
/// its position only, so all executors skip alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipReason {
    /// What kind of refusal.
    pub code: SkipCode,
    /// The values behind it, in words.
    pub detail: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipCode {
    /// The bytes are no transaction of a known type.
    Undecodable,
    /// A blob transaction (EIP-4844); a rollup carries no blobs.
    BlobTransaction,
    /// The signature names no signer, or its s is in the upper half.
    BadSignature,
    /// Signed for another chain.
    WrongChainId,
    /// The nonce was used.
    NonceTooLow,
    /// A nonce in between is missing.
    NonceTooHigh,
    /// The balance does not cover value and highest fee.
    InsufficientFunds,
    /// The fee cap is below the base fee.
    FeeBelowBaseFee,
    /// The tip is above the fee cap.
    TipAboveFeeCap,
    /// The gas limit is above that of a block or of a transaction (EIP-7825).
    GasLimitTooHigh,
    /// The gas limit does not cover the intrinsic cost.
    IntrinsicGasTooLow,
    /// The sender is a contract (EIP-3607).
    SenderIsContract,
    /// Init code above the limit (EIP-3860).
    InitCodeTooLarge,
    /// Breaks another rule; see the detail.
    Invalid,
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl SkipReason {
    pub(crate) fn new(code: SkipCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl From<InvalidTransaction> for SkipReason {
    fn from(invalid: InvalidTransaction) -> Self {
        use InvalidTransaction as I;
        let code = match &invalid {
            I::NonceTooLow { .. } => SkipCode::NonceTooLow,
            I::NonceTooHigh { .. } => SkipCode::NonceTooHigh,
            I::LackOfFundForMaxFee { .. } | I::OverflowPaymentInTransaction => SkipCode::InsufficientFunds,
            I::GasPriceLessThanBasefee => SkipCode::FeeBelowBaseFee,
            I::PriorityFeeGreaterThanMaxFee => SkipCode::TipAboveFeeCap,
            I::CallerGasLimitMoreThanBlock | I::TxGasLimitGreaterThanCap { .. } => SkipCode::GasLimitTooHigh,
            I::CallGasCostMoreThanGasLimit { .. } | I::GasFloorMoreThanGasLimit { .. } => SkipCode::IntrinsicGasTooLow,
            I::InvalidChainId | I::MissingChainId => SkipCode::WrongChainId,
            I::RejectCallerWithCode => SkipCode::SenderIsContract,
            I::CreateInitCodeSizeLimit => SkipCode::InitCodeTooLarge,
            _ => SkipCode::Invalid,
        };
        Self::new(code, invalid.to_string())
    }
}

/// A decoded transaction with its sender.
#[derive(Debug, Clone)]
pub struct SenderTransaction {
    /// The transaction.
    pub envelope: TxEnvelope,
    /// Who signed it.
    pub sender: Address,
}

impl SenderTransaction {
    /// Decodes `raw` as EIP-2718 bytes (all of them) and recovers the sender.
    ///
    /// # Errors
    /// The reason why this can never execute on chain `chain_id`.
    pub fn decode(raw: &[u8], chain_id: u64) -> Result<Self, SkipReason> {
        let envelope = TxEnvelope::decode_2718_exact(raw)
            .map_err(|error| SkipReason::new(SkipCode::Undecodable, format!("not a transaction: {error}")))?;
        if *envelope.tx_hash() != raw_hash(raw) {
            let text = "not a transaction: its encoding is not canonical";
            return Err(SkipReason::new(SkipCode::Undecodable, text));
        }
        if envelope.is_eip4844() {
            let text = "blob transactions are not supported: this chain carries no blobs";
            return Err(SkipReason::new(SkipCode::BlobTransaction, text));
        }
        if let Some(found) = envelope.chain_id()
            && found != chain_id
        {
            let text = format!("invalid chain id for signer: have {found} want {chain_id}");
            return Err(SkipReason::new(SkipCode::WrongChainId, text));
        }
        let sender = recover(envelope.signature(), envelope.signature_hash())
            .ok_or_else(|| SkipReason::new(SkipCode::BadSignature, "invalid sender: bad signature"))?;
        Ok(Self { envelope, sender })
    }

    /// The transaction's hash.
    pub fn hash(&self) -> B256 {
        *self.envelope.tx_hash()
    }

    /// As revm executes it.
    pub fn environment(&self) -> TxEnv {
        let tx = &self.envelope;
        let authorizations = tx.authorization_list().unwrap_or_default();
        TxEnv {
            tx_type: tx.tx_type() as u8,
            caller: self.sender,
            gas_limit: tx.gas_limit(),
            gas_price: tx.max_fee_per_gas(),
            kind: tx.kind(),
            value: tx.value(),
            data: tx.input().clone(),
            nonce: tx.nonce(),
            chain_id: tx.chain_id(),
            access_list: tx.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: tx.max_priority_fee_per_gas(),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
        }
    }
}

/// The signer of `digest`; `None` if there is none or s is in the upper half (EIP-2).
fn recover(signature: &Signature, digest: B256) -> Option<Address> {
    if signature.normalize_s().is_some() {
        return None;
    }
    let mut compact = [0u8; 64];
    compact[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    compact[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let parity = RecoveryId::try_from(i32::from(signature.v())).ok()?;
    let signature = RecoverableSignature::from_compact(&compact, parity).ok()?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &signature).ok()?;
    Some(address_of(&key))
}

/// Decodes and recovers many transactions, on several threads where it pays.
///
/// Order and results do not depend on the number of threads.
pub fn decode_all(raw: &[bytes::Bytes], chain_id: u64) -> Vec<Result<SenderTransaction, SkipReason>> {
    /// Below this, starting a thread costs more than the 40 µs per recovery it saves.
    const PER_THREAD: usize = 32;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = raw.len().div_ceil(threads.max(1)).max(PER_THREAD);
    let decode =
        |part: &[bytes::Bytes]| -> Vec<_> { part.iter().map(|raw| SenderTransaction::decode(raw, chain_id)).collect() };
    if raw.len() <= chunk {
        return decode(raw);
    }
    std::thread::scope(|scope| {
        let parts: Vec<_> = raw.chunks(chunk).map(|part| (part, scope.spawn(move || decode(part)))).collect();
        // A decoder that panicked is repeated here, where the panic is the caller's.
        parts.into_iter().flat_map(|(part, job)| job.join().unwrap_or_else(|_| decode(part))).collect()
    })
}

/// Hash by which a skipped transaction is found, whether it decodes or not.
pub fn raw_hash(raw: &[u8]) -> B256 {
    keccak256(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::dev_accounts;
    use alloy_primitives::{Bytes, U256};
    use proptest::prelude::*;

    fn transfer(chain_id: u64) -> Bytes {
        dev_accounts()[0].transfer(chain_id, 0, Address::ZERO, U256::ONE)
    }

    #[test]
    fn recovers_the_sender_and_the_wallets_hash() {
        let raw = transfer(7);
        let decoded = SenderTransaction::decode(&raw, 7).unwrap();
        assert_eq!(decoded.sender, dev_accounts()[0].address());
        assert_eq!(decoded.hash(), raw_hash(&raw));
    }

    #[test]
    fn refuses_with_the_reason() {
        let code = |raw: &[u8]| SenderTransaction::decode(raw, 7).unwrap_err().code;
        assert_eq!(code(b""), SkipCode::Undecodable);
        assert_eq!(code(&transfer(8)), SkipCode::WrongChainId);
        let mut trailing = transfer(7).to_vec();
        trailing.push(0);
        assert_eq!(code(&trailing), SkipCode::Undecodable);
        let mut wide = transfer(7).to_vec();
        let end = wide.len();
        wide[end - 32] = 0xf0; // s far above n / 2
        assert_eq!(code(&wide), SkipCode::BadSignature);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_decoder(raw in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..100, flip: u8) {
            let _ = SenderTransaction::decode(&raw, 7);
            let mut damaged = transfer(7).to_vec();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            let _ = SenderTransaction::decode(&damaged, 7);
        }
    }
}
