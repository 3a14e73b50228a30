//! Namespaces: the rollups of a network, with what each accepts and how its transactions are ordered.

use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader, decode_list, decode_string, encode_bytes};
use crate::hash::{Digest, MerkleRoot};
use crate::keys::Address;
use crate::limits::{MAX_ALLOWED, MAX_NAME_BYTES, MAX_NAMESPACES};
use crate::merkle::{self, MerkleProof};
use crate::quantity::NamespaceId;
use crate::{codec_struct, codec_unit_enum};
use serde::{Deserialize, Serialize};

/// What a namespace's transactions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamespaceKind {
    /// Ethereum transactions for one chain id; shape, signature and chain id are checked at admission.
    Evm {
        /// The EIP-155 chain id.
        chain_id: u64,
    },
    /// Plain bytes with a time until which they may be ordered.
    Opaque,
}

impl Encode for NamespaceKind {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Evm { chain_id } => {
                out.push(0);
                chain_id.encode(out);
            }
            Self::Opaque => out.push(1),
        }
    }
}

impl Decode for NamespaceKind {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Evm { chain_id: u64::decode(reader)? }),
            1 => Ok(Self::Opaque),
            value => Err(DecodeError::BadValue { what: "namespace kind", value: value.into() }),
        }
    }
}

/// How a namespace's transactions are ordered within a block; every validator recomputes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderingPolicy {
    /// As the lanes interleave.
    #[default]
    Fifo,
    /// By the fee that the lane's author stated, highest first, one sender's transactions in their lane order.
    PriorityFee,
    /// Shuffled by the parent header's hash. A proposer can grind it: it spreads luck, it does not keep secrets.
    Shuffled,
}

codec_unit_enum!(OrderingPolicy { 0 => Fifo, 1 => PriorityFee, 2 => Shuffled });

/// Who may write to a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteAccess {
    /// Everybody.
    #[default]
    Everybody,
    /// These senders only (EVM namespaces, where the sender is known from its signature).
    AllowList(Vec<Address>),
    /// Nobody.
    Closed,
}

impl Encode for WriteAccess {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Everybody => out.push(0),
            Self::AllowList(addresses) => {
                out.push(1);
                addresses.encode(out);
            }
            Self::Closed => out.push(2),
        }
    }
}

impl Decode for WriteAccess {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Everybody),
            1 => decode_list(reader, MAX_ALLOWED).map(Self::AllowList),
            2 => Ok(Self::Closed),
            value => Err(DecodeError::BadValue { what: "write access", value: value.into() }),
        }
    }
}

/// A rollup on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSpec {
    /// Its id.
    pub id: NamespaceId,
    /// Its name, as in the path of its RPC: lower-case letters, digits and dashes.
    pub name: String,
    /// What its transactions are.
    pub kind: NamespaceKind,
    /// How they are ordered.
    #[serde(default)]
    pub policy: OrderingPolicy,
    /// Who may write.
    #[serde(default)]
    pub access: WriteAccess,
    /// The largest transaction, in bytes.
    pub max_transaction_bytes: u32,
    /// Bytes a second that one operator admits for it.
    pub quota_bytes_per_second: u64,
}

impl Encode for NamespaceSpec {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        encode_bytes(self.name.as_bytes(), out);
        self.kind.encode(out);
        self.policy.encode(out);
        self.access.encode(out);
        self.max_transaction_bytes.encode(out);
        self.quota_bytes_per_second.encode(out);
    }
}

impl Decode for NamespaceSpec {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            id: Decode::decode(reader)?,
            name: decode_string(reader, MAX_NAME_BYTES, "namespace name")?,
            kind: Decode::decode(reader)?,
            policy: Decode::decode(reader)?,
            access: Decode::decode(reader)?,
            max_transaction_bytes: Decode::decode(reader)?,
            quota_bytes_per_second: Decode::decode(reader)?,
        })
    }
}

impl ListItem for NamespaceSpec {
    const MAX_ITEMS: usize = MAX_NAMESPACES;
}

/// What a block holds for one namespace: a leaf of the header's `namespaces_root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamespaceLeaf {
    /// The namespace.
    pub namespace: NamespaceId,
    /// How many of its transactions are in the block; never zero.
    pub count: u32,
    /// The merkle root over their ids, in order.
    pub transactions_root: MerkleRoot,
}

codec_struct!(NamespaceLeaf { namespace, count, transactions_root });

impl NamespaceLeaf {
    /// The leaf's hash.
    pub fn hash(&self) -> Digest {
        merkle::leaf(&[&self.namespace.0.to_be_bytes(), &self.count.to_be_bytes(), &self.transactions_root.0])
    }
}

/// The root over a block's namespaces, which are in ascending order of id.
pub fn namespaces_root(leaves: &[NamespaceLeaf]) -> MerkleRoot {
    debug_assert!(leaves.windows(2).all(|pair| pair[0].namespace < pair[1].namespace));
    merkle::root(&leaves.iter().map(NamespaceLeaf::hash).collect::<Vec<_>>())
}

/// A namespace's leaf with its place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedLeaf {
    /// The leaf.
    pub leaf: NamespaceLeaf,
    /// Where it stands.
    pub proof: MerkleProof,
}

codec_struct!(PlacedLeaf { leaf, proof });

/// What a block holds for a namespace: all of it, or nothing. Leaves are sorted, so two neighbours show that nothing is between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamespaceProof {
    /// The block holds exactly the transactions under this leaf.
    Present(PlacedLeaf),
    /// The block holds none.
    Absent {
        /// The last leaf below the namespace; none if it would come first.
        left: Option<PlacedLeaf>,
        /// The first leaf above the namespace; none if it would come last.
        right: Option<PlacedLeaf>,
    },
}

