//! The state within one database transaction: execution reads it and applies what each EVM block changed.

use super::{
    Account, AccountDelta, Delta, StateError, StateRead,
    cache::{Caches, Codes},
    tables::*,
    trie::{Trie, Writes},
};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, TrieAccount};
use redb::{ReadableTable, Table, WriteTransaction};
use revm::state::Bytecode;
use std::collections::BTreeMap;

/// Blocks of history that one block removes at most, so that a shortened history goes away bit by bit.
const PRUNED_PER_BLOCK: usize = 8;

const FIRST_POSITION: &[u8] = &[];
/// A nibble is at most 15, so this lies behind the key of every position.
const BEHIND_POSITIONS: &[u8] = &[0xff];

type Blobs<'t, K> = Table<'t, K, &'static [u8]>;

/// The latest state, open for change. Nothing is seen by readers before the transaction commits.
///
/// Guarantee: [`StateWriter::apply`] returns exactly the state root that Ethereum defines for the accounts, storage and
/// code applied so far.
pub(crate) struct StateWriter<'t> {
    accounts: Blobs<'t, Word>,
    storage: Blobs<'t, (Word, Word)>,
    account_branches: Blobs<'t, &'static [u8]>,
    storage_branches: Blobs<'t, (Word, &'static [u8])>,
    code_table: Blobs<'t, Word>,
    hashes: Table<'t, u64, Word>,
    old_accounts: Blobs<'t, (Word, u64)>,
    old_storage: Blobs<'t, (Word, Word, u64)>,
    changed: Blobs<'t, u64>,
    caches: &'t Caches,
    codes: &'t Codes,
    /// Blocks behind the latest whose state stays readable; at least one.
    history: u64,
}

/// What a block does to one account.
struct Update {
    key: B256,
    old: Option<TrieAccount>,
    new: Option<TrieAccount>,
}

impl<'t> StateWriter<'t> {
    /// Opens the state in `tx`. `caches` must hold nothing but what committed transactions wrote.
    pub(crate) fn open(
        tx: &'t WriteTransaction,
        caches: &'t Caches,
        codes: &'t Codes,
        history: u64,
    ) -> Result<Self, StateError> {
        Ok(Self {
            accounts: tx.open_table(ACCOUNTS).map_err(read_error)?,
            storage: tx.open_table(STORAGE).map_err(read_error)?,
            account_branches: tx.open_table(ACCOUNT_BRANCHES).map_err(read_error)?,
            storage_branches: tx.open_table(STORAGE_BRANCHES).map_err(read_error)?,
            code_table: tx.open_table(CODES).map_err(read_error)?,
            hashes: tx.open_table(HASHES).map_err(read_error)?,
            old_accounts: tx.open_table(OLD_ACCOUNTS).map_err(read_error)?,
            old_storage: tx.open_table(OLD_STORAGE).map_err(read_error)?,
            changed: tx.open_table(CHANGED).map_err(read_error)?,
            caches,
            codes,
            // A block that left nothing to read would be a hole in the history still kept of a longer one.
            history: history.max(1),
        })
    }

    /// Names the hash of block `number`, for the BLOCKHASH opcode and for readers.
    pub(crate) fn seal(&mut self, number: u64, hash: B256) -> Result<(), StateError> {
        self.hashes.insert(number, hash.0).map_err(read_error)?;
        Ok(())
    }

    /// Applies what block `number` changed and returns the new state root.
    pub(crate) fn apply(&mut self, number: u64, delta: &Delta) -> Result<B256, StateError> {
        for (hash, code) in &delta.codes {
            self.code_table.insert(hash.0, code.as_ref()).map_err(read_error)?;
        }
        // In the order of the hashed keys, which is that of the tables and the trie.
        let changes: BTreeMap<B256, &AccountDelta> =
            delta.accounts.iter().map(|(address, change)| (keccak256(address), change)).collect();
        let mut overwritten = Changed::default();
        let mut updates = Vec::with_capacity(changes.len());
        for (key, change) in changes {
            let old = self.account_leaf(key)?;
            let storage_root = self.apply_storage(number, key, old.as_ref(), change, &mut overwritten)?;
            let new = change.account.map(|Account { nonce, balance, code_hash }| TrieAccount {
                nonce,
                balance,
                storage_root,
                code_hash,
            });
            if new != old {
                updates.push(Update { key, old, new });
            }
        }
        let root = self.apply_accounts(number, updates, &mut overwritten)?;
        // There is no state before block 0.
        if number > 0 {
            self.changed.insert(number, overwritten.encode().as_slice()).map_err(read_error)?;
        }
        self.prune(number)?;
        Ok(root)
    }

