//! Hashes: one type a meaning, and the three functions that make them.

use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader};
use crate::limits::MAX_EVIDENCE_PER_RESPONSE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// Text that is not the hex form of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {bytes} bytes in hex with a 0x in front")]
pub struct ParseHexError {
    /// What was given (its first 80 characters).
    pub text: String,
    /// The number of bytes expected.
    pub bytes: usize,
}

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHexError> {
    let mut out = [0; N];
    let error = || ParseHexError { text: text.chars().take(80).collect(), bytes: N };
    let digits = text.strip_prefix("0x").ok_or_else(error)?;
    hex::decode_to_slice(digits, &mut out).map_err(|_| error())?;
    Ok(out)
}

/// The order of bytes, eight at a time: operators are looked up by address for every statement.
#[inline]
pub(crate) fn compare<const N: usize>(one: &[u8; N], other: &[u8; N]) -> std::cmp::Ordering {
    let (words, rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    for (one, other) in words.iter().zip(others) {
        if one != other {
            return u64::from_be_bytes(*one).cmp(&u64::from_be_bytes(*other));
        }
    }
    let (halves, bytes) = rest.as_chunks::<4>();
    let (other_halves, other_bytes) = other_rest.as_chunks::<4>();
    for (one, other) in halves.iter().zip(other_halves) {
        if one != other {
            return u32::from_be_bytes(*one).cmp(&u32::from_be_bytes(*other));
        }
    }
    bytes.cmp(other_bytes)
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident[$len:literal]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub [u8; $len]);

        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                $crate::hash::compare(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// All bytes zero.
            pub const ZERO: Self = Self([0; $len]);

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ZERO
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(0x", stringify!($name))?;
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("…)")
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::hash::ParseHexError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                $crate::hash::parse_hex(s).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
                reader.array(stringify!($name)).map(Self)
            }
        }
    };
}
pub(crate) use fixed_bytes;

fixed_bytes!(
    /// The network: keccak256 of its genesis.
    NetworkId[32]
);
fixed_bytes!(
    /// A header: keccak256 of its canonical form. The id of a proposal.
    HeaderHash[32]
);
fixed_bytes!(
    /// A batch: the EIP-712 struct hash of its header, which commits to its content and to the batch before it.
    BatchId[32]
);
fixed_bytes!(
    /// A batch's content: blake3 of its payload.
    PayloadDigest[32]
);
fixed_bytes!(
    /// The root of a merkle tree, with the count of its leaves bound in.
    MerkleRoot[32]
);
fixed_bytes!(
    /// A transaction: the sha256 leaf over its namespace, validity and bytes.
    TxId[32]
);
fixed_bytes!(
    /// What evidence proves: keccak256 of the network, the operator and the slot, the same for all evidence of one slot.
    IncidentId[32]
);
fixed_bytes!(
    /// Any other digest that a header commits to.
    Digest[32]
);

/// Takes the first eight bytes of an id: ids are digests, so they need no mixing. The same on every node.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut first = [0; 8];
        let len = bytes.len().min(8);
        first[..len].copy_from_slice(&bytes[..len]);
        self.0 ^= u64::from_le_bytes(first);
    }

    // The length before an array's bytes: the same for all ids.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A set of transactions that is only ever asked for membership, so that its order of iteration cannot matter.
#[allow(clippy::disallowed_types)] // looked up for every transaction; nobody iterates
pub type IdSet = std::collections::HashSet<TxId, BuildHasherDefault<IdHasher>>;

/// A map by transaction. Like [`IdSet`], nobody may iterate over it whose result must be the same on every node.
#[allow(clippy::disallowed_types)] // as above
pub type IdMap<T> = std::collections::HashMap<TxId, T, BuildHasherDefault<IdHasher>>;

impl ListItem for Digest {
    // A merkle path: no tree here has over 2^64 leaves.
    const MAX_ITEMS: usize = 64;
}

impl ListItem for IncidentId {
    // Those whose proofs are asked for at a time.
    const MAX_ITEMS: usize = MAX_EVIDENCE_PER_RESPONSE;
}

/// keccak256, for what Ethereum has to check.
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    use sha3::Digest as _;
    sha3::Keccak256::digest(bytes).into()
}

/// sha256, for merkle trees.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// blake3, between nodes.
pub fn blake3(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hashes_and_addresses_are_in_the_order_of_their_bytes(one: [u8; 27], mut other: [u8; 27], same in 0_usize..28) {
            other[..same].copy_from_slice(&one[..same]);
            prop_assert_eq!(compare(&one, &other), one.cmp(&other));
        }
    }
}
