//! An in-memory Merkle Patricia trie over 32-byte hashed keys, with cached node references.
//!
//! This is Ethereum's "secure" trie: the caller hashes keys with keccak256 first. Because every
//! key has the same length, a branch never carries a value. Each node caches the RLP reference
//! that its parent embeds; a change clears the caches on its path only, so [`Trie::root`] after
//! `k` changes rehashes `O(k log n)` nodes, not the whole trie.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{BufMut, Header};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode},
};

/// RLP of the empty string: an absent child or branch value.
const EMPTY_STRING: u8 = 0x80;

type Link = Option<Box<Node>>;

#[derive(Debug, Clone)]
enum Kind {
    Leaf { path: Nibbles, value: Box<[u8]> },
    Extension { path: Nibbles, child: Box<Node> },
    Branch { children: Box<[Link; 16]> },
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    /// What the parent embeds: the node's RLP if shorter than 32 bytes, else its hash.
    reference: Option<RlpNode>,
}

impl Node {
    fn boxed(kind: Kind) -> Box<Self> {
        Box::new(Self { kind, reference: None })
    }

    fn leaf(path: Nibbles, value: &[u8]) -> Box<Self> {
        Self::boxed(Kind::Leaf { path, value: value.into() })
    }

    /// Wraps `child` in an extension, or returns it bare where `path` is empty.
    fn extended(path: Nibbles, child: Box<Self>) -> Box<Self> {
        if path.is_empty() { child } else { Self::boxed(Kind::Extension { path, child }) }
    }

    /// Puts `path` in front of this node, merging with a leaf's or extension's own path.
    fn prefixed(self: Box<Self>, path: &Nibbles) -> Box<Self> {
        match self.kind {
            Kind::Leaf { path: own, value } => Self::boxed(Kind::Leaf { path: path.join(&own), value }),
            Kind::Extension { path: own, child } => Self::boxed(Kind::Extension { path: path.join(&own), child }),
            Kind::Branch { .. } => Self::extended(*path, self),
        }
    }
}

/// A trie that maps 32-byte hashed keys to RLP values.
///
/// Guarantee: [`Trie::root`] equals the root that Ethereum computes for the same set of pairs,
/// whatever the order of insertions and removals.
#[derive(Debug, Clone, Default)]
pub struct Trie {
    root: Link,
    scratch: Vec<u8>,
}

impl Trie {
    /// Sets `key` to `value` (already RLP-encoded, not empty).
    pub fn insert(&mut self, key: &B256, value: &[u8]) {
        debug_assert!(!value.is_empty(), "an empty value is a removal");
        let path = Nibbles::unpack_array(&key.0);
        self.root = Some(match self.root.take() {
            None => Node::leaf(path, value),
            Some(node) => insert(node, path, value),
        });
    }

    /// Removes `key`; does nothing if it is absent.
    pub fn remove(&mut self, key: &B256) {
        let path = Nibbles::unpack_array(&key.0);
        if let Some(node) = self.root.take() {
            self.root = remove(node, path).0;
        }
    }

    /// Whether no key is set.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The root hash. Hashes only what changed since the last call.
    pub fn root(&mut self) -> B256 {
        let Some(node) = self.root.as_mut() else {
            return EMPTY_ROOT_HASH;
        };
        let reference = reference(node, &mut self.scratch);
        match reference.as_hash() {
            Some(hash) => hash,
            // A root is hashed even where its RLP is short.
            None => keccak256(&reference[..]),
        }
    }
}

fn insert(mut node: Box<Node>, path: Nibbles, value: &[u8]) -> Box<Node> {
    node.reference = None;
    match &mut node.kind {
        Kind::Leaf { path: own, value: old } => {
            let common = own.common_prefix_length(&path);
            if common == path.len() {
                *old = value.into();
                return node;
            }
            let mut children: Box<[Link; 16]> = Box::default();
            let at = usize::from(own.get_unchecked(common));
            children[at] = Some(Node::boxed(Kind::Leaf { path: own.slice(common + 1..), value: std::mem::take(old) }));
            branch_with_new_leaf(children, path, common, value)
        }
        Kind::Extension { path: own, .. } => {
            let common = own.common_prefix_length(&path);
            let whole = common == own.len();
            let own = *own;
            let Kind::Extension { child, .. } = node.kind else { unreachable!("matched an extension above") };
            if whole {
                let child = insert(child, path.slice(common..), value);
                return Node::boxed(Kind::Extension { path: own, child });
            }
            let mut children: Box<[Link; 16]> = Box::default();
            let at = usize::from(own.get_unchecked(common));
            children[at] = Some(Node::extended(own.slice(common + 1..), child));
            branch_with_new_leaf(children, path, common, value)
        }
        Kind::Branch { children } => {
            let slot = &mut children[usize::from(path.get_unchecked(0))];
            let rest = path.slice(1..);
            *slot = Some(match slot.take() {
                None => Node::leaf(rest, value),
                Some(child) => insert(child, rest, value),
            });
            node
        }
    }
}

/// The branch where `path` parts from an older node after `common` nibbles.
fn branch_with_new_leaf(mut children: Box<[Link; 16]>, path: Nibbles, common: usize, value: &[u8]) -> Box<Node> {
    let at = usize::from(path.get_unchecked(common));
    children[at] = Some(Node::leaf(path.slice(common + 1..), value));
    Node::extended(path.slice(..common), Node::boxed(Kind::Branch { children }))
}

