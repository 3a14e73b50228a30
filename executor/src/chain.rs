//! The chain: applies ordered blocks one after the other and publishes the head.

use crate::{
    Error, Genesis, Result,
    evm::{EvmBlock, Execution, StoredBody, execute},
    source::OrderedBlock,
    state::{Account, AccountDelta, Delta, StateError, StateView, World},
    store::{OrderedTip, Store},
};
use alloy_consensus::Header;
use alloy_primitives::{B256, keccak256};
use std::{
    path::Path,
    sync::{Arc, RwLock},
};
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
    world: Arc<RwLock<World>>,
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
        StateView::new(self.world.clone(), number)
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
    world: Arc<RwLock<World>>,
    head: watch::Sender<Head>,
    unsynced: u32,
    unwritten: u32,
}

impl Chain {
    /// Opens the chain in `dir`, creating it from `genesis` if there is none. `binding` is
    /// hashed with the genesis into what the directory belongs to (network and namespace).
    ///
    /// # Errors
    /// [`Error::Genesis`], [`Error::Store`], [`Error::ForeignData`], or [`Error::Damaged`] if the
    /// state does not match the stored head's root.
    pub fn open(dir: &Path, genesis: Genesis, binding: &[u8]) -> Result<Self> {
        genesis.check()?;
        let mut bound = genesis.fingerprint().to_vec();
        bound.extend(binding);
        let store = Store::open(dir, keccak256(bound))?;
        let (world, head) = match store.tip()? {
            None => create(&store, &genesis)?,
            Some(tip) => resume(&store, tip)?,
        };
        Ok(Self {
            genesis: Arc::new(genesis),
            store: Arc::new(store),
            world: Arc::new(RwLock::new(world)),
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
            world: self.world.clone(),
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
        let parent = (head.header.as_ref(), head.hash);
        let execution = execute(&self.genesis, &self.world, parent, block)?;
        let (header, hash) = match execution.blocks.last() {
            Some(last) => (Arc::new(last.header.clone()), last.hash),
            None => (head.header.clone(), head.hash),
        };
        let ordered = OrderedTip {
            height: block.height,
            hash: block.hash,
            timestamp_ms: block.timestamp_ms,
            evm_number: header.number,
            checkpoint: block.checkpoint.clone().into(),
        };
        self.persist(&execution, &ordered, more_waits)?;
        self.head.send_replace(Head { header, hash, ordered });
        Ok(Applied::Executed {
            blocks: execution.blocks.len(),
            transactions: execution.blocks.iter().map(|block| block.body.transactions.len()).sum(),
            skipped: execution.skipped.len(),
        })
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

    fn persist(&mut self, execution: &Execution, tip: &OrderedTip, more_waits: bool) -> Result<()> {
        let empty = execution.blocks.is_empty() && execution.skipped.is_empty();
        if empty && self.unwritten < UNWRITTEN_EMPTY_BLOCKS {
            self.unwritten += 1;
            return Ok(());
        }
        let durable = !more_waits || self.unsynced >= UNSYNCED_BLOCKS;
        self.store.commit(execution, tip, durable)?;
        self.unwritten = 0;
        self.unsynced = if durable { 0 } else { self.unsynced + 1 };
        Ok(())
    }

    /// Writes what is still in memory only; for a clean shutdown.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn flush(&mut self) -> Result<()> {
        if self.unwritten > 0 || self.unsynced > 0 {
            self.store.commit(&Execution::default(), &self.head().ordered, true)?;
            (self.unwritten, self.unsynced) = (0, 0);
        }
        Ok(())
    }
}

fn create(store: &Store, genesis: &Genesis) -> Result<(World, Head)> {
    let mut world = World::new();
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
    let header = genesis.header(world.apply(0, &delta));
    let hash = header.hash_slow();
    world.seal(0, hash);
    let ordered = OrderedTip::default();
    let block = EvmBlock { header, hash, body: StoredBody::default(), delta };
    store.commit_genesis(&block, &ordered)?;
    Ok((world, Head { header: Arc::new(block.header), hash, ordered }))
}

fn resume(store: &Store, tip: OrderedTip) -> Result<(World, Head)> {
    let mut world = store.load_world()?;
    let header =
        store.header(tip.evm_number)?.ok_or_else(|| Error::Damaged(format!("header {} is missing", tip.evm_number)))?;
    let root = world.root();
    if root != header.state_root {
        return Err(Error::Damaged(format!(
            "the stored accounts have state root {root}, but block {} says {}",
            header.number, header.state_root
        )));
    }
    let mut recent = header.clone();
    let mut hashes = vec![(header.number, header.hash_slow())];
    while hashes.len() < 256 && recent.number > 0 {
        hashes.push((recent.number - 1, recent.parent_hash));
        let number = recent.number - 1;
        recent = store.header(number)?.ok_or_else(|| Error::Damaged(format!("header {number} is missing")))?;
    }
    for (number, hash) in hashes.into_iter().rev() {
        world.seal(number, hash);
    }
    let hash = header.hash_slow();
    Ok((world, Head { header: Arc::new(header), hash, ordered: tip }))
}
