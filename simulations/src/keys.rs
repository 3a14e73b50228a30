//! What operators of a run sign with.

use crate::network::NodeIndex;
use squad_types::{
    Address, EcdsaSigner, EcdsaVerifier, KeyedHashSigner, KeyedHashVerifier, Signature, Signer, SigningDigest, Verifier,
};

/// What operators of a run sign with. A seed runs differently with each: committees stand in order of address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// A keyed hash, which costs next to nothing and which whoever knows an address could forge.
    #[default]
    Hashed,
    /// secp256k1, as on networks: what is signed counts wherever operators' signatures do.
    Secp256k1,
}

impl Keys {
    /// The operator of a number.
    pub fn signer(self, number: NodeIndex) -> RunSigner {
        match self {
            Self::Hashed => {
                let mut bytes = [0; 20];
                bytes[0] = 0xa0;
                bytes[12..].copy_from_slice(&(number as u64).to_be_bytes());
                RunSigner::Hashed(KeyedHashSigner(Address(bytes)))
            }
            Self::Secp256k1 => {
                let mut secret = [0x5e; 32];
                secret[24..].copy_from_slice(&(number as u64).to_be_bytes());
                let signer = EcdsaSigner::from_secret(secret);
                // The group order begins with 0xff.
                RunSigner::Secp256k1(signer.unwrap_or_else(|| unreachable!("secret {secret:?} is none")))
            }
        }
    }

    /// What checks their signatures.
    pub fn verifier(self) -> &'static dyn Verifier {
        match self {
            Self::Hashed => &KeyedHashVerifier,
            Self::Secp256k1 => &EcdsaVerifier,
        }
    }
}

/// Signs for an operator of a run.
#[derive(Clone, Debug)]
pub enum RunSigner {
    /// By a keyed hash.
    Hashed(KeyedHashSigner),
    /// As on networks.
    Secp256k1(EcdsaSigner),
}

impl Signer for RunSigner {
    fn address(&self) -> Address {
        match self {
            Self::Hashed(signer) => signer.address(),
            Self::Secp256k1(signer) => signer.address(),
        }
    }

    fn sign(&self, digest: &SigningDigest) -> Signature {
        match self {
            Self::Hashed(signer) => signer.sign(digest),
            Self::Secp256k1(signer) => signer.sign(digest),
        }
    }
}
