//! The state's tables, and the two tries over them.
//!
//! Accounts and slots lie under their hashed keys, as the RLP that the trie's leaf has, so that they are the leaves.
//! For each EVM block within the kept history, the `OLD` tables hold what the block overwrote and `CHANGED` which keys
//! those are; the value after block `n` is the first one overwritten later than `n`, or else the present one.

use super::{
    StateError,
    cache::{BranchKey, Cache},
    record,
    trie::Source,
};
use alloy_primitives::B256;
use alloy_trie::{Nibbles, TrieAccount};
use redb::{ReadableTable, TableDefinition};
use std::cell::RefCell;

pub(crate) type Word = [u8; 32];

/// Hashed address to the account's leaf.
pub(crate) const ACCOUNTS: TableDefinition<Word, &[u8]> = TableDefinition::new("accounts");
/// Hashed address and hashed slot to the slot's leaf.
pub(crate) const STORAGE: TableDefinition<(Word, Word), &[u8]> = TableDefinition::new("storage");
/// Position to branch, of the trie over the accounts.
pub(crate) const ACCOUNT_BRANCHES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("account branches");
/// Hashed address and position to branch, of the tries over each account's storage.
pub(crate) const STORAGE_BRANCHES: TableDefinition<(Word, &[u8]), &[u8]> = TableDefinition::new("storage branches");
/// Code by hash.
pub(crate) const CODES: TableDefinition<Word, &[u8]> = TableDefinition::new("codes");
/// Hash of each EVM block.
pub(crate) const HASHES: TableDefinition<u64, Word> = TableDefinition::new("hashes");
/// Hashed address and block number to the leaf before that block; empty: there was none.
pub(crate) const OLD_ACCOUNTS: TableDefinition<(Word, u64), &[u8]> = TableDefinition::new("old accounts");
/// The same for slots.
pub(crate) const OLD_STORAGE: TableDefinition<(Word, Word, u64), &[u8]> = TableDefinition::new("old storage");
/// Block number to the keys under which it left something in the tables above.
pub(crate) const CHANGED: TableDefinition<u64, &[u8]> = TableDefinition::new("changed");

pub(super) fn read_error(error: impl std::fmt::Display) -> StateError {
    StateError::Database(error.to_string())
}

pub(super) fn decode_account(mut bytes: &[u8]) -> Result<TrieAccount, StateError> {
    let damaged = |what: &dyn std::fmt::Display| StateError::Damaged(format!("account: {what}"));
    let account = alloy_rlp::Decodable::decode(&mut bytes).map_err(|error| damaged(&error))?;
    if bytes.is_empty() { Ok(account) } else { Err(damaged(&"trailing bytes")) }
}

/// Branches that were read or written lately; readers have none.
pub(super) type BranchCache<'a> = Option<&'a RefCell<Cache<BranchKey, Vec<u8>>>>;

/// The trie over the accounts.
pub(super) struct AccountSource<'a, A, B> {
    pub(super) accounts: &'a A,
    pub(super) branches: &'a B,
    pub(super) cache: BranchCache<'a>,
}

/// The trie over one account's storage.
pub(super) struct StorageSource<'a, S, B> {
    pub(super) owner: B256,
    pub(super) storage: &'a S,
    pub(super) branches: &'a B,
    pub(super) cache: BranchCache<'a>,
}

fn cached(
    cache: BranchCache<'_>,
    key: BranchKey,
    read: impl FnOnce() -> Result<Option<Vec<u8>>, StateError>,
) -> Result<Option<Vec<u8>>, StateError> {
    let Some(cache) = cache else { return read() };
    if let Some(bytes) = cache.borrow_mut().get(&key) {
        return Ok(Some(bytes));
    }
    let found = read()?;
    if let Some(bytes) = &found {
        cache.borrow_mut().insert(key, bytes.clone(), bytes.len());
    }
    Ok(found)
}

impl<A, B> Source for AccountSource<'_, A, B>
where
    A: ReadableTable<Word, &'static [u8]>,
    B: ReadableTable<&'static [u8], &'static [u8]>,
{
    fn branch(&self, position: &Nibbles) -> Result<Option<Vec<u8>>, StateError> {
        cached(self.cache, (B256::ZERO, *position), || {
            let found = self.branches.get(record::position_key(position).as_slice()).map_err(read_error)?;
            Ok(found.map(|bytes| bytes.value().to_vec()))
        })
    }

    fn leaf(&self, position: &Nibbles) -> Result<Option<(B256, Vec<u8>)>, StateError> {
        let (low, high) = record::bounds(position);
        let first = self.accounts.range(low.0..=high.0).map_err(read_error)?.next();
        let Some((key, value)) = first.transpose().map_err(read_error)? else { return Ok(None) };
        Ok(Some((key.value().into(), value.value().to_vec())))
    }
}

impl<S, B> Source for StorageSource<'_, S, B>
where
    S: ReadableTable<(Word, Word), &'static [u8]>,
    B: ReadableTable<(Word, &'static [u8]), &'static [u8]>,
{
    fn branch(&self, position: &Nibbles) -> Result<Option<Vec<u8>>, StateError> {
        cached(self.cache, (self.owner, *position), || {
            let key = record::position_key(position);
            let found = self.branches.get((self.owner.0, key.as_slice())).map_err(read_error)?;
            Ok(found.map(|bytes| bytes.value().to_vec()))
        })
    }

    fn leaf(&self, position: &Nibbles) -> Result<Option<(B256, Vec<u8>)>, StateError> {
        let (low, high) = record::bounds(position);
        let owner = self.owner.0;
        let first = self.storage.range((owner, low.0)..=(owner, high.0)).map_err(read_error)?.next();
        let Some((key, value)) = first.transpose().map_err(read_error)? else { return Ok(None) };
        Ok(Some((key.value().1.into(), value.value().to_vec())))
    }
}

/// The keys that a block changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) accounts: Vec<B256>,
    /// Hashed address and hashed slot.
    pub(super) slots: Vec<(B256, B256)>,
}

impl Changed {
    pub(super) fn len(&self) -> usize {
        self.accounts.len() + self.slots.len()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + 32 * self.accounts.len() + 64 * self.slots.len());
        out.extend((self.accounts.len() as u32).to_be_bytes());
        self.accounts.iter().for_each(|account| out.extend(account));
        for (owner, slot) in &self.slots {
            out.extend(owner);
            out.extend(slot);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let read = || {
            let (count, rest) = bytes.split_first_chunk::<4>()?;
            let accounts = usize::try_from(u32::from_be_bytes(*count)).ok()?.checked_mul(32)?;
            let (accounts, slots) = rest.split_at_checked(accounts)?;
            let (slots, more) = slots.as_chunks::<64>();
            more.is_empty().then(|| Self {
                accounts: accounts.chunks_exact(32).map(B256::from_slice).collect(),
                slots: slots
                    .iter()
                    .map(|pair| (B256::from_slice(&pair[..32]), B256::from_slice(&pair[32..])))
                    .collect(),
            })
        };
        read().ok_or_else(|| StateError::Damaged(format!("a list of changes of {} bytes does not decode", bytes.len())))
    }
}

/// A slot's value from its leaf; zero from none.
pub(super) fn decode_slot(mut leaf: &[u8]) -> Result<alloy_primitives::U256, StateError> {
    if leaf.is_empty() {
        return Ok(alloy_primitives::U256::ZERO);
    }
    alloy_rlp::Decodable::decode(&mut leaf).map_err(|error| StateError::Damaged(format!("slot: {error}")))
}
