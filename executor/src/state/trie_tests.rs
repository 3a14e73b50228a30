//! The trie against alloy's, over a source that is a plain map.

use super::*;
use alloy_primitives::U256;
use alloy_trie::{HashBuilder, proof::verify_proof};
use proptest::prelude::*;

/// The database as two maps.
#[derive(Debug, Default)]
pub(in crate::state) struct Maps {
    branches: BTreeMap<Nibbles, Vec<u8>>,
    leaves: BTreeMap<B256, Vec<u8>>,
}

impl Maps {
    fn write(&mut self, writes: Writes, leaves: impl IntoIterator<Item = (B256, Option<Vec<u8>>)>) {
        for (at, branch) in writes {
            match branch {
                Some(branch) => self.branches.insert(at, branch),
                None => self.branches.remove(&at),
            };
        }
        for (key, value) in leaves {
            match value {
                Some(value) => self.leaves.insert(key, value),
                None => self.leaves.remove(&key),
            };
        }
    }
}

impl Source for &Maps {
    fn branch(&self, position: &Nibbles) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.branches.get(position).cloned())
    }

    fn leaf(&self, position: &Nibbles) -> Result<Option<(B256, Vec<u8>)>, StateError> {
        let (low, high) = record::bounds(position);
        Ok(self.leaves.range(low..=high).next().map(|(key, value)| (*key, value.clone())))
    }
}

fn expected(pairs: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in pairs {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

#[test]
fn an_empty_trie_has_ethereums_empty_root() {
    let maps = Maps::default();
    let mut trie = Trie::open(&maps).unwrap();
    assert_eq!(trie.commit(), (EMPTY_ROOT_HASH, Writes::new()));
    trie.insert(&B256::repeat_byte(1), vec![1]).unwrap();
    trie.remove(&B256::repeat_byte(1)).unwrap();
    assert_eq!(trie.commit().0, EMPTY_ROOT_HASH);
    assert!(trie.prove(&B256::ZERO).unwrap().is_empty());
}

#[test]
fn a_missing_branch_is_damage_and_not_another_root() {
    let mut maps = Maps::default();
    let pairs: Vec<_> = (0u64..500).map(|at| (keccak256(at.to_be_bytes()), vec![7; 40])).collect();
    let mut trie = Trie::open(&maps).unwrap();
    for (key, value) in &pairs {
        trie.insert(key, value.clone()).unwrap();
    }
    let writes = trie.commit().1;
    drop(trie);
    maps.write(writes, pairs.iter().map(|(key, value)| (*key, Some(value.clone()))));
    maps.branches.remove(&Nibbles::from_nibbles([3]));
    let mut trie = Trie::open(&maps).unwrap();
    let mut key = B256::ZERO;
    key[0] = 0x30;
    assert!(matches!(trie.insert(&key, vec![1]), Err(StateError::Damaged(_))));
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

fn value() -> impl Strategy<Value = Vec<u8>> {
    // Short ones make nodes that their parents embed.
    prop_oneof![
        any::<u64>().prop_map(|value| alloy_rlp::encode(U256::from(value))),
        prop::collection::vec(1u8.., 1..40)
    ]
}

proptest! {
    // Each case rebuilds whole tries with an unoptimised keccak.
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Rounds of changes, each on a trie opened anew over what the rounds before wrote.
    #[test]
    fn any_mix_of_changes_gives_the_root_of_a_full_rebuild_and_provable_keys(
        rounds in prop::collection::vec(
            prop::collection::vec((key(), prop::option::weighted(0.6, value())), 0..24), 1..8,
        ),
        absent in key(),
    ) {
        let mut maps = Maps::default();
        let mut pairs = BTreeMap::new();
        let mut root = EMPTY_ROOT_HASH;
        for round in rounds {
            let mut trie = Trie::open(&maps).unwrap();
            for (key, value) in &round {
                match value {
                    Some(value) => {
                        trie.insert(key, value.clone()).unwrap();
                        pairs.insert(*key, value.clone());
                    }
                    None => {
                        trie.remove(key).unwrap();
                        pairs.remove(key);
                    }
                }
            }
            let (fresh, writes) = trie.commit();
            prop_assert_eq!(fresh, expected(&pairs));
            prop_assert_eq!(trie.commit(), (fresh, Writes::new()));
            drop(trie);
            maps.write(writes, round);
            root = fresh;
        }
        prop_assert_eq!(&maps.leaves, &pairs);
        let mut trie = Trie::open(&maps).unwrap();
        for key in pairs.keys().copied().chain([absent]) {
            let proof = trie.prove(&key).unwrap();
            prop_assert!(verify_proof(root, Nibbles::unpack(key), pairs.get(&key).cloned(), &proof).is_ok());
        }
        // Nothing is left behind: what lies there is exactly what a trie of these pairs writes.
        let fresh = Maps::default();
        let mut rebuilt = Trie::open(&fresh).unwrap();
        for (key, value) in &pairs {
            rebuilt.insert(key, value.clone()).unwrap();
        }
        let written: BTreeMap<_, _> = rebuilt.commit().1.into_iter().filter_map(|(at, node)| Some((at, node?))).collect();
        prop_assert_eq!(&maps.branches, &written);
    }
}
