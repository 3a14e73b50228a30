//! A node's disk: two streams of writes, of which a crash keeps what was synced and, by luck, some of what was not.

use crate::rng::Rng;
use squad_sequencer::{LogRecord, PersistId, Store, StoreQuery, Write};
use squad_types::limits::{MAX_BATCH_BYTES_PER_RESPONSE, MAX_BATCHES_PER_RESPONSE, MAX_BLOCKS_PER_RESPONSE};
use squad_types::{Batch, CommitteeProof, Height, LaneId, OrderedBlock, Response, Sequence, Tip, VerifiedBatch};
use std::collections::{BTreeMap, BTreeSet};

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The write-ahead log.
    Log,
    /// Batches and blocks.
    Bulk,
}

/// Both streams, with how far each is durable.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    log: Vec<(PersistId, LogRecord)>,
    bulk: Vec<(PersistId, Bulk)>,
    durable: [PersistId; 2],
    /// Checkpoints that wait for the bulk writes they stand on. As in the real driver, the log ends before them until then.
    held: BTreeMap<PersistId, PersistId>,
    /// Checkpoints that the log was not cut at yet.
    checkpoints: BTreeSet<PersistId>,
    blocks: BTreeMap<Height, OrderedBlock>,
    batches: BTreeMap<(LaneId, Sequence), Vec<VerifiedBatch>>,
    /// Syncs performed.
    pub syncs: u64,
}

#[derive(Clone, Debug)]
enum Bulk {
    Batch(LaneId, VerifiedBatch),
    Block(OrderedBlock),
}

impl Disk {
    /// Appends a write; durable only once synced.
    pub fn append(&mut self, id: PersistId, write: Write) -> Stream {
        match write {
            Write::Log(record) => self.log.push((id, record)),
            Write::Checkpoint(checkpoint) => {
                self.held.insert(id, self.last(Stream::Bulk));
                self.checkpoints.insert(id);
                self.log.push((id, LogRecord::Checkpoint(checkpoint)));
            }
            Write::Batch { lane, batch } => {
                return self.append_bulk(id, Bulk::Batch(lane, batch));
            }
            Write::Block(block) => return self.append_bulk(id, Bulk::Block(block)),
        }
        Stream::Log
    }

    fn append_bulk(&mut self, id: PersistId, record: Bulk) -> Stream {
        self.index(&record);
        self.bulk.push((id, record));
        Stream::Bulk
    }

    fn index(&mut self, record: &Bulk) {
        match record {
            Bulk::Batch(lane, batch) => {
                let slot = self.batches.entry((*lane, batch.header().sequence)).or_default();
                if !slot.contains(batch) {
                    slot.push(batch.clone());
                }
            }
            Bulk::Block(block) => {
                self.blocks.insert(block.block.header().height, block.clone());
            }
        }
    }

    /// The last write of a stream.
    pub fn last(&self, stream: Stream) -> PersistId {
        match stream {
            Stream::Log => self.log.last().map(|(id, _)| *id).unwrap_or_default(),
            Stream::Bulk => self.bulk.last().map(|(id, _)| *id).unwrap_or_default(),
        }
    }

    /// How far a stream is durable.
    pub fn durable(&self, stream: Stream) -> PersistId {
        self.durable[stream as usize]
    }

    /// A sync has ended: everything up to and with `id` is durable.
    pub fn synced(&mut self, stream: Stream, id: PersistId) {
        self.syncs += 1;
        let id = if stream == Stream::Log { id.min(self.log_reach()) } else { id };
        self.durable[stream as usize] = self.durable[stream as usize].max(id);
        if stream == Stream::Log {
            // A durable checkpoint makes everything before it needless.
            let durable = self.durable(Stream::Log);
            let before = self.checkpoints.len();
            self.checkpoints.retain(|id| *id > durable);
            if self.checkpoints.len() < before {
                let is_newest = |(id, record): &(PersistId, LogRecord)| {
                    *id <= durable && matches!(record, LogRecord::Checkpoint(_))
                };
                let newest = self.log.iter().rposition(is_newest);
                self.log.drain(..newest.unwrap_or_default());
            }
        }
    }

    /// How far the log may be written: to the first checkpoint that stands on something not durable.
    fn log_reach(&mut self) -> PersistId {
        let bulk = self.durable(Stream::Bulk);
        self.held.retain(|_, stands_on| *stands_on > bulk);
        self.held.keys().next().map_or(PersistId(u64::MAX), |first| PersistId(first.0.saturating_sub(1)))
    }

    /// Whether the log waits for bulk writes.
    pub fn log_is_held(&mut self) -> bool {
        self.log_reach() < self.last(Stream::Log)
    }

