//! An open file of the disk in memory.

use std::io::{self, IoSlice};

use super::inode::Inode;
use super::{Fault, FaultDisk, State, off};
use crate::disk::DiskFile;

pub(super) struct FaultFile {
    pub(super) disk: FaultDisk,
    pub(super) inode: u64,
}

impl FaultFile {
    fn with<T>(&self, work: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock_state();
        if !state.powered || state.run != self.disk.run {
            return Err(off());
        }
        work(&mut state, self.disk.run)
    }
}

impl DiskFile for FaultFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|state, _| Ok(state.inodes.get(&self.inode).map_or(0, Inode::size)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state, _| Ok(state.inodes.get(&self.inode).map_or(0, |inode| inode.read(buffer, offset))))
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        self.with(|state, run| {
            let fault = state.step_file(run, self.inode)?;
            let size = state.inodes.get(&self.inode).map_or(0, Inode::size);
            let growth = (offset + bytes.len() as u64).saturating_sub(size);
            if growth > 0 {
                state.grow(growth)?;
            }
            let mut random = state.random();
            let Some(inode) = state.inodes.get_mut(&self.inode) else { return Err(off()) };
            let done = match fault {
                Some(Fault::Error | Fault::NoSpace) => random.below(bytes.len() as u64 + 1) as usize,
                Some(Fault::PowerCut) | None => bytes.len(),
            };
            inode.write(offset, &bytes[..done]);
            match fault {
                None => Ok(()),
                Some(Fault::PowerCut) => Err(off()),
                Some(Fault::Error) => Err(io::Error::other("injected error")),
                Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, run| {
            let fault = state.step_file(run, self.inode)?;
            let mut random = state.random();
            let Some(inode) = state.inodes.get_mut(&self.inode) else { return Err(off()) };
            match fault {
                None => {
                    inode.sync();
                    Ok(())
                }
                Some(Fault::PowerCut) => Err(off()),
                Some(Fault::Error | Fault::NoSpace) => {
                    inode.fail_sync(&mut random);
                    Err(io::Error::other("injected fsync error"))
                }
            }
        })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, run| {
            let fault = state.step_file(run, self.inode)?;
            let size = state.inodes.get(&self.inode).map_or(0, Inode::size);
            match fault {
                Some(Fault::Error) => return Err(io::Error::other("injected error")),
                Some(Fault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
                Some(Fault::PowerCut) | None => state.grow(bytes.saturating_sub(size))?,
            }
            if let Some(inode) = state.inodes.get_mut(&self.inode) {
                inode.allocate(bytes);
            }
            if fault.is_some() { Err(off()) } else { Ok(()) }
        })
    }
}
