//! Reading the state as of one block, while later blocks are being applied.

use super::{Account, StateError, World};
use alloy_primitives::{Address, B256, U256};
use revm::state::Bytecode;
use std::sync::{Arc, RwLock};

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

impl StateRead for &World {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.account_at(self.head(), address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.storage_at(self.head(), address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        World::code(self, hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        Ok(World::block_hash(self, number))
    }
}

/// The state after one block. Each read takes the lock for that read only, so a long call never
/// holds up execution; reads stay consistent because later blocks leave undo records.
#[derive(Debug, Clone)]
pub struct StateView {
    world: Arc<RwLock<World>>,
    number: u64,
}

impl StateView {
    /// The state after block `number`.
    ///
    /// # Errors
    /// [`StateError::NotKept`] if it is outside the kept history.
    pub fn new(world: Arc<RwLock<World>>, number: u64) -> Result<Self, StateError> {
        world.read().map_err(|_| StateError::Poisoned)?.check_kept(number)?;
        Ok(Self { world, number })
    }

    fn read<T>(&self, with: impl FnOnce(&World) -> Result<T, StateError>) -> Result<T, StateError> {
        with(&*self.world.read().map_err(|_| StateError::Poisoned)?)
    }
}

impl StateRead for StateView {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.read(|world| world.account_at(self.number, address))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.read(|world| world.storage_at(self.number, address, slot))
    }

    fn code(&self, hash: B256) -> Result<Bytecode, StateError> {
        self.read(|world| world.code(hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.read(|world| Ok(world.block_hash(number)))
    }
}
