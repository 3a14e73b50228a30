//! Changes of the block under execution, over a state that stays untouched.

use super::{Account, AccountDelta, Delta, StateError, StateRead};
use alloy_primitives::{
    Address, B256, U256,
    map::{AddressMap, B256Map, U256Map},
};
use revm::{
    Database, DatabaseCommit,
    primitives::KECCAK_EMPTY,
    state::{AccountInfo, Bytecode, EvmState},
};

#[derive(Debug, Default)]
struct Entry {
    account: Option<Account>,
    dirty: bool,
    wiped: bool,
    /// Slots read or written; the flag says written.
    slots: U256Map<(U256, bool)>,
}

/// A revm database that reads through to `base`, caches what it read, and collects what is
/// committed. Dropping it forgets everything.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    entries: AddressMap<Entry>,
    codes: B256Map<Bytecode>,
}

impl<B: StateRead> Overlay<B> {
    /// An overlay without changes.
    pub fn new(base: B) -> Self {
        Self { base, entries: AddressMap::default(), codes: B256Map::default() }
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, StateError> {
        use alloy_primitives::map::Entry as Slot;
        match self.entries.entry(address) {
            Slot::Occupied(slot) => Ok(slot.into_mut()),
            Slot::Vacant(slot) => {
                let account = self.base.account(address)?;
                Ok(slot.insert(Entry { account, ..Entry::default() }))
            }
        }
    }

    /// The account as changed so far.
    ///
    /// # Errors
    /// Those of the base.
    pub fn account(&mut self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.entry(address)?.account)
    }

    /// Adds `amount` to a balance outside of any transaction (the fee vault).
    ///
    /// # Errors
    /// Those of the base.
    pub fn credit(&mut self, address: Address, amount: U256) -> Result<(), StateError> {
        if amount.is_zero() {
            return Ok(());
        }
        let entry = self.entry(address)?;
        let account = entry.account.get_or_insert_default();
        account.balance = account.balance.saturating_add(amount);
        entry.dirty = true;
        Ok(())
    }

    /// All changes, and nothing that was only read.
    pub fn into_delta(self) -> Delta {
        let mut delta = Delta::default();
        for (address, entry) in self.entries {
            if !entry.dirty {
                continue;
            }
            let storage = entry.slots.into_iter().filter(|(_, (_, written))| *written).map(|(k, (v, _))| (k, v));
            let change = AccountDelta { account: entry.account, wiped: entry.wiped, storage: storage.collect() };
            delta.accounts.insert(address, change);
        }
        let codes = self.codes.into_iter().map(|(hash, code)| (hash, code.original_bytes()));
        delta.codes = codes.collect();
        delta
    }
}

impl<B: StateRead> Database for Overlay<B> {
    type Error = StateError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        Ok(self.entry(address)?.account.map(|account| account.info()))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, StateError> {
        match self.codes.get(&hash) {
            Some(code) => Ok(code.clone()),
            None => self.base.code(hash),
        }
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StateError> {
        let entry = self.entry(address)?;
        if let Some((value, _)) = entry.slots.get(&slot) {
            return Ok(*value);
        }
        if entry.wiped || entry.account.is_none() {
            return Ok(U256::ZERO);
        }
        let value = self.base.storage(address, slot)?;
        self.entry(address)?.slots.insert(slot, (value, false));
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, StateError> {
        self.base.block_hash(number)
    }
}

impl<B: StateRead> DatabaseCommit for Overlay<B> {
    fn commit(&mut self, changes: EvmState) {
        for (address, change) in changes {
            if !change.is_touched() {
                continue;
            }
            // Whatever the EVM touched it has read before, so the entry is there.
            let entry = self.entries.entry(address).or_default();
            let existed = entry.account.is_some();
            if change.is_selfdestructed() || change.is_empty() {
                if existed || entry.dirty {
                    entry.dirty = true;
                    entry.wiped = true;
                    entry.slots.clear();
                }
                entry.account = None;
                continue;
            }
            let account = Account::from(&change.info);
            entry.dirty |= entry.account != Some(account);
            entry.account = Some(account);
            if let Some(code) = &change.info.code
                && change.info.code_hash != KECCAK_EMPTY
                && (change.is_created() || code.is_eip7702())
            {
                self.codes.insert(change.info.code_hash, code.clone());
            }
            for (slot, value) in change.storage {
                if value.is_changed() {
                    entry.slots.insert(slot, (value.present_value, true));
                    entry.dirty = true;
                }
            }
        }
    }
}
