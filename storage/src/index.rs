//! The index: where in the segments each batch and block lies. Rebuildable, and therefore never trusted.
//!
//! sled may lose what it acknowledged, fail to open, panic, or be another version. So every call is guarded; the
//! checkpoint carries a count and a digest of all entries, compared with the entries themselves at every open; and the
//! catalog checks every answer against the record it points at.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::key::{IndexKey, Label};
use crate::record::{u32_at, u64_at};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Head and body, without padding.
    pub(crate) bytes: u64,
}

/// Up to where in the segments the index reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reach {
    pub(crate) segment: u64,
    pub(crate) tag: u64,
    pub(crate) offset: u64,
}

/// What the index was worth when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexState {
    /// It was sound; so many records that it did not reach were added.
    Sound {
        /// Records added from the segments.
        rolled_forward: u64,
    },
    /// It was built from the segments, because there was none or because of what `reason` says.
    Rebuilt {
        /// Why.
        reason: String,
        /// Records found in the segments.
        records: u64,
    },
    /// No index can be used, for example because its directory cannot be written; memory stands in for it.
    InMemory {
        /// Why.
        reason: String,
    },
}

/// Keys and values in key order.
pub(crate) type Contents = Vec<(Vec<u8>, Vec<u8>)>;

/// A failure inside the index; the answer is always to do without it.
#[derive(Debug, Clone)]
pub(crate) struct Fault(pub(crate) String);

const CHECKPOINT_KEY: &[u8] = b"c";
const FORMAT: u32 = 1;
const CHECKPOINT_BYTES: usize = 48;

/// Order-independent digest over all entries: changes one by one, and shows what sled lost or kept too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Digest {
    count: u64,
    sum: u64,
}

impl Digest {
    fn of(key: &[u8], value: &[u8]) -> u64 {
        let low = crc32c::crc32c_append(crc32c::crc32c(key), value);
        let high = crc32c::crc32c_append(crc32c::crc32c_append(!0x5351, value), key);
        (u64::from(high) << 32 | u64::from(low)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(Self::of(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(Self::of(key, value));
    }
}

pub(crate) struct Index {
    db: sled::Db,
    dir: PathBuf,
    digest: Mutex<Digest>,
}

impl Location {
    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.segment.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_be_bytes());
        bytes[16..].copy_from_slice(&self.bytes.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 24] = bytes.try_into().ok()?;
        let field = |at: usize| Some(u64::from_be_bytes(bytes[at..at + 8].try_into().ok()?));
        Some(Self { segment: field(0)?, offset: field(8)?, bytes: field(16)? })
    }
}

fn guard<T>(work: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Fault(format!("panic inside the index: {}", text.unwrap_or_default())))
        }
    }
}

/// How long a database that was just closed may hold its file.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);