    fn apply_accounts(
        &mut self,
        number: u64,
        updates: Vec<Update>,
        overwritten: &mut Changed,
    ) -> Result<B256, StateError> {
        let mut trie = Trie::open(AccountSource {
            accounts: &self.accounts,
            branches: &self.account_branches,
            cache: Some(&self.caches.branches),
        })?;
        let updates: Vec<_> = updates.into_iter().map(|update| (update.new.map(alloy_rlp::encode), update)).collect();
        for (leaf, update) in &updates {
            match leaf {
                Some(leaf) => trie.insert(&update.key, leaf.clone())?,
                None => trie.remove(&update.key)?,
            }
        }
        let (root, writes) = trie.commit();
        self.write_account_branches(writes)?;
        for (leaf, Update { key, old, new }) in updates {
            match &leaf {
                Some(leaf) => drop(self.accounts.insert(key.0, leaf.as_slice()).map_err(read_error)?),
                None => drop(self.accounts.remove(key.0).map_err(read_error)?),
            }
            if number > 0 {
                let old = old.map(alloy_rlp::encode).unwrap_or_default();
                self.old_accounts.insert((key.0, number), old.as_slice()).map_err(read_error)?;
                overwritten.accounts.push(key);
            }
            self.caches.accounts.borrow_mut().insert(key, new, 0);
        }
        Ok(root)
    }

    /// Applies the change to one account's storage and returns its root.
    fn apply_storage(
        &mut self,
        number: u64,
        owner: B256,
        old: Option<&TrieAccount>,
        change: &AccountDelta,
        overwritten: &mut Changed,
    ) -> Result<B256, StateError> {
        let mut root = old.map_or(EMPTY_ROOT_HASH, |old| old.storage_root);
        let mut before = BTreeMap::new();
        if (change.wiped || change.account.is_none()) && root != EMPTY_ROOT_HASH {
            before = self.wipe(owner)?;
            root = EMPTY_ROOT_HASH;
        }
        let mut writes = BTreeMap::new();
        if change.account.is_some() {
            for (slot, value) in &change.storage {
                let slot = keccak256(slot.to_be_bytes::<32>());
                let value = if value.is_zero() { Vec::new() } else { alloy_rlp::encode(value) };
                let present = self.slot_leaf(owner, slot)?;
                if present != value {
                    before.entry(slot).or_insert(present);
                    writes.insert(slot, value);
                }
            }
        }
        if !writes.is_empty() {
            root = self.write_storage(owner, writes)?;
        }
        if number > 0 {
            for (slot, value) in before {
                self.old_storage.insert((owner.0, slot.0, number), value.as_slice()).map_err(read_error)?;
                overwritten.slots.push((owner, slot));
            }
        }
        Ok(root)
    }

    /// Removes all of an account's storage; what it was.
    fn wipe(&mut self, owner: B256) -> Result<BTreeMap<B256, Vec<u8>>, StateError> {
        let mut before = BTreeMap::new();
        let all = (owner.0, [0; 32])..=(owner.0, [0xff; 32]);
        for row in self.storage.range(all.clone()).map_err(read_error)? {
            let (key, value) = row.map_err(read_error)?;
            before.insert(B256::from(key.value().1), value.value().to_vec());
        }
        self.storage.retain_in(all, |_, _| false).map_err(read_error)?;
        let mut positions = Vec::new();
        let all = (owner.0, FIRST_POSITION)..=(owner.0, BEHIND_POSITIONS);
        for row in self.storage_branches.range(all.clone()).map_err(read_error)? {
            let (key, _) = row.map_err(read_error)?;
            positions.push(alloy_trie::Nibbles::from_nibbles(key.value().1));
        }
        self.storage_branches.retain_in(all, |_, _| false).map_err(read_error)?;
        for position in positions {
            self.caches.branches.borrow_mut().remove(&(owner, position));
        }
        for slot in before.keys() {
            self.caches.slots.borrow_mut().remove(&(owner, *slot));
        }
        Ok(before)
    }

