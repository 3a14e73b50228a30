//! Merkle proofs of an account and its slots (EIP-1186), and a check of the whole state.
//!
//! The stored tries are those of the latest block. For an older block, what was overwritten since is put back in
//! memory, and the root that comes out must be that block's.

use super::{
    Account, StateError, StateView,
    tables::*,
    trie::{Source, Trie},
    view::Snapshot,
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles};
use redb::ReadableTable;
use std::collections::BTreeSet;

/// Keys that a proof under an older block puts back at most, so that one request takes no more than about a second.
pub const MAX_PROOF_CHANGES: usize = 50_000;

/// A storage slot with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotProof {
    /// The slot.
    pub slot: U256,
    /// Its value; zero if absent.
    pub value: U256,
    /// Trie nodes from the storage root downwards; empty where the account has no storage.
    pub proof: Vec<Bytes>,
}

/// An account with its proof, under the state root of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// The address.
    pub address: Address,
    /// The account; the empty one if absent, which `proof` then shows.
    pub account: Account,
    /// Root of its storage.
    pub storage_root: B256,
    /// Trie nodes from the state root downwards.
    pub proof: Vec<Bytes>,
    /// The slots asked for, in that order.
    pub slots: Vec<SlotProof>,
}

impl StateView {
    /// Proves an account and some of its slots under `state_root`, which must be that of this view's block.
    ///
    /// # Errors
    /// [`StateError::TooManyChanges`] if more than [`MAX_PROOF_CHANGES`] changes were made since the block,
    /// [`StateError::Damaged`] if the stored tries do not lead to `state_root`.
    pub fn prove(&self, state_root: B256, address: Address, slots: &[U256]) -> Result<AccountProof, StateError> {
        let (snapshot, number) = (&*self.snapshot, self.number);
        let (accounts, owned) = changes_since(snapshot, number, keccak256(address))?;
        let source = AccountSource { accounts: &snapshot.accounts, branches: &snapshot.account_branches, cache: None };
        let mut trie = Trie::open(source)?;
        for key in accounts {
            put_back(&mut trie, key, snapshot.account_leaf(number, key)?.unwrap_or_default())?;
        }
        check_root(&mut trie, state_root, number)?;
        let owner = keccak256(address);
        let proof = trie.prove(&owner)?;
        let leaf = snapshot.account(number, owner)?;
        let storage_root = leaf.map_or(EMPTY_ROOT_HASH, |leaf| leaf.storage_root);
        let source =
            StorageSource { owner, storage: &snapshot.storage, branches: &snapshot.storage_branches, cache: None };
        let mut trie = Trie::open(source)?;
        for slot in owned {
            put_back(&mut trie, slot, snapshot.slot_leaf(number, owner, slot)?)?;
        }
        check_root(&mut trie, storage_root, number)?;
        let prove = |slot: &U256| {
            let key = keccak256(slot.to_be_bytes::<32>());
            let value = decode_slot(&snapshot.slot_leaf(number, owner, key)?)?;
            Ok(SlotProof { slot: *slot, value, proof: trie.prove(&key)? })
        };
        let slots = slots.iter().map(prove).collect::<Result<_, StateError>>()?;
        let account = leaf.map(|leaf| Account::from(&leaf)).unwrap_or_default();
        Ok(AccountProof { address, account, storage_root, proof, slots })
    }

    /// Computes the latest state root from nothing but accounts and slots, reading all of them in constant memory,
    /// and compares each stored storage root on the way.
    ///
    /// # Errors
    /// [`StateError::Damaged`] where something does not fit.
    pub fn rebuild_root(&self) -> Result<B256, StateError> {
        let snapshot = &*self.snapshot;
        let mut builder = HashBuilder::default();
        for row in snapshot.accounts.iter().map_err(read_error)? {
            let (key, leaf) = row.map_err(read_error)?;
            let (key, leaf) = (key.value(), leaf.value());
            let mut storage = HashBuilder::default();
            for row in snapshot.storage.range((key, [0; 32])..=(key, [0xff; 32])).map_err(read_error)? {
                let (slot, value) = row.map_err(read_error)?;
                storage.add_leaf(Nibbles::unpack(slot.value().1), value.value());
            }
            let (found, stated) = (storage.root(), decode_account(leaf)?.storage_root);
            if found != stated {
                let owner = B256::from(key);
                return Err(StateError::Damaged(format!("storage of {owner} has root {found}, not {stated}")));
            }
            builder.add_leaf(Nibbles::unpack(key), leaf);
        }
        Ok(builder.root())
    }

    /// The latest state root as the stored trie's topmost branch has it.
    ///
    /// # Errors
    /// [`StateError::Damaged`] if that branch does not decode.
    pub(crate) fn stored_root(&self) -> Result<B256, StateError> {
        let snapshot = &*self.snapshot;
        let source = AccountSource { accounts: &snapshot.accounts, branches: &snapshot.account_branches, cache: None };
        Ok(Trie::open(source)?.commit().0)
    }
}

/// Accounts, and slots of `owner`, that changed after block `number`.
fn changes_since(
    snapshot: &Snapshot,
    number: u64,
    owner: B256,
) -> Result<(BTreeSet<B256>, BTreeSet<B256>), StateError> {
    let (mut accounts, mut owned) = (BTreeSet::new(), BTreeSet::new());
    let mut changes = 0;
    for row in snapshot.changed.range(number.saturating_add(1)..).map_err(read_error)? {
        let (_, keys) = row.map_err(read_error)?;
        let keys = Changed::decode(keys.value())?;
        changes += keys.len();
        if changes > MAX_PROOF_CHANGES {
            return Err(StateError::TooManyChanges { number, limit: MAX_PROOF_CHANGES });
        }
        accounts.extend(keys.accounts);
        owned.extend(keys.slots.into_iter().filter(|(other, _)| *other == owner).map(|(_, slot)| slot));
    }
    Ok((accounts, owned))
}

/// Sets `key` to what it was; an empty leaf is none.
fn put_back<S: Source>(trie: &mut Trie<S>, key: B256, leaf: Vec<u8>) -> Result<(), StateError> {
    if leaf.is_empty() { trie.remove(&key) } else { trie.insert(&key, leaf) }
}

fn check_root<S: Source>(trie: &mut Trie<S>, expected: B256, number: u64) -> Result<(), StateError> {
    let (found, _) = trie.commit();
    if found == expected {
        return Ok(());
    }
    Err(StateError::Damaged(format!("the tries of block {number} lead to root {found}, not {expected}")))
}
