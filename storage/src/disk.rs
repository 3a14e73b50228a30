//! The seam to the file system, so that tests can cut the power.

use std::any::Any;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Held as long as a data directory is in use; dropping it releases the directory.
pub trait DiskLock: Any + Send + Sync {}

/// The file system operations that storage uses, each of them a point where power may fail.
///
/// A directory entry (create, rename, unlink) is durable only after [`sync_dir`](Disk::sync_dir) of its directory, file
/// contents only after [`sync_data`](DiskFile::sync_data).
pub trait Disk: Send + Sync + 'static {
    /// Creates a directory and its parents; it may exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Locks the file at `path`, creating it; `WouldBlock` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// The process id that the holder of a lock wrote down, if any.
    fn lock_holder(&self, path: &Path) -> Option<u32>;
    /// Creates a file that must not exist, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file atomically, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; open handles go on working.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The file names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Bytes that can still be allocated in the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all buffers one after the other, starting at `offset`. Only one thread may write a file at a time.
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes contents and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Grows the file to `bytes`, reading as zeros, with its space reserved.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Says that a durable range will hardly be read soon, so that memory need not hold it. Changes nothing that can be read.
    fn forget(&self, _range: std::ops::Range<u64>) {}
}

/// The operating system's files.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

/// Most buffers that one system call takes (IOV_MAX on Linux and macOS).
const MAX_BUFFERS_PER_CALL: usize = 1024;

struct RealFile {
    file: File,
    /// Serialises seek and write; reads are positioned and need no lock.
    cursor: Mutex<()>,
}

struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

fn real(file: File) -> Arc<dyn DiskFile> {
    Arc::new(RealFile { file, cursor: Mutex::new(()) })
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn lock_holder(&self, path: &Path) -> Option<u32> {
        let mut text = String::new();
        File::open(path).ok()?.take(16).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).map(real)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        OpenOptions::new().read(true).write(true).open(path).map(real)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        fs4::available_space(path)
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let _cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        let mut buffers = buffers.to_vec();
        let mut rest = &mut buffers[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let count = rest.len().min(MAX_BUFFERS_PER_CALL);
            match file.write_vectored(&rest[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        // Trait call: the inherent methods of File have no allocate.
        match fs4::fs_std::FileExt::allocate(&self.file, bytes) {
            Ok(()) => Ok(()),
            // Some file systems cannot reserve; the length alone keeps the layout, and a later write may fail for space.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.file.set_len(bytes),
            Err(error) => Err(error),
        }
    }

    #[cfg(target_os = "linux")]
    fn forget(&self, range: std::ops::Range<u64>) {
        // The kernel leaves out pages that the range covers in part, so the one that is written next stays. It is advice: a
        // file system that does not take it loses nothing.
        if let Some(length) = std::num::NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _ = rustix::fs::fadvise(&self.file, range.start, Some(length), rustix::fs::Advice::DontNeed);
        }
    }
}
