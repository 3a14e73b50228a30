//! Bits that rot: never a wrong record, and damage to what was durable is refused with file and offset.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;

use super::model::{DIR, start, without_index};
use super::support::{batch, block, body};
use crate::key::Label;
use crate::record::{Head, record_bytes};
use crate::testing::FaultDisk;
use crate::{LogRecord, StorageError, scan_bytes};

const HEAD_BLOCK: u64 = 4096;

fn log_path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("log/log-{number:016}"))
}

fn segment_path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("segments/segment-{number:016}"))
}

fn entry(n: u64) -> Bytes {
    body(n, 20 + n as usize * 9)
}

/// A log of eight entries in groups of 3, 3 and 2, and where each record starts.
fn small_log(orderly: bool) -> (FaultDisk, Vec<u64>, u64) {
    let disk = FaultDisk::new(0);
    let (mut running, _) = start(&disk, &without_index()).unwrap();
    for group in [0..3, 3..6, 6..8] {
        running.log.commit(&group.map(|n| LogRecord::Entry(entry(n))).collect::<Vec<_>>()).unwrap();
    }
    let mut offsets = Vec::new();
    let mut at = HEAD_BLOCK;
    for n in 0..8 {
        offsets.push(at);
        at += record_bytes(&Label::Entry, entry(n).len() as u64);
    }
    if orderly {
        running.log.finish().unwrap();
    }
    drop(running);
    (disk.process_kill(), offsets, at)
}

/// Number of the record that a byte belongs to; padding belongs to none.
fn record_at(offsets: &[u64], byte: u64) -> Option<usize> {
    let index = offsets.iter().rposition(|offset| *offset <= byte)?;
    let length = 40 + entry(index as u64).len() as u64;
    (byte < offsets[index] + length).then_some(index)
}

