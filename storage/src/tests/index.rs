//! The index is lost, old, damaged or lying: it is rebuilt, byte for byte, and no read is ever wrong.

use std::path::Path;

use super::support::{batch, block, key, open, open_with, small};
use crate::index::{Index, Location};
use crate::key::block_key;
use crate::{Disk, IndexState, RealDisk, Retention, StorageError, Store};

const BLOCKS: u64 = 80;

/// A directory with some segments, all of them in the index, and the index's contents.
fn filled(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (store, _) = open(dir);
    let (_log, mut bulk) = store.writers().unwrap();
    for n in 0..BLOCKS {
        bulk.commit(&[batch(n / 10, (n % 3) as u16, n, 900), block(n, 700)]).unwrap();
    }
    // A segment at the front is pruned, so that numbers do not start at one.
    store.prune(Retention { epoch: 3, height: 30, max_bytes: 0 }).unwrap();
    bulk.finish().unwrap();
    store.index_contents().unwrap()
}

fn check(store: &Store) {
    let first = store.first_block().unwrap().unwrap();
    assert!((1..30).contains(&first));
    assert_eq!(store.last_block().unwrap(), Some(BLOCKS - 1));
    for n in first..BLOCKS {
        assert_eq!(store.block(n).unwrap().as_ref(), Some(block(n, 700).body()), "block {n}");
    }
    assert_eq!(store.batches(key(3, 0, 0)..key(8, 0, 0), u64::MAX).unwrap().len(), 50);
    assert_eq!(store.block(0).unwrap(), None);
}

/// Opens after the index was tampered with: it must have been rebuilt, to the same contents.
fn rebuilt(dir: &Path, contents: &[(Vec<u8>, Vec<u8>)]) -> String {
    let (store, recovered) = open(dir);
    let IndexState::Rebuilt { reason, records } = recovered.index else { panic!("{:?}", recovered.index) };
    assert!(records > 0);
    check(&store);
    assert_eq!(store.index_contents().unwrap(), contents);
    reason
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn a_lost_index_is_rebuilt_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let contents = filled(dir.path());
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    rebuilt(dir.path(), &contents);
    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.index, IndexState::Sound { rolled_forward: 0 });
    assert_eq!(store.index_contents().unwrap(), contents);
}

#[test]
fn an_old_index_is_rolled_forward_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (store, _) = open(dir.path());
        let (_log, mut bulk) = store.writers().unwrap();
        for n in 0..40 {
            bulk.commit(&[batch(n / 10, (n % 3) as u16, n, 900), block(n, 700)]).unwrap();
        }
        store.flush_index();
    }
    let old = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("index"), old.path());
    let contents = filled(dir.path());
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_dir(old.path(), &dir.path().join("index"));
    let (store, recovered) = open(dir.path());
    assert!(matches!(recovered.index, IndexState::Sound { rolled_forward } if rolled_forward > 20));
    check(&store);
    assert_eq!(store.index_contents().unwrap(), contents);
}

#[test]
fn an_index_of_segments_that_are_gone_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let contents = filled(dir.path());
    copy_dir(dir.path(), old.path());
    {
        let (store, _) = open(dir.path());
        let (_log, mut bulk) = store.writers().unwrap();
        bulk.commit(&[block(BLOCKS, 700), block(BLOCKS + 1, 30_000)]).unwrap();
        store.flush_index();
    }
    // The truth of before with the index of after.
    std::fs::remove_dir_all(old.path().join("index")).unwrap();
    copy_dir(&dir.path().join("index"), &old.path().join("index"));
    let reason = rebuilt(old.path(), &contents);
    assert!(reason.contains("reaches"), "{reason}");
}

