//! Looking records up. Every answer is checked against the record itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::{Catalog, Location, Segment};
use crate::error::StorageError;
use crate::index::Fault;
use crate::key::{BatchKey, IndexKey, Label, batch_ceiling, batch_floor, block_key};
use crate::record::Head;
use crate::segment::FILE_HEAD_BYTES;

/// A batch as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// Its place.
    pub key: BatchKey,
    /// Its id.
    pub id: [u8; 32],
    /// Its bytes.
    pub body: Bytes,
}

/// A block as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its height.
    pub height: u64,
    /// Its bytes.
    pub body: Bytes,
}

/// Entries looked up at once; a longer answer takes several rounds.
const PAGE: usize = 256;

enum Outcome {
    Good(Bytes),
    /// The segment was pruned meanwhile.
    Gone,
    /// There is another record at that place, or none: the index lies, or the head is damaged.
    Misplaced(StorageError),
    /// The right record, damaged.
    Damaged(StorageError),
}

/// An entry and whether it comes from memory, which is trusted.
type Entry = (Location, bool);

impl Catalog {
    /// All batches at one key.
    pub(crate) fn batch(&self, key: &BatchKey) -> Result<Vec<StoredBatch>, StorageError> {
        let mut found = Vec::new();
        self.walk(batch_floor(key), batch_ceiling(key), |label, body| {
            if let Label::Batch(key, id) = label {
                found.push(StoredBatch { key, id, body });
            }
            true
        })?;
        Ok(found)
    }

    /// Batches in a range of keys, in order, up to `max_bytes` (but at least one).
    pub(crate) fn batches(&self, range: &Range<BatchKey>, max_bytes: u64) -> Result<Vec<StoredBatch>, StorageError> {
        let mut found: Vec<StoredBatch> = Vec::new();
        let mut bytes = 0;
        self.walk(batch_floor(&range.start), batch_floor(&range.end), |label, body| {
            bytes += body.len() as u64;
            let Label::Batch(key, id) = label else {
                return true;
            };
            if key >= range.end || (bytes > max_bytes && !found.is_empty()) {
                return false;
            }
            found.push(StoredBatch { key, id, body });
            true
        })?;
        Ok(found)
    }

    pub(crate) fn block(&self, height: u64) -> Result<Option<Bytes>, StorageError> {
        let mut found = None;
        self.walk(block_key(height), block_key(height), |_, body| {
            found = Some(body);
            false
        })?;
        Ok(found)
    }

    /// Blocks from a height on, without a gap, up to `max_bytes` (but at least one, if there is one).
    pub(crate) fn blocks_from(&self, height: u64, max_bytes: u64) -> Result<Vec<StoredBlock>, StorageError> {
        let mut found: Vec<StoredBlock> = Vec::new();
        let mut bytes = 0;
        let mut next = height;
        self.walk(block_key(height), block_key(u64::MAX), |label, body| {
            bytes += body.len() as u64;
            let Label::Block(height) = label else {
                return true;
            };
            if height != next || (bytes > max_bytes && !found.is_empty()) {
                return false;
            }
            next = next.saturating_add(1);
            found.push(StoredBlock { height, body });
            true
        })?;
        Ok(found)
    }

    /// The lowest and the highest height of a block.
    pub(crate) fn block_bounds(&self) -> Result<Option<(u64, u64)>, StorageError> {
        let (from, to) = (block_key(0), block_key(u64::MAX));
        loop {
            let tail = self.tail();
            let first = tail.entries.range(from.clone()..=to.clone()).next().map(|(key, _)| key.clone());
            let last = tail.entries.range(from.clone()..=to.clone()).next_back().map(|(key, _)| key.clone());
            drop(tail);
            let indexed = self.index().map(|index| Ok((index.range(&from, &to, 1)?, index.last(&from, &to)?)));
            let (low, high) = match indexed {
                Some(Err(fault)) => {
                    self.repair(&fault)?;
                    continue;
                }
                Some(Ok((low, high))) => (low.into_iter().next(), high),
                None => (None, None),
            };
            let height = |key: IndexKey| match Label::from_index_key(&key) {
                Some(Label::Block(height)) => Some(height),
                _ => None,
            };
            let first = first.into_iter().chain(low.map(|(key, _)| key)).filter_map(height).min();
            let last = last.into_iter().chain(high.map(|(key, _)| key)).filter_map(height).max();
            return Ok(first.zip(last));
        }
    }

