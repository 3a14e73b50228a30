//! The small keys under which segments hold batches and blocks.

/// Where a batch belongs: its lane's epoch, the lane, and its place in the lane. Ordered in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchKey {
    /// The epoch of the lane.
    pub epoch: u64,
    /// The number of the lane in its epoch.
    pub lane: u16,
    /// The place in the lane, from 0.
    pub sequence: u64,
}

/// What a record is, and the key of one that can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// A log record.
    Entry,
    /// A log checkpoint; always the first record of its file.
    Checkpoint,
    /// Written at an orderly end; it says that everything before it is durable and carries nothing.
    Mark,
    /// A batch with its 32-byte id.
    Batch(BatchKey, [u8; 32]),
    /// A block by height.
    Block(u64),
}

/// Length of the encoded key of a batch.
pub(crate) const BATCH_KEY_BYTES: usize = 8 + 2 + 8 + 32;

const BATCH_PREFIX: u8 = b'b';
const BLOCK_PREFIX: u8 = b'h';

/// The key under which the index holds a record; byte order is key order.
pub(crate) type IndexKey = Vec<u8>;

pub(crate) fn encode_batch(key: &BatchKey, id: &[u8; 32]) -> [u8; BATCH_KEY_BYTES] {
    let mut bytes = [0; BATCH_KEY_BYTES];
    bytes[..8].copy_from_slice(&key.epoch.to_be_bytes());
    bytes[8..10].copy_from_slice(&key.lane.to_be_bytes());
    bytes[10..18].copy_from_slice(&key.sequence.to_be_bytes());
    bytes[18..].copy_from_slice(id);
    bytes
}

pub(crate) fn decode_batch(bytes: &[u8]) -> Option<(BatchKey, [u8; 32])> {
    let bytes: &[u8; BATCH_KEY_BYTES] = bytes.try_into().ok()?;
    let key = BatchKey {
        epoch: u64::from_be_bytes(bytes[..8].try_into().ok()?),
        lane: u16::from_be_bytes(bytes[8..10].try_into().ok()?),
        sequence: u64::from_be_bytes(bytes[10..18].try_into().ok()?),
    };
    Some((key, bytes[18..].try_into().ok()?))
}

pub(crate) fn block_key(height: u64) -> IndexKey {
    let mut key = vec![BLOCK_PREFIX];
    key.extend_from_slice(&height.to_be_bytes());
    key
}

/// The first possible index key of a batch at `key`.
pub(crate) fn batch_floor(key: &BatchKey) -> IndexKey {
    batch_index_key(key, &[0; 32])
}

/// The last possible index key of a batch at `key`.
pub(crate) fn batch_ceiling(key: &BatchKey) -> IndexKey {
    batch_index_key(key, &[0xff; 32])
}

fn batch_index_key(key: &BatchKey, id: &[u8; 32]) -> IndexKey {
    let mut bytes = vec![BATCH_PREFIX];
    bytes.extend_from_slice(&encode_batch(key, id));
    bytes
}

impl Label {
    /// The index key of a record that can be looked up.
    pub(crate) fn index_key(&self) -> Option<IndexKey> {
        match self {
            Self::Batch(key, id) => Some(batch_index_key(key, id)),
            Self::Block(height) => Some(block_key(*height)),
            Self::Entry | Self::Checkpoint | Self::Mark => None,
        }
    }

    /// Reads an index key back.
    pub(crate) fn from_index_key(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&BATCH_PREFIX, rest) => decode_batch(rest).map(|(key, id)| Self::Batch(key, id)),
            (&BLOCK_PREFIX, rest) => Some(Self::Block(u64::from_be_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }
}
