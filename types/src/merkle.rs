//! sha256 merkle trees in the shape of RFC 6962: leaf and node tags, no duplicated last leaf, the count bound into the root.

use crate::codec_struct;
use crate::hash::{Digest, MerkleRoot, sha256};
use serde::{Deserialize, Serialize};

const LEAF: u8 = 0;
const NODE: u8 = 1;
const ROOT: u8 = 2;

/// Bytes of a leaf's content that are hashed in one piece: more than any leaf here has.
const SHORT: usize = 64;

/// The hash of a leaf whose content is `parts` one after another.
pub fn leaf(parts: &[&[u8]]) -> Digest {
    let mut tagged = [LEAF; 1 + SHORT];
    let mut end = 1;
    for part in parts {
        let Some(room) = tagged.get_mut(end..end + part.len()) else {
            let mut all: Vec<&[u8]> = vec![&[LEAF]];
            all.extend_from_slice(parts);
            return Digest(sha256(&all));
        };
        room.copy_from_slice(part);
        end += part.len();
    }
    Digest(sha256(&[&tagged[..end]]))
}

// In one piece: there is one a transaction, and a hasher that is fed in pieces copies them first.
fn node(left: &Digest, right: &Digest) -> Digest {
    let mut tagged = [NODE; 65];
    tagged[1..33].copy_from_slice(&left.0);
    tagged[33..].copy_from_slice(&right.0);
    Digest(sha256(&[&tagged]))
}

fn bind(count: u64, top: &Digest) -> MerkleRoot {
    MerkleRoot(sha256(&[&[ROOT], &count.to_be_bytes(), &top.0]))
}

/// The root over leaf hashes. An empty tree has the root of a zero top and a zero count.
pub fn root(leaves: &[Digest]) -> MerkleRoot {
    let mut level = fold(leaves);
    let mut width = level.len();
    while width > 1 {
        // In place: what is written lies below what is still to be read.
        for at in 0..width / 2 {
            level[at] = node(&level[2 * at], &level[2 * at + 1]);
        }
        if width % 2 == 1 {
            level[width / 2] = level[width - 1];
        }
        width = width.div_ceil(2);
    }
    bind(leaves.len() as u64, level.first().unwrap_or(&Digest::ZERO))
}

// Pairing neighbours and passing an odd last one up unchanged gives RFC 6962's tree.
fn fold(level: &[Digest]) -> Vec<Digest> {
    level.chunks(2).map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] }).collect()
}

/// That a leaf stands at an index of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerkleProof {
    /// The leaf's place, from 0.
    pub index: u64,
    /// The number of leaves of the tree.
    pub count: u64,
    /// The hashes beside the path, from the leaf up.
    pub siblings: Vec<Digest>,
}

codec_struct!(MerkleProof { index, count, siblings });

/// The proof for the leaf at `index`; none if there is no such leaf.
pub fn prove(leaves: &[Digest], index: usize) -> Option<MerkleProof> {
    if index >= leaves.len() {
        return None;
    }
    let mut siblings = Vec::new();
    let (mut level, mut at) = (leaves.to_vec(), index);
    while level.len() > 1 {
        if let Some(sibling) = level.get(at ^ 1) {
            siblings.push(*sibling);
        }
        level = fold(&level);
        at /= 2;
    }
    Some(MerkleProof { index: index as u64, count: leaves.len() as u64, siblings })
}

/// A whole tree, for whoever needs many of its proofs: a proof takes as many steps as the tree has levels.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The leaves first, the top last.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over leaf hashes.
    pub fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(fold(level));
        }
        Self { levels }
    }

    /// The same as [`root`].
    pub fn root(&self) -> MerkleRoot {
        let count = self.levels.first().map_or(0, Vec::len);
        bind(count as u64, self.levels.last().and_then(|top| top.first()).unwrap_or(&Digest::ZERO))
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Digest] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// Puts other leaves at some places, given in ascending order: hashes what lies above these in place of the whole tree.
    /// A place beyond the leaves is passed over.
    pub fn update(&mut self, changes: impl IntoIterator<Item = (usize, Digest)>) {
        let Some(leaves) = self.levels.first_mut() else { return };
        let mut changed = Vec::new();
        for (at, leaf) in changes {
            if let Some(slot) = leaves.get_mut(at) {
                *slot = leaf;
                changed.push(at);
            }
        }
        for depth in 1..self.levels.len() {
            changed.iter_mut().for_each(|at| *at /= 2);
            changed.dedup();
            for at in &changed {
                self.levels[depth][*at] = match &self.levels[depth - 1][2 * at..] {
                    [left, right, ..] => node(left, right),
                    // An odd last one is passed up.
                    rest => rest.first().copied().unwrap_or_default(),
                };
            }
        }
    }

    /// The same as [`prove`].
    pub fn prove(&self, index: usize) -> Option<MerkleProof> {
        let count = self.levels.first().map_or(0, Vec::len);
        if index >= count {
            return None;
        }
        let below_top = self.levels.iter().take(self.levels.len().saturating_sub(1)).enumerate();
        let siblings = below_top.filter_map(|(depth, level)| level.get((index >> depth) ^ 1).copied()).collect();
        Some(MerkleProof { index: index as u64, count: count as u64, siblings })
    }
}

