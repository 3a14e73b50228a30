//! Files that wait to be used: allocated and, for the log, filled with zeros or recycled, so that its small writes change no
//! metadata. Segments are only allocated: their writes are large, and to write every byte twice costs more than it saves.
//!
//! A recycled file keeps its old bytes. They are harmless: its next use has another tag, and no record of another tag
//! is ever read.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;

const PREFIX: &str = "spare-";
/// Zeros written at once.
const ZERO_BYTES: usize = 1 << 20;

/// The spare files of one stream's directory.
pub(crate) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file_bytes: u64,
    keep: usize,
    free: Vec<PathBuf>,
    next: u64,
}

/// What became of a file that is no longer needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Released {
    /// It waits to be used again.
    Recycled,
    /// It is gone.
    Unlinked,
}

impl Spares {
    /// Takes over the spare files that are in `dir` and removes those that do not fit.
    pub(crate) fn load(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        file_bytes: u64,
        keep: usize,
        names: &[String],
    ) -> Result<Self, StorageError> {
        let mut spares = Self { disk, dir, file_bytes, keep, free: Vec::new(), next: 0 };
        for name in names.iter().filter(|name| name.starts_with(PREFIX)) {
            let path = spares.dir.join(name);
            let number = name[PREFIX.len()..].parse::<u64>().unwrap_or(0);
            spares.next = spares.next.max(number.saturating_add(1));
            let size = spares.disk.open(&path).and_then(|file| file.size());
            if size.is_ok_and(|size| size == file_bytes) && spares.free.len() < keep {
                spares.free.push(path);
            } else {
                spares.disk.unlink(&path).map_err(|error| StorageError::io("unlink", &path, error))?;
            }
        }
        Ok(spares)
    }

    fn name(&mut self) -> PathBuf {
        self.next += 1;
        self.dir.join(format!("{PREFIX}{}", self.next))
    }

    /// Number of files that wait.
    pub(crate) fn len(&self) -> usize {
        self.free.len()
    }

    /// A file of `bytes` with any contents, to be renamed by the caller.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(PathBuf, Arc<dyn DiskFile>), StorageError> {
        if bytes == self.file_bytes
            && let Some(path) = self.free.pop()
        {
            let file = self.disk.open(&path).map_err(|error| StorageError::io("open", &path, error))?;
            return Ok((path, file));
        }
        let path = self.name();
        let file = create_file(&*self.disk, &path, bytes)?;
        Ok((path, file))
    }

    /// A name and size for a spare file, if one is wanted; make it with [`prepare`] outside the lock, then [`add`](Self::add) it.
    pub(crate) fn wanted(&mut self) -> Option<(PathBuf, u64)> {
        (self.free.len() < self.keep).then(|| (self.name(), self.file_bytes))
    }

    /// Adds a prepared file.
    pub(crate) fn add(&mut self, path: PathBuf) {
        self.free.push(path);
    }

    /// Keeps a file for another use or removes it. The caller syncs the directory before the file is used again.
    pub(crate) fn release(&mut self, path: &Path, bytes: u64) -> Result<Released, StorageError> {
        if bytes == self.file_bytes && self.free.len() < self.keep {
            let spare = self.name();
            self.disk.rename(path, &spare).map_err(|error| StorageError::io("rename", path, error))?;
            self.free.push(spare);
            return Ok(Released::Recycled);
        }
        self.disk.unlink(path).map_err(|error| StorageError::io("unlink", path, error))?;
        Ok(Released::Unlinked)
    }
}

fn create_file(disk: &dyn Disk, path: &Path, bytes: u64) -> Result<Arc<dyn DiskFile>, StorageError> {
    let file = disk.create(path).map_err(|error| StorageError::io_sized("create", path, bytes, error))?;
    if let Err(error) = file.allocate(bytes) {
        // Best effort: a leftover spare of the wrong size is removed at the next start anyway.
        let _ = disk.unlink(path);
        let free = disk.free_bytes(path.parent().unwrap_or(path)).unwrap_or(0);
        return Err(match StorageError::io_sized("allocate", path, bytes, error) {
            StorageError::DiskFull { path, needed, .. } => StorageError::DiskFull { path, needed, free },
            other => other,
        });
    }
    Ok(file)
}

/// Makes a file that reads as zeros. A `filled` one has all its blocks written, so that later writes to it change no metadata.
pub(crate) fn prepare(disk: &dyn Disk, path: &Path, bytes: u64, filled: bool) -> Result<(), StorageError> {
    let file = create_file(disk, path, bytes)?;
    if !filled {
        return Ok(());
    }
    fill(&*file, path, bytes).inspect_err(|_| {
        // Best effort: a leftover of the right size is as good as any spare file.
        let _ = disk.unlink(path);
    })
}

fn fill(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<(), StorageError> {
    let zeros = vec![0; ZERO_BYTES];
    let mut at = 0;
    while at < bytes {
        let count = usize::try_from(bytes - at).unwrap_or(ZERO_BYTES).min(ZERO_BYTES);
        file.write_vectored_at(&[IoSlice::new(&zeros[..count])], at)
            .map_err(|error| StorageError::io_sized("write", path, bytes, error))?;
        at += count as u64;
    }
    file.sync_data().map_err(|source| StorageError::Io { operation: "fdatasync", path: path.to_owned(), source })
}
