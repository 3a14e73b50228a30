//! How one record lies in a file.
//!
//! ```text
//!  0  magic      u32    marks a head, for the search past a damaged record
//!  4  head crc   u32    crc32c of the record's own offset and of everything from byte 8 to the end of the key
//!  8  tag        u64    the file's generation: random, so neither an older use of the file nor a payload can imitate it
//! 16  body len   u32
//! 20  body crc   u32    crc32c of the body
//! 24  synced to  u64    everything before this offset of the file was durable when the record was written
//! 32  kind       u8
//! 33  zero       7
//! 40  key        0, 56 (batch, 6 of them zero) or 8 (block) bytes
//!     body       padded with zeros to a multiple of 8
//! ```
//! Numbers are little-endian. Records start at multiples of 8. The head has its own checksum, so a length is believed
//! only if it is intact; the own offset in that checksum keeps a copy of a record from passing anywhere else.

use crate::key::{BATCH_KEY_BYTES, Label, decode_batch, encode_batch};
use crate::options::MAX_RECORD_BYTES;

/// Records start at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;
/// Bytes of a head without its key.
pub(crate) const HEAD_BYTES: usize = 40;
/// Bytes of the longest head.
pub(crate) const MAX_HEAD_BYTES: usize = HEAD_BYTES + BATCH_KEY_FIELD;

const BATCH_KEY_FIELD: usize = BATCH_KEY_BYTES.next_multiple_of(8);
const MAGIC: u32 = u32::from_le_bytes(*b"SQrc");

/// The decoded head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) label: Label,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
    pub(crate) synced_to: u64,
}

/// An encoded head.
pub(crate) struct HeadBytes {
    bytes: [u8; MAX_HEAD_BYTES],
    len: usize,
}

impl HeadBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn kind(label: &Label) -> (u8, usize) {
    match label {
        Label::Entry => (1, 0),
        Label::Checkpoint => (2, 0),
        Label::Mark => (3, 0),
        Label::Batch(..) => (4, BATCH_KEY_FIELD),
        Label::Block(_) => (5, 8),
    }
}

fn key_bytes(kind: u8) -> Option<usize> {
    match kind {
        1..=3 => Some(0),
        4 => Some(BATCH_KEY_FIELD),
        5 => Some(8),
        _ => None,
    }
}

/// Bytes of the head of a record with this label.
pub(crate) fn head_bytes(label: &Label) -> u64 {
    (HEAD_BYTES + kind(label).1) as u64
}

/// Bytes that a record takes in its file, padding included.
pub(crate) fn record_bytes(label: &Label, body: u64) -> u64 {
    (head_bytes(label) + body).next_multiple_of(ALIGNMENT)
}

fn head_crc(offset: u64, head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), head.get(8..).unwrap_or_default())
}

impl Head {
    /// Bytes that the record takes in its file, padding included.
    pub(crate) fn record_bytes(&self) -> u64 {
        record_bytes(&self.label, u64::from(self.body_len))
    }

    /// Bytes of the head.
    pub(crate) fn head_bytes(&self) -> u64 {
        head_bytes(&self.label)
    }

    pub(crate) fn encode(&self, tag: u64, offset: u64) -> HeadBytes {
        let (kind, key_len) = kind(&self.label);
        let len = HEAD_BYTES + key_len;
        let mut bytes = [0; MAX_HEAD_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&tag.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_to.to_le_bytes());
        bytes[32] = kind;
        match &self.label {
            Label::Batch(key, id) => {
                bytes[HEAD_BYTES..HEAD_BYTES + BATCH_KEY_BYTES].copy_from_slice(&encode_batch(key, id));
            }
            Label::Block(height) => bytes[HEAD_BYTES..len].copy_from_slice(&height.to_be_bytes()),
            Label::Entry | Label::Checkpoint | Label::Mark => {}
        }
        let crc = head_crc(offset, &bytes[..len]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        HeadBytes { bytes, len }
    }

    /// Reads the head at the start of `bytes`; none unless it is intact, of this file generation and at this offset.
    pub(crate) fn decode(bytes: &[u8], tag: u64, offset: u64) -> Option<Self> {
        let fixed: &[u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
        if u32_at(fixed, 0)? != MAGIC || u64_at(fixed, 8)? != tag {
            return None;
        }
        let kind = fixed[32];
        let head = bytes.get(..HEAD_BYTES + key_bytes(kind)?)?;
        let body_len = u32_at(fixed, 16)?;
        if u32_at(fixed, 4)? != head_crc(offset, head) || u64::from(body_len) > MAX_RECORD_BYTES {
            return None;
        }
        let key = &head[HEAD_BYTES..];
        let label = match kind {
            1 => Label::Entry,
            2 => Label::Checkpoint,
            3 => Label::Mark,
            4 => decode_batch(key.get(..BATCH_KEY_BYTES)?).map(|(key, id)| Label::Batch(key, id))?,
            _ => Label::Block(u64::from_be_bytes(key.try_into().ok()?)),
        };
        Some(Self { label, body_len, body_crc: u32_at(fixed, 20)?, synced_to: u64_at(fixed, 24)? })
    }
}

/// Reads a little-endian number; none past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Reads a little-endian number; none past the end.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