impl Encode for NamespaceProof {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Present(placed) => {
                out.push(0);
                placed.encode(out);
            }
            Self::Absent { left, right } => {
                out.push(1);
                left.encode(out);
                right.encode(out);
            }
        }
    }
}

impl Decode for NamespaceProof {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => PlacedLeaf::decode(reader).map(Self::Present),
            1 => Ok(Self::Absent { left: Option::decode(reader)?, right: Option::decode(reader)? }),
            value => Err(DecodeError::BadValue { what: "namespace proof", value: value.into() }),
        }
    }
}

impl NamespaceProof {
    /// Proves what `leaves` (a block's, ascending) hold for `namespace`.
    pub fn build(leaves: &[NamespaceLeaf], namespace: NamespaceId) -> Self {
        let hashes: Vec<Digest> = leaves.iter().map(NamespaceLeaf::hash).collect();
        let place = |at: usize| {
            let proof = merkle::prove(&hashes, at)?;
            Some(PlacedLeaf { leaf: leaves[at], proof })
        };
        let at = leaves.partition_point(|leaf| leaf.namespace < namespace);
        match leaves.get(at).filter(|leaf| leaf.namespace == namespace).and_then(|_| place(at)) {
            Some(placed) => Self::Present(placed),
            None => Self::Absent { left: at.checked_sub(1).and_then(place), right: place(at) },
        }
    }

    /// Whether this proves what a block with `root` holds for `namespace`: its leaf, or that it holds nothing (none).
    pub fn verify(
        &self,
        namespace: NamespaceId,
        root: &MerkleRoot,
    ) -> Result<Option<NamespaceLeaf>, NamespaceProofError> {
        let placed = |placed: &PlacedLeaf| {
            placed.proof.holds(&placed.leaf.hash(), root).then_some(()).ok_or(NamespaceProofError::Path)
        };
        match self {
            Self::Present(present) => {
                if present.leaf.namespace != namespace {
                    return Err(NamespaceProofError::OtherNamespace(present.leaf.namespace));
                }
                placed(present)?;
                Ok(Some(present.leaf))
            }
            Self::Absent { left, right } => {
                [left, right].into_iter().flatten().try_for_each(placed)?;
                let ordered = left.as_ref().is_none_or(|left| left.leaf.namespace < namespace)
                    && right.as_ref().is_none_or(|right| namespace < right.leaf.namespace);
                let adjacent = match (left, right) {
                    (Some(left), Some(right)) => {
                        left.proof.index + 1 == right.proof.index && left.proof.count == right.proof.count
                    }
                    (Some(left), None) => left.proof.index + 1 == left.proof.count,
                    (None, Some(right)) => right.proof.index == 0,
                    (None, None) => *root == merkle::root(&[]),
                };
                if ordered && adjacent { Ok(None) } else { Err(NamespaceProofError::Gap) }
            }
        }
    }
}

/// Why a namespace proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceProofError {
    /// The proof is about another namespace.
    #[error("the proof is about namespace {0}")]
    OtherNamespace(NamespaceId),
    /// A leaf does not lead to the header's root.
    #[error("the path does not lead to the header's namespaces root")]
    Path,
    /// The leaves beside an absent namespace are no neighbours, or not the ones around it.
    #[error("the neighbouring leaves leave room for the namespace between them")]
    Gap,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(ids: &[u32]) -> Vec<NamespaceLeaf> {
        let leaf = |id: &u32| NamespaceLeaf {
            namespace: NamespaceId(*id),
            count: 1,
            transactions_root: MerkleRoot([*id as u8; 32]),
        };
        ids.iter().map(leaf).collect()
    }

    #[test]
    fn presence_and_absence_are_proved_for_every_namespace_and_cannot_be_swapped() {
        for ids in [&[][..], &[5], &[2, 5], &[2, 5, 9], &[1, 2, 3, 7, 8]] {
            let all = leaves(ids);
            let root = namespaces_root(&all);
            for id in 0..12 {
                let namespace = NamespaceId(id);
                let found = NamespaceProof::build(&all, namespace).verify(namespace, &root).unwrap();
                assert_eq!(found.is_some(), ids.contains(&id), "{id} in {ids:?}");
                for other in (0..12).filter(|other| *other != id && ids.contains(&id)) {
                    let lie = NamespaceProof::build(&all, NamespaceId(other)).verify(namespace, &root);
                    assert!(lie.is_err(), "the proof of {other} must not speak of {id}");
                }
            }
        }
    }

    #[test]
    fn hiding_a_leaf_between_two_that_are_no_neighbours_fails() {
        let all = leaves(&[1, 2, 3]);
        let root = namespaces_root(&all);
        let place = |at: usize| {
            let NamespaceProof::Present(placed) = NamespaceProof::build(&all, all[at].namespace) else {
                panic!("present")
            };
            Some(placed)
        };
        let lie = NamespaceProof::Absent { left: place(0), right: place(2) };
        assert_eq!(lie.verify(NamespaceId(2), &root), Err(NamespaceProofError::Gap));
        let lie = NamespaceProof::Absent { left: place(0), right: None };
        assert_eq!(lie.verify(NamespaceId(2), &root), Err(NamespaceProofError::Gap));
        let lie = NamespaceProof::Absent { left: None, right: None };
        assert_eq!(lie.verify(NamespaceId(2), &root), Err(NamespaceProofError::Gap));
    }
}
