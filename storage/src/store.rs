//! The store: opening a data directory, and reading from it while it is written.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::appender::Volume;
use crate::bulk::BulkWriter;
use crate::catalog::{Catalog, Pruned, Retention, StoredBatch, StoredBlock};
use crate::disk::{Disk, DiskLock};
use crate::error::StorageError;
use crate::identity::{INITIALISED, LOCK, LOG_LOST, Origin, StoreIdentity, claim, exists, remove_note, write_note};
use crate::key::BatchKey;
use crate::log::LogWriter;
use crate::metrics::{Metrics, StreamCounters};
use crate::options::Options;
use crate::recovery::{Progress, Recovered, file_numbers, open_log, open_segments};
use crate::segment::StreamKind;
use crate::spares::{Spares, prepare};

/// An open data directory. Clones share it; it is released when the last clone, writer and committer is gone.
///
/// Reads may run on any thread, also while a [`Committer`](crate::Committer) writes. What a read returns is durable and passed its
/// checksum.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    catalog: Arc<Catalog>,
    log: Arc<Volume>,
    writers: Mutex<Option<(LogWriter, BulkWriter)>>,
}

impl Store {
    /// Opens a data directory, creating it if needed, and brings back what is durable in it.
    ///
    /// A torn tail is cut off. Damage to what was durable is refused with the file and the offset, and nothing is
    /// changed. A directory of another network or operator is refused, and one that is in use. A fresh directory is
    /// refused if the disk is below its free-space mark. `progress` is called after each file that is read.
    pub fn open(
        dir: impl AsRef<Path>,
        identity: StoreIdentity,
        options: Options,
        disk: Arc<dyn Disk>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Recovered), StorageError> {
        options.check()?;
        let dir = dir.as_ref();
        let log_dir = dir.join("log");
        let bulk_dir = dir.join("segments");
        for path in [dir, &log_dir, &bulk_dir] {
            disk.create_dir(path).map_err(|error| StorageError::io("create", path, error))?;
        }
        let lock: Arc<dyn DiskLock> = Arc::from(lock(&*disk, dir)?);
        let known = claim(&*disk, dir, &identity)?;
        let initialised = known && exists(&*disk, dir, INITIALISED)?;
        if !initialised {
            check_space(&*disk, dir, &options)?;
            sync_parent(&*disk, dir)?;
        }
        // What the last run renamed is visible, but durable only if it lived to sync the directory.
        disk.sync_dir(dir).map_err(|error| StorageError::io("fsync", dir, error))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let log = volume(&disk, log_dir, StreamKind::Log, options.log_file_bytes, &options, (&stopped, &lock))?;
        let bulk = volume(&disk, bulk_dir, StreamKind::Bulk, options.segment_bytes, &options, (&stopped, &lock))?;
        if initialised && log.1.is_empty() {
            write_note(&*disk, dir, LOG_LOST, b"the log was missing at a start\n")?;
        }
        let (log, log_numbers) = log;
        let (log_writer, contents) = open_log(&log, &log_numbers, progress)?;
        let (bulk, bulk_numbers) = bulk;
        let segments = open_segments(&bulk, &bulk_numbers)?;
        if options.verify_everything {
            segments.verify(progress)?;
        }
        let index_dir = options.index_dir.clone().unwrap_or_else(|| dir.join("index"));
        let (index, memory, index_state) = segments.index(&index_dir, options.index_cache_bytes, progress)?;
        let has_records = contents.checkpoint.is_some() || !contents.records.is_empty();
        let origin = settle_origin(&*disk, dir, initialised, has_records, segments.is_empty())?;
        let recovered = Recovered {
            origin,
            checkpoint: contents.checkpoint,
            records: contents.records,
            log_torn: contents.torn,
            bulk_torn: segments.torn.clone(),
            index: index_state,
        };
        let catalog = Arc::new(Catalog::new(bulk, segments.segments, memory, index));
        let bulk_writer = BulkWriter { appender: segments.appender, catalog: catalog.clone() };
        let writers = Mutex::new(Some((log_writer, bulk_writer)));
        let shared = Shared { disk, dir: dir.to_owned(), options, catalog, log, writers };
        Ok((Self { shared: Arc::new(shared) }, recovered))
    }

