//! One account, and the change that a block makes to it.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_trie::TrieAccount;
use revm::{
    primitives::KECCAK_EMPTY,
    state::{AccountInfo, Bytecode},
};
use std::collections::BTreeMap;

/// Nonce, balance and code hash of an account that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Number of transactions sent (or contracts created).
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// keccak256 of the code.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK_EMPTY }
    }
}

impl Account {
    /// Whether the account counts as absent (EIP-161).
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK_EMPTY
    }

    /// As revm reads it; `code` is fetched by hash when needed.
    pub fn info(&self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            account_id: None,
            code: (self.code_hash == KECCAK_EMPTY).then(Bytecode::default),
        }
    }
}

impl From<&TrieAccount> for Account {
    fn from(leaf: &TrieAccount) -> Self {
        Self { nonce: leaf.nonce, balance: leaf.balance, code_hash: leaf.code_hash }
    }
}

impl From<&AccountInfo> for Account {
    fn from(info: &AccountInfo) -> Self {
        Self { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
    }
}

/// What one EVM block changes at one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountDelta {
    /// The account afterwards; `None`: it does not exist.
    pub account: Option<Account>,
    /// All slots were cleared before `storage` was written.
    pub wiped: bool,
    /// Slots written; zero removes.
    pub storage: BTreeMap<U256, U256>,
}

/// What one EVM block changes in the state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Changes by address.
    pub accounts: BTreeMap<Address, AccountDelta>,
    /// Code deployed, by hash.
    pub codes: BTreeMap<B256, Bytes>,
}

impl Delta {
    /// Adds what came after these changes.
    pub(crate) fn then(&mut self, later: Self) {
        for (address, change) in later.accounts {
            let entry = self.accounts.entry(address).or_default();
            if change.wiped {
                *entry = change;
            } else {
                entry.account = change.account;
                entry.storage.extend(change.storage);
            }
        }
        self.codes.extend(later.codes);
    }
}
