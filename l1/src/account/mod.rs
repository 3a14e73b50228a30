//! An account on the settlement layer that sends transactions, through the same endpoints that are asked.
//!
//! What a transaction rests on (gas, fees, nonce, receipt) enough endpoints have to agree on, so fewer that lie can make it fail or
//! wait, and not make it dear: the tip has a bound, and of the base fee only what the block asks is paid. A transaction goes to all.

mod calls;
mod contracts;
mod error;
mod questions;
mod revert;
mod send;
mod standing;
#[cfg(test)]
mod tests;

pub use calls::Report;
pub use contracts::{Contracts, Incident};
pub use error::AccountError;
pub use questions::{Call, Head};
pub use revert::Revert;
pub use send::{Mined, Patience, Quote};
pub use standing::{Allocated, NextKey, Standing};

use alloy_primitives::{Address, B256, Signature, U256, keccak256};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use squad_contracts::restaking::key_digest;
use std::fmt;

/// Who pays for transactions, and signs them.
#[derive(Clone)]
pub struct Account {
    key: SecretKey,
    address: Address,
}

/// The 65 bytes r, s, parity of a signature. libsecp256k1 gives a low s; parities above one need an r that nobody finds.
fn sign(key: &SecretKey, digest: [u8; 32]) -> ([u8; 64], bool) {
    let (id, compact) = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest), key).serialize_compact();
    (compact, i32::from(id) & 1 == 1)
}

impl Account {
    /// Takes a secret key; none for what is no key.
    pub fn from_secret(secret: &[u8; 32]) -> Option<Self> {
        let key = SecretKey::from_byte_array(*secret).ok()?;
        let public = PublicKey::from_secret_key(SECP256K1, &key).serialize_uncompressed();
        Some(Self { key, address: Address::from_slice(&keccak256(&public[1..])[12..]) })
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.address
    }

    fn sign(&self, digest: B256) -> Signature {
        let (compact, odd) = sign(&self.key, digest.0);
        Signature::new(U256::from_be_slice(&compact[..32]), U256::from_be_slice(&compact[32..]), odd)
    }

    /// What only this account can make of some evidence, and makes the same each time: the salt that commits it to the evidence.
    pub fn salt(&self, evidence: &[u8]) -> B256 {
        let secret = zeroize::Zeroizing::new(self.key.secret_bytes());
        keccak256([b"squad evidence salt".as_slice(), secret.as_slice(), keccak256(evidence).as_slice()].concat())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.address)
    }
}

/// A consensus key's word that it belongs to an operator, on one chain and for one registrar: r, s, v as `ecrecover` takes them. None
/// for what is no key.
pub fn key_proof(key: &[u8; 32], chain: u64, registrar: Address, operator: Address) -> Option<(Address, [u8; 65])> {
    let holder = Account::from_secret(key)?;
    let ours = |address: Address| squad_types::Address(address.into_array());
    let digest = key_digest(chain, &ours(registrar), &ours(operator), &ours(holder.address));
    let (compact, odd) = sign(&holder.key, digest);
    let mut proof = [0; 65];
    proof[..64].copy_from_slice(&compact);
    proof[64] = 27 + u8::from(odd);
    Some((holder.address, proof))
}