    /// Hands out the two writers, once. A [`Committer`](crate::Committer) takes them itself.
    pub fn writers(&self) -> Result<(LogWriter, BulkWriter), StorageError> {
        let mut writers = self.shared.writers.lock().unwrap_or_else(PoisonError::into_inner);
        writers.take().ok_or(StorageError::WritersTaken)
    }

    /// All batches at a key; several if the lane forked.
    pub fn batch(&self, epoch: u64, lane: u16, sequence: u64) -> Result<Vec<([u8; 32], Bytes)>, StorageError> {
        let found = self.shared.catalog.batch(&BatchKey { epoch, lane, sequence })?;
        Ok(found.into_iter().map(|batch| (batch.id, batch.body)).collect())
    }

    /// Batches whose keys lie in `range`, in key order, up to `max_bytes` of bodies, but at least one if there is one.
    pub fn batches(&self, range: Range<BatchKey>, max_bytes: u64) -> Result<Vec<StoredBatch>, StorageError> {
        self.shared.catalog.batches(&range, max_bytes)
    }

    /// The block of a height.
    pub fn block(&self, height: u64) -> Result<Option<Bytes>, StorageError> {
        self.shared.catalog.block(height)
    }

    /// Blocks of `height`, `height` + 1 and so on without a gap, up to `max_bytes` of bodies, but at least one if there is one.
    pub fn blocks_from(&self, height: u64, max_bytes: u64) -> Result<Vec<StoredBlock>, StorageError> {
        self.shared.catalog.blocks_from(height, max_bytes)
    }

    /// The lowest height with a block.
    pub fn first_block(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.shared.catalog.block_bounds()?.map(|(first, _)| first))
    }

    /// The highest height with a block.
    pub fn last_block(&self) -> Result<Option<u64>, StorageError> {
        Ok(self.shared.catalog.block_bounds()?.map(|(_, last)| last))
    }

    /// Removes the oldest segments that hold nothing needed any more; see [`Retention`].
    pub fn prune(&self, retention: Retention) -> Result<Pruned, StorageError> {
        self.shared.catalog.prune(retention)
    }

    /// Bytes that can still be allocated on the disk.
    pub fn free_bytes(&self) -> Result<u64, StorageError> {
        let dir = &self.shared.dir;
        self.shared.disk.free_bytes(dir).map_err(|error| StorageError::io("stat", dir, error))
    }

    /// True if the disk is below its free-space mark.
    pub fn low_on_space(&self) -> Result<bool, StorageError> {
        Ok(self.free_bytes()? < self.shared.options.free_space_mark)
    }

    /// True after the first failure; nothing is written any more.
    pub fn is_stopped(&self) -> bool {
        self.shared.log.is_stopped()
    }

    /// Counters since the store was opened.
    pub fn metrics(&self) -> Metrics {
        let catalog = &self.shared.catalog;
        Metrics {
            log: self.shared.log.counters.snapshot(),
            bulk: catalog.volume.counters.snapshot(),
            duplicates: catalog.duplicates(),
            unindexed: catalog.unindexed() as u64,
            index_failures: catalog.index_failures(),
            pruned_bytes: catalog.pruned_bytes(),
        }
    }

    /// The options that the store was opened with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Work that need not be done on the way of a write: brings the index up to date when enough has gathered and
    /// prepares files. A [`Committer`](crate::Committer) calls it from a thread of its own.
    pub fn maintain(&self) -> Result<(), StorageError> {
        self.shared.catalog.maintain_index(false);
        if self.is_stopped() {
            return Err(StorageError::Stopped);
        }
        let catalog = &self.shared.catalog;
        let mark = self.shared.options.free_space_mark;
        // The log may use the last space: without it the node cannot even vote.
        let wanted = [(&self.shared.log, true, 0), (&catalog.volume, catalog.nears_rotation(), mark)];
        for (volume, _, mark) in wanted.into_iter().filter(|(_, wanted, _)| *wanted) {
            let Some((path, bytes)) = volume.spares().wanted() else {
                continue;
            };
            if self.free_bytes()? < mark.saturating_add(bytes) {
                continue;
            }
            prepare(&*volume.disk, &path, bytes, volume.stream == StreamKind::Log)?;
            volume.spares().add(path);
        }
        Ok(())
    }

    /// True if [`maintain`](Self::maintain) has something to do.
    pub(crate) fn wants_maintenance(&self) -> bool {
        let catalog = &self.shared.catalog;
        let lacks = |volume: &Volume| volume.spares().len() < self.shared.options.spare_files;
        catalog.lags() || lacks(&self.shared.log) || (catalog.nears_rotation() && lacks(&catalog.volume))
    }

    /// Moves everything into the index. Not needed for safety; it makes the next start quick.
    pub fn flush_index(&self) {
        self.shared.catalog.maintain_index(true);
    }

    /// All keys and values of the index in order, after bringing it up to date; none if memory stands in for it.
    ///
    /// For checks: an index built anew from the same segments has the same contents.
    pub fn index_contents(&self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        self.shared.catalog.index_contents()
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, StorageError> {
    let path = dir.join(LOCK);
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            StorageError::Locked { path: dir.to_owned(), holder: disk.lock_holder(&path) }
        }
        _ => StorageError::io("lock", &path, error),
    })
}

