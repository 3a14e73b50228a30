//! The executor's database: one redb file, one transaction per ordered block.
//!
//! Guarantee: everything that an ordered block changes (state, EVM blocks, receipts, indexes,
//! skips and the next height) is written in one transaction, so a kill at any point leaves the
//! database exactly before or exactly after that block. During catch-up some commits are not
//! made durable at once; a power cut then falls back to an earlier whole block.

use crate::{
    Error, Result, SkipReason, StateError,
    evm::{EvmBlock, Execution, StoredBody},
    state::{Caches, Codes, StateView, StateWriter},
};
use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};
use redb::{Database, Durability, ReadableDatabase, TableDefinition, WriteTransaction};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const HEADERS: TableDefinition<u64, &[u8]> = TableDefinition::new("headers");
const BODIES: TableDefinition<u64, &[u8]> = TableDefinition::new("bodies");
const NUMBERS: TableDefinition<[u8; 32], u64> = TableDefinition::new("numbers");
/// Transaction hash to block number and index.
const TRANSACTIONS: TableDefinition<[u8; 32], (u64, u32)> = TableDefinition::new("transactions");
/// Ordered height to first EVM block and count.
const ORDERED: TableDefinition<u64, (u64, u32)> = TableDefinition::new("ordered");
/// Transaction hash to ordered height and position of its latest skip.
const SKIPS: TableDefinition<[u8; 32], (u64, u32)> = TableDefinition::new("skips");
/// Ordered height and position to hash and reason.
const SKIPPED: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("skipped");

const FINGERPRINT: &str = "fingerprint";
const TIP: &str = "tip";
/// Names how the tables are laid out.
const LAYOUT: &str = "layout";
const PRESENT_LAYOUT: &str = "tries by path";
const FILE: &str = "executor.redb";

/// How far the ordered chain was followed.
#[derive(Debug, Clone, PartialEq, Eq, Default, RlpEncodable, RlpDecodable)]
pub struct OrderedTip {
    /// Last ordered height that was executed; 0 before the first.
    pub height: u64,
    /// Hash of its header; zero before the first.
    pub hash: B256,
    /// Its timestamp in milliseconds.
    pub timestamp_ms: u64,
    /// The EVM head after it.
    pub evm_number: u64,
    /// The source's own checkpoint after it.
    pub checkpoint: Bytes,
}

/// Where a transaction was skipped, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipRecord {
    /// Ordered height.
    pub height: u64,
    /// Position among the namespace's transactions of that block.
    pub position: u32,
    /// keccak256 of the bytes.
    pub hash: B256,
    /// Why.
    pub reason: SkipReason,
}

/// The database of one executor.
#[derive(Debug)]
pub struct Store {
    db: Database,
    path: PathBuf,
}

fn store(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Damaged(what.to_string())
}

fn decode<T: Decodable>(what: &str, mut bytes: &[u8]) -> Result<T> {
    let value = T::decode(&mut bytes).map_err(|error| damaged(format!("{what}: {error}")))?;
    if bytes.is_empty() { Ok(value) } else { Err(damaged(format!("{what}: trailing bytes"))) }
}

/// One transaction of the one writer: all that an ordered block changes, or nothing.
pub(crate) struct Batch(WriteTransaction);

impl Batch {
    /// The state in this transaction.
    pub(crate) fn state<'t>(&'t self, caches: &'t Caches, codes: &'t Codes, history: u64) -> Result<StateWriter<'t>> {
        Ok(StateWriter::open(&self.0, caches, codes, history)?)
    }

    /// Writes the blocks, receipts, indexes and skips of one ordered block, and makes it and the state durable
    /// together.
    ///
    /// `durable`: wait until the disk holds it. Otherwise the next durable commit does.
    pub(crate) fn commit(mut self, execution: &Execution, tip: &OrderedTip, durable: bool) -> Result<()> {
        let durability = if durable { Durability::Immediate } else { Durability::None };
        self.0.set_durability(durability).map_err(store)?;
        self.0.set_quick_repair(durable);
        for block in &execution.blocks {
            write_block(&self.0, block)?;
        }
        if tip.height > 0
            && let Some(first) = execution.blocks.first()
        {
            let count = execution.blocks.len() as u32;
            let mut ordered = self.0.open_table(ORDERED).map_err(store)?;
            ordered.insert(tip.height, (first.header.number, count)).map_err(store)?;
        }
        write_skips(&self.0, tip.height, execution)?;
        self.0.open_table(META).map_err(store)?.insert(TIP, alloy_rlp::encode(tip).as_slice()).map_err(store)?;
        self.0.commit().map_err(store)
    }
}

