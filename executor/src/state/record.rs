//! How a branch of the trie lies in the database.
//!
//! Only branches are stored, each under the nibbles that lead to it; a leaf is what the flat table has under its key.
//! A branch that hangs below an extension is stored with the extension's path, at the place where that begins.
//!
//! Layout: length of the extension's path and its nibbles, one byte each; three masks of 16 bits (children present;
//! which of them are leaves; which are hashes); then for each child 32 bytes of hash, or a length and the embedded RLP.

use super::{
    StateError,
    trie::{Child, Children},
};
use alloy_primitives::B256;
use alloy_trie::{Nibbles, nodes::RlpNode};

/// What the RLP of a 32-byte string begins with.
const HASH_PREFIX: u8 = 0xa0;
/// Nibbles in a key.
const KEY_NIBBLES: usize = 64;

/// Writes a branch whose children's references are all known.
pub(super) fn encode(path: &Nibbles, children: &[Option<(bool, RlpNode)>; 16]) -> Vec<u8> {
    let (mut present, mut leaves, mut hashed) = (0u16, 0u16, 0u16);
    let mut rest = Vec::with_capacity(16 * 32);
    for (at, child) in children.iter().enumerate() {
        let Some((leaf, reference)) = child else { continue };
        present |= 1 << at;
        leaves |= u16::from(*leaf) << at;
        match reference.as_hash() {
            Some(hash) => {
                hashed |= 1 << at;
                rest.extend(hash);
            }
            None => {
                rest.push(reference.len() as u8);
                rest.extend_from_slice(reference);
            }
        }
    }
    let mut out = Vec::with_capacity(1 + path.len() + 6 + rest.len());
    out.push(path.len() as u8);
    out.extend(path.iter());
    for mask in [present, leaves, hashed] {
        out.extend(mask.to_be_bytes());
    }
    out.extend(rest);
    out
}

/// Reads a branch; its children are references not yet followed.
pub(super) fn decode(bytes: &[u8]) -> Result<(Nibbles, Box<Children>), StateError> {
    read(bytes).ok_or_else(|| StateError::Damaged(format!("a trie node of {} bytes does not decode", bytes.len())))
}

fn read(bytes: &[u8]) -> Option<(Nibbles, Box<Children>)> {
    let (&length, rest) = bytes.split_first()?;
    let (path, rest) = rest.split_at_checked(length.into())?;
    if path.len() > KEY_NIBBLES || path.iter().any(|nibble| *nibble > 0x0f) {
        return None;
    }
    let (masks, mut rest) = rest.split_first_chunk::<6>()?;
    let mask = |at: usize| u16::from_be_bytes([masks[at], masks[at + 1]]);
    let (present, leaves, hashed) = (mask(0), mask(2), mask(4));
    let mut children: Box<Children> = Box::default();
    for (at, child) in children.iter_mut().enumerate() {
        let has = |mask: u16| mask & (1 << at) != 0;
        if !has(present) {
            continue;
        }
        let reference = if has(hashed) {
            let (hash, after) = rest.split_first_chunk::<32>()?;
            rest = after;
            let mut word = [HASH_PREFIX; 33];
            word[1..].copy_from_slice(hash);
            RlpNode::from_raw(&word)?
        } else {
            let (&length, after) = rest.split_first()?;
            let (embedded, after) = after.split_at_checked(length.into())?;
            rest = after;
            RlpNode::from_raw(embedded)?
        };
        *child = Child::Stored { leaf: has(leaves), reference };
    }
    rest.is_empty().then(|| (Nibbles::from_nibbles(path), children))
}

/// The key of a position in a table: one byte a nibble, so that a subtree lies together.
pub(super) fn position_key(position: &Nibbles) -> Vec<u8> {
    position.to_vec()
}

/// The first and last key that begin with `position`.
pub(super) fn bounds(position: &Nibbles) -> (B256, B256) {
    let (mut low, mut high) = ([0u8; 32], [0xffu8; 32]);
    for (at, nibble) in position.iter().enumerate() {
        let shift = if at % 2 == 0 { 4 } else { 0 };
        low[at / 2] |= nibble << shift;
        high[at / 2] &= !((0x0f ^ nibble) << shift);
    }
    (low.into(), high.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference() -> impl Strategy<Value = (bool, RlpNode)> {
        let hash = any::<[u8; 32]>().prop_map(|hash| RlpNode::word_rlp(&hash.into()));
        let embedded = prop::collection::vec(any::<u8>(), 1..32).prop_map(|raw| RlpNode::from_raw(&raw).unwrap());
        (any::<bool>(), prop_oneof![3 => hash, 1 => embedded])
    }

    proptest! {
        #[test]
        fn a_branch_reads_as_it_was_written_and_damage_never_panics(
            path in prop::collection::vec(0u8..16, 0..64),
            children in prop::collection::vec(prop::option::of(reference()), 16),
            cut: prop::sample::Index,
            flip: u8,
        ) {
            let path = Nibbles::from_nibbles(path);
            let children: [Option<(bool, RlpNode)>; 16] = children.try_into().unwrap();
            let bytes = encode(&path, &children);
            let (read_path, read) = decode(&bytes).unwrap();
            prop_assert_eq!(read_path, path);
            for (child, expected) in read.iter().zip(&children) {
                match (child, expected) {
                    (Child::Empty, None) => {}
                    (Child::Stored { leaf, reference }, Some((expected_leaf, expected))) => {
                        prop_assert_eq!(leaf, expected_leaf);
                        prop_assert_eq!(reference, expected);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            let at = cut.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err());
            let mut damaged = bytes;
            damaged[at] ^= flip;
            let _ = decode(&damaged);
        }

        #[test]
        fn bounds_hold_exactly_the_keys_that_begin_so(key: [u8; 32], other: [u8; 32], length in 0usize..=64) {
            let position = Nibbles::unpack(key).slice(..length);
            let (low, high) = bounds(&position);
            for key in [key, other] {
                let inside = low.0 <= key && key <= high.0;
                prop_assert_eq!(inside, Nibbles::unpack(key).starts_with(&position));
            }
        }
    }
}
