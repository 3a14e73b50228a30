//! Operator keys: secp256k1 ECDSA over an EIP-712 digest, so that every statement can be checked with `ecrecover`.
//!
//! There is no `sign(bytes)`: a [`SigningDigest`] comes only from a [`Domain`] and a [`Statement`]. ECDSA signatures are
//! not unique, so nothing hashes, compares or deduplicates by signature.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::hash::{NetworkId, fixed_bytes, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::OnceLock;

fixed_bytes!(
    /// An operator, as Ethereum names it: the last 20 bytes of keccak256 of its public key.
    Address[20]
);

impl crate::codec::ListItem for Address {
    const MAX_ITEMS: usize = crate::limits::MAX_COMMITTEE;
}

/// r, s and a parity of 0 or 1, in 65 bytes, s in the lower half of the group order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 65]);

/// Half of secp256k1's group order: the largest s that is accepted.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

impl Signature {
    /// Takes 65 bytes, refusing a high s and a parity above 1 (both of which would give a second form of one signature).
    pub fn parse(bytes: [u8; 65]) -> Result<Self, DecodeError> {
        if bytes[64] > 1 {
            return Err(DecodeError::BadValue { what: "signature parity", value: bytes[64].into() });
        }
        if bytes[32..64] > HALF_ORDER[..] {
            return Err(DecodeError::Malformed("signature: s is in the upper half"));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    fn recover(&self, digest: &SigningDigest) -> Option<PublicKey> {
        let id = RecoveryId::try_from(i32::from(self.0[64])).ok()?;
        let signature = RecoverableSignature::from_compact(&self.0[..64], id).ok()?;
        SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &signature).ok()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

impl Encode for Signature {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Decode for Signature {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::parse(reader.array("signature")?)
    }
}

impl crate::codec::ListItem for Signature {
    const MAX_ITEMS: usize = crate::limits::MAX_COMMITTEE;
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(self.0)))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = crate::hash::parse_hex(&text).map_err(serde::de::Error::custom)?;
        Self::parse(bytes).map_err(serde::de::Error::custom)
    }
}

/// What a signature covers: made from a statement and its network, and from nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SigningDigest([u8; 32]);

impl SigningDigest {
    /// The 32 bytes that are signed.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Something an operator answers for with its stake.
pub trait Statement {
    /// The EIP-712 struct hash: the type's hash and its fields, each in a 32-byte word.
    fn struct_hash(&self) -> [u8; 32];

    /// Whether it can be stated. Two values of one digest would share a signature, so all but one of them cannot.
    fn is_sound(&self) -> bool {
        true
    }
}

/// Builds an EIP-712 struct hash word by word.
pub(crate) struct StructHash(Vec<u8>);

impl StructHash {
    /// Starts with the hash of `encoded_type`, computed once and kept in `cell`.
    pub(crate) fn new(cell: &OnceLock<[u8; 32]>, encoded_type: &str) -> Self {
        let mut words = Vec::with_capacity(32 * 10);
        words.extend_from_slice(cell.get_or_init(|| keccak256(encoded_type.as_bytes())));
        Self(words)
    }

    /// Adds an unsigned integer of at most 64 bits.
    pub(crate) fn number(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&[0; 24]);
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds a `bytes32`.
    pub(crate) fn word(mut self, word: &[u8; 32]) -> Self {
        self.0.extend_from_slice(word);
        self
    }

    /// Adds an `address`.
    pub(crate) fn address(mut self, address: &Address) -> Self {
        self.0.extend_from_slice(&[0; 12]);
        self.0.extend_from_slice(&address.0);
        self
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        keccak256(&self.0)
    }
}

/// The network that statements are made for; a statement of one network means nothing on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    network: NetworkId,
    separator: [u8; 32],
}

impl Domain {
    /// The domain `EIP712Domain(string name,string version,bytes32 salt)` with name `SQUAD`, version `1` and the network as salt.
    pub fn new(network: NetworkId) -> Self {
        let mut words = Vec::with_capacity(128);
        words.extend_from_slice(&keccak256(b"EIP712Domain(string name,string version,bytes32 salt)"));
        words.extend_from_slice(&keccak256(b"SQUAD"));
        words.extend_from_slice(&keccak256(b"1"));
        words.extend_from_slice(&network.0);
        Self { network, separator: keccak256(&words) }
    }

    /// The network.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// What is signed for `statement`.
    pub fn digest<T: Statement + ?Sized>(&self, statement: &T) -> SigningDigest {
        self.digest_of_struct(statement.struct_hash())
    }

    /// What is signed for a statement whose struct hash is already known.
    pub(crate) fn digest_of_struct(&self, struct_hash: [u8; 32]) -> SigningDigest {
        let mut bytes = [0; 66];
        bytes[0] = 0x19;
        bytes[1] = 0x01;
        bytes[2..34].copy_from_slice(&self.separator);
        bytes[34..].copy_from_slice(&struct_hash);
        SigningDigest(keccak256(&bytes))
    }
}