impl MerkleProof {
    /// The root that this proof leads to from `leaf`; none if its shape is impossible for its index and count.
    pub fn root(&self, leaf: &Digest) -> Option<MerkleRoot> {
        if self.index >= self.count {
            return None;
        }
        let mut siblings = self.siblings.iter();
        let (mut hash, mut at, mut width) = (*leaf, self.index, self.count);
        while width > 1 {
            if at % 2 == 1 {
                hash = node(siblings.next()?, &hash);
            } else if at + 1 < width {
                hash = node(&hash, siblings.next()?);
            }
            at /= 2;
            width = width.div_ceil(2);
        }
        siblings.next().is_none().then(|| bind(self.count, &hash))
    }

    /// Whether `leaf` stands at this proof's index under `root`.
    pub fn holds(&self, leaf: &Digest, root: &MerkleRoot) -> bool {
        self.root(leaf).as_ref() == Some(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count as u64).map(|i| leaf(&[&i.to_be_bytes()])).collect()
    }

    #[test]
    fn a_leaf_of_any_length_is_the_hash_of_its_tag_and_its_parts() {
        for (first, second) in [(0, 0), (0, 5), (32, 32), (32, 33), (64, 0), (65, 0), (100, 200)] {
            let (first, second) = (vec![7; first], vec![9; second]);
            let whole = [&[LEAF][..], &first, &second].concat();
            assert_eq!(leaf(&[&first, &second]), Digest(sha256(&[&whole])));
        }
    }

    #[test]
    fn roots_of_different_counts_differ_even_when_the_tops_are_alike() {
        assert_ne!(root(&[]), root(&[Digest::ZERO]));
        let four = leaves(4);
        let folded = fold(&four);
        assert_ne!(root(&four), root(&folded));
    }

    proptest! {
        #[test]
        fn a_changed_tree_is_the_tree_of_the_changed_leaves(count in 0_usize..70, places in prop::collection::btree_set(0_usize..72, 0..12)) {
            let mut all = leaves(count);
            let mut tree = Tree::new(all.clone());
            let fresh = |at: usize| leaf(&[b"changed", &at.to_be_bytes()]);
            tree.update(places.iter().map(|at| (*at, fresh(*at))));
            for at in places.into_iter().filter(|at| *at < count) {
                all[at] = fresh(at);
            }
            prop_assert_eq!(tree.root(), root(&all));
            prop_assert_eq!(tree.leaves(), all.as_slice());
            prop_assert_eq!(tree.prove(0), prove(&all, 0));
        }

        #[test]
        fn every_leaf_proves_and_no_other_does(count in 1_usize..70, at in 0_usize..70, other in 0_usize..70) {
            let (all, at) = (leaves(count), at % count);
            let proof = prove(&all, at).unwrap();
            prop_assert!(proof.holds(&all[at], &root(&all)));
            let tree = Tree::new(all.clone());
            let again = tree.prove(at);
            prop_assert_eq!(again.as_ref(), Some(&proof));
            let other = other % count;
            if other != at {
                prop_assert!(!proof.holds(&all[other], &root(&all)));
                let moved = MerkleProof { index: other as u64, ..proof.clone() };
                prop_assert!(!moved.holds(&all[at], &root(&all)));
            }
            let grown = MerkleProof { count: proof.count + 1, ..proof.clone() };
            prop_assert!(!grown.holds(&all[at], &root(&all)));
            let mut longer = proof;
            longer.siblings.push(Digest::ZERO);
            prop_assert!(!longer.holds(&all[at], &root(&all)));
        }
    }
}
