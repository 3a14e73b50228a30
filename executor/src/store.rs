//! The executor's database: one redb file, one transaction per ordered block.
//!
//! Guarantee: everything that an ordered block changes (state, EVM blocks, receipts, indexes,
//! skips and the next height) is written in one transaction, so a kill at any point leaves the
//! database exactly before or exactly after that block. During catch-up some commits are not
//! made durable at once; a power cut then falls back to an earlier whole block.

use crate::{
    Error, Result, SkipReason,
    evm::{EvmBlock, Execution, StoredBody},
    state::{Account, Delta, World},
};
use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::path::{Path, PathBuf};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const ACCOUNTS: TableDefinition<[u8; 20], &[u8]> = TableDefinition::new("accounts");
/// Address and slot to value.
const STORAGE: TableDefinition<([u8; 20], [u8; 32]), [u8; 32]> = TableDefinition::new("storage");
const CODES: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("codes");
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
/// Memory for redb's page cache; the state itself is in memory anyway.
const CACHE_BYTES: usize = 32 << 20;
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

#[derive(RlpEncodable, RlpDecodable)]
struct AccountRecord {
    nonce: u64,
    balance: U256,
    code_hash: B256,
}

impl Store {
    /// Opens or creates the database in `dir`, which must belong to `fingerprint`.
    ///
    /// # Errors
    /// [`Error::Store`] if it cannot be opened (another process holds it, the disk fails),
    /// [`Error::ForeignData`] if it belongs to another rollup.
    pub fn open(dir: &Path, fingerprint: B256) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| store(format!("cannot create {}: {error}", dir.display())))?;
        let path = dir.join(FILE);
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| store(format!("cannot open {}: {error}", path.display())))?;
        let this = Self { db, path };
        match this.meta(FINGERPRINT)? {
            None => this.initialise(fingerprint)?,
            Some(found) if found == fingerprint.as_slice() => {}
            Some(found) => {
                return Err(Error::ForeignData {
                    dir: dir.display().to_string(),
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
        tx.open_table(META).map_err(store)?.insert(FINGERPRINT, fingerprint.as_slice()).map_err(store)?;
        // Create every table, so that readers never meet a missing one.
        tx.open_table(ACCOUNTS).map_err(store)?;
        tx.open_table(STORAGE).map_err(store)?;
        tx.open_table(CODES).map_err(store)?;
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

    /// Writes the genesis block.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn commit_genesis(&self, block: &EvmBlock, tip: &OrderedTip) -> Result<()> {
        let execution = Execution { blocks: vec![block.clone()], skipped: Vec::new() };
        self.write(&execution, tip, true, false)
    }

    /// Writes all of one ordered block, atomically.
    ///
    /// `durable`: wait until the disk holds it. Otherwise the next durable commit does.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn commit(&self, execution: &Execution, tip: &OrderedTip, durable: bool) -> Result<()> {
        self.write(execution, tip, durable, !execution.blocks.is_empty())
    }

    fn write(&self, execution: &Execution, tip: &OrderedTip, durable: bool, map: bool) -> Result<()> {
        let mut tx = self.db.begin_write().map_err(store)?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        tx.set_durability(durability).map_err(store)?;
        for block in &execution.blocks {
            write_delta(&tx, &block.delta)?;
            write_block(&tx, block)?;
        }
        if map && let Some(first) = execution.blocks.first() {
            let count = execution.blocks.len() as u32;
            let mut ordered = tx.open_table(ORDERED).map_err(store)?;
            ordered.insert(tip.height, (first.header.number, count)).map_err(store)?;
        }
        write_skips(&tx, tip.height, execution)?;
        tx.open_table(META).map_err(store)?.insert(TIP, alloy_rlp::encode(tip).as_slice()).map_err(store)?;
        tx.commit().map_err(store)
    }

    /// Rebuilds the state in memory.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub fn load_world(&self) -> Result<World> {
        let mut world = World::new();
        let tx = self.db.begin_read().map_err(store)?;
        for row in tx.open_table(CODES).map_err(store)?.iter().map_err(store)? {
            let (hash, code) = row.map_err(store)?;
            let code = Bytes::copy_from_slice(code.value());
            world.load_code(hash.value().into(), code).map_err(damaged)?;
        }
        let storage = tx.open_table(STORAGE).map_err(store)?;
        for row in tx.open_table(ACCOUNTS).map_err(store)?.iter().map_err(store)? {
            let (address, record) = row.map_err(store)?;
            let address = address.value();
            let record: AccountRecord = decode("account", record.value())?;
            let AccountRecord { nonce, balance, code_hash } = record;
            let mut slots = Vec::new();
            for row in storage.range((address, [0; 32])..=(address, [255; 32])).map_err(store)? {
                let (key, value) = row.map_err(store)?;
                let slot = U256::from_be_bytes(key.value().1);
                slots.push((slot, U256::from_be_bytes(value.value())));
            }
            world.load(address.into(), Account { nonce, balance, code_hash }, slots);
        }
        Ok(world)
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

fn write_delta(tx: &WriteTransaction, delta: &Delta) -> Result<()> {
    let mut accounts = tx.open_table(ACCOUNTS).map_err(store)?;
    let mut storage = tx.open_table(STORAGE).map_err(store)?;
    let mut codes = tx.open_table(CODES).map_err(store)?;
    for (hash, code) in &delta.codes {
        codes.insert(hash.0, code.as_ref()).map_err(store)?;
    }
    for (address, change) in &delta.accounts {
        let key: [u8; 20] = address.0.0;
        if change.wiped || change.account.is_none() {
            storage.retain_in((key, [0; 32])..=(key, [255; 32]), |_, _| false).map_err(store)?;
        }
        let Some(Account { nonce, balance, code_hash }) = change.account else {
            accounts.remove(key).map_err(store)?;
            continue;
        };
        let record = alloy_rlp::encode(AccountRecord { nonce, balance, code_hash });
        accounts.insert(key, record.as_slice()).map_err(store)?;
        for (slot, value) in &change.storage {
            let place = (key, slot.to_be_bytes());
            if value.is_zero() {
                storage.remove(place).map_err(store)?;
            } else {
                storage.insert(place, value.to_be_bytes()).map_err(store)?;
            }
        }
    }
    Ok(())
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
