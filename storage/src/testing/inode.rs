//! A file's contents: as the process sees them, and as they are on the platter.

use std::collections::BTreeMap;

use super::{Keep, Random};

const SECTOR: usize = 512;

#[derive(Default, Clone)]
pub(super) struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Every version that a sector had since it was last durable, oldest first.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl Inode {
    pub(super) fn size(&self) -> u64 {
        self.current.len() as u64
    }

    pub(super) fn contents(&self) -> Vec<u8> {
        self.current.clone()
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let rest = self.current.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = offset as usize;
        let stop = start + bytes.len();
        if self.current.len() < stop {
            self.current.resize(stop, 0);
        }
        self.current[start..stop].copy_from_slice(bytes);
        for sector in start / SECTOR..=(stop - 1) / SECTOR {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.current.len());
            self.dirty.entry(sector).or_default().push(self.current[from..to].to_vec());
        }
    }

    pub(super) fn allocate(&mut self, bytes: u64) {
        if self.current.len() < bytes as usize {
            self.current.resize(bytes as usize, 0);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(self.current.len());
            self.durable[from..to].copy_from_slice(&self.current[from..to]);
        }
    }

    fn settle(&mut self, sector: usize, version: &[u8]) {
        let from = sector * SECTOR;
        let to = (from + version.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&version[..to - from]);
        }
    }

    /// Some pages reach the platter, the others are forgotten but still read as written.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.durable.resize(self.current.len(), 0);
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if random.below(2) == 0
                && let Some(version) = versions.last()
            {
                self.settle(sector, version);
            }
        }
    }

    /// The power goes: each sector ends at one of the versions it had, the length old or new.
    pub(super) fn lose(&mut self, keep: Keep, random: &mut Random) {
        if keep.keeps(random) {
            self.durable.resize(self.current.len().max(self.durable.len()), 0);
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if keep.keeps(random) {
                let version = match keep {
                    Keep::All => versions.len() - 1,
                    Keep::Nothing | Keep::Some(_) => random.below(versions.len() as u64) as usize,
                };
                self.settle(sector, &versions[version]);
            }
        }
        self.current = self.durable.clone();
    }

    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        for bytes in [&mut self.current, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
    }
}
