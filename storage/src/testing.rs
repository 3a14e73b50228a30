//! A disk in memory that can lose power, fail, fill up and rot, for tests.
//!
//! It keeps what was written apart from what is durable. A power cut keeps, drops, reorders or tears the rest, by
//! seed: file contents by 512-byte sector (a sector is old or new, never mixed), directory entries one by one. A
//! rename is atomic. A failed fsync drops pages the way Linux does: it cleans them without writing all of them, and
//! the next fsync succeeds.
//!
//! Not modelled: sectors that are neither old nor new, and reads that fail.

mod file;
mod inode;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock};
use file::FaultFile;
use inode::Inode;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: the operation may or may not have happened, and nothing works afterwards.
    PowerCut,
    /// The operation fails with an input/output error; a write may be half done, an fsync loses pages.
    Error,
    /// The operation fails for lack of space; a write may be half done. An fsync fails as with [`Fault::Error`].
    NoSpace,
}

/// A small, good enough generator (splitmix64), so that a seed is all a test needs.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// A change of a directory that is not durable yet.
#[derive(Debug, Clone)]
enum Entry {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

impl Entry {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(path, _) | Self::Unlink(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                // The source may be missing if an earlier change was lost.
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
        }
    }
}

/// Which operation a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    /// The one of this number.
    Operation(u64),
    /// The next one on a file with this at the beginning of its name.
    FilePrefix(String),
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    journal: Vec<Entry>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    planned: Option<(Plan, Fault)>,
    struck: bool,
    capacity: Option<u64>,
    /// Handles of an earlier run are dead.
    run: u64,
    powered: bool,
    random: u64,
}

/// The disk. Clones share it.
#[derive(Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
    run: u64,
}

struct FaultLock {
    disk: FaultDisk,
    path: PathBuf,
}

impl DiskLock for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.run == self.disk.run {
            state.locks.remove(&self.path);
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

impl State {
    /// Counts an operation; says which fault strikes it. `path` names the file, if it still has a name.
    fn step(&mut self, run: u64, path: Option<&Path>) -> io::Result<Option<Fault>> {
        if !self.powered || run != self.run {
            return Err(off());
        }
        self.operations += 1;
        let strikes = |plan: &Plan| match plan {
            Plan::Operation(number) => *number == self.operations,
            Plan::FilePrefix(prefix) => path
                .and_then(Path::file_name)
                .is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes())),
        };
        let fault = if self.struck { None } else { self.planned.as_ref().filter(|(plan, _)| strikes(plan)) };
        let fault = fault.map(|(_, fault)| *fault);
        self.struck |= fault.is_some();
        if fault == Some(Fault::PowerCut) {
            self.powered = false;
        }
        Ok(fault)
    }

    /// Counts an operation on an open file, as [`State::step`] does.
    fn step_file(&mut self, run: u64, inode: u64) -> io::Result<Option<Fault>> {
        let path = self.names.iter().find(|(_, named)| **named == inode).map(|(path, _)| path.clone());
        self.step(run, path.as_deref())
    }

    fn random(&mut self) -> Random {
        self.random = self.random.wrapping_add(1);
        Random::new(self.random)
    }

    fn used(&self) -> u64 {
        let live: BTreeSet<u64> = self.names.values().copied().collect();
        live.iter().filter_map(|inode| self.inodes.get(inode)).map(Inode::size).sum()
    }

    fn grow(&self, bytes: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used().saturating_add(bytes) > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    /// A change of a directory: done in memory, durable later.
    fn change(&mut self, run: u64, entry: Entry) -> io::Result<()> {
        let path = match &entry {
            Entry::Create(path, _) | Entry::Unlink(path) | Entry::Rename(_, path) => path,
        };
        let fault = self.step(run, Some(path))?;
        match fault {
            Some(Fault::Error) => return Err(io::Error::other("injected error")),
            Some(Fault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut) | None => {}
        }
        entry.apply(&mut self.names);
        self.journal.push(entry);
        if fault.is_some() { Err(off()) } else { Ok(()) }
    }
}

impl Default for FaultDisk {
    fn default() -> Self {
        Self::new(0)
    }
}

impl FaultDisk {
    /// An empty disk. The seed decides what failed fsyncs lose.
    pub fn new(seed: u64) -> Self {
        let state = State { powered: true, random: seed, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), run: 0 }
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of operations so far that changed something: create, allocate, write, fdatasync, rename, unlink, fsync of a directory.
    pub fn operations(&self) -> u64 {
        self.lock_state().operations
    }

    /// Lets a fault strike the `count`-th operation from now on, once.
    pub fn fail_after(&self, count: u64, fault: Fault) {
        let mut state = self.lock_state();
        state.planned = Some((Plan::Operation(state.operations + count.max(1)), fault));
        state.struck = false;
    }

