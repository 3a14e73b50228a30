//! The chain: applies ordered blocks one after the other and publishes the head.

use crate::{
    Error, Genesis, Result, StateConfig, decode_all,
    evm::{EvmBlock, Execution, StoredBody, execute},
    source::OrderedBlock,
    state::{Account, AccountDelta, AccountProof, Caches, Codes, Delta, StateError, StateView},
    store::{OrderedTip, Store},
};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, U256, keccak256};
use std::{path::Path, sync::Arc};
use tokio::sync::watch;

/// Commits between two that wait for the disk, during catch-up: bounds what a power cut undoes.
const UNSYNCED_BLOCKS: u32 = 64;
/// Empty ordered blocks that are remembered in memory only; they are fetched again after a crash.
const UNWRITTEN_EMPTY_BLOCKS: u32 = 64;

/// The latest EVM block and the ordered block up to which the chain was executed.
#[derive(Debug, Clone)]
pub struct Head {
    /// The latest EVM header.
    pub header: Arc<Header>,
    /// Its hash.
    pub hash: B256,
    /// The last ordered block executed (it may have made no EVM block).
    pub ordered: OrderedTip,
}

/// What readers of the chain share: cheap to clone, never blocks execution for long.
#[derive(Debug, Clone)]
pub struct ChainReader {
    /// Chain parameters.
    pub genesis: Arc<Genesis>,
    /// The database.
    pub store: Arc<Store>,
    codes: Arc<Codes>,
    head: watch::Receiver<Head>,
}

impl ChainReader {
    /// The head as of now.
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// A receiver that wakes on every new head.
    pub fn subscribe(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    /// The state after EVM block `number`.
    ///
    /// # Errors
    /// [`StateError::NotKept`].
    pub fn state_at(&self, number: u64) -> Result<StateView, StateError> {
        self.store.state(&self.codes, number)
    }

    /// Proves an account and some of its slots under the state root of EVM block `number` (EIP-1186).
    ///
    /// # Errors
    /// [`StateError::NotKept`], [`StateError::TooManyChanges`], [`StateError::Damaged`].
    pub fn proof(&self, number: u64, address: Address, slots: &[U256]) -> Result<AccountProof, StateError> {
        let view = self.state_at(number)?;
        let header = self.store.header(number).map_err(|error| StateError::Database(error.to_string()))?;
        let header = header.ok_or_else(|| StateError::Damaged(format!("header {number} is missing")))?;
        view.prove(header.state_root, address, slots)
    }
}

/// What became of an ordered block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Executed; how many EVM blocks, transactions and skips it made.
    Executed {
        /// EVM blocks.
        blocks: usize,
        /// Executed transactions.
        transactions: usize,
        /// Refused transactions.
        skipped: usize,
    },
    /// It was executed before; nothing changed.
    Repeated,
}

/// The one writer of the chain.
#[derive(Debug)]
pub struct Chain {
    genesis: Arc<Genesis>,
    store: Arc<Store>,
    caches: Caches,
    codes: Arc<Codes>,
    history: u64,
    head: watch::Sender<Head>,
    unsynced: u32,
    unwritten: u32,
}

impl Chain {
    /// Opens the chain in `dir` as [`Chain::open_with`] does, with the default [`StateConfig`].
    ///
    /// # Errors
    /// As [`Chain::open_with`].
    pub fn open(dir: &Path, genesis: Genesis, binding: &[u8]) -> Result<Self> {
        Self::open_with(dir, genesis, binding, StateConfig::default())
    }

    /// Opens the chain in `dir`, creating it from `genesis` if there is none. `binding` is
    /// hashed with the genesis into what the directory belongs to (network and namespace).
    ///
    /// Reads no more than the head, however large the state is.
    ///
    /// # Errors
    /// [`Error::Genesis`], [`Error::Config`], [`Error::Store`], [`Error::ForeignData`], or [`Error::Damaged`] if the
    /// state does not match the stored head's root.
    pub fn open_with(dir: &Path, genesis: Genesis, binding: &[u8], state: StateConfig) -> Result<Self> {
        genesis.check()?;
        state.check()?;
        let mut bound = genesis.fingerprint().to_vec();
        bound.extend(binding);
        // Half for the pages as they lie on the disk, half for what execution made of them.
        let store = Store::open(dir, keccak256(bound), state.cache_bytes / 2)?;
        Self::on(store, genesis, state)
    }

    pub(crate) fn on(store: Store, genesis: Genesis, state: StateConfig) -> Result<Self> {
        let caches = Caches::new(state.cache_bytes / 2);
        let codes = Arc::new(Codes::default());
        let head = match store.tip()? {
            None => create(&store, &caches, &codes, &genesis)?,
            Some(tip) => resume(&store, &codes, tip)?,
        };
        Ok(Self {
            genesis: Arc::new(genesis),
            store: Arc::new(store),
            caches,
            codes,
            history: state.history,
            head: watch::Sender::new(head),
            unsynced: 0,
            unwritten: 0,
        })
    }

    /// Access for readers.
    pub fn reader(&self) -> ChainReader {
        ChainReader {
            genesis: self.genesis.clone(),
            store: self.store.clone(),
            codes: self.codes.clone(),
            head: self.head.subscribe(),
        }
    }

    /// The head as of now.
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// The ordered height that must come next.
    pub fn next_height(&self) -> u64 {
        let height = self.head.borrow().ordered.height;
        if height == 0 { self.genesis.first_height } else { height + 1 }
    }

