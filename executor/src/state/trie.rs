//! A Merkle Patricia trie over 32-byte hashed keys that loads from the database only what it needs.
//!
//! This is Ethereum's "secure" trie: the caller hashes keys with keccak256 first. Because every key has the same
//! length, a branch never carries a value. A [`Trie`] begins as its root and loads what lies on the paths that are
//! asked for or changed; [`Trie::commit`] hashes what changed and names the branches to write. So the memory and time
//! of a block depend on what it changes, and only by the depth of the trie on how large the state is.
//!
//! What is loaded comes from a [`Source`] as it was when the trie was opened: it must not change before the trie's
//! changes are written.

use super::{StateError, record};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::{BufMut, Header};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode},
};
use std::collections::BTreeMap;

/// RLP of the empty string: an absent child or branch value.
const EMPTY_STRING: u8 = 0x80;

/// Where a trie's stored parts come from.
pub(super) trait Source {
    /// The branch stored at a position, as [`record::encode`] wrote it.
    fn branch(&self, position: &Nibbles) -> Result<Option<Vec<u8>>, StateError>;
    /// Key and value of the first leaf whose key begins with `position`.
    fn leaf(&self, position: &Nibbles) -> Result<Option<(B256, Vec<u8>)>, StateError>;
}

/// What hangs below a branch.
#[derive(Debug, Clone, Default)]
pub(super) enum Child {
    #[default]
    Empty,
    /// Not loaded: only what the parent embeds of it is known.
    Stored {
        leaf: bool,
        reference: RlpNode,
    },
    Loaded(Box<Node>),
}

pub(super) type Children = [Child; 16];

#[derive(Debug, Clone)]
enum Kind {
    Leaf {
        path: Nibbles,
        value: Vec<u8>,
    },
    /// An extension along `path`, unless that is empty, and the branch below it.
    Branch {
        path: Nibbles,
        children: Box<Children>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    kind: Kind,
    /// What the parent embeds: the node's RLP if shorter than 32 bytes, else its hash. `None`: changed since.
    reference: Option<RlpNode>,
}

impl Node {
    fn changed(kind: Kind) -> Box<Self> {
        Box::new(Self { kind, reference: None })
    }

    fn leaf(path: Nibbles, value: Vec<u8>) -> Box<Self> {
        Self::changed(Kind::Leaf { path, value })
    }

    /// Puts `path` in front of this node's own.
    fn prefixed(self, path: &Nibbles) -> Box<Self> {
        Self::changed(match self.kind {
            Kind::Leaf { path: own, value } => Kind::Leaf { path: path.join(&own), value },
            Kind::Branch { path: own, children } => Kind::Branch { path: path.join(&own), children },
        })
    }
}

/// The branches that a change writes (`Some`) or removes (`None`), by position.
pub(super) type Writes = BTreeMap<Nibbles, Option<Vec<u8>>>;

/// A trie that maps 32-byte hashed keys to RLP values.
///
/// Guarantee: the root that [`Trie::commit`] returns equals the one that Ethereum computes for the same pairs,
/// whatever the order of insertions and removals.
#[derive(Debug)]
pub(super) struct Trie<S> {
    root: Option<Box<Node>>,
    source: S,
    /// Positions whose branch went away; some are written anew on commit.
    removed: Vec<Nibbles>,
}

impl<S: Source> Trie<S> {
    /// The trie that `source` holds.
    pub(super) fn open(source: S) -> Result<Self, StateError> {
        let position = Nibbles::new();
        let root = if let Some(bytes) = source.branch(&position)? {
            let (path, children) = record::decode(&bytes)?;
            Some(Node::changed(Kind::Branch { path, children }))
        } else {
            source.leaf(&position)?.map(|(key, value)| Node::leaf(Nibbles::unpack_array(&key.0), value))
        };
        Ok(Self { root, source, removed: Vec::new() })
    }

    /// Sets `key` to `value` (RLP, not empty).
    pub(super) fn insert(&mut self, key: &B256, value: Vec<u8>) -> Result<(), StateError> {
        debug_assert!(!value.is_empty(), "an empty value is a removal");
        let key = Nibbles::unpack_array(&key.0);
        self.root = Some(match self.root.take() {
            None => Node::leaf(key, value),
            Some(node) => self.insert_below(node, 0, &key, value)?,
        });
        Ok(())
    }

    /// Removes `key`; does nothing if it is absent.
    pub(super) fn remove(&mut self, key: &B256) -> Result<(), StateError> {
        let key = Nibbles::unpack_array(&key.0);
        if let Some(node) = self.root.take() {
            self.root = self.remove_below(node, 0, &key)?.0;
        }
        Ok(())
    }

    /// Hashes what changed; the root, and the branches to write. The caller writes them, and then the leaves.
    pub(super) fn commit(&mut self) -> (B256, Writes) {
        let mut writes: Writes = std::mem::take(&mut self.removed).into_iter().map(|at| (at, None)).collect();
        let Some(root) = &mut self.root else { return (EMPTY_ROOT_HASH, writes) };
        let mut scratch = Vec::with_capacity(600);
        let reference = reference(root, Nibbles::new(), &mut scratch, &mut writes);
        // A root is hashed even where its RLP is short.
        (reference.as_hash().unwrap_or_else(|| keccak256(&reference[..])), writes)
    }