fn check_space(disk: &dyn Disk, dir: &Path, options: &Options) -> Result<(), StorageError> {
    let free = disk.free_bytes(dir).map_err(|error| StorageError::io("stat", dir, error))?;
    let needed = options.free_space_mark.saturating_add(options.log_file_bytes).saturating_add(options.segment_bytes);
    if free < needed {
        return Err(StorageError::DiskFull { path: dir.to_owned(), needed, free });
    }
    Ok(())
}

/// Makes the directory itself durable.
fn sync_parent(disk: &dyn Disk, dir: &Path) -> Result<(), StorageError> {
    match dir.parent() {
        // Not every parent may be opened by this user; then the creation of the directory rests on the file system.
        Some(parent) if !parent.as_os_str().is_empty() => match disk.sync_dir(parent) {
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
                Err(StorageError::io("fsync", parent, error))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn volume(
    disk: &Arc<dyn Disk>,
    dir: PathBuf,
    stream: StreamKind,
    file_bytes: u64,
    options: &Options,
    (stopped, lock): (&Arc<AtomicBool>, &Arc<dyn DiskLock>),
) -> Result<(Arc<Volume>, Vec<u64>), StorageError> {
    let names = disk.list(&dir).map_err(|error| StorageError::io("list", &dir, error))?;
    let spares = Spares::load(disk.clone(), dir.clone(), file_bytes, options.spare_files, &names)?;
    let volume = Volume {
        disk: disk.clone(),
        dir,
        stream,
        file_bytes,
        spares: Mutex::new(spares),
        counters: StreamCounters::default(),
        stopped: stopped.clone(),
        _lock: lock.clone(),
    };
    Ok((Arc::new(volume), file_numbers(stream, &names)))
}

/// Decides what the directory was, and leaves it marked as initialised.
fn settle_origin(
    disk: &dyn Disk,
    dir: &Path,
    initialised: bool,
    has_records: bool,
    nothing_stored: bool,
) -> Result<Origin, StorageError> {
    if has_records {
        // The log is the truth; a marker that somebody removed is put back.
        remove_note(disk, dir, LOG_LOST)?;
        if !initialised {
            write_note(disk, dir, INITIALISED, b"")?;
        }
        return Ok(Origin::Initialised);
    }
    if exists(disk, dir, LOG_LOST)? {
        return Ok(Origin::LogLost);
    }
    if initialised {
        return Ok(Origin::Initialised);
    }
    if !nothing_stored {
        // Segments without marker and log: somebody removed both.
        write_note(disk, dir, LOG_LOST, b"segments were found without a log\n")?;
        write_note(disk, dir, INITIALISED, b"")?;
        return Ok(Origin::LogLost);
    }
    write_note(disk, dir, INITIALISED, b"")?;
    Ok(Origin::Fresh)
}