    /// True if exactly this record is stored and intact.
    pub(crate) fn holds(&self, label: &Label, key: &IndexKey) -> Result<bool, StorageError> {
        let mut held = false;
        let walked = self.walk(key.clone(), key.clone(), |found, _| {
            held = found == *label;
            false
        });
        match walked {
            Ok(()) => Ok(held),
            // A damaged copy is replaced by a good one.
            Err(StorageError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Visits the records from `from` to `to`, both included, in key order, until `visit` says no.
    fn walk(
        &self,
        mut from: IndexKey,
        to: IndexKey,
        mut visit: impl FnMut(Label, Bytes) -> bool,
    ) -> Result<(), StorageError> {
        let mut met_any = false;
        loop {
            let page = self.page(&from, &to)?;
            let full = page.len() >= PAGE;
            let mut lied = None;
            for (key, (location, trusted)) in page {
                let Some(label) = Label::from_index_key(&key) else {
                    continue;
                };
                match self.read(&location, &label)? {
                    Outcome::Good(body) => {
                        met_any = true;
                        if !visit(label, body) {
                            return Ok(());
                        }
                    }
                    Outcome::Gone => {}
                    Outcome::Misplaced(_) if !trusted => {
                        lied = Some(format!("an entry points at another record in segment {}", location.segment));
                    }
                    Outcome::Misplaced(error) | Outcome::Damaged(error) => return Err(error),
                }
                from = key;
                if lied.is_some() {
                    break;
                }
                // The smallest key after this one.
                from.push(0);
            }
            if let Some(reason) = lied {
                self.repair(&Fault(reason))?;
            } else if !full {
                break;
            }
        }
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match damage {
            Some((path, offset)) if !met_any => {
                Err(StorageError::corrupt(&path, offset, "a record is damaged, and what was asked for may be it"))
            }
            _ => Ok(()),
        }
    }

    /// The next entries from `from` to `to`, memory over index.
    fn page(&self, from: &IndexKey, to: &IndexKey) -> Result<BTreeMap<IndexKey, Entry>, StorageError> {
        if from > to {
            return Ok(BTreeMap::new());
        }
        loop {
            // Memory first: what leaves it is in the index by then.
            let tail: Vec<(IndexKey, Location)> = {
                let tail = self.tail();
                tail.entries
                    .range(from.clone()..=to.clone())
                    .take(PAGE)
                    .map(|(key, location)| (key.clone(), *location))
                    .collect()
            };
            let indexed = match self.index().map(|index| index.range(from, to, PAGE)) {
                Some(Err(fault)) => {
                    self.repair(&fault)?;
                    continue;
                }
                Some(Ok(entries)) => entries,
                None => Vec::new(),
            };
            // A side that was cut off at PAGE says nothing about later keys, so nothing after the earlier cut counts.
            let cut = |entries: &[(IndexKey, Location)]| {
                (entries.len() == PAGE).then(|| entries.last().map(|(key, _)| key.clone())).flatten()
            };
            let bound = [cut(&tail), cut(&indexed)].into_iter().flatten().min();
            let mut page: BTreeMap<IndexKey, Entry> =
                indexed.into_iter().map(|(key, location)| (key, (location, false))).collect();
            page.extend(tail.into_iter().map(|(key, location)| (key, (location, true))));
            if let Some(bound) = bound {
                page.retain(|key, _| *key <= bound);
            }
            return Ok(page);
        }
    }

    fn read(&self, location: &Location, label: &Label) -> Result<Outcome, StorageError> {
        let Some(segment) = self.segments().get(&location.segment).cloned() else {
            return Ok(Outcome::Gone);
        };
        let outcome = read_record(&segment, location, label)?;
        // A pruned file may serve again already; then whatever was read says nothing.
        let live = self.segments().contains_key(&location.segment);
        Ok(if live || matches!(outcome, Outcome::Good(_)) { outcome } else { Outcome::Gone })
    }

    /// Replaces a failed index by memory, filled from the segments.
    fn repair(&self, fault: &Fault) -> Result<(), StorageError> {
        let _one = self.repair.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = self.index() else {
            return Ok(());
        };
        tracing::error!(fault = fault.0, "the index failed; reading the segments again");
        self.index_failures.fetch_add(1, Relaxed);
        index.distrust();
        let _maintenance = self.maintenance();
        let segments: Vec<Segment> = self.segments().values().cloned().collect();
        let mut entries = BTreeMap::new();
        for segment in &segments {
            let number = segment.file.head.number;
            let scanned = segment.file.scan(FILE_HEAD_BYTES, segment.end, |scanner| {
                while let Some(found) = scanner.next()? {
                    if let Some(key) = found.head.label.index_key() {
                        let bytes = found.head.head_bytes() + found.body.len() as u64;
                        entries.insert(key, Location { segment: number, offset: found.offset, bytes });
                    }
                }
                Ok(scanner.position())
            })?;
            if scanned < segment.end && self.segments().contains_key(&number) {
                let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
                damage.get_or_insert((segment.file.path.clone(), scanned));
            }
        }
        let mut tail = self.tail_mut();
        for (key, location) in std::mem::take(&mut tail.entries) {
            entries.insert(key, location);
        }
        tail.entries = entries;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

fn read_record(segment: &Segment, location: &Location, label: &Label) -> Result<Outcome, StorageError> {
    let file = &segment.file;
    let corrupt = |reason: &str| StorageError::corrupt(&file.path, location.offset, reason);
    let inside = location.offset.checked_add(location.bytes).is_some_and(|stop| stop <= segment.end);
    if !inside || location.offset < FILE_HEAD_BYTES {
        return Ok(Outcome::Misplaced(corrupt("an entry points outside the segment")));
    }
    let mut bytes = vec![0; location.bytes as usize];
    let read = file.read(&mut bytes, location.offset)?;
    bytes.truncate(read);
    let Some(head) = Head::decode(&bytes, file.head.tag, location.offset) else {
        return Ok(Outcome::Misplaced(corrupt("no record starts here")));
    };
    if head.label != *label || head.head_bytes() + u64::from(head.body_len) != location.bytes {
        return Ok(Outcome::Misplaced(corrupt("another record starts here")));
    }
    let body = Bytes::from(bytes).split_off(head.head_bytes() as usize);
    if body.len() != head.body_len as usize || crc32c::crc32c(&body) != head.body_crc {
        return Ok(Outcome::Damaged(corrupt("the record fails its checksum")));
    }
    Ok(Outcome::Good(body))
}