/// Opens a copy with one byte flipped: the entries it yields, or the offset it complains of.
fn open_flipped(disk: &FaultDisk, byte: u64, mask: u8) -> Result<usize, u64> {
    let copy = disk.copy();
    copy.flip(&log_path(1), byte, mask);
    let before = copy.contents(&log_path(1));
    match start(&copy, &without_index()) {
        Ok((_, recovered)) => {
            let expected: Vec<Bytes> = (0..recovered.records.len() as u64).map(entry).collect();
            assert_eq!(recovered.records, expected, "a wrong record was accepted");
            Ok(recovered.records.len())
        }
        Err(StorageError::Corrupt { path, offset, .. }) => {
            assert_eq!(path, log_path(1));
            assert_eq!(copy.contents(&path), before, "a refused file was changed");
            Err(offset)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_flipped_byte_is_refused_where_a_later_record_proves_it_durable_and_cut_off_where_none_does() {
    let (disk, offsets, end) = small_log(false);
    for byte in HEAD_BLOCK..end {
        let expected = match record_at(&offsets, byte) {
            // The last group: nothing after it says that it was durable.
            Some(record @ 6..) => Ok(record),
            Some(record) => Err(offsets[record]),
            None => Ok(8),
        };
        assert_eq!(open_flipped(&disk, byte, 1 << (byte % 8)), expected, "byte {byte}");
    }
}

#[test]
fn after_an_orderly_end_damage_to_any_record_is_refused() {
    let (disk, offsets, end) = small_log(true);
    for byte in HEAD_BLOCK..end {
        let expected = record_at(&offsets, byte).map_or(Ok(8), |record| Err(offsets[record]));
        assert_eq!(open_flipped(&disk, byte, 0x80), expected, "byte {byte}");
    }
}

#[test]
fn what_a_torn_write_left_behind_never_follows_a_new_record() {
    let disk = FaultDisk::new(0);
    let (mut running, _) = start(&disk, &without_index()).unwrap();
    let group: Vec<_> = (0..3).map(|n| LogRecord::Entry(body(n, 600))).collect();
    running.log.commit(&group).unwrap();
    drop(running);
    let disk = disk.process_kill();
    // The first record of the only group is lost, the two after it are whole.
    disk.flip(&log_path(1), HEAD_BLOCK + 100, 1);
    let (mut running, recovered) = start(&disk, &without_index()).unwrap();
    assert_eq!(recovered.log_torn.unwrap().offset, HEAD_BLOCK);
    assert!(recovered.records.is_empty());
    running.log.commit(&[LogRecord::Entry(body(9, 600))]).unwrap();
    drop(running);
    let (_, recovered) = start(&disk.power_cut(1), &without_index()).unwrap();
    assert_eq!(recovered.records, [body(9, 600)]);
}

#[test]
fn a_damaged_file_head_is_refused() {
    let (disk, _, _) = small_log(false);
    for byte in 0..44 {
        assert_eq!(open_flipped(&disk, byte, 4), Err(0), "byte {byte}");
    }
}

#[test]
fn damage_in_a_closed_file_is_refused_in_the_log_and_in_the_segments() {
    let disk = FaultDisk::new(0);
    let mut options = without_index();
    let (mut running, _) = start(&disk, &options).unwrap();
    for n in 0..60 {
        running.log.commit(&[LogRecord::Entry(body(n, 400))]).unwrap();
        running.bulk.commit(&[batch(0, 0, n, 700), block(n, 500)]).unwrap();
    }
    drop(running);
    let disk = disk.process_kill();
    options.verify_everything = true;
    for path in [log_path(1), segment_path(1)] {
        let footer = disk.contents(&path).unwrap().len() as u64 - HEAD_BLOCK;
        for byte in (HEAD_BLOCK..HEAD_BLOCK + 3000).step_by(97).chain(footer..footer + 68) {
            // Between two records.
            if disk.contents(&path).unwrap()[byte as usize] == 0 {
                continue;
            }
            let copy = disk.copy();
            copy.flip(&path, byte, 0x10);
            let error = start(&copy, &options).err().unwrap();
            assert!(matches!(&error, StorageError::Corrupt { path: of, .. } if *of == path), "byte {byte}: {error}");
        }
    }
    for path in [log_path(2), segment_path(2)] {
        let copy = disk.copy();
        crate::Disk::unlink(&copy, &path).unwrap();
        let error = start(&copy, &options).err().unwrap();
        assert!(matches!(&error, StorageError::Corrupt { path: of, .. } if *of == path), "{error}");
    }
}

#[test]
fn a_damaged_record_is_never_served() {
    let disk = FaultDisk::new(0);
    let (mut running, _) = start(&disk, &without_index()).unwrap();
    running.bulk.commit(&[batch(1, 1, 1, 1000), block(1, 100)]).unwrap();
    disk.flip(&segment_path(1), HEAD_BLOCK + 500, 1);
    assert!(matches!(
        running.store.batch(1, 1, 1),
        Err(StorageError::Corrupt { offset: HEAD_BLOCK, path, .. }) if path == segment_path(1)
    ));
    assert!(running.store.block(1).unwrap().is_some());
    // Stored again, it is good again.
    running.bulk.commit(&[batch(1, 1, 1, 1000)]).unwrap();
    assert_eq!(running.store.batch(1, 1, 1).unwrap().len(), 1);
}

/// Records as a file would hold them, from offset 0.
fn encode(tag: u64, bodies: &[(Bytes, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (body, synced_to) in bodies {
        let head = Head {
            label: Label::Entry,
            body_len: body.len() as u32,
            body_crc: crc32c::crc32c(body),
            synced_to: *synced_to,
        };
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(head.encode(tag, offset).as_slice());
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

#[test]
fn a_payload_that_looks_like_a_record_is_not_taken_for_one() {
    let forged = |tag: u64, at: u64| {
        let body = Bytes::from_static(b"forged");
        let head = Head { label: Label::Entry, body_len: 6, body_crc: crc32c::crc32c(&body), synced_to: u64::MAX };
        [head.encode(tag, at).as_slice(), &body].concat()
    };
    let tag = 77;
    // The body starts at 40, so the forged record at 48 in the file is 8 into the body.
    let inside = |forged: Vec<u8>| Bytes::from([&[0; 8], &forged[..], &[0; 30]].concat());
    for (payload, expected_later) in [
        // Even one that knows the tag and the place, as long as the head around it is intact.
        (inside(forged(tag, 48)), None),
        // One that knows the place but not the tag, one copied from another place of this file, with the head lost.
        (inside(forged(tag + 1, 48)), None),
        (inside(forged(tag, 56)), None),
    ] {
        let bytes = encode(tag, &[(payload, 0), (Bytes::from_static(b"next"), 0)]);
        let whole = scan_bytes(&bytes, tag);
        assert_eq!((whole.records, whole.contradicted_at), (2, None));
        let mut body_damaged = bytes.clone();
        body_damaged[41] ^= 1;
        let report = scan_bytes(&body_damaged, tag);
        assert_eq!((report.records, report.end, report.contradicted_at), (0, 0, expected_later));
    }
    for payload in [inside(forged(tag + 1, 48)), inside(forged(tag, 56))] {
        let mut head_damaged = encode(tag, &[(payload, 0), (Bytes::from_static(b"next"), 0)]);
        head_damaged[17] ^= 1;
        let report = scan_bytes(&head_damaged, tag);
        assert_eq!((report.end, report.contradicted_at, report.strays), (0, None, 1));
    }
}

#[test]
fn the_scan_finds_its_way_past_a_damaged_length() {
    let bodies: Vec<(Bytes, u64)> = (0..6).map(|n| (body(n, 50), n * 96)).collect();
    for byte in 16..20 {
        let mut bytes = encode(5, &bodies);
        bytes[byte] ^= 0x40;
        let report = scan_bytes(&bytes, 5);
        assert_eq!((report.records, report.end, report.contradicted_at), (0, 0, Some(96)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scanning_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), tag: u64) {
        let report = scan_bytes(&bytes, tag);
        prop_assert!(report.end as usize <= bytes.len());
    }

    #[test]
    fn scanning_mangled_records_yields_a_prefix(
        lengths in prop::collection::vec(0..300usize, 1..12),
        mangle in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let bodies: Vec<_> = lengths.iter().enumerate().map(|(n, len)| (body(n as u64, *len), 0)).collect();
        let good = encode(3, &bodies);
        let mut bytes = good.clone();
        for (at, value) in mangle {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let report = scan_bytes(&bytes, 3);
        let mut end = 0;
        let mut records = 0;
        for (body, _) in &bodies {
            let stop = end + 40 + body.len();
            if bytes.get(end..stop) != good.get(end..stop) || stop.next_multiple_of(8) > bytes.len() {
                break;
            }
            end = stop.next_multiple_of(8);
            records += 1;
        }
        prop_assert_eq!((report.records, report.end as usize), (records, end));
        prop_assert_eq!(report.contradicted_at, None);
    }
}