    /// The nodes from the root towards `key`, each as RLP, that show its value or that it has none.
    ///
    /// Changes must be committed before.
    pub(super) fn prove(&mut self, key: &B256) -> Result<Vec<Bytes>, StateError> {
        let key = Nibbles::unpack_array(&key.0);
        let mut proof = Vec::new();
        let mut depth = 0;
        let Self { root, source, .. } = self;
        let Some(mut node) = root.as_mut() else { return Ok(proof) };
        loop {
            prove_node(node, depth == 0, &mut proof);
            let Kind::Branch { path, children } = &mut node.kind else { return Ok(proof) };
            let rest = key.slice(depth..);
            if !rest.starts_with(path) {
                return Ok(proof);
            }
            let child = &mut children[usize::from(rest.get_unchecked(path.len()))];
            depth += path.len() + 1;
            if let Child::Stored { leaf, reference } = child {
                *child = Child::Loaded(load(source, *leaf, reference.clone(), &key.slice(..depth))?);
            }
            match child {
                Child::Loaded(below) => node = below,
                _ => return Ok(proof),
            }
        }
    }

    fn resolve(&self, child: Child, position: &Nibbles) -> Result<Option<Box<Node>>, StateError> {
        match child {
            Child::Empty => Ok(None),
            Child::Loaded(node) => Ok(Some(node)),
            Child::Stored { leaf, reference } => load(&self.source, leaf, reference, position).map(Some),
        }
    }

    /// Inserts below `node`, which lies at the first `depth` nibbles of `key`.
    fn insert_below(
        &mut self,
        mut node: Box<Node>,
        depth: usize,
        key: &Nibbles,
        value: Vec<u8>,
    ) -> Result<Box<Node>, StateError> {
        let rest = key.slice(depth..);
        node.reference = None;
        match &mut node.kind {
            Kind::Leaf { path, value: old } => {
                let common = path.common_prefix_length(&rest);
                if common == rest.len() {
                    *old = value;
                    return Ok(node);
                }
                let (path, old) = (*path, std::mem::take(old));
                Ok(fork(&rest, value, common, path.get_unchecked(common), Node::leaf(path.slice(common + 1..), old)))
            }
            Kind::Branch { path, children } => {
                let common = path.common_prefix_length(&rest);
                if common < path.len() {
                    let (path, children) = (*path, std::mem::take(children));
                    let below = Node::changed(Kind::Branch { path: path.slice(common + 1..), children });
                    return Ok(fork(&rest, value, common, path.get_unchecked(common), below));
                }
                let below = depth + common + 1;
                let child = &mut children[usize::from(rest.get_unchecked(common))];
                let loaded = self.resolve(std::mem::take(child), &key.slice(..below))?;
                *child = Child::Loaded(match loaded {
                    None => Node::leaf(key.slice(below..), value),
                    Some(node) => self.insert_below(node, below, key, value)?,
                });
                Ok(node)
            }
        }
    }

