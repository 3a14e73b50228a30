//! What execution read and wrote lately, in bounded memory.

use super::{Account, StateError};
use alloy_primitives::{B256, map::HashMap};
use alloy_trie::{Nibbles, TrieAccount};
use revm::state::Bytecode;
use std::{
    cell::RefCell,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

/// What an entry costs besides its key, value and heap: the table's own bytes, rounded up.
const ENTRY_BYTES: usize = 48;
/// Bytes of analysed code kept; a contract has at most 24 KiB of code and about an eighth more for its jump table.
const CODE_BYTES: usize = 16 << 20;

/// A map that forgets what was not used for long once it holds more than a number of bytes.
///
/// Two generations: what is used moves to the young one; when that is half full, the old one is dropped and the young
/// one grows old. So an entry lives at least until half of the memory was filled with others since its last use.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_bytes: usize,
    half: usize,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    pub(super) fn new(bytes: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), young_bytes: 0, half: bytes / 2 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, heap)) = self.old.remove_entry(key)?;
        self.insert(key, value.clone(), heap);
        Some(value)
    }

    /// Keeps `value`, whose heap takes `heap` bytes.
    pub(super) fn insert(&mut self, key: K, value: V, heap: usize) {
        let entry = ENTRY_BYTES + size_of::<(K, V)>();
        self.young_bytes += entry + heap;
        if let Some((_, before)) = self.young.insert(key, (value, heap)) {
            self.young_bytes -= entry + before;
        }
        if self.young_bytes > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some((_, heap)) = self.young.remove(key) {
            self.young_bytes -= ENTRY_BYTES + size_of::<(K, V)>() + heap;
        }
        self.old.remove(key);
    }

    fn clear(&mut self) {
        (self.young, self.old, self.young_bytes) = (HashMap::default(), HashMap::default(), 0);
    }
}

/// Owner of a trie (zero for that of the accounts) and position in it.
pub(super) type BranchKey = (B256, Nibbles);

/// The latest state as the one writer knows it. Cleared when a block is given up half way.
#[derive(Debug)]
pub(crate) struct Caches {
    pub(super) accounts: RefCell<Cache<B256, Option<TrieAccount>>>,
    /// Values as RLP; empty: absent. By hashed address and hashed slot.
    pub(super) slots: RefCell<Cache<(B256, B256), Vec<u8>>>,
    pub(super) branches: RefCell<Cache<BranchKey, Vec<u8>>>,
}

impl Caches {
    /// Caches that together take about `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            accounts: RefCell::new(Cache::new(bytes / 4)),
            slots: RefCell::new(Cache::new(bytes / 4)),
            branches: RefCell::new(Cache::new(bytes / 2)),
        }
    }

    pub(crate) fn clear(&self) {
        self.accounts.borrow_mut().clear();
        self.slots.borrow_mut().clear();
        self.branches.borrow_mut().clear();
    }
}

/// Analysed code by hash, shared by execution and readers: code under a hash never changes.
#[derive(Debug)]
pub(crate) struct Codes(Mutex<Cache<B256, Bytecode>>);

impl Default for Codes {
    fn default() -> Self {
        Self(Mutex::new(Cache::new(CODE_BYTES)))
    }
}

impl Codes {
    /// The code, from `read` if it is not kept.
    pub(super) fn get(
        &self,
        hash: B256,
        read: impl FnOnce() -> Result<Option<Vec<u8>>, StateError>,
    ) -> Result<Bytecode, StateError> {
        if hash == Account::default().code_hash || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        // A panic of another holder leaves at worst a wrong count of bytes.
        if let Some(code) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&hash) {
            return Ok(code);
        }
        let raw = read()?.ok_or(StateError::CodeMissing(hash))?;
        let heap = raw.len() + raw.len() / 8;
        let code = Bytecode::new_raw_checked(raw.into())
            .map_err(|error| StateError::Damaged(format!("code {hash}: {error}")))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, code.clone(), heap);
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_stays_within_its_bytes() {
        let entry = ENTRY_BYTES + size_of::<(u64, u64)>() + 100;
        let mut cache = Cache::new(20 * entry);
        for key in 0u64..1_000 {
            cache.insert(key, key, 100);
            assert_eq!(cache.get(&7), (key >= 7).then_some(7), "at {key}");
            assert!(cache.young.len() + cache.old.len() <= 22);
        }
        assert_eq!(cache.get(&999), Some(999));
        assert_eq!(cache.get(&900), None);
        cache.insert(999, 1, 0);
        assert_eq!(cache.get(&999), Some(1));
        cache.remove(&999);
        cache.remove(&7);
        assert_eq!((cache.get(&999), cache.get(&7)), (None, None));
        cache.clear();
        assert_eq!(cache.get(&998), None);
    }
}