#[test]
fn a_damaged_index_is_rebuilt_or_found_sound_but_never_believed_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    let contents = filled(dir.path());
    let pristine = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join("index"), pristine.path());
    let size = std::fs::metadata(pristine.path().join("db")).unwrap().len();
    let mut rebuilds = 0;
    for attempt in 0..24_u64 {
        std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        copy_dir(pristine.path(), &dir.path().join("index"));
        let db = dir.path().join("index/db");
        let mut bytes = std::fs::read(&db).unwrap();
        match attempt {
            0 => bytes.clear(),
            1 => bytes.fill(0xff),
            2 => bytes.truncate(bytes.len() / 3),
            _ => {
                let at = ((attempt - 3) * size / 21) as usize;
                let stop = (at + 64).min(bytes.len());
                bytes[at..stop].iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
        }
        std::fs::write(&db, bytes).unwrap();
        let (store, recovered) = open(dir.path());
        rebuilds += u32::from(matches!(recovered.index, IndexState::Rebuilt { .. }));
        check(&store);
        assert_eq!(store.index_contents().unwrap(), contents, "attempt {attempt}");
    }
    assert!(rebuilds >= 3, "only {rebuilds} rebuilds");
}

/// The checksum that sled uses.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[test]
fn an_index_of_another_version_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let contents = filled(dir.path());
    let conf = dir.path().join("index/conf");
    let bytes = std::fs::read(&conf).unwrap();
    // The last four bytes are the checksum.
    let text = String::from_utf8(bytes[..bytes.len() - 4].to_vec()).unwrap();
    let mut other = text.replace("version: 0.34", "version: 0.99").into_bytes();
    assert_ne!(other, text.as_bytes());
    let checksum = crc32(&other);
    other.extend_from_slice(&checksum.to_le_bytes());
    std::fs::write(&conf, other).unwrap();
    let reason = rebuilt(dir.path(), &contents);
    assert!(reason.contains("0.99"), "{reason}");
    assert!(dir.path().join("index.damaged").is_dir(), "the old one was kept aside");
}

#[test]
fn an_index_directory_that_cannot_be_used_is_replaced_by_memory() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let mut options = small();
    options.index_dir = Some("/dev/null/index".into());
    let (store, recovered) = open_with(dir.path(), options, std::sync::Arc::new(RealDisk)).unwrap();
    assert!(matches!(recovered.index, IndexState::InMemory { .. }));
    check(&store);
    assert_eq!(store.index_contents(), None);
}

/// Changes entries behind the store's back, with a sound checkpoint.
fn tamper(dir: &Path, entries: &[(Vec<u8>, Location)]) {
    let (index, reach) = Index::open(&dir.join("index"), 1 << 20).unwrap();
    index.apply(entries, &[], reach.unwrap()).unwrap();
    index.flush().unwrap();
}

fn location_of(dir: &Path, height: u64) -> Location {
    let (index, _) = Index::open(&dir.join("index"), 1 << 20).unwrap();
    index.get(&block_key(height)).unwrap().unwrap()
}

#[test]
fn an_index_that_lies_is_found_out_at_the_first_read_and_rebuilt_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let contents = filled(dir.path());
    let (one, two) = (location_of(dir.path(), 50), location_of(dir.path(), 60));
    let far = Location { segment: one.segment, offset: u64::MAX - 3, bytes: u64::MAX };
    for wrong in [two, far, Location { offset: one.offset + 8, ..one }, Location { bytes: one.bytes - 1, ..one }] {
        tamper(dir.path(), &[(block_key(50), wrong)]);
        {
            let (store, recovered) = open(dir.path());
            assert_eq!(recovered.index, IndexState::Sound { rolled_forward: 0 });
            assert_eq!(store.block(50).unwrap().as_ref(), Some(block(50, 700).body()));
            assert_eq!(store.metrics().index_failures, 1);
            check(&store);
        }
        let reason = rebuilt(dir.path(), &contents);
        assert!(reason.contains("lying"), "{reason}");
    }
}

#[test]
fn damage_found_while_the_index_is_distrusted_is_reported_not_hidden() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let truth = location_of(dir.path(), 50);
    tamper(dir.path(), &[(block_key(50), Location { offset: truth.offset + 8, ..truth })]);
    let (store, _) = open(dir.path());
    let path = dir.path().join(format!("segments/segment-{:016}", truth.segment));
    let file = RealDisk.open(&path).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, truth.offset + 9).unwrap();
    file.write_vectored_at(&[std::io::IoSlice::new(&[byte[0] ^ 1])], truth.offset + 9).unwrap();
    assert!(matches!(
        store.block(50),
        Err(StorageError::Corrupt { path: of, offset, .. }) if of == path && offset == truth.offset
    ));
}