    /// Removes `key` below `node`; the flag says whether anything changed, so that references above an absent key
    /// stay known.
    fn remove_below(
        &mut self,
        mut node: Box<Node>,
        depth: usize,
        key: &Nibbles,
    ) -> Result<(Option<Box<Node>>, bool), StateError> {
        let rest = key.slice(depth..);
        let (path, children) = match &mut node.kind {
            Kind::Leaf { path, .. } if *path == rest => return Ok((None, true)),
            Kind::Leaf { .. } => return Ok((Some(node), false)),
            Kind::Branch { path, .. } if !rest.starts_with(path) => return Ok((Some(node), false)),
            Kind::Branch { path, children } => (*path, children),
        };
        let below = depth + path.len() + 1;
        let child = &mut children[usize::from(rest.get_unchecked(path.len()))];
        let Some(loaded) = self.resolve(std::mem::take(child), &key.slice(..below))? else {
            return Ok((Some(node), false));
        };
        let (left, changed) = self.remove_below(loaded, below, key)?;
        let gone = left.is_none();
        *child = left.map_or(Child::Empty, Child::Loaded);
        if !changed {
            return Ok((Some(node), false));
        }
        if gone && let Some((nibble, only)) = take_only_child(children) {
            // The branch is none any more: its one child moves up.
            let here = key.slice(..depth);
            let mut path = path;
            path.push(nibble);
            let position = here.join(&path);
            self.removed.push(here);
            let Some(only) = self.resolve(only, &position)? else {
                return Err(StateError::Damaged("a branch lost its last child".into()));
            };
            if matches!(only.kind, Kind::Branch { .. }) {
                self.removed.push(position);
            }
            return Ok((Some(only.prefixed(&path)), true));
        }
        node.reference = None;
        Ok((Some(node), true))
    }
}

fn load<S: Source>(source: &S, leaf: bool, reference: RlpNode, position: &Nibbles) -> Result<Box<Node>, StateError> {
    let missing = || StateError::Damaged(format!("the trie node at {position:?} is missing"));
    let kind = if leaf {
        let (key, value) = source.leaf(position)?.ok_or_else(missing)?;
        Kind::Leaf { path: Nibbles::unpack_array(&key.0).slice(position.len()..), value }
    } else {
        let (path, children) = record::decode(&source.branch(position)?.ok_or_else(missing)?)?;
        Kind::Branch { path, children }
    };
    Ok(Box::new(Node { kind, reference: Some(reference) }))
}

/// The branch, `common` nibbles on, where the new key `rest` parts from an older node.
fn fork(rest: &Nibbles, value: Vec<u8>, common: usize, old_nibble: u8, old: Box<Node>) -> Box<Node> {
    let mut children: Box<Children> = Box::default();
    children[usize::from(old_nibble)] = Child::Loaded(old);
    let new = Node::leaf(rest.slice(common + 1..), value);
    children[usize::from(rest.get_unchecked(common))] = Child::Loaded(new);
    Node::changed(Kind::Branch { path: rest.slice(..common), children })
}

/// Takes the child out of a branch that has exactly one left.
fn take_only_child(children: &mut Children) -> Option<(u8, Child)> {
    let mut used = (0u8..16).filter(|at| !matches!(children[usize::from(*at)], Child::Empty));
    let (first, second) = (used.next()?, used.next());
    if second.is_some() {
        return None;
    }
    Some((first, std::mem::take(&mut children[usize::from(first)])))
}

/// Computes and keeps the reference of `node`. Recursion is at most 64 deep (nibbles of a key).
fn reference(node: &mut Node, position: Nibbles, scratch: &mut Vec<u8>, writes: &mut Writes) -> RlpNode {
    if let Some(known) = &node.reference {
        return known.clone();
    }
    let fresh = match &mut node.kind {
        Kind::Leaf { path, value } => {
            scratch.clear();
            LeafNodeRef::new(path, value).rlp(scratch)
        }
        Kind::Branch { path, children } => {
            let below = position.join(path);
            let mut references: [Option<(bool, RlpNode)>; 16] = Default::default();
            for (nibble, (child, slot)) in (0u8..).zip(children.iter_mut().zip(&mut references)) {
                *slot = match child {
                    Child::Empty => None,
                    Child::Stored { leaf, reference } => Some((*leaf, reference.clone())),
                    Child::Loaded(node) => {
                        let mut position = below;
                        position.push(nibble);
                        let leaf = matches!(node.kind, Kind::Leaf { .. });
                        Some((leaf, reference(node, position, scratch, writes)))
                    }
                };
            }
            writes.insert(position, Some(record::encode(path, &references)));
            let branch = encode_branch(references.each_ref().map(|slot| slot.as_ref().map(|(_, node)| node)), scratch);
            if path.is_empty() {
                branch
            } else {
                scratch.clear();
                ExtensionNodeRef::new(path, &branch).rlp(scratch)
            }
        }
    };
    node.reference = Some(fresh.clone());
    fresh
}

/// Leaves a branch's RLP in `scratch`; what its parent embeds of it.
fn encode_branch(references: [Option<&RlpNode>; 16], scratch: &mut Vec<u8>) -> RlpNode {
    let payload_length = 1 + references.iter().map(|slot| slot.map_or(1, |node| node.len())).sum::<usize>();
    scratch.clear();
    Header { list: true, payload_length }.encode(scratch);
    for slot in references {
        match slot {
            None => scratch.put_u8(EMPTY_STRING),
            Some(node) => scratch.put_slice(node),
        }
    }
    scratch.put_u8(EMPTY_STRING);
    RlpNode::from_rlp(scratch)
}

/// Appends the RLP of `node`, and of the branch below it if it is an extension. What a parent embeds is no node of
/// its own in a proof.
fn prove_node(node: &Node, root: bool, proof: &mut Vec<Bytes>) {
    let mut scratch = Vec::with_capacity(600);
    let mut push = |rlp: &[u8], root: bool| {
        if root || rlp.len() >= 32 {
            proof.push(Bytes::copy_from_slice(rlp));
        }
    };
    match &node.kind {
        Kind::Leaf { path, value } => {
            LeafNodeRef::new(path, value).rlp(&mut scratch);
            push(&scratch, root);
        }
        Kind::Branch { path, children } => {
            let references = children.each_ref().map(|child| match child {
                Child::Empty => None,
                Child::Stored { reference, .. } => Some(reference),
                Child::Loaded(node) => node.reference.as_ref(),
            });
            let branch = encode_branch(references, &mut scratch);
            if !path.is_empty() {
                let mut extension = Vec::with_capacity(64);
                ExtensionNodeRef::new(path, &branch).rlp(&mut extension);
                push(&extension, root);
            }
            push(&scratch, root && path.is_empty());
        }
    }
}

#[cfg(test)]
#[path = "trie_tests.rs"]
pub(super) mod tests;
