//! The latest state in memory, with its tries and the undo records of recent blocks.
//!
//! Cost: about 400 bytes per account and 300 per storage slot, all in memory. A disk-backed trie
//! can take this place behind the same methods.

use super::{Account, AccountDelta, Delta, StateError, Trie};
use alloy_primitives::{
    Address, B256, Bytes, U256, keccak256,
    map::{AddressMap, B256Map, HashMap, U256Map},
};
use alloy_trie::TrieAccount;
use revm::{primitives::KECCAK_EMPTY, state::Bytecode};
use std::collections::{BTreeMap, VecDeque};

/// Blocks behind the head whose state can be read; also bounds the undo records in memory.
pub const HISTORY_BLOCKS: usize = 128;
/// Ancestors that the BLOCKHASH opcode can name.
const BLOCK_HASHES: usize = 256;

#[derive(Debug, Default)]
struct Storage {
    slots: U256Map<U256>,
    trie: Trie,
}

impl Storage {
    fn set(&mut self, slot: U256, value: U256) {
        let key = keccak256(slot.to_be_bytes::<32>());
        if value.is_zero() {
            self.slots.remove(&slot);
            self.trie.remove(&key);
        } else {
            self.slots.insert(slot, value);
            self.trie.insert(&key, &alloy_rlp::encode_fixed_size(&value));
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    account: Account,
    /// Absent for the many accounts without storage.
    storage: Option<Box<Storage>>,
}

/// What a block overwrote.
#[derive(Debug, Default)]
struct Undo {
    number: u64,
    accounts: AddressMap<Option<Account>>,
    slots: HashMap<(Address, U256), U256>,
}

/// The latest state.
///
/// Guarantee: [`World::apply`] returns exactly the state root that Ethereum defines for the
/// accounts, storage and code applied so far.
#[derive(Debug, Default)]
pub struct World {
    accounts: AddressMap<Entry>,
    codes: B256Map<Bytecode>,
    trie: Trie,
    /// Number of the block whose state this is.
    head: u64,
    hashes: BTreeMap<u64, B256>,
    undo: VecDeque<Undo>,
}

impl World {
    /// An empty state before block 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an account while loading from disk; tries are hashed on the first [`World::root`].
    pub fn load(&mut self, address: Address, account: Account, slots: impl IntoIterator<Item = (U256, U256)>) {
        let mut entry = Entry { account, storage: None };
        for (slot, value) in slots {
            entry.storage.get_or_insert_default().set(slot, value);
        }
        self.write(address, entry);
    }

    /// Adds code while loading from disk.
    ///
    /// # Errors
    /// A text naming what is wrong with the code.
    pub fn load_code(&mut self, hash: B256, code: Bytes) -> Result<(), String> {
        let code = Bytecode::new_raw_checked(code).map_err(|error| format!("code {hash}: {error}"))?;
        self.codes.insert(hash, code);
        Ok(())
    }

    /// Remembers the hash of a block; the head's comes last.
    pub fn seal(&mut self, number: u64, hash: B256) {
        self.head = number;
        self.hashes.insert(number, hash);
        while self.hashes.len() > BLOCK_HASHES + HISTORY_BLOCKS {
            self.hashes.pop_first();
        }
    }

    /// Applies what block `number` changed and returns the new state root.
    pub fn apply(&mut self, number: u64, delta: &Delta) -> B256 {
        let mut undo = Undo { number, ..Undo::default() };
        for (hash, code) in &delta.codes {
            // The EVM checked it on deployment; raw legacy code always analyses.
            self.codes.entry(*hash).or_insert_with(|| Bytecode::new_raw(code.clone()));
        }
        for (address, change) in &delta.accounts {
            self.apply_account(*address, change, &mut undo);
        }
        self.undo.push_back(undo);
        while self.undo.len() > HISTORY_BLOCKS {
            self.undo.pop_front();
        }
        self.head = number;
        self.trie.root()
    }

    fn apply_account(&mut self, address: Address, change: &AccountDelta, undo: &mut Undo) {
        let mut entry = self.accounts.remove(&address);
        undo.accounts.insert(address, entry.as_ref().map(|entry| entry.account));
        let mut storage = entry.as_mut().and_then(|entry| entry.storage.take());
        if (change.wiped || change.account.is_none())
            && let Some(old) = storage.take()
        {
            for (slot, value) in old.slots {
                undo.slots.insert((address, slot), value);
            }
        }
        let Some(account) = change.account else {
            self.trie.remove(&keccak256(address));
            return;
        };
        for (slot, value) in &change.storage {
            let storage = storage.get_or_insert_default();
            let old = storage.slots.get(slot).copied().unwrap_or_default();
            undo.slots.entry((address, *slot)).or_insert(old);
            storage.set(*slot, *value);
        }
        self.write(address, Entry { account, storage });
    }

    fn write(&mut self, address: Address, mut entry: Entry) {
        entry.storage = entry.storage.filter(|storage| !storage.trie.is_empty());
        let leaf = TrieAccount {
            nonce: entry.account.nonce,
            balance: entry.account.balance,
            storage_root: match &mut entry.storage {
                Some(storage) => storage.trie.root(),
                None => alloy_trie::EMPTY_ROOT_HASH,
            },
            code_hash: entry.account.code_hash,
        };
        self.trie.insert(&keccak256(address), &alloy_rlp::encode(leaf));
        self.accounts.insert(address, entry);
    }

    /// The state root.
    pub fn root(&mut self) -> B256 {
        self.trie.root()
    }

    /// Number of the latest block applied.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Number of accounts.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether the state after block `number` can be read.
    ///
    /// # Errors
    /// [`StateError::NotKept`] otherwise.
    pub fn check_kept(&self, number: u64) -> Result<(), StateError> {
        let oldest = self.undo.front().map_or(self.head, |undo| undo.number.saturating_sub(1));
        if number < oldest || number > self.head {
            return Err(StateError::NotKept { number, oldest, newest: self.head });
        }
        Ok(())
    }

    /// The account after block `number`.
    ///
    /// # Errors
    /// [`StateError::NotKept`].
    pub fn account_at(&self, number: u64, address: Address) -> Result<Option<Account>, StateError> {
        self.check_kept(number)?;
        let old = self.undone_after(number).find_map(|undo| undo.accounts.get(&address));
        Ok(match old {
            Some(old) => *old,
            None => self.accounts.get(&address).map(|entry| entry.account),
        })
    }

    /// The storage slot after block `number`.
    ///
    /// # Errors
    /// [`StateError::NotKept`].
    pub fn storage_at(&self, number: u64, address: Address, slot: U256) -> Result<U256, StateError> {
        self.check_kept(number)?;
        let old = self.undone_after(number).find_map(|undo| undo.slots.get(&(address, slot)));
        Ok(match old {
            Some(old) => *old,
            None => self
                .accounts
                .get(&address)
                .and_then(|entry| entry.storage.as_ref())
                .and_then(|storage| storage.slots.get(&slot))
                .copied()
                .unwrap_or_default(),
        })
    }

    fn undone_after(&self, number: u64) -> impl Iterator<Item = &Undo> {
        let from = self.undo.partition_point(|undo| undo.number <= number);
        self.undo.range(from..)
    }

    /// Code by hash.
    ///
    /// # Errors
    /// [`StateError::CodeMissing`].
    pub fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        if hash == KECCAK_EMPTY || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        self.codes.get(&hash).cloned().ok_or(StateError::CodeMissing(hash))
    }

    /// Hash of a recent block; zero where unknown, as the opcode answers.
    pub fn block_hash(&self, number: u64) -> B256 {
        self.hashes.get(&number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_trie::root::{state_root_unhashed, storage_root_unhashed};
    use proptest::prelude::*;

    fn reference_root(state: &BTreeMap<Address, (Account, BTreeMap<U256, U256>)>) -> B256 {
        state_root_unhashed(state.iter().map(|(address, (account, slots))| {
            let slots = slots.iter().map(|(slot, value)| (B256::from(*slot), *value));
            let root = storage_root_unhashed(slots);
            (*address, TrieAccount::new(account.nonce, account.balance, root, account.code_hash))
        }))
    }

    /// Address, nonce and balance unless it is deleted, whether it is wiped, slots.
    type Change = (u8, Option<(u64, u64)>, bool, Vec<(u8, u64)>);

    fn change() -> impl Strategy<Value = Change> {
        (
            0u8..12,
            prop::option::weighted(0.8, (1u64..5, 0u64..9)),
            prop::bool::weighted(0.1),
            prop::collection::vec((0u8..10, 0u64..4), 0..6),
        )
    }

    proptest! {
        // Each case rebuilds whole tries with an unoptimised keccak.
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn roots_and_history_agree_with_a_full_rebuild(
            blocks in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..12)
        ) {
            let mut world = World::new();
            let mut model: BTreeMap<Address, (Account, BTreeMap<U256, U256>)> = BTreeMap::new();
            let mut snapshots = Vec::new();
            for (number, block) in blocks.into_iter().enumerate() {
                let mut delta = Delta::default();
                for (who, account, wiped, slots) in block {
                    let account = account.map(|(nonce, balance)| Account { nonce, balance: U256::from(balance), ..Account::default() });
                    let storage = slots.into_iter().map(|(slot, value)| (U256::from(slot), U256::from(value))).collect();
                    delta.accounts.insert(Address::repeat_byte(who), AccountDelta { account, wiped, storage });
                }
                for (address, change) in &delta.accounts {
                    let Some(account) = change.account else {
                        model.remove(address);
                        continue;
                    };
                    let entry = model.entry(*address).or_insert_with(|| (account, BTreeMap::new()));
                    entry.0 = account;
                    if change.wiped {
                        entry.1.clear();
                    }
                    entry.1.extend(&change.storage);
                    entry.1.retain(|_, value| !value.is_zero());
                }
                let root = world.apply(number as u64, &delta);
                prop_assert_eq!(root, reference_root(&model));
                snapshots.push(model.clone());
            }
            for (number, snapshot) in snapshots.iter().enumerate() {
                for who in 0u8..12 {
                    let address = Address::repeat_byte(who);
                    let expected = snapshot.get(&address);
                    prop_assert_eq!(world.account_at(number as u64, address).unwrap(), expected.map(|entry| entry.0));
                    for slot in 0u8..10 {
                        let slot = U256::from(slot);
                        let value = expected.and_then(|entry| entry.1.get(&slot)).copied().unwrap_or_default();
                        prop_assert_eq!(world.storage_at(number as u64, address, slot).unwrap(), value);
                    }
                }
            }
        }
    }
}