/// Signs for one operator.
pub trait Signer: Send + Sync {
    /// Whom it signs for.
    fn address(&self) -> Address;

    /// Signs. Deterministic for one digest.
    fn sign(&self, digest: &SigningDigest) -> Signature;
}

/// Checks signatures.
pub trait Verifier: Send + Sync {
    /// Whether `signature` over `digest` is `signer`'s.
    fn verify(&self, digest: &SigningDigest, signer: &Address, signature: &Signature) -> bool;
}

/// The real signer (RFC 6979 nonces).
#[derive(Clone)]
pub struct EcdsaSigner {
    secret: SecretKey,
    address: Address,
}

impl EcdsaSigner {
    /// Takes a secret key of 32 bytes; none for zero or a value above the group order.
    pub fn from_secret(secret: [u8; 32]) -> Option<Self> {
        let secret = SecretKey::from_byte_array(secret).ok()?;
        let address = address_of(&PublicKey::from_secret_key(SECP256K1, &secret));
        Some(Self { secret, address })
    }
}

impl fmt::Debug for EcdsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcdsaSigner({})", self.address)
    }
}

impl Signer for EcdsaSigner {
    fn address(&self) -> Address {
        self.address
    }

    fn sign(&self, digest: &SigningDigest) -> Signature {
        let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.secret);
        let (id, compact) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        // libsecp256k1 gives low-s signatures; ids 2 and 3 need an r above the group order, which nobody can find.
        bytes[64] = (i32::from(id) & 1) as u8;
        Signature(bytes)
    }
}

/// The real verifier: recovers the key and compares addresses.
#[derive(Clone, Copy, Debug, Default)]
pub struct EcdsaVerifier;

impl Verifier for EcdsaVerifier {
    fn verify(&self, digest: &SigningDigest, signer: &Address, signature: &Signature) -> bool {
        signature.recover(digest).is_some_and(|key| address_of(&key) == *signer)
    }
}

/// A keyed hash in place of a signature, for simulations only: whoever knows the address can forge it.
#[derive(Clone, Copy, Debug)]
pub struct KeyedHashSigner(pub Address);

fn keyed_hash(digest: &SigningDigest, signer: &Address) -> Signature {
    let mut key = [0; 32];
    key[..20].copy_from_slice(&signer.0);
    let hash = *blake3::keyed_hash(&key, &digest.0).as_bytes();
    let mut bytes = [0; 65];
    bytes[..32].copy_from_slice(&hash);
    Signature(bytes)
}

impl Signer for KeyedHashSigner {
    fn address(&self) -> Address {
        self.0
    }

    fn sign(&self, digest: &SigningDigest) -> Signature {
        keyed_hash(digest, &self.0)
    }
}

/// The verifier that goes with [`KeyedHashSigner`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyedHashVerifier;

impl Verifier for KeyedHashVerifier {
    fn verify(&self, digest: &SigningDigest, signer: &Address, signature: &Signature) -> bool {
        keyed_hash(digest, signer) == *signature
    }
}

fn address_of(key: &PublicKey) -> Address {
    let hash = keccak256(&key.serialize_uncompressed()[1..]);
    let mut address = Address::ZERO;
    address.0.copy_from_slice(&hash[12..]);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word;
    impl Statement for Word {
        fn struct_hash(&self) -> [u8; 32] {
            [7; 32]
        }
    }

    #[test]
    fn the_first_account_of_the_test_mnemonic_has_its_known_address() {
        let secret =
            crate::hash::parse_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        let signer = EcdsaSigner::from_secret(secret).unwrap();
        assert_eq!(signer.address().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn a_signature_holds_for_its_signer_and_digest_only() {
        let signer = EcdsaSigner::from_secret([3; 32]).unwrap();
        let digest = Domain::new(NetworkId([1; 32])).digest(&Word);
        let signature = signer.sign(&digest);
        assert_eq!(Signature::parse(*signature.as_bytes()), Ok(signature));
        assert!(EcdsaVerifier.verify(&digest, &signer.address(), &signature));
        assert!(!EcdsaVerifier.verify(&digest, &Address([9; 20]), &signature));
        let other_network = Domain::new(NetworkId([2; 32])).digest(&Word);
        assert!(!EcdsaVerifier.verify(&other_network, &signer.address(), &signature));
    }

    #[test]
    fn high_s_and_odd_parities_are_refused() {
        let signer = EcdsaSigner::from_secret([3; 32]).unwrap();
        let mut bytes = *signer.sign(&Domain::new(NetworkId::ZERO).digest(&Word)).as_bytes();
        bytes[64] = 2;
        assert!(Signature::parse(bytes).is_err());
        bytes[64] = 0;
        bytes[32] = 0x80;
        assert!(Signature::parse(bytes).is_err());
    }
}
