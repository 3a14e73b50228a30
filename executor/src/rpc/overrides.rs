//! A state in which some accounts are as the caller of `eth_call` wants them.

use crate::state::{Account, StateError, StateRead};
use alloy_primitives::{Address, B256, U256};
use revm::state::Bytecode;
use std::{collections::BTreeMap, sync::Arc};

/// What is put in place of an account's fields; absent ones stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AccountOverride {
    pub(super) nonce: Option<u64>,
    pub(super) balance: Option<U256>,
    /// Code with its hash.
    pub(super) code: Option<(B256, Bytecode)>,
    pub(super) storage: StorageOverride,
}

/// What is put in place of an account's storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum StorageOverride {
    /// Nothing.
    #[default]
    None,
    /// These slots; all others are zero.
    Whole(BTreeMap<U256, U256>),
    /// These slots; all others stay.
    Part(BTreeMap<U256, U256>),
}

/// All overrides of one call. They are bounded by the size of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    accounts: BTreeMap<Address, AccountOverride>,
    codes: BTreeMap<B256, Bytecode>,
}

impl Overrides {
    pub(super) fn insert(&mut self, address: Address, change: AccountOverride) {
        self.codes.extend(change.code.clone());
        self.accounts.insert(address, change);
    }
}

/// A state with overrides on top. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Overridden<S> {
    base: S,
    overrides: Arc<Overrides>,
}

impl<S> Overridden<S> {
    pub(super) fn new(base: S, overrides: Overrides) -> Self {
        Self { base, overrides: Arc::new(overrides) }
    }
}

impl<S: StateRead> StateRead for Overridden<S> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let account = self.base.account(address)?;
        let Some(change) = self.overrides.accounts.get(&address) else { return Ok(account) };
        let mut account = account.unwrap_or_default();
        account.nonce = change.nonce.unwrap_or(account.nonce);
        account.balance = change.balance.unwrap_or(account.balance);
        account.code_hash = change.code.as_ref().map_or(account.code_hash, |(hash, _)| *hash);
        Ok(Some(account))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let storage = self.overrides.accounts.get(&address).map(|change| &change.storage);
        let put = match storage {
            Some(StorageOverride::Whole(slots)) => Some(slots.get(&slot).copied().unwrap_or_default()),
            Some(StorageOverride::Part(slots)) => slots.get(&slot).copied(),
            Some(StorageOverride::None) | None => None,
        };
        put.map_or_else(|| self.base.storage(address, slot), Ok)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        self.overrides.codes.get(&hash).map_or_else(|| self.base.code(hash), |code| Ok(code.clone()))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.base.block_hash(number)
    }
}