impl Store {
    /// Opens or creates the database in `dir`, which must belong to `fingerprint`. `cache_bytes` is the memory for its
    /// pages.
    ///
    /// # Errors
    /// [`Error::Store`] if it cannot be opened (another process holds it, the disk fails),
    /// [`Error::ForeignData`] if it belongs to another rollup, [`Error::Damaged`] if it was laid out otherwise.
    pub fn open(dir: &Path, fingerprint: B256, cache_bytes: usize) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| store(format!("cannot create {}: {error}", dir.display())))?;
        let path = dir.join(FILE);
        let db = Database::builder()
            .set_cache_size(cache_bytes)
            .create(&path)
            .map_err(|error| store(format!("cannot open {}: {error}", path.display())))?;
        Self::prepare(db, path, fingerprint)
    }

    /// The database on something else than a file, for tests that stop it at any write.
    #[cfg(test)]
    pub(crate) fn on(backend: impl redb::StorageBackend, fingerprint: B256, cache_bytes: usize) -> Result<Self> {
        let db = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend).map_err(store)?;
        Self::prepare(db, PathBuf::new(), fingerprint)
    }

    fn prepare(db: Database, path: PathBuf, fingerprint: B256) -> Result<Self> {
        let this = Self { db, path };
        match this.meta(FINGERPRINT)? {
            None => this.initialise(fingerprint)?,
            Some(_) if this.meta(LAYOUT)?.as_deref() != Some(PRESENT_LAYOUT.as_bytes()) => {
                return Err(damaged("another version of this program laid it out"));
            }
            Some(found) if found == fingerprint.as_slice() => {}
            Some(found) => {
                return Err(Error::ForeignData {
                    dir: this.path.display().to_string(),
                    found: B256::try_from(found.as_slice()).unwrap_or_default(),
                    expected: fingerprint,
                });
            }
        }
        Ok(this)
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn initialise(&self, fingerprint: B256) -> Result<()> {
        let tx = self.db.begin_write().map_err(store)?;
        {
            let mut meta = tx.open_table(META).map_err(store)?;
            meta.insert(FINGERPRINT, fingerprint.as_slice()).map_err(store)?;
            meta.insert(LAYOUT, PRESENT_LAYOUT.as_bytes()).map_err(store)?;
        }
        // Readers expect every table to be there.
        StateWriter::open(&tx, &Caches::new(0), &Codes::default(), 1)?;
        tx.open_table(HEADERS).map_err(store)?;
        tx.open_table(BODIES).map_err(store)?;
        tx.open_table(NUMBERS).map_err(store)?;
        tx.open_table(TRANSACTIONS).map_err(store)?;
        tx.open_table(ORDERED).map_err(store)?;
        tx.open_table(SKIPS).map_err(store)?;
        tx.open_table(SKIPPED).map_err(store)?;
        tx.commit().map_err(store)
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let tx = self.db.begin_read().map_err(store)?;
        match tx.open_table(META) {
            Ok(table) => Ok(table.get(key).map_err(store)?.map(|value| value.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(store(error)),
        }
    }

    /// How far the chain was followed; `None` in a fresh database.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn tip(&self) -> Result<Option<OrderedTip>> {
        self.meta(TIP)?.map(|bytes| decode("tip", &bytes)).transpose()
    }

    /// Begins the next change; waits while another one is under way.
    pub(crate) fn begin(&self) -> Result<Batch> {
        Ok(Batch(self.db.begin_write().map_err(store)?))
    }

    /// The state after EVM block `number`, from what is committed now.
    pub(crate) fn state(&self, codes: &Arc<Codes>, number: u64) -> Result<StateView, StateError> {
        let tx = self.db.begin_read().map_err(|error| StateError::Database(error.to_string()))?;
        StateView::open(&tx, codes.clone(), number)
    }

    /// Header by number.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn header(&self, number: u64) -> Result<Option<Header>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(HEADERS).map_err(store)?;
        let row = table.get(number).map_err(store)?;
        row.map(|bytes| decode("header", bytes.value())).transpose()
    }

    /// Calls `each` with the headers of blocks `from` to `to` in order, until it says `false`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`], and what `each` fails with.
    pub fn scan_headers(&self, from: u64, to: u64, mut each: impl FnMut(Header) -> Result<bool>) -> Result<()> {
        let tx = self.db.begin_read().map_err(store)?;
        for row in tx.open_table(HEADERS).map_err(store)?.range(from..=to).map_err(store)? {
            let (_, bytes) = row.map_err(store)?;
            if !each(decode("header", bytes.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// Transactions and receipts by number.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn body(&self, number: u64) -> Result<Option<StoredBody>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(BODIES).map_err(store)?;
        let row = table.get(number).map_err(store)?;
        row.map(|bytes| decode("body", bytes.value())).transpose()
    }

    /// Block number by hash.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn number(&self, hash: B256) -> Result<Option<u64>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(NUMBERS).map_err(store)?;
        Ok(table.get(hash.0).map_err(store)?.map(|number| number.value()))
    }

    /// Block number and index of an executed transaction.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn transaction(&self, hash: B256) -> Result<Option<(u64, u32)>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(TRANSACTIONS).map_err(store)?;
        Ok(table.get(hash.0).map_err(store)?.map(|place| place.value()))
    }

    /// First EVM block and number of EVM blocks of an ordered height; `None` if it made none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn evm_blocks(&self, ordered_height: u64) -> Result<Option<(u64, u32)>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(ORDERED).map_err(store)?;
        Ok(table.get(ordered_height).map_err(store)?.map(|place| place.value()))
    }

    /// The latest skip of a transaction, by keccak256 of its bytes.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn skip(&self, hash: B256) -> Result<Option<SkipRecord>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(SKIPS).map_err(store)?;
        let Some(place) = table.get(hash.0).map_err(store)?.map(|place| place.value()) else {
            return Ok(None);
        };
        let table = tx.open_table(SKIPPED).map_err(store)?;
        let row = table.get(place).map_err(store)?;
        row.map(|bytes| decode_skip(place, bytes.value())).transpose()
    }

    /// The transactions skipped at an ordered height, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn skips_at(&self, height: u64, limit: usize) -> Result<Vec<SkipRecord>> {
        let tx = self.db.begin_read().map_err(store)?;
        let table = tx.open_table(SKIPPED).map_err(store)?;
        let rows = table.range((height, 0)..=(height, u32::MAX)).map_err(store)?;
        rows.take(limit)
            .map(|row| {
                let (place, bytes) = row.map_err(store)?;
                decode_skip(place.value(), bytes.value())
            })
            .collect()
    }
}

