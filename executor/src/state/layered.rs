//! A state with changes on top that are nowhere stored.

use super::{Account, Delta, StateError, StateRead};
use alloy_primitives::{Address, B256, U256};
use revm::state::Bytecode;
use std::sync::Arc;

/// A state, and what changed since. Cheap to clone where the base is.
#[derive(Debug, Clone)]
pub(crate) struct Layered<B> {
    base: B,
    changes: Option<Arc<Delta>>,
}

impl<B> Layered<B> {
    /// The state as it is.
    pub(crate) fn plain(base: B) -> Self {
        Self { base, changes: None }
    }

    /// The state after `changes`.
    pub(crate) fn new(base: B, changes: Arc<Delta>) -> Self {
        Self { base, changes: Some(changes) }
    }
}

impl<B: StateRead> StateRead for Layered<B> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let change = self.changes.as_ref().and_then(|changes| changes.accounts.get(&address));
        change.map_or_else(|| self.base.account(address), |change| Ok(change.account))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let change = self.changes.as_ref().and_then(|changes| changes.accounts.get(&address));
        let Some(change) = change else { return self.base.storage(address, slot) };
        match change.storage.get(&slot) {
            Some(value) => Ok(*value),
            None if change.wiped => Ok(U256::ZERO),
            None => self.base.storage(address, slot),
        }
    }

    fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        match self.changes.as_ref().and_then(|changes| changes.codes.get(&hash)) {
            Some(code) => Bytecode::new_raw_checked(code.clone())
                .map_err(|error| StateError::Damaged(format!("code {hash}: {error}"))),
            None => self.base.code(hash),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.base.block_hash(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::AccountDelta;
    use alloy_primitives::Bytes;

    /// Every account has the nonce 1, every slot the value 1.
    #[derive(Debug)]
    struct Ones;

    impl StateRead for Ones {
        fn account(&self, _: Address) -> Result<Option<Account>, StateError> {
            Ok(Some(Account { nonce: 1, ..Account::default() }))
        }
        fn storage(&self, _: Address, _: U256) -> Result<U256, StateError> {
            Ok(U256::ONE)
        }
        fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
            Err(StateError::CodeMissing(hash))
        }
        fn block_hash(&self, _: u64) -> Result<B256, StateError> {
            Ok(B256::ZERO)
        }
    }

    fn change(nonce: Option<u64>, wiped: bool, storage: &[(u64, u64)]) -> AccountDelta {
        AccountDelta {
            account: nonce.map(|nonce| Account { nonce, ..Account::default() }),
            wiped,
            storage: storage.iter().map(|(slot, value)| (U256::from(*slot), U256::from(*value))).collect(),
        }
    }

    #[test]
    fn later_changes_hide_earlier_ones_and_both_hide_the_base() {
        let (kept, gone, reborn) = (Address::repeat_byte(1), Address::repeat_byte(2), Address::repeat_byte(3));
        let code = Bytes::from_static(&[0x5f]);
        let mut changes = Delta::default();
        changes.accounts.insert(kept, change(Some(2), false, &[(0, 5), (1, 5)]));
        changes.accounts.insert(reborn, change(Some(2), false, &[(0, 5)]));
        changes.codes.insert(B256::repeat_byte(9), code.clone());
        let mut later = Delta::default();
        later.accounts.insert(kept, change(Some(3), false, &[(1, 6)]));
        later.accounts.insert(gone, change(None, true, &[]));
        later.accounts.insert(reborn, change(Some(0), true, &[(2, 7)]));
        changes.then(later);
        let state = Layered::new(Ones, Arc::new(changes));
        let nonce = |address| state.account(address).unwrap().map(|account| account.nonce);
        let slots = |address| [0, 1, 2, 3].map(|slot| state.storage(address, U256::from(slot)).unwrap().to::<u64>());
        assert_eq!((nonce(kept), slots(kept)), (Some(3), [5, 6, 1, 1]));
        assert_eq!((nonce(gone), slots(gone)), (None, [0; 4]));
        assert_eq!((nonce(reborn), slots(reborn)), (Some(0), [0, 0, 7, 0]));
        assert_eq!((nonce(Address::ZERO), slots(Address::ZERO)), (Some(1), [1; 4]));
        assert_eq!(state.code(B256::repeat_byte(9)).unwrap().original_bytes(), code);
        assert!(state.code(B256::ZERO).is_err());
        assert_eq!(Layered::plain(Ones).account(kept).unwrap().unwrap().nonce, 1);
    }
}