    /// A crash: of what was not synced, a prefix of random length stays in each stream. Counting starts over.
    pub fn crash(&mut self, rng: &mut Rng) {
        let keep = |ids: Vec<PersistId>, durable: PersistId, rng: &mut Rng| {
            let synced = ids.iter().filter(|id| **id <= durable).count();
            synced + rng.below((ids.len() - synced) as u64 + 1) as usize
        };
        let reach = self.log_reach();
        let written = self.log.iter().map(|(id, _)| *id).take_while(|id| *id <= reach).collect();
        let kept = keep(written, self.durable(Stream::Log), rng);
        self.log.truncate(kept);
        let kept = keep(self.bulk.iter().map(|(id, _)| *id).collect(), self.durable(Stream::Bulk), rng);
        self.bulk.truncate(kept);
        self.renumber();
    }

    /// Everything on it is gone.
    pub fn lose(&mut self) {
        *self = Self { syncs: self.syncs, ..Self::default() };
    }

    /// What a restart finds: all that is on it counts as durable.
    fn renumber(&mut self) {
        self.durable = [PersistId::default(); 2];
        self.held.clear();
        self.checkpoints.clear();
        if self.log.iter().any(|(_, record)| matches!(record, LogRecord::Checkpoint(_))) {
            self.checkpoints.insert(PersistId::default());
        }
        self.log.iter_mut().for_each(|(id, _)| *id = PersistId::default());
        self.bulk.iter_mut().for_each(|(id, _)| *id = PersistId::default());
        self.blocks.clear();
        self.batches.clear();
        for (_, record) in self.bulk.clone() {
            self.index(&record);
        }
    }

    /// The log from its newest checkpoint on.
    pub fn records(&self) -> Vec<LogRecord> {
        self.log.iter().map(|(_, record)| record.clone()).collect()
    }

    /// How many records the log has since its newest checkpoint.
    pub fn log_records(&self) -> usize {
        self.log.len()
    }

    /// Whether a batch is on it.
    pub fn holds(&self, lane: LaneId, tip: Tip) -> bool {
        self.batches.get(&(lane, tip.sequence)).is_some_and(|slot| slot.iter().any(|batch| batch.id() == tip.batch))
    }

    /// The block of a height, if it is on it.
    pub fn stored_block(&self, height: Height) -> Option<&OrderedBlock> {
        self.blocks.get(&height)
    }

    /// Bytes and transactions of a lane's batches after a tip, up to another.
    pub fn extent(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> (usize, usize) {
        let first = above.map_or(Sequence::ZERO, |above| above.sequence.next());
        let batches = self.batches.range((lane, first)..=(lane, to.sequence)).filter_map(|(_, slot)| slot.first());
        batches.fold((0, 0), |(bytes, count), batch| {
            (bytes + batch.payload().bytes().len(), count + batch.payload().transactions().len())
        })
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.bulk.is_empty()
    }

    /// Answers a peer from what is stored.
    pub fn answer(&self, query: StoreQuery) -> Response {
        match query {
            StoreQuery::Blocks(from) => {
                let run = self.blocks.range(from..).take(MAX_BLOCKS_PER_RESPONSE.min(64));
                let mut next = from;
                let consecutive = run.take_while(|(height, _)| {
                    let fits = **height == next;
                    next = next.next();
                    fits
                });
                Response::Blocks(consecutive.map(|(_, block)| block.clone()).collect())
            }
            StoreQuery::Batches(range) => Response::Batches(self.chain(range.lane, range.from, range.to)),
            StoreQuery::Committees(after) => {
                let firsts = self.blocks.values().filter(|block| block.block.next_committee().is_some());
                let proofs = firsts.filter(|block| block.block.header().epoch >= after).map(|block| CommitteeProof {
                    header: block.block.header().clone(),
                    certificate: block.certificate.clone(),
                    members: block.block.next_committee().unwrap_or_default().to_vec(),
                });
                Response::Committees(proofs.take(MAX_BLOCKS_PER_RESPONSE).collect())
            }
        }
    }

    /// The chain that ends in `to`, from `from` on, as much of its lower end as fits an answer; empty if it is not all here.
    fn chain(&self, lane: LaneId, from: Sequence, to: Tip) -> Vec<Batch> {
        let (mut chain, mut wanted) = (Vec::new(), to.batch);
        for sequence in (from.0..=to.sequence.0).rev() {
            let stored = self.batches.get(&(lane, Sequence(sequence)));
            let Some(batch) = stored.and_then(|slot| slot.iter().find(|batch| batch.id() == wanted)) else {
                return Vec::new();
            };
            wanted = batch.header().parent;
            chain.push(batch.to_batch());
        }
        chain.reverse();
        let mut bytes = 0;
        let fits = |batch: &Batch| {
            bytes += batch.payload.len();
            bytes <= MAX_BATCH_BYTES_PER_RESPONSE
        };
        chain.into_iter().take(MAX_BATCHES_PER_RESPONSE).take_while(fits).collect()
    }
}

impl Store for Disk {
    fn block(&self, height: Height) -> Option<OrderedBlock> {
        self.blocks.get(&height).cloned()
    }

    fn batches(&self, lane: LaneId, from: Sequence) -> Vec<Batch> {
        let range = self.batches.range((lane, from)..=(lane, Sequence(u64::MAX)));
        range.flat_map(|(_, slot)| slot.iter().map(VerifiedBatch::to_batch)).collect()
    }
}