/// Opens a database. sled's own threads let go of the file a moment after the last handle is dropped; nobody else can hold
/// it, since the store's directory has a lock of its own.
fn open_released(config: &sled::Config) -> Result<sled::Db, Fault> {
    let end = Instant::now() + RELEASE_PATIENCE;
    loop {
        let opened = guard(|| config.open());
        let held = opened.as_ref().is_err_and(|fault| fault.0.contains("could not acquire lock"));
        if !held || Instant::now() > end {
            return opened;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Index {
    /// Opens or creates the index and checks all of it against its checkpoint.
    ///
    /// The index is empty if no checkpoint is given back.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Option<Reach>), Fault> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .mode(sled::Mode::LowSpace)
            .print_profile_on_drop(false);
        let db = open_released(&config)?;
        let index = Self { db, dir: dir.to_owned(), digest: Mutex::new(Digest::default()) };
        let found = index.count()?;
        let value = guard(|| index.db.get(CHECKPOINT_KEY))?;
        let Some(value) = value else {
            if found != Digest::default() {
                return Err(Fault("entries without a checkpoint".into()));
            }
            return Ok((index, None));
        };
        let (reach, written) = decode_checkpoint(&value).ok_or_else(|| Fault("checkpoint of another layout".into()))?;
        if written != found {
            return Err(Fault(format!("{} entries found where {} were written", found.count, written.count)));
        }
        *index.digest() = found;
        Ok((index, Some(reach)))
    }

    fn digest(&self) -> MutexGuard<'_, Digest> {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> Result<Digest, Fault> {
        let mut digest = Digest::default();
        guard(|| {
            for entry in self.db.iter() {
                let (key, value) = entry?;
                if &*key != CHECKPOINT_KEY {
                    digest.add(&key, &value);
                }
            }
            Ok(())
        })?;
        Ok(digest)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Location>, Fault> {
        guard(|| self.db.get(key))?.map(|value| decode_location(&value)).transpose()
    }

    /// Up to `limit` entries from `from` to `to`, both included, in order.
    pub(crate) fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(IndexKey, Location)>, Fault> {
        let entries = guard(|| self.db.range(from..=to).take(limit).collect::<Result<Vec<_>, _>>())?;
        entries.into_iter().map(|(key, value)| Ok((key.to_vec(), decode_location(&value)?))).collect()
    }

    /// The last entry from `from` to `to`, both included.
    pub(crate) fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(IndexKey, Location)>, Fault> {
        let entry = guard(|| self.db.range(from..=to).next_back().transpose())?;
        entry.map(|(key, value)| Ok((key.to_vec(), decode_location(&value)?))).transpose()
    }

    /// Adds and removes entries and moves the checkpoint, in one atomic batch.
    pub(crate) fn apply(
        &self,
        added: &[(IndexKey, Location)],
        removed: &[IndexKey],
        reach: Reach,
    ) -> Result<(), Fault> {
        let mut current = self.digest();
        let mut digest = *current;
        let mut batch = sled::Batch::default();
        for key in removed {
            if let Some(old) = guard(|| self.db.get(key))? {
                digest.remove(key, &old);
                batch.remove(&key[..]);
            }
        }
        for (key, location) in added {
            let value = location.encode();
            if let Some(old) = guard(|| self.db.get(key))? {
                digest.remove(key, &old);
            }
            digest.add(key, &value);
            batch.insert(&key[..], &value[..]);
        }
        batch.insert(CHECKPOINT_KEY, &encode_checkpoint(&reach, &digest)[..]);
        guard(|| self.db.apply_batch(batch))?;
        *current = digest;
        Ok(())
    }

    /// Keys of entries that lie in segments before `first`.
    pub(crate) fn before_segment(&self, first: u64) -> Result<Vec<IndexKey>, Fault> {
        let mut keys = Vec::new();
        guard(|| {
            for entry in self.db.iter() {
                let (key, value) = entry?;
                if Label::from_index_key(&key).is_some()
                    && Location::decode(&value).is_some_and(|location| location.segment < first)
                {
                    keys.push(key.to_vec());
                }
            }
            Ok(())
        })?;
        Ok(keys)
    }

    /// Hands everything to the operating system. Not an fsync, and none is needed.
    pub(crate) fn flush(&self) -> Result<(), Fault> {
        guard(|| self.db.flush()).map(|_| ())
    }

    /// All entries and the checkpoint, in key order.
    pub(crate) fn contents(&self) -> Result<Contents, Fault> {
        guard(|| self.db.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect())
    }

    /// Leaves a note that the next start must not use this index.
    pub(crate) fn distrust(&self) {
        // If the note cannot be written, the checks at the next open stand in for it.
        if let Err(error) = std::fs::write(distrust_note(&self.dir), b"") {
            tracing::warn!(%error, "could not note that the index is damaged");
        }
    }
}

fn distrust_note(dir: &Path) -> PathBuf {
    dir.with_extension("distrusted")
}

/// True if the last run found the index lying.
pub(crate) fn is_distrusted(dir: &Path) -> bool {
    distrust_note(dir).exists()
}

/// Moves a bad index out of the way, replacing one that was moved before, so that at most one is kept.
pub(crate) fn move_aside(dir: &Path) -> std::io::Result<()> {
    let aside = dir.with_extension("damaged");
    if aside.is_dir() {
        std::fs::remove_dir_all(&aside)?;
    } else if aside.exists() {
        std::fs::remove_file(&aside)?;
    }
    if dir.exists() {
        std::fs::rename(dir, &aside)?;
    }
    match std::fs::remove_file(distrust_note(dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn decode_location(value: &[u8]) -> Result<Location, Fault> {
    Location::decode(value).ok_or_else(|| Fault(format!("an entry of {} bytes", value.len())))
}

fn encode_checkpoint(reach: &Reach, digest: &Digest) -> [u8; CHECKPOINT_BYTES] {
    let mut bytes = [0; CHECKPOINT_BYTES];
    bytes[..4].copy_from_slice(&FORMAT.to_le_bytes());
    let fields = [reach.segment, reach.tag, reach.offset, digest.count, digest.sum];
    for (slot, field) in bytes[8..].chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

fn decode_checkpoint(bytes: &[u8]) -> Option<(Reach, Digest)> {
    if bytes.len() != CHECKPOINT_BYTES || u32_at(bytes, 0)? != FORMAT {
        return None;
    }
    let field = |index: usize| u64_at(bytes, 8 + index * 8);
    let reach = Reach { segment: field(0)?, tag: field(1)?, offset: field(2)? };
    Some((reach, Digest { count: field(3)?, sum: field(4)? }))
}