/// Removes `path` below `node`; the flag says whether anything changed, so that caches above an
/// absent key stay valid.
fn remove(mut node: Box<Node>, path: Nibbles) -> (Link, bool) {
    match &mut node.kind {
        Kind::Leaf { path: own, .. } => {
            if *own == path {
                (None, true)
            } else {
                (Some(node), false)
            }
        }
        Kind::Extension { path: own, child } => {
            if !path.starts_with(own) {
                return (Some(node), false);
            }
            let own = *own;
            let hole = Node::leaf(Nibbles::new(), &[]);
            let (rest, changed) = remove(std::mem::replace(child, hole), path.slice(own.len()..));
            match rest {
                None => (None, true),
                Some(rest) if changed => (Some(rest.prefixed(&own)), true),
                Some(rest) => {
                    *child = rest;
                    (Some(node), false)
                }
            }
        }
        Kind::Branch { children } => {
            let slot = &mut children[usize::from(path.get_unchecked(0))];
            let Some(child) = slot.take() else {
                return (Some(node), false);
            };
            let (rest, changed) = remove(child, path.slice(1..));
            let gone = rest.is_none();
            *slot = rest;
            if !changed {
                return (Some(node), false);
            }
            if gone && let Some((nibble, only)) = take_only_child(children) {
                return (Some(only.prefixed(&Nibbles::from_nibbles([nibble]))), true);
            }
            node.reference = None;
            (Some(node), true)
        }
    }
}

/// Takes the child out of a branch that has exactly one left.
fn take_only_child(children: &mut [Link; 16]) -> Option<(u8, Box<Node>)> {
    let mut used = (0u8..16).filter(|at| children[usize::from(*at)].is_some());
    let (first, second) = (used.next()?, used.next());
    if second.is_some() {
        return None;
    }
    Some((first, children[usize::from(first)].take()?))
}

/// Computes and caches the reference of `node`. Recursion is at most 64 deep (nibbles of a key).
fn reference(node: &mut Node, scratch: &mut Vec<u8>) -> RlpNode {
    if let Some(cached) = &node.reference {
        return cached.clone();
    }
    let fresh = match &mut node.kind {
        Kind::Leaf { path, value } => {
            scratch.clear();
            LeafNodeRef::new(path, value).rlp(scratch)
        }
        Kind::Extension { path, child } => {
            let child = reference(child, scratch);
            scratch.clear();
            ExtensionNodeRef::new(path, &child).rlp(scratch)
        }
        Kind::Branch { children } => {
            let mut payload = 1; // the empty value
            let mut references: [Option<RlpNode>; 16] = Default::default();
            for (child, slot) in children.iter_mut().zip(&mut references) {
                payload += match child {
                    None => 1,
                    Some(child) => slot.insert(reference(child, scratch)).len(),
                };
            }
            scratch.clear();
            Header { list: true, payload_length: payload }.encode(scratch);
            for slot in &references {
                match slot {
                    None => scratch.put_u8(EMPTY_STRING),
                    Some(child) => scratch.put_slice(child),
                }
            }
            scratch.put_u8(EMPTY_STRING);
            RlpNode::from_rlp(scratch)
        }
    };
    node.reference = Some(fresh.clone());
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use alloy_trie::HashBuilder;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn expected(pairs: &BTreeMap<B256, Vec<u8>>) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, value) in pairs {
            builder.add_leaf(Nibbles::unpack(key), value);
        }
        builder.root()
    }

    #[test]
    fn an_empty_trie_has_ethereums_empty_root() {
        assert_eq!(Trie::default().root(), EMPTY_ROOT_HASH);
        let mut trie = Trie::default();
        trie.insert(&B256::repeat_byte(1), &[1]);
        trie.remove(&B256::repeat_byte(1));
        assert_eq!(trie.root(), EMPTY_ROOT_HASH);
    }

    #[test]
    fn storage_root_agrees_with_the_reference_helper() {
        let slots: Vec<_> = (0u64..500).map(|i| (B256::from(U256::from(i)), U256::from(i + 1))).collect();
        let mut trie = Trie::default();
        for (slot, value) in &slots {
            trie.insert(&keccak256(slot), &alloy_rlp::encode(value));
        }
        assert_eq!(trie.root(), alloy_trie::root::storage_root_unhashed(slots));
    }

    /// Keys that share long prefixes, so that extensions split and branches collapse often.
    fn key() -> impl Strategy<Value = B256> {
        prop_oneof![
            (0u8..4, 0u8..4, 0u8..4).prop_map(|(a, b, c)| {
                let mut key = B256::ZERO;
                key[0] = a;
                key[15] = b << 4;
                key[31] = c;
                key
            }),
            any::<[u8; 32]>().prop_map(B256::from),
        ]
    }

    proptest! {
        // Each case rebuilds whole tries with an unoptimised keccak.
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn any_mix_of_changes_gives_the_root_of_a_full_rebuild(
            steps in prop::collection::vec((key(), prop::option::weighted(0.6, prop::collection::vec(any::<u8>(), 1..40)), prop::bool::weighted(0.2)), 1..120)
        ) {
            let mut trie = Trie::default();
            let mut pairs = BTreeMap::new();
            for (key, value, check) in steps {
                match value {
                    Some(value) => {
                        trie.insert(&key, &value);
                        pairs.insert(key, value);
                    }
                    None => {
                        trie.remove(&key);
                        pairs.remove(&key);
                    }
                }
                if check {
                    prop_assert_eq!(trie.root(), expected(&pairs));
                }
            }
            prop_assert_eq!(trie.root(), expected(&pairs));
            prop_assert_eq!(trie.is_empty(), pairs.is_empty());
        }
    }
}
