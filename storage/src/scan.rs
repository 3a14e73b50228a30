//! Reading records back, and telling the torn tail of a power cut from corruption.
//!
//! Records are read one after the other until one is bad. What follows decides what that means: a record further on
//! that was written when the bad one was already durable (its `synced_to` lies beyond) proves corruption. Otherwise
//! the bad record was never reported durable, and the file ends there.
//!
//! The search past a bad record looks for heads only. A head that carries the file's random tag, stands at the offset
//! that its checksum covers and is intact was written there by us; nothing in a payload or in an older use of the file
//! can look like that. If the bad record's own head is intact, its length is right and its body is skipped.

use std::io;

use crate::disk::DiskFile;
use crate::record::{ALIGNMENT, Head, MAX_HEAD_BYTES, u64_at};

/// Bytes read at once; small, so that recovery does not swell the process.
const WINDOW_BYTES: usize = 256 << 10;

/// Where a tag stands in a head.
const TAG_AT: u64 = 8;

/// Something to scan.
pub(crate) trait Source {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Source for &dyn DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        DiskFile::read_at(*self, buffer, offset)
    }
}

/// A record that passed every check.
pub(crate) struct Found<'a> {
    pub(crate) offset: u64,
    pub(crate) head: Head,
    pub(crate) body: &'a [u8],
}

/// What stands where the records of a file end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing of this file's generation.
    Clean,
    /// The remains of writes that never became durable; `strays` are the offsets of intact heads among them, which
    /// must be wiped before anything is appended.
    Torn { strays: Vec<u64> },
    /// The record at the end of the scan was durable when the record at `later` was written.
    Corrupt { later: u64, synced_to: u64 },
}

/// Walks the records of one file.
pub(crate) struct Scanner<'a> {
    source: &'a dyn Source,
    tag: u64,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scanner<'a> {
    /// Scans `source` from `start` up to `end`, for records with `tag`.
    pub(crate) fn new(source: &'a dyn Source, tag: u64, start: u64, end: u64) -> Self {
        Self { source, tag, position: start, end, window: Vec::new(), window_at: start }
    }

    /// Where the next record starts, or the first bad one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Makes up to `len` bytes at `offset` available, fewer at the end, and says where in the window they are.
    fn fill(&mut self, offset: u64, len: usize) -> io::Result<std::ops::Range<usize>> {
        let len = len.min(usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX));
        let inside = offset.checked_sub(self.window_at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = inside
            && skip.checked_add(len).is_some_and(|stop| stop <= self.window.len())
        {
            return Ok(skip..skip + len);
        }
        let room = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.window.resize(len.max(WINDOW_BYTES).min(room), 0);
        self.window_at = offset;
        let read = self.source.read_at(&mut self.window, offset)?;
        self.window.truncate(read);
        Ok(0..len.min(read))
    }

    fn head_at(&mut self, offset: u64) -> io::Result<Option<Head>> {
        let range = self.fill(offset, MAX_HEAD_BYTES)?;
        let head = Head::decode(&self.window[range], self.tag, offset);
        Ok(head.filter(|head| offset.checked_add(head.record_bytes()).is_some_and(|stop| stop <= self.end)))
    }

    /// The next good record; none at the end or at a bad one, where [`position`](Self::position) then stays.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        let offset = self.position;
        let Some(head) = self.head_at(offset)? else {
            return Ok(None);
        };
        let body_len = head.body_len as usize;
        let range = self.fill(offset + head.head_bytes(), body_len)?;
        let body = &self.window[range];
        if body.len() != body_len || crc32c::crc32c(body) != head.body_crc {
            return Ok(None);
        }
        self.position = offset + head.record_bytes();
        Ok(Some(Found { offset, head, body }))
    }

    /// Moves over the next record by its head alone, without looking at its body.
    pub(crate) fn skip(&mut self) -> io::Result<Option<(u64, Head)>> {
        let offset = self.position;
        let Some(head) = self.head_at(offset)? else {
            return Ok(None);
        };
        self.position = offset + head.record_bytes();
        Ok(Some((offset, head)))
    }

    /// Judges what stands at the end of the good records. Call it after [`next`](Self::next) gave none.
    pub(crate) fn tail(&mut self) -> io::Result<Tail> {
        let bad = self.position;
        let mut strays = Vec::new();
        let mut at = bad;
        if let Some(head) = self.head_at(bad)? {
            strays.push(bad);
            at = bad + head.record_bytes();
        } else {
            at += ALIGNMENT;
        }
        let mut torn = self.has_tag(bad)?;
        while at < self.end {
            let range = self.fill(at, WINDOW_BYTES)?;
            if range.len() < ALIGNMENT as usize {
                break;
            }
            // Only whole words: the last few bytes of a window are looked at again with the next one.
            let words = range.len() / ALIGNMENT as usize;
            let wanted = self.tag.to_le_bytes();
            let hits: Vec<u64> = self.window[range]
                .chunks_exact(ALIGNMENT as usize)
                .enumerate()
                .filter(|(_, word)| **word == wanted)
                .map(|(index, _)| at + index as u64 * ALIGNMENT)
                .collect();
            for hit in hits {
                let candidate = hit - TAG_AT;
                // The word may stand in the part of the bad record that was skipped.
                if candidate <= bad {
                    continue;
                }
                if let Some(head) = self.head_at(candidate)? {
                    if head.synced_to > bad {
                        return Ok(Tail::Corrupt { later: candidate, synced_to: head.synced_to });
                    }
                    strays.push(candidate);
                    torn = true;
                }
            }
            at += words as u64 * ALIGNMENT;
        }
        Ok(if torn || !strays.is_empty() { Tail::Torn { strays } } else { Tail::Clean })
    }

    fn has_tag(&mut self, offset: u64) -> io::Result<bool> {
        let range = self.fill(offset, MAX_HEAD_BYTES)?;
        Ok(u64_at(&self.window[range], TAG_AT as usize) == Some(self.tag))
    }
}

/// What [`scan_bytes`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanReport {
    /// Number of good records from the start.
    pub records: usize,
    /// Offset of the first byte that belongs to no good record.
    pub end: u64,
    /// Offset of a later record that proves the bytes at `end` corrupt, if there is one.
    pub contradicted_at: Option<u64>,
    /// Number of intact heads after `end` that belong to a torn write.
    pub strays: usize,
}

/// Scans arbitrary bytes as the records of a file with generation `tag`, exactly as recovery does.
///
/// Never panics and allocates no more than a constant factor of `bytes`, whatever they are; this is the entry for
/// fuzzing the record decoder.
pub fn scan_bytes(bytes: &[u8], tag: u64) -> ScanReport {
    let mut scanner = Scanner::new(&bytes, tag, 0, bytes.len() as u64);
    let mut records = 0;
    // Reading from memory has no errors; both loops end because every step moves the position on.
    while let Ok(Some(_)) = scanner.next() {
        records += 1;
    }
    let end = scanner.position();
    let (contradicted_at, strays) = match scanner.tail() {
        Ok(Tail::Corrupt { later, .. }) => (Some(later), 0),
        Ok(Tail::Torn { strays }) => (None, strays.len()),
        Ok(Tail::Clean) | Err(_) => (None, 0),
    };
    ScanReport { records, end, contradicted_at, strays }
}
