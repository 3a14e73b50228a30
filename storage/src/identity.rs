//! Whose directory this is, and whether it was ever initialised.
//!
//! `identity` is written first, then the first log file, then `initialised`. So a directory with the last but without
//! a log has lost it: its operator may have signed things it no longer knows of. `log-lost` keeps that fact until the
//! log holds a record again.

use std::io::IoSlice;
use std::path::Path;

use crate::disk::Disk;
use crate::error::StorageError;

/// The network and the operator that a data directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The genesis hash.
    pub network_id: [u8; 32],
    /// The operator's address.
    pub operator: [u8; 20],
}

/// What the directory was when it was opened. It decides whether the operator may sign at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Never initialised: nothing was ever written or signed from here.
    Fresh,
    /// Initialised, with its log.
    Initialised,
    /// Initialised, but the log is gone: statements may have been signed that nobody here remembers.
    LogLost,
}

pub(crate) const IDENTITY: &str = "identity";
pub(crate) const INITIALISED: &str = "initialised";
pub(crate) const LOG_LOST: &str = "log-lost";
pub(crate) const LOCK: &str = "lock";

const TITLE: &str = "squad data directory";
/// The file is a few lines; anything longer is not ours.
const MAX_IDENTITY_BYTES: usize = 1024;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl StoreIdentity {
    fn encode(&self) -> String {
        let text = format!("{TITLE}\nnetwork 0x{}\noperator 0x{}\n", hex(&self.network_id), hex(&self.operator));
        format!("{text}checksum {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }
}

/// Checks that the directory is of `identity`, or writes that down if it has none yet. True if it was there already.
pub(crate) fn claim(disk: &dyn Disk, dir: &Path, identity: &StoreIdentity) -> Result<bool, StorageError> {
    let path = dir.join(IDENTITY);
    if !exists(disk, dir, IDENTITY)? {
        if exists(disk, dir, INITIALISED)? {
            return Err(StorageError::corrupt(&path, 0, "the identity file is missing from a directory in use"));
        }
        write_note(disk, dir, IDENTITY, identity.encode().as_bytes())?;
        return Ok(false);
    }
    let file = disk.open(&path).map_err(|error| StorageError::io("open", &path, error))?;
    let mut bytes = vec![0; MAX_IDENTITY_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(|error| StorageError::io("read", &path, error))?;
    bytes.truncate(read);
    if bytes == identity.encode().as_bytes() {
        return Ok(true);
    }
    let damaged = || StorageError::corrupt(&path, 0, "the identity file is damaged");
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    let (signed, checksum) = text.rsplit_once("checksum ").ok_or_else(damaged)?;
    if checksum.trim_end() != format!("{:08x}", crc32c::crc32c(signed.as_bytes())) {
        return Err(damaged());
    }
    let value = |name: &str| {
        let line = signed.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(damaged)?;
        Ok::<_, StorageError>(line.trim().to_owned())
    };
    let wanted = [
        ("network", value("network ")?, format!("0x{}", hex(&identity.network_id))),
        ("operator", value("operator ")?, format!("0x{}", hex(&identity.operator))),
    ];
    for (field, found, expected) in wanted {
        if found != expected {
            return Err(StorageError::Foreign { path: dir.to_owned(), field, found, expected });
        }
    }
    Err(damaged())
}

pub(crate) fn exists(disk: &dyn Disk, dir: &Path, name: &str) -> Result<bool, StorageError> {
    let names = disk.list(dir).map_err(|error| StorageError::io("list", dir, error))?;
    Ok(names.iter().any(|entry| entry == name))
}

/// Writes a small file so that it is there whole or not at all.
pub(crate) fn write_note(disk: &dyn Disk, dir: &Path, name: &str, text: &[u8]) -> Result<(), StorageError> {
    let path = dir.join(name);
    let unfinished = dir.join(format!("{name}.new"));
    if exists(disk, dir, &format!("{name}.new"))? {
        disk.unlink(&unfinished).map_err(|error| StorageError::io("unlink", &unfinished, error))?;
    }
    let file = disk.create(&unfinished).map_err(|error| StorageError::io("create", &unfinished, error))?;
    file.write_vectored_at(&[IoSlice::new(text)], 0).map_err(|error| StorageError::io("write", &unfinished, error))?;
    file.sync_data().map_err(|error| StorageError::io("fdatasync", &unfinished, error))?;
    disk.rename(&unfinished, &path).map_err(|error| StorageError::io("rename", &unfinished, error))?;
    disk.sync_dir(dir).map_err(|error| StorageError::io("fsync", dir, error))
}

/// Removes a small file durably, if it is there.
pub(crate) fn remove_note(disk: &dyn Disk, dir: &Path, name: &str) -> Result<(), StorageError> {
    if exists(disk, dir, name)? {
        let path = dir.join(name);
        disk.unlink(&path).map_err(|error| StorageError::io("unlink", &path, error))?;
        disk.sync_dir(dir).map_err(|error| StorageError::io("fsync", dir, error))?;
    }
    Ok(())
}
