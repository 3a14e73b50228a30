//! What a store must hold after any history of commits and crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::support::{body, id, key, open_with, small};
use crate::testing::{FaultDisk, Random};
use crate::{BulkRecord, BulkWriter, LogRecord, LogWriter, Options, Origin, Recovered, Retention, StorageError, Store};

/// A record's key, as a test compares it: epoch, lane, sequence, id; or a height.
type Name = (u64, u16, u64, [u8; 32]);

fn name(record: &BulkRecord) -> Name {
    match record {
        BulkRecord::Batch { key, id, .. } => (key.epoch, key.lane, key.sequence, *id),
        BulkRecord::Block { height, .. } => (*height, u16::MAX, u64::MAX, [0xff; 32]),
    }
}

/// The history of one directory.
#[derive(Default)]
pub(super) struct Model {
    /// Everything that was ever given to the log and may still be in it.
    log: Vec<LogRecord>,
    /// That many of them were reported durable.
    log_durable: usize,
    stored: BTreeMap<Name, BulkRecord>,
    /// Given to the segments and not reported durable, in order.
    uncertain: Vec<BulkRecord>,
    /// Seen to be gone; must never come back.
    gone: BTreeSet<Name>,
    floor: u64,
    next: u64,
}

/// An open store and its writers.
pub(super) struct Running {
    pub(super) store: Store,
    pub(super) log: LogWriter,
    pub(super) bulk: BulkWriter,
}

pub(super) const DIR: &str = "/data";

/// Small files and no index on a real disk: what is proved here is the truth, not the index.
pub(super) fn without_index() -> Options {
    Options { index_dir: Some(PathBuf::from("/dev/null/index")), ..small() }
}

pub(super) fn start(disk: &FaultDisk, options: &Options) -> Result<(Running, Recovered), StorageError> {
    let (store, recovered) = open_with(Path::new(DIR), options.clone(), Arc::new(disk.clone()))?;
    let (log, bulk) = store.writers()?;
    Ok((Running { store, log, bulk }, recovered))
}

/// What recovery yields from these records.
fn view(log: &[LogRecord]) -> (Option<Bytes>, Vec<Bytes>) {
    let mut checkpoint = None;
    let mut records = Vec::new();
    for record in log {
        match record {
            LogRecord::Checkpoint(body) => {
                checkpoint = Some(body.clone());
                records.clear();
            }
            LogRecord::Entry(body) => records.push(body.clone()),
        }
    }
    (checkpoint, records)
}

fn find(store: &Store, record: &BulkRecord) -> Option<Bytes> {
    match record {
        BulkRecord::Batch { key, id, .. } => {
            let found = store.batch(key.epoch, key.lane, key.sequence).unwrap();
            found.into_iter().find(|(of, _)| of == id).map(|(_, body)| body)
        }
        BulkRecord::Block { height, .. } => store.block(*height).unwrap(),
    }
}

impl Model {
    /// Compares a store that was just opened with the history, and takes what survived as the history from now on.
    pub(super) fn check(&mut self, store: &Store, recovered: &Recovered) {
        assert_ne!(recovered.origin, Origin::LogLost);
        let got = (recovered.checkpoint.clone(), recovered.records.clone());
        let prefix = (self.log_durable..=self.log.len()).find(|count| view(&self.log[..*count]) == got);
        let prefix = prefix.unwrap_or_else(|| {
            let shape = (got.0.map(|body| body.len()), got.1.len());
            panic!("{shape:?} is no prefix of {} records with {} durable", self.log.len(), self.log_durable)
        });
        self.log.truncate(prefix);
        self.log_durable = prefix;
        self.check_segments(store);
    }

    fn check_segments(&mut self, store: &Store) {
        let mut missing = Vec::new();
        for (name, record) in &self.stored {
            match find(store, record) {
                Some(body) => assert_eq!(&body, record.body()),
                None => {
                    assert!(self.is_prunable(record), "a durable record is lost: {name:?}");
                    missing.push(*name);
                }
            }
        }
        for name in missing {
            self.stored.remove(&name);
            self.gone.insert(name);
        }
        let mut ended = false;
        for record in std::mem::take(&mut self.uncertain) {
            let name = name(&record);
            if self.stored.contains_key(&name) {
                continue;
            }
            match find(store, &record) {
                Some(body) => {
                    assert!(!ended, "what survives of a group is no prefix");
                    assert_eq!(&body, record.body());
                    self.stored.insert(name, record);
                }
                None => {
                    ended = true;
                    self.gone.insert(name);
                }
            }
        }
        for &(first, lane, sequence, id) in &self.gone {
            let back = match lane {
                u16::MAX => store.block(first).unwrap().is_some(),
                _ => store.batch(first, lane, sequence).unwrap().iter().any(|(of, _)| *of == id),
            };
            assert!(!back, "a record that was gone came back: {first} {lane} {sequence}");
        }
    }

    fn is_prunable(&self, record: &BulkRecord) -> bool {
        match record {
            BulkRecord::Batch { key, .. } => key.epoch < self.floor / 10,
            BulkRecord::Block { height, .. } => *height < self.floor,
        }
    }

    /// Does something at random.
    pub(super) fn act(&mut self, running: &mut Running, random: &mut Random) -> Result<(), StorageError> {
        match random.below(16) {
            0..6 => self.commit_log(&mut running.log, random),
            6..12 => self.commit_bulk(&mut running.bulk, random),
            12 => {
                self.floor = self.floor.max(self.next.saturating_sub(random.below(20)));
                let max_bytes = random.below(3) * 50_000;
                let retention = Retention { epoch: self.floor / 10, height: self.floor, max_bytes };
                running.store.prune(retention).map(|_| ())
            }
            13 => running.store.maintain(),
            14 => running.log.finish(),
            _ => running.bulk.finish(),
        }
    }

    fn commit_log(&mut self, log: &mut LogWriter, random: &mut Random) -> Result<(), StorageError> {
        let group: Vec<LogRecord> = (0..1 + random.below(5))
            .map(|_| {
                // Often the same size, so that what is appended after a crash ends where a lost record began.
                let length = if random.below(2) == 0 { 300 } else { random.below(700) as usize };
                let body = body(random.draw(), length);
                if random.below(25) == 0 { LogRecord::Checkpoint(body) } else { LogRecord::Entry(body) }
            })
            .collect();
        self.log.extend(group.iter().cloned());
        log.commit(&group)?;
        self.log_durable = self.log.len();
        Ok(())
    }

    fn commit_bulk(&mut self, bulk: &mut BulkWriter, random: &mut Random) -> Result<(), StorageError> {
        let mut group = Vec::new();
        for _ in 0..1 + random.below(4) {
            if random.below(6) == 0
                && let Some((_, record)) = self.stored.last_key_value()
                && !self.is_prunable(record)
            {
                group.push(record.clone());
                continue;
            }
            self.next += 1;
            let body = body(random.draw(), random.below(3000) as usize);
            group.push(match random.below(2) {
                0 => BulkRecord::Block { height: self.next, body },
                _ => BulkRecord::Batch {
                    key: key(self.next / 10, random.below(3) as u16, random.below(2)),
                    id: id(self.next),
                    body,
                },
            });
        }
        self.uncertain = group;
        bulk.commit(&self.uncertain)?;
        for record in std::mem::take(&mut self.uncertain) {
            self.stored.insert(name(&record), record);
        }
        Ok(())
    }
}
