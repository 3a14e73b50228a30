//! What the driver keeps in its store, and how it is read back.

use squad_sequencer::ledger::{Batches, Span};
use squad_sequencer::{LogRecord, Store as Recovery};
use squad_storage::{BatchKey, Recovered, StorageError, Store};
use squad_types::codec::{decode_list, encode_list};
use squad_types::limits::{MAX_BATCH_BYTES_PER_RESPONSE, MAX_CUT_ENTRIES};
use squad_types::{
    Batch, BatchId, Decode, DecodeError, Encode, Height, LaneId, OrderedBlock, Reader, Sequence, Tip, VerifiedBatch,
};

/// An ordered block as it is stored: with where each lane that it moves stood before, so that what it ordered can be
/// computed again from this record and its batches alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredBlock {
    pub(crate) ordered: OrderedBlock,
    /// The tip before, one an entry of the block's cut.
    pub(crate) above: Vec<Option<Tip>>,
}

impl Encode for StoredBlock {
    fn encode(&self, out: &mut Vec<u8>) {
        self.ordered.encode(out);
        encode_list(&self.above, out);
    }
}

impl Decode for StoredBlock {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let ordered = OrderedBlock::decode(reader)?;
        let above: Vec<Option<Tip>> = decode_list(reader, MAX_CUT_ENTRIES)?;
        if above.len() != ordered.block.cut().len() {
            return Err(DecodeError::Malformed("stored block: not one earlier tip a lane"));
        }
        Ok(Self { ordered, above })
    }
}

impl StoredBlock {
    pub(crate) fn new(ordered: OrderedBlock, spans: &[Span]) -> Self {
        let above = |lane| spans.iter().find(|span: &&Span| span.lane == lane).and_then(|span| span.above);
        let above = ordered.block.cut().iter().map(|entry| above(entry.lane)).collect();
        Self { ordered, above }
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let span = |(entry, above): (&squad_types::CutEntry, &Option<Tip>)| Span {
            lane: entry.lane,
            above: *above,
            to: entry.tip,
        };
        self.ordered.block.cut().iter().zip(&self.above).map(span).collect()
    }
}

/// The log as it was read back, its newest checkpoint first.
pub(crate) fn log_records(recovered: &mut Recovered) -> anyhow::Result<Vec<LogRecord>> {
    use anyhow::Context as _;
    let advice = "the log passed its checksums but holds records of another program: use the version that wrote it";
    let checkpoint = recovered.checkpoint.take().into_iter();
    let records = std::mem::take(&mut recovered.records);
    checkpoint.chain(records).map(|bytes| LogRecord::from_bytes(bytes).context(advice)).collect()
}

pub(crate) fn key(lane: LaneId, sequence: Sequence) -> BatchKey {
    BatchKey { epoch: lane.epoch.0, lane: lane.author.0, sequence: sequence.0 }
}

/// The store, as the sequencer and the ledger read it.
///
/// What cannot be read counts as not there, with an error in the logs: it is fetched from peers.
#[derive(Clone)]
pub(crate) struct Records(pub(crate) Store);

impl Records {
    fn there<T: Default>(found: Result<T, StorageError>) -> T {
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "the store cannot be read");
            T::default()
        })
    }

    /// The block of a height.
    pub(crate) fn stored_block(&self, height: Height) -> Option<StoredBlock> {
        let bytes = Self::there(self.0.block(height.0))?;
        StoredBlock::from_bytes(bytes)
            .inspect_err(|error| tracing::error!(%error, height = height.0, "a stored block is not one"))
            .ok()
    }

    /// Batches of a lane with a sequence in the range, ascending, up to so many bytes but at least one.
    pub(crate) fn range(&self, lane: LaneId, from: Sequence, below: Sequence, bytes: u64) -> Vec<(BatchId, Batch)> {
        let found = Self::there(self.0.batches(key(lane, from)..key(lane, below), bytes));
        let batch = |stored: squad_storage::StoredBatch| Some((BatchId(stored.id), decode_batch(stored.body)?));
        found.into_iter().filter_map(batch).collect()
    }

    fn at(&self, lane: LaneId, sequence: Sequence, id: BatchId) -> Option<Batch> {
        let all = Self::there(self.0.batch(lane.epoch.0, lane.author.0, sequence.0));
        let (_, body) = all.into_iter().find(|(found, _)| *found == id.0)?;
        decode_batch(body)
    }

    /// Batches from `from` on towards `to`, linked, as many as fit an answer; empty if the chain is not all here.
    pub(crate) fn towards(&self, lane: LaneId, from: Sequence, to: Tip, most: usize) -> Vec<Batch> {
        if to.sequence < from {
            return Vec::new();
        }
        let below = Sequence(from.0.saturating_add(most as u64).min(to.sequence.0.saturating_add(1)));
        let found = self.range(lane, from, below, MAX_BATCH_BYTES_PER_RESPONSE as u64);
        let linked = found.windows(2).all(|pair| {
            let (before, after) = (&pair[0], &pair[1].1.header.statement);
            after.sequence == before.1.header.statement.sequence.next() && after.parent == before.0
        });
        let whole =
            found.last().is_none_or(|last| last.1.header.statement.sequence != to.sequence || last.0 == to.batch);
        if linked && whole && found.first().is_some_and(|first| first.1.header.statement.sequence == from) {
            // One batch a place: if it is not on the way to `to`, whoever asked sees that.
            return found.into_iter().map(|(_, batch)| batch).collect();
        }
        // The lane forked, or has holes: only the links from `to` down tell.
        let mut chain = self.walk(lane, from, to).unwrap_or_default();
        let mut bytes = 0;
        let fits = |batch: &Batch| {
            bytes += batch.payload.len();
            bytes <= MAX_BATCH_BYTES_PER_RESPONSE
        };
        chain.reverse();
        chain.into_iter().take(most).take_while(fits).collect()
    }

    /// From `to` down to `from` by parents, newest first; none if one is missing.
    fn walk(&self, lane: LaneId, from: Sequence, to: Tip) -> Option<Vec<Batch>> {
        let (mut chain, mut at) = (Vec::new(), to);
        loop {
            let batch = self.at(lane, at.sequence, at.batch)?;
            let parent = batch.header.statement.parent;
            chain.push(batch);
            if at.sequence <= from {
                return Some(chain);
            }
            at = Tip { sequence: at.sequence.previous()?, batch: parent };
        }
    }
}

fn decode_batch(body: bytes::Bytes) -> Option<Batch> {
    Batch::from_bytes(body).inspect_err(|error| tracing::error!(%error, "a stored batch is not one")).ok()
}

impl Recovery for Records {
    fn block(&self, height: Height) -> Option<OrderedBlock> {
        self.stored_block(height).map(|stored| stored.ordered)
    }

    fn batches(&self, lane: LaneId, from: Sequence) -> Vec<Batch> {
        self.batches_up_to(lane, from, Sequence(u64::MAX - 1))
    }

    fn batches_up_to(&self, lane: LaneId, from: Sequence, to: Sequence) -> Vec<Batch> {
        let all = self.range(lane, from, Sequence(to.0.saturating_add(1)), u64::MAX);
        all.into_iter().map(|(_, batch)| batch).collect()
    }
}

impl Batches for Records {
    fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        let from = above.map_or(Sequence::ZERO, |above| above.sequence.next());
        if to.sequence < from {
            return Some(Vec::new());
        }
        let mut chain = self.walk(lane, from, to)?;
        chain.reverse();
        chain.into_iter().map(|batch| batch.from_own_store().ok()).collect()
    }
}
