//! What the tests share.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::{BatchKey, BulkRecord, Disk, Options, RealDisk, Recovered, StorageError, Store, StoreIdentity};

pub(super) const IDENTITY: StoreIdentity = StoreIdentity { network_id: [7; 32], operator: [9; 20] };

/// Files so small that every test rotates.
pub(super) fn small() -> Options {
    Options {
        log_file_bytes: 16 << 10,
        segment_bytes: 32 << 10,
        free_space_mark: 0,
        index_cache_bytes: 1 << 20,
        ..Options::default()
    }
}

pub(super) fn open_with(dir: &Path, options: Options, disk: Arc<dyn Disk>) -> Result<(Store, Recovered), StorageError> {
    Store::open(dir, IDENTITY, options, disk, &mut |_| {})
}

pub(super) fn open(dir: &Path) -> (Store, Recovered) {
    open_with(dir, small(), Arc::new(RealDisk)).unwrap()
}

pub(super) fn key(epoch: u64, lane: u16, sequence: u64) -> BatchKey {
    BatchKey { epoch, lane, sequence }
}

/// Bytes that differ from record to record and look random enough to cross sectors.
pub(super) fn body(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

pub(super) fn id(seed: u64) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&seed.to_be_bytes());
    id
}

pub(super) fn batch(epoch: u64, lane: u16, sequence: u64, len: usize) -> BulkRecord {
    let seed = epoch << 32 | u64::from(lane) << 20 | sequence;
    BulkRecord::Batch { key: key(epoch, lane, sequence), id: id(seed), body: body(seed, len) }
}

pub(super) fn block(height: u64, len: usize) -> BulkRecord {
    BulkRecord::Block { height, body: body(height ^ 0xb10c, len) }
}