    /// Lets a fault strike the next operation on a file whose name begins with `prefix`, once. Unlike a count this
    /// does not depend on what other threads do meanwhile.
    pub fn fail_file(&self, prefix: &str, fault: Fault) {
        let mut state = self.lock_state();
        state.planned = Some((Plan::FilePrefix(prefix.to_owned()), fault));
        state.struck = false;
    }

    /// True if the fault planned last has struck.
    pub fn struck(&self) -> bool {
        self.lock_state().struck
    }

    /// Limits the bytes that files may take; none lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock_state().capacity = bytes;
    }

    /// Bytes that files take.
    pub fn used_bytes(&self) -> u64 {
        self.lock_state().used()
    }

    /// Cuts the power: what is not durable is kept, dropped, reordered or torn by the seed. Handles of before are
    /// dead; the answer is the disk after the restart.
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut state = self.lock_state();
        let keep = Keep::choose(&mut random);
        let mut names = state.durable_names.clone();
        for entry in std::mem::take(&mut state.journal) {
            if keep.keeps(&mut random) {
                entry.apply(&mut names);
            }
        }
        let live: BTreeSet<u64> = names.values().copied().collect();
        state.inodes.retain(|inode, _| live.contains(inode));
        for inode in state.inodes.values_mut() {
            inode.lose(keep, &mut random);
        }
        state.durable_names = names.clone();
        state.names = names;
        self.restart(state)
    }

    /// Kills the process but not the machine: everything written stays, durable or not.
    pub fn process_kill(&self) -> Self {
        self.restart(self.lock_state())
    }

    fn restart(&self, mut state: MutexGuard<'_, State>) -> Self {
        state.locks.clear();
        state.planned = None;
        state.struck = false;
        state.powered = true;
        state.run += 1;
        Self { state: self.state.clone(), run: state.run }
    }

    /// The files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock_state().names.keys().cloned().collect()
    }

    /// The contents of a file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock_state();
        state.names.get(path).and_then(|inode| state.inodes.get(inode)).map(Inode::contents)
    }

    /// Flips bits of a byte, in memory and on the platter.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) {
        let mut state = self.lock_state();
        if let Some(inode) = state.names.get(path).copied()
            && let Some(inode) = state.inodes.get_mut(&inode)
        {
            inode.flip(offset, mask);
        }
    }

    /// An independent copy of everything, as it is now.
    pub fn copy(&self) -> Self {
        let state = self.lock_state();
        let copy = State {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            journal: state.journal.clone(),
            inodes: state.inodes.clone(),
            next_inode: state.next_inode,
            locks: BTreeSet::new(),
            operations: state.operations,
            planned: None,
            struck: false,
            capacity: state.capacity,
            run: 0,
            powered: true,
            random: state.random,
        };
        Self { state: Arc::new(Mutex::new(copy)), run: 0 }
    }

    fn file(&self, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile { disk: self.clone(), inode })
    }
}

/// How a power cut treats what is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    Nothing,
    /// Each change by a coin with this many chances in 8.
    Some(u64),
}

impl Keep {
    fn choose(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::All,
            1 => Self::Nothing,
            2 => Self::Some(7),
            3 => Self::Some(1),
            _ => Self::Some(4),
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Some(chances) => random.below(8) < chances,
        }
    }
}

impl Disk for FaultDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        if !self.lock_state().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn lock_holder(&self, _path: &Path) -> Option<u32> {
        None
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock_state();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.next_inode += 1;
        let inode = state.next_inode;
        state.inodes.insert(inode, Inode::default());
        state.change(self.run, Entry::Create(path.to_owned(), inode))?;
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.lock_state().names.get(path).copied().ok_or_else(|| not_found(path))?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        if !state.names.contains_key(from) {
            return Err(not_found(from));
        }
        state.change(self.run, Entry::Rename(from.to_owned(), to.to_owned()))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        if !state.names.contains_key(path) {
            return Err(not_found(path));
        }
        state.change(self.run, Entry::Unlink(path.to_owned()))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        match state.step(self.run, Some(path))? {
            Some(Fault::PowerCut) => return Err(off()),
            Some(Fault::Error | Fault::NoSpace) => return Err(io::Error::other("injected error")),
            None => {}
        }
        let journal = std::mem::take(&mut state.journal);
        let (now, later) = journal.into_iter().partition(|entry: &Entry| entry.dir() == Some(path));
        state.journal = later;
        let now: Vec<Entry> = now;
        for entry in now {
            entry.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.lock_state();
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.lock_state();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}
