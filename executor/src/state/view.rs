//! Reading the state as of one block, while later blocks are being applied.

use super::{Account, StateError, cache::Codes, tables::*};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::TrieAccount;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};
use revm::state::Bytecode;
use std::sync::Arc;

/// A readable state.
pub trait StateRead {
    /// The account, or `None` if it does not exist.
    fn account(&self, address: Address) -> Result<Option<Account>, StateError>;
    /// A storage slot; zero if absent.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError>;
    /// Code by hash.
    fn code(&self, hash: B256) -> Result<Bytecode, StateError>;
    /// Hash of an ancestor; zero if unknown.
    fn block_hash(&self, number: u64) -> Result<B256, StateError>;
}

type Blobs<K> = ReadOnlyTable<K, &'static [u8]>;

/// The state's tables as one committed transaction left them.
pub(super) struct Snapshot {
    pub(super) accounts: Blobs<Word>,
    pub(super) storage: Blobs<(Word, Word)>,
    pub(super) account_branches: Blobs<&'static [u8]>,
    pub(super) storage_branches: Blobs<(Word, &'static [u8])>,
    codes: Blobs<Word>,
    hashes: ReadOnlyTable<u64, Word>,
    old_accounts: Blobs<(Word, u64)>,
    old_storage: Blobs<(Word, Word, u64)>,
    pub(super) changed: Blobs<u64>,
    /// The latest EVM block in it.
    pub(super) head: u64,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn open(tx: &ReadTransaction) -> Result<Self, StateError> {
        let hashes = tx.open_table(HASHES).map_err(read_error)?;
        let head = hashes.last().map_err(read_error)?.map_or(0, |(number, _)| number.value());
        Ok(Self {
            accounts: tx.open_table(ACCOUNTS).map_err(read_error)?,
            storage: tx.open_table(STORAGE).map_err(read_error)?,
            account_branches: tx.open_table(ACCOUNT_BRANCHES).map_err(read_error)?,
            storage_branches: tx.open_table(STORAGE_BRANCHES).map_err(read_error)?,
            codes: tx.open_table(CODES).map_err(read_error)?,
            hashes,
            old_accounts: tx.open_table(OLD_ACCOUNTS).map_err(read_error)?,
            old_storage: tx.open_table(OLD_STORAGE).map_err(read_error)?,
            changed: tx.open_table(CHANGED).map_err(read_error)?,
            head,
        })
    }

    fn check_kept(&self, number: u64) -> Result<(), StateError> {
        let oldest = self.changed.first().map_err(read_error)?;
        let oldest = oldest.map_or(self.head, |(oldest, _)| oldest.value().saturating_sub(1));
        if number < oldest || number > self.head {
            return Err(StateError::NotKept { number, oldest, newest: self.head });
        }
        Ok(())
    }

    /// The account's leaf after block `number`; `None` if there was none.
    pub(super) fn account_leaf(&self, number: u64, key: B256) -> Result<Option<Vec<u8>>, StateError> {
        if number < self.head {
            let later = (key.0, number + 1)..=(key.0, u64::MAX);
            if let Some(row) = self.old_accounts.range(later).map_err(read_error)?.next() {
                let (_, old) = row.map_err(read_error)?;
                return Ok(Some(old.value().to_vec()).filter(|old| !old.is_empty()));
            }
        }
        Ok(self.accounts.get(key.0).map_err(read_error)?.map(|leaf| leaf.value().to_vec()))
    }

    /// The account after block `number`.
    pub(super) fn account(&self, number: u64, key: B256) -> Result<Option<TrieAccount>, StateError> {
        self.account_leaf(number, key)?.map(|leaf| decode_account(&leaf)).transpose()
    }

    /// The slot's leaf after block `number`; empty if there was none.
    pub(super) fn slot_leaf(&self, number: u64, owner: B256, slot: B256) -> Result<Vec<u8>, StateError> {
        if number < self.head {
            let later = (owner.0, slot.0, number + 1)..=(owner.0, slot.0, u64::MAX);
            if let Some(row) = self.old_storage.range(later).map_err(read_error)?.next() {
                let (_, old) = row.map_err(read_error)?;
                return Ok(old.value().to_vec());
            }
        }
        let found = self.storage.get((owner.0, slot.0)).map_err(read_error)?;
        Ok(found.map(|leaf| leaf.value().to_vec()).unwrap_or_default())
    }
}

/// The state after one block, from a snapshot of the database: later blocks do not touch it, and reading it never
/// holds up execution. The database cannot reuse space that changed since while a view lives, so keep none for long.
#[derive(Debug, Clone)]
pub struct StateView {
    pub(super) snapshot: Arc<Snapshot>,
    codes: Arc<Codes>,
    pub(super) number: u64,
}

impl StateView {
    /// The state after block `number` in the snapshot that `tx` reads.
    ///
    /// # Errors
    /// [`StateError::NotKept`] if it is outside the kept history.
    pub(crate) fn open(tx: &ReadTransaction, codes: Arc<Codes>, number: u64) -> Result<Self, StateError> {
        let snapshot = Snapshot::open(tx)?;
        snapshot.check_kept(number)?;
        Ok(Self { snapshot: Arc::new(snapshot), codes, number })
    }

    /// The block after which this is the state.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl StateRead for StateView {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.snapshot.account(self.number, keccak256(address))?.map(|leaf| Account::from(&leaf)))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let slot = keccak256(slot.to_be_bytes::<32>());
        decode_slot(&self.snapshot.slot_leaf(self.number, keccak256(address), slot)?)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        self.codes.get(hash, || {
            let found = self.snapshot.codes.get(hash.0).map_err(read_error)?;
            Ok(found.map(|code| code.value().to_vec()))
        })
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let found = self.snapshot.hashes.get(number).map_err(read_error)?;
        Ok(found.map(|hash| hash.value().into()).unwrap_or_default())
    }
}
