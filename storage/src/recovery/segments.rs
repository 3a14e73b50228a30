//! Opening the segments and making the index say what they hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{End, Progress, Stage, TornTail, appender, read_file, torn_tail};
use crate::appender::{Appender, Volume};
use crate::catalog::{Location, Segment, Tail as Memory};
use crate::error::StorageError;
use crate::index::{Fault, Index, IndexState, Reach, is_distrusted, move_aside};
use crate::key::{IndexKey, Label};
use crate::segment::{FILE_HEAD_BYTES, RecordFile, StreamKind};

/// Entries put into the index at once while it is built.
const BUILD_BATCH: usize = 2048;

/// The segments and everything that has to be read from them.
pub(crate) struct OpenedSegments {
    pub(crate) appender: Appender,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) torn: Option<TornTail>,
    /// Entries of the last segment, which is always read whole.
    last: (u64, Vec<(IndexKey, Location)>),
}

/// Opens the segments' files: all heads and footers, and the records of the last one.
pub(crate) fn open_segments(volume: &Arc<Volume>, numbers: &[u64]) -> Result<OpenedSegments, StorageError> {
    let mut segments = BTreeMap::new();
    let mut last = None;
    for (index, &number) in numbers.iter().enumerate() {
        if index > 0 && numbers[index - 1] + 1 != number {
            let missing = volume.path(numbers[index - 1] + 1);
            return Err(StorageError::corrupt(&missing, 0, "this segment is missing"));
        }
        let file = Arc::new(RecordFile::open(&*volume.disk, &volume.path(number), StreamKind::Bulk, number)?);
        volume.counters.live(file.head.size);
        if index + 1 == numbers.len() {
            last = Some(file);
            break;
        }
        let Some(footer) = file.footer()? else {
            let reason = "a later segment follows, but this one has no footer";
            return Err(StorageError::corrupt(&file.path, file.records_end(), reason));
        };
        let segment = Segment { file, summary: footer.summary, end: footer.end, closed: true };
        segments.insert(number, segment);
    }
    let Some(file) = last else {
        let appender = Appender::start(volume, 1, None, 0)?;
        add_active(&mut segments, &appender);
        return Ok(OpenedSegments { appender, segments, torn: None, last: (0, Vec::new()) });
    };
    let (end, entries) = read_entries(&file, true)?;
    let number = file.head.number;
    let torn = torn_tail(&file, &end);
    if end.closed {
        let segment = Segment { file: file.clone(), summary: end.summary, end: end.position, closed: true };
        segments.insert(number, segment);
    }
    let appender = appender(volume, file, &end)?;
    add_active(&mut segments, &appender);
    volume.sync_dir()?;
    Ok(OpenedSegments { appender, segments, torn, last: (number, entries) })
}

fn add_active(segments: &mut BTreeMap<u64, Segment>, appender: &Appender) {
    let segment =
        Segment { file: appender.file.clone(), summary: appender.summary, end: appender.synced, closed: false };
    segments.insert(appender.number(), segment);
}

type Entries = Vec<(IndexKey, Location)>;

fn read_entries(file: &RecordFile, last: bool) -> Result<(End, Entries), StorageError> {
    let mut entries = Vec::new();
    let mut misplaced = None;
    let number = file.head.number;
    let end = read_file(file, last, |label, offset, bytes, _| match label.index_key() {
        Some(key) => entries.push((key, Location { segment: number, offset, bytes })),
        None if label == Label::Mark => {}
        None => misplaced = Some(offset),
    })?;
    match misplaced {
        Some(offset) => Err(StorageError::corrupt(&file.path, offset, "a record of the log in a segment")),
        None => Ok((end, entries)),
    }
}

impl OpenedSegments {
    fn reach(&self) -> Reach {
        let appender = &self.appender;
        Reach { segment: appender.number(), tag: appender.file.head.tag, offset: appender.synced }
    }