fn decode_skip((height, position): (u64, u32), bytes: &[u8]) -> Result<SkipRecord> {
    let (hash, reason) = bytes.split_at_checked(32).ok_or_else(|| damaged("skip: too short"))?;
    let reason = serde_json::from_slice(reason).map_err(|error| damaged(format!("skip: {error}")))?;
    Ok(SkipRecord { height, position, hash: B256::from_slice(hash), reason })
}

fn write_block(tx: &WriteTransaction, block: &EvmBlock) -> Result<()> {
    let number = block.header.number;
    let header = alloy_rlp::encode(&block.header);
    let body = alloy_rlp::encode(&block.body);
    tx.open_table(HEADERS).map_err(store)?.insert(number, header.as_slice()).map_err(store)?;
    tx.open_table(BODIES).map_err(store)?.insert(number, body.as_slice()).map_err(store)?;
    tx.open_table(NUMBERS).map_err(store)?.insert(block.hash.0, number).map_err(store)?;
    let mut index = tx.open_table(TRANSACTIONS).map_err(store)?;
    for (at, transaction) in block.body.transactions.iter().enumerate() {
        index.insert(transaction.hash.0, (number, at as u32)).map_err(store)?;
    }
    Ok(())
}

fn write_skips(tx: &WriteTransaction, height: u64, execution: &Execution) -> Result<()> {
    if execution.skipped.is_empty() {
        return Ok(());
    }
    let mut by_hash = tx.open_table(SKIPS).map_err(store)?;
    let mut by_place = tx.open_table(SKIPPED).map_err(store)?;
    for skipped in &execution.skipped {
        let place = (height, skipped.position);
        let mut record = skipped.hash.to_vec();
        record.extend(serde_json::to_vec(&skipped.reason).map_err(store)?);
        by_hash.insert(skipped.hash.0, place).map_err(store)?;
        by_place.insert(place, record.as_slice()).map_err(store)?;
    }
    Ok(())
}