    /// Writes slots (an empty value removes) and the branches above them; the new root.
    fn write_storage(&mut self, owner: B256, slots: BTreeMap<B256, Vec<u8>>) -> Result<B256, StateError> {
        let mut trie = Trie::open(StorageSource {
            owner,
            storage: &self.storage,
            branches: &self.storage_branches,
            cache: Some(&self.caches.branches),
        })?;
        for (slot, value) in &slots {
            if value.is_empty() { trie.remove(slot)? } else { trie.insert(slot, value.clone())? }
        }
        let (root, writes) = trie.commit();
        let mut cache = self.caches.branches.borrow_mut();
        for (position, branch) in writes {
            let key = super::record::position_key(&position);
            let place = (owner.0, key.as_slice());
            match branch {
                Some(branch) => {
                    self.storage_branches.insert(place, branch.as_slice()).map_err(read_error)?;
                    let heap = branch.len();
                    cache.insert((owner, position), branch, heap);
                }
                None => {
                    self.storage_branches.remove(place).map_err(read_error)?;
                    cache.remove(&(owner, position));
                }
            }
        }
        for (slot, value) in slots {
            if value.is_empty() {
                self.storage.remove((owner.0, slot.0)).map_err(read_error)?;
            } else {
                self.storage.insert((owner.0, slot.0), value.as_slice()).map_err(read_error)?;
            }
            let heap = value.len();
            self.caches.slots.borrow_mut().insert((owner, slot), value, heap);
        }
        Ok(root)
    }

    fn write_account_branches(&mut self, writes: Writes) -> Result<(), StateError> {
        let mut cache = self.caches.branches.borrow_mut();
        for (position, branch) in writes {
            let key = super::record::position_key(&position);
            match branch {
                Some(branch) => {
                    self.account_branches.insert(key.as_slice(), branch.as_slice()).map_err(read_error)?;
                    let heap = branch.len();
                    cache.insert((B256::ZERO, position), branch, heap);
                }
                None => {
                    self.account_branches.remove(key.as_slice()).map_err(read_error)?;
                    cache.remove(&(B256::ZERO, position));
                }
            }
        }
        Ok(())
    }

    /// Forgets what blocks overwrote that lie further back than the history after block `number`.
    fn prune(&mut self, number: u64) -> Result<(), StateError> {
        for _ in 0..PRUNED_PER_BLOCK {
            let Some((oldest, keys)) = self
                .changed
                .first()
                .map_err(read_error)?
                .map(|(oldest, keys)| (oldest.value(), Changed::decode(keys.value())))
            else {
                return Ok(());
            };
            if oldest.saturating_add(self.history) > number {
                return Ok(());
            }
            let keys = keys?;
            for account in keys.accounts {
                self.old_accounts.remove((account.0, oldest)).map_err(read_error)?;
            }
            for (owner, slot) in keys.slots {
                self.old_storage.remove((owner.0, slot.0, oldest)).map_err(read_error)?;
            }
            self.changed.remove(oldest).map_err(read_error)?;
        }
        Ok(())
    }

    fn account_leaf(&self, key: B256) -> Result<Option<TrieAccount>, StateError> {
        if let Some(account) = self.caches.accounts.borrow_mut().get(&key) {
            return Ok(account);
        }
        let found = self.accounts.get(key.0).map_err(read_error)?;
        let account = found.map(|bytes| decode_account(bytes.value())).transpose()?;
        self.caches.accounts.borrow_mut().insert(key, account, 0);
        Ok(account)
    }

    /// The slot's leaf; empty if there is none.
    fn slot_leaf(&self, owner: B256, slot: B256) -> Result<Vec<u8>, StateError> {
        if let Some(value) = self.caches.slots.borrow_mut().get(&(owner, slot)) {
            return Ok(value);
        }
        let found = self.storage.get((owner.0, slot.0)).map_err(read_error)?;
        let value = found.map(|bytes| bytes.value().to_vec()).unwrap_or_default();
        let heap = value.len();
        self.caches.slots.borrow_mut().insert((owner, slot), value.clone(), heap);
        Ok(value)
    }
}

impl StateRead for &StateWriter<'_> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.account_leaf(keccak256(address))?.map(|leaf| Account::from(&leaf)))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        decode_slot(&self.slot_leaf(keccak256(address), keccak256(slot.to_be_bytes::<32>()))?)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        self.codes.get(hash, || {
            let found = self.code_table.get(hash.0).map_err(read_error)?;
            Ok(found.map(|code| code.value().to_vec()))
        })
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let found = self.hashes.get(number).map_err(read_error)?;
        Ok(found.map(|hash| hash.value().into()).unwrap_or_default())
    }
}