    /// True if the segments hold no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.values().all(|segment| segment.end == FILE_HEAD_BYTES)
    }

    /// Entries of a segment, checked byte by byte.
    fn entries(&self, number: u64) -> Result<Entries, StorageError> {
        if number == self.last.0 {
            return Ok(self.last.1.clone());
        }
        match self.segments.get(&number) {
            Some(segment) if segment.closed => Ok(read_entries(&segment.file, false)?.1),
            _ => Ok(Vec::new()),
        }
    }

    /// True if what the index says it reaches is there.
    fn covers(&self, reach: &Reach) -> bool {
        match self.segments.get(&reach.segment) {
            Some(segment) => segment.file.head.tag == reach.tag && reach.offset <= segment.end,
            // All it knew was pruned.
            None => self.segments.keys().next().is_some_and(|first| reach.segment < *first),
        }
    }

    /// Checks every record of every closed segment.
    pub(crate) fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), StorageError> {
        let total = self.segments.len() as u64;
        for (done, number) in self.segments.keys().enumerate() {
            self.entries(*number)?;
            progress(Progress { stage: Stage::Segments, done: done as u64 + 1, total });
        }
        Ok(())
    }

    /// Opens the index and makes it say exactly what the segments hold, building it anew if it is not sound.
    pub(crate) fn index(
        &self,
        dir: &Path,
        cache_bytes: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Option<Arc<Index>>, Memory, IndexState), StorageError> {
        let reason = match self.sound_index(dir, cache_bytes) {
            Ok(Some((index, reach))) => match self.fill(&index, Some(reach), progress)? {
                Ok(rolled_forward) => {
                    let state = IndexState::Sound { rolled_forward };
                    return Ok((Some(Arc::new(index)), self.empty_memory(), state));
                }
                Err(fault) => fault.0,
            },
            Ok(None) => "there was none".to_owned(),
            Err(fault) => fault.0,
        };
        let fresh = move_aside(dir)
            .map_err(|error| Fault(format!("could not move the index at {} aside: {error}", dir.display())))
            .and_then(|()| Index::open(dir, cache_bytes));
        let fault = match fresh {
            Ok((index, None)) => match self.fill(&index, None, progress)? {
                Ok(records) => {
                    let state = IndexState::Rebuilt { reason, records };
                    return Ok((Some(Arc::new(index)), self.empty_memory(), state));
                }
                Err(fault) => fault,
            },
            Ok((_, Some(_))) => Fault("a new index was not empty".into()),
            Err(fault) => fault,
        };
        let mut memory = self.empty_memory();
        for number in self.segments.keys() {
            memory.entries.extend(self.entries(*number)?);
        }
        Ok((None, memory, IndexState::InMemory { reason: fault.0 }))
    }

    fn empty_memory(&self) -> Memory {
        Memory { entries: BTreeMap::new(), reach: self.reach() }
    }

    fn sound_index(&self, dir: &Path, cache_bytes: u64) -> Result<Option<(Index, Reach)>, Fault> {
        if !dir.exists() {
            return Ok(None);
        }
        if is_distrusted(dir) {
            return Err(Fault("the last run found it lying".into()));
        }
        let (index, reach) = Index::open(dir, cache_bytes)?;
        let Some(reach) = reach else { return Ok(None) };
        if !self.covers(&reach) {
            return Err(Fault(format!(
                "it reaches offset {} of segment {}, which the segments do not",
                reach.offset, reach.segment
            )));
        }
        let first = self.segments.keys().next().copied().unwrap_or(0);
        let dangling = index.before_segment(first)?;
        if !dangling.is_empty() {
            index.apply(&[], &dangling, reach)?;
        }
        Ok(Some((index, reach)))
    }

    /// Adds what lies behind `from`, or everything. The inner result is the index's, the outer one the segments'.
    fn fill(
        &self,
        index: &Index,
        from: Option<Reach>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<u64, Fault>, StorageError> {
        let start = from.map_or(0, |reach| reach.segment);
        let todo: Vec<u64> = self.segments.range(start..).map(|(number, _)| *number).collect();
        let total = todo.len() as u64;
        let mut added = 0;
        let mut batch = BTreeMap::new();
        for (done, number) in todo.into_iter().enumerate() {
            let known = from.filter(|reach| reach.segment == number).map_or(0, |reach| reach.offset);
            let segment = self.segments.get(&number);
            if segment.is_some_and(|segment| segment.end <= known) {
                continue;
            }
            for (key, location) in self.entries(number)? {
                if location.offset >= known {
                    added += 1;
                    batch.insert(key, location);
                }
            }
            if batch.len() >= BUILD_BATCH
                && let Some(segment) = segment
            {
                let reach = Reach { segment: number, tag: segment.file.head.tag, offset: segment.end };
                if let Err(fault) = put(index, &mut batch, reach) {
                    return Ok(Err(fault));
                }
            }
            progress(Progress { stage: Stage::Segments, done: done as u64 + 1, total });
        }
        let filled = put(index, &mut batch, self.reach()).and_then(|()| index.flush());
        Ok(filled.map(|()| added))
    }
}

fn put(index: &Index, batch: &mut BTreeMap<IndexKey, Location>, reach: Reach) -> Result<(), Fault> {
    let entries: Vec<_> = std::mem::take(batch).into_iter().collect();
    index.apply(&entries, &[], reach)
}