    /// Executes and stores an ordered block. `more_waits`: further blocks are at hand, so the disk
    /// need not be waited for after this one.
    ///
    /// A block at an executed height is ignored.
    ///
    /// # Errors
    /// [`Error::Gap`] and [`Error::Forged`] leave everything as it was. After any other error the
    /// chain must be opened anew.
    pub fn apply(&mut self, block: &OrderedBlock, more_waits: bool) -> Result<Applied> {
        let head = self.head();
        if !self.check_place(&head.ordered, block)? {
            return Ok(Applied::Repeated);
        }
        let execution = match self.execute(&head, block, more_waits) {
            Ok(execution) => execution,
            Err(error) => {
                // They may hold what the transaction given up has written.
                self.caches.clear();
                return Err(error);
            }
        };
        let (header, hash) = latest(&execution, &head);
        let ordered = tip_after(block, &header);
        self.head.send_replace(Head { header, hash, ordered });
        Ok(Applied::Executed {
            blocks: execution.blocks.len(),
            transactions: execution.blocks.iter().map(|block| block.body.transactions.len()).sum(),
            skipped: execution.skipped.len(),
        })
    }

    /// Executes a block and stores all of it in one transaction.
    fn execute(&mut self, head: &Head, block: &OrderedBlock, more_waits: bool) -> Result<Execution> {
        if block.transactions.is_empty() && self.unwritten < UNWRITTEN_EMPTY_BLOCKS {
            self.unwritten += 1;
            return Ok(Execution::default());
        }
        let decoded = decode_all(&block.transactions, self.genesis.chain_id);
        let batch = self.store.begin()?;
        let execution = {
            let mut state = batch.state(&self.caches, &self.codes, self.history)?;
            execute(&self.genesis, &mut state, (head.header.as_ref(), head.hash), block, decoded)?
        };
        let durable = !more_waits || self.unsynced >= UNSYNCED_BLOCKS;
        batch.commit(&execution, &tip_after(block, &latest(&execution, head).0), durable)?;
        self.unwritten = 0;
        self.unsynced = if durable { 0 } else { self.unsynced + 1 };
        Ok(execution)
    }

    /// Whether `block` comes next; `false` if it was executed before.
    fn check_place(&self, tip: &OrderedTip, block: &OrderedBlock) -> Result<bool> {
        let (height, expected) = (block.height, self.next_height());
        if height < expected {
            if height == tip.height && block.hash != tip.hash {
                return Err(Error::Fork { height, executed: tip.hash, served: block.hash });
            }
            return Ok(false);
        }
        if height > expected {
            return Err(Error::Gap { last: tip.height, expected, found: height });
        }
        if tip.height > 0 && block.parent_hash != tip.hash {
            return Err(Error::Forged {
                height,
                part: "parent hash".into(),
                detail: format!(
                    "it names {} as its parent, but block {} executed here is {}",
                    block.parent_hash, tip.height, tip.hash
                ),
            });
        }
        Ok(true)
    }

    /// Writes what is still in memory only; for a clean shutdown.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn flush(&mut self) -> Result<()> {
        if self.unwritten > 0 || self.unsynced > 0 {
            self.store.begin()?.commit(&Execution::default(), &self.head().ordered, true)?;
            (self.unwritten, self.unsynced) = (0, 0);
        }
        Ok(())
    }
}

/// The EVM head after an execution on top of `before`.
fn latest(execution: &Execution, before: &Head) -> (Arc<Header>, B256) {
    match execution.blocks.last() {
        Some(last) => (Arc::new(last.header.clone()), last.hash),
        None => (before.header.clone(), before.hash),
    }
}

fn tip_after(block: &OrderedBlock, header: &Header) -> OrderedTip {
    OrderedTip {
        height: block.height,
        hash: block.hash,
        timestamp_ms: block.timestamp_ms,
        evm_number: header.number,
        checkpoint: block.checkpoint.clone().into(),
    }
}

fn create(store: &Store, caches: &Caches, codes: &Codes, genesis: &Genesis) -> Result<Head> {
    let mut delta = Delta::default();
    for (address, funded) in &genesis.alloc {
        let mut account = Account { nonce: funded.nonce, balance: funded.balance, ..Account::default() };
        if !funded.code.is_empty() {
            account.code_hash = keccak256(&funded.code);
            delta.codes.insert(account.code_hash, funded.code.clone());
        }
        let storage = funded.storage.iter().filter(|(_, value)| !value.is_zero());
        let storage = storage.map(|(slot, value)| (*slot, *value)).collect();
        let change = AccountDelta { account: Some(account), wiped: false, storage };
        delta.accounts.insert(*address, change);
    }
    let batch = store.begin()?;
    let (header, hash) = {
        let mut state = batch.state(caches, codes, 1)?;
        let header = genesis.header(state.apply(0, &delta)?);
        let hash = header.hash_slow();
        state.seal(0, hash)?;
        (header, hash)
    };
    let ordered = OrderedTip::default();
    let block = EvmBlock { header: header.clone(), hash, body: StoredBody::default() };
    batch.commit(&Execution { blocks: vec![block], skipped: Vec::new() }, &ordered, true)?;
    Ok(Head { header: Arc::new(header), hash, ordered })
}

fn resume(store: &Store, codes: &Arc<Codes>, tip: OrderedTip) -> Result<Head> {
    let header =
        store.header(tip.evm_number)?.ok_or_else(|| Error::Damaged(format!("header {} is missing", tip.evm_number)))?;
    let root = store.state(codes, header.number)?.stored_root()?;
    if root != header.state_root {
        return Err(Error::Damaged(format!(
            "the stored state has root {root}, but block {} says {}",
            header.number, header.state_root
        )));
    }
    let hash = header.hash_slow();
    Ok(Head { header: Arc::new(header), hash, ordered: tip })
}

#[cfg(test)]
#[path = "crash_tests.rs"]
mod crash_tests;
