//! Opening a store: what the last run left, brought into a state that can be appended to.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::appender::{Appender, Volume};
use crate::catalog::{Location, Segment, Tail as Memory};
use crate::error::StorageError;
use crate::identity::Origin;
use crate::index::{Fault, Index, IndexState, Reach, is_distrusted, move_aside};
use crate::key::{IndexKey, Label};
use crate::log::LogWriter;
use crate::record::{ALIGNMENT, HEAD_BYTES};
use crate::scan::Tail;
use crate::segment::{FILE_HEAD_BYTES, RecordFile, StreamKind, Summary};

/// Entries put into the index at once while it is built.
const BUILD_BATCH: usize = 2048;

/// What is going on while a store opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading the log.
    Log,
    /// Reading segments that the index does not cover, or all of them.
    Segments,
}

/// How far the opening of a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub stage: Stage,
    /// Files read.
    pub done: u64,
    /// Files to read in this stage.
    pub total: u64,
}

/// Where the remains of writes that were never durable were cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: PathBuf,
    /// The end of its good records, in bytes.
    pub offset: u64,
}

/// What opening a store brought back.
#[derive(Debug)]
pub struct Recovered {
    /// What the directory was.
    pub origin: Origin,
    /// The newest durable checkpoint of the log.
    pub checkpoint: Option<Bytes>,
    /// Every log record after the checkpoint, in order.
    pub records: Vec<Bytes>,
    /// Set if the log ended in a torn write.
    pub log_torn: Option<TornTail>,
    /// Set if the segments ended in a torn write.
    pub bulk_torn: Option<TornTail>,
    /// What the index was worth.
    pub index: IndexState,
}

/// What the log held.
#[derive(Default)]
pub(crate) struct LogContents {
    pub(crate) checkpoint: Option<Bytes>,
    pub(crate) records: Vec<Bytes>,
    pub(crate) torn: Option<TornTail>,
}

/// The end of a file's good records.
struct End {
    position: u64,
    closed: bool,
    torn: bool,
    summary: Summary,
}

/// Numbers of a stream's files, in order.
pub(crate) fn file_numbers(stream: StreamKind, names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| Volume::number(stream, name))
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Reads a file's records and judges its end. `last` says that no file follows, so that a torn tail is possible.
fn read_file(
    file: &RecordFile,
    last: bool,
    mut visit: impl FnMut(Label, u64, u64, &[u8]),
) -> Result<End, StorageError> {
    let footer = file.footer()?;
    let limit = footer.map_or(file.records_end(), |footer| footer.end);
    let mut summary = Summary::default();
    let (position, tail) = file.scan(FILE_HEAD_BYTES, limit, |scanner| {
        while let Some(found) = scanner.next()? {
            summary.add(&found.head.label);
            visit(
                found.head.label,
                found.offset,
                found.head.head_bytes() + found.body.len() as u64,
                found.body,
            );
        }
        let tail = if footer.is_some() {
            Tail::Clean
        } else {
            scanner.tail()?
        };
        Ok((scanner.position(), tail))
    })?;
    if let Some(footer) = footer {
        if position < footer.end {
            return Err(StorageError::corrupt(
                &file.path,
                position,
                "a record of a closed file is damaged",
            ));
        }
        return Ok(End {
            position,
            closed: true,
            torn: false,
            summary,
        });
    }
    if !last {
        let reason = "a later file follows, but this one has no footer";
        return Err(StorageError::corrupt(&file.path, position, reason));
    }
    let torn = match tail {
        Tail::Clean => false,
        Tail::Torn { strays } => {
            wipe(file, &strays)?;
            true
        }
        Tail::Corrupt { later, synced_to } => {
            let reason = format!(
                "the record here was durable up to offset {synced_to} when the one at offset {later} was written"
            );
            return Err(StorageError::corrupt(&file.path, position, reason));
        }
    };
    // After a mere crash of the process the records may still be in the operating system's memory only.
    file.sync()?;
    Ok(End {
        position,
        closed: false,
        torn,
        summary,
    })
}

/// Wipes intact heads behind the end, or the next append could make one of them look like its successor.
fn wipe(file: &RecordFile, strays: &[u64]) -> Result<(), StorageError> {
    let zeros = [0; HEAD_BYTES];
    for offset in strays {
        debug_assert!(offset.is_multiple_of(ALIGNMENT));
        file.write(&[IoSlice::new(&zeros)], *offset)?;
    }
    Ok(())
}

fn torn_tail(file: &RecordFile, end: &End) -> Option<TornTail> {
    end.torn.then(|| TornTail {
        path: file.path.clone(),
        offset: end.position,
    })
}

fn appender(
    volume: &Arc<Volume>,
    file: Arc<RecordFile>,
    end: &End,
) -> Result<Appender, StorageError> {
    let number = file.head.number;
    if end.closed {
        return Appender::start(volume, number + 1, None, 0);
    }
    Ok(Appender {
        volume: volume.clone(),
        file,
        position: end.position,
        synced: end.position,
        summary: end.summary,
        closed: false,
    })
}

/// Opens the log's files and reads back what they hold.
pub(crate) fn open_log(
    volume: &Arc<Volume>,
    numbers: &[u64],
    progress: &mut dyn FnMut(Progress),
) -> Result<(LogWriter, LogContents), StorageError> {
    let mut contents = LogContents::default();
    let Some(&newest) = numbers.last() else {
        return Ok((
            LogWriter {
                appender: Appender::start(volume, 1, None, 0)?,
                oldest: 1,
            },
            contents,
        ));
    };
    let disk = &*volume.disk;
    // From the newest file back to the newest checkpoint: what is before it may be half recycled already.
    let mut files = Vec::new();
    let mut number = newest;
    loop {
        if !numbers.contains(&number) {
            return Err(StorageError::corrupt(
                &volume.path(number),
                0,
                "this file of the log is missing",
            ));
        }
        let file = RecordFile::open(disk, &volume.path(number), StreamKind::Log, number)?;
        let start = file.head.checkpoint || number == 1;
        files.push(Arc::new(file));
        if start {
            break;
        }
        number -= 1;
    }
    files.reverse();
    let total = files.len() as u64;
    let mut last = None;
    for (index, file) in files.iter().enumerate() {
        let is_last = index + 1 == files.len();
        let mut misplaced = None;
        let end = read_file(file, is_last, |label, offset, _, body| match label {
            Label::Checkpoint => contents.checkpoint = Some(Bytes::copy_from_slice(body)),
            Label::Entry => contents.records.push(Bytes::copy_from_slice(body)),
            Label::Mark => {}
            Label::Batch(..) | Label::Block(_) => misplaced = Some(offset),
        })?;
        if let Some(offset) = misplaced {
            return Err(StorageError::corrupt(
                &file.path,
                offset,
                "a record of the segments in the log",
            ));
        }
        if file.head.checkpoint && index == 0 && contents.checkpoint.is_none() {
            return Err(StorageError::corrupt(
                &file.path,
                end.position,
                "the checkpoint of the log is damaged",
            ));
        }
        volume.counters.live(file.head.size);
        progress(Progress {
            stage: Stage::Log,
            done: index as u64 + 1,
            total,
        });
        last = Some((file.clone(), end));
    }
    let Some((file, end)) = last else {
        return Err(StorageError::Stopped);
    };
    contents.torn = torn_tail(&file, &end);
    let first = files.first().map_or(newest, |file| file.head.number);
    let appender = appender(volume, file, &end)?;
    // Leftovers of a checkpoint that was cut short while it let go of the older files.
    for old in numbers.iter().filter(|old| **old < first) {
        let path = volume.path(*old);
        disk.unlink(&path)
            .map_err(|error| StorageError::io("unlink", &path, error))?;
    }
    volume.sync_dir()?;
    Ok((
        LogWriter {
            appender,
            oldest: first,
        },
        contents,
    ))
}

/// The segments and everything that has to be read from them.
pub(crate) struct OpenedSegments {
    pub(crate) appender: Appender,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) torn: Option<TornTail>,
    /// Entries of the last segment, which is always read whole.
    last: (u64, Vec<(IndexKey, Location)>),
}

/// Opens the segments' files: all heads and footers, and the records of the last one.
pub(crate) fn open_segments(
    volume: &Arc<Volume>,
    numbers: &[u64],
) -> Result<OpenedSegments, StorageError> {
    let mut segments = BTreeMap::new();
    let mut last = None;
    for (index, &number) in numbers.iter().enumerate() {
        if index > 0 && numbers[index - 1] + 1 != number {
            let missing = volume.path(numbers[index - 1] + 1);
            return Err(StorageError::corrupt(
                &missing,
                0,
                "this segment is missing",
            ));
        }
        let file = Arc::new(RecordFile::open(
            &*volume.disk,
            &volume.path(number),
            StreamKind::Bulk,
            number,
        )?);
        volume.counters.live(file.head.size);
        if index + 1 == numbers.len() {
            last = Some(file);
            break;
        }
        let Some(footer) = file.footer()? else {
            let reason = "a later segment follows, but this one has no footer";
            return Err(StorageError::corrupt(
                &file.path,
                file.records_end(),
                reason,
            ));
        };
        let segment = Segment {
            file,
            summary: footer.summary,
            end: footer.end,
            closed: true,
        };
        segments.insert(number, segment);
    }
    let Some(file) = last else {
        let appender = Appender::start(volume, 1, None, 0)?;
        add_active(&mut segments, &appender);
        return Ok(OpenedSegments {
            appender,
            segments,
            torn: None,
            last: (0, Vec::new()),
        });
    };
    let (end, entries) = read_entries(&file, true)?;
    let number = file.head.number;
    let torn = torn_tail(&file, &end);
    if end.closed {
        let segment = Segment {
            file: file.clone(),
            summary: end.summary,
            end: end.position,
            closed: true,
        };
        segments.insert(number, segment);
    }
    let appender = appender(volume, file, &end)?;
    add_active(&mut segments, &appender);
    volume.sync_dir()?;
    Ok(OpenedSegments {
        appender,
        segments,
        torn,
        last: (number, entries),
    })
}

fn add_active(segments: &mut BTreeMap<u64, Segment>, appender: &Appender) {
    let segment = Segment {
        file: appender.file.clone(),
        summary: appender.summary,
        end: appender.synced,
        closed: false,
    };
    segments.insert(appender.number(), segment);
}

type Entries = Vec<(IndexKey, Location)>;

fn read_entries(file: &RecordFile, last: bool) -> Result<(End, Entries), StorageError> {
    let mut entries = Vec::new();
    let mut misplaced = None;
    let number = file.head.number;
    let end = read_file(file, last, |label, offset, bytes, _| {
        match label.index_key() {
            Some(key) => entries.push((
                key,
                Location {
                    segment: number,
                    offset,
                    bytes,
                },
            )),
            None if label == Label::Mark => {}
            None => misplaced = Some(offset),
        }
    })?;
    match misplaced {
        Some(offset) => Err(StorageError::corrupt(
            &file.path,
            offset,
            "a record of the log in a segment",
        )),
        None => Ok((end, entries)),
    }
}

impl OpenedSegments {
    fn reach(&self) -> Reach {
        let appender = &self.appender;
        Reach {
            segment: appender.number(),
            tag: appender.file.head.tag,
            offset: appender.synced,
        }
    }

    /// True if the segments hold no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments
            .values()
            .all(|segment| segment.end == FILE_HEAD_BYTES)
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
            None => self
                .segments
                .keys()
                .next()
                .is_some_and(|first| reach.segment < *first),
        }
    }

    /// Checks every record of every closed segment.
    pub(crate) fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), StorageError> {
        let total = self.segments.len() as u64;
        for (done, number) in self.segments.keys().enumerate() {
            self.entries(*number)?;
            progress(Progress {
                stage: Stage::Segments,
                done: done as u64 + 1,
                total,
            });
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
            .map_err(|error| {
                Fault(format!(
                    "could not move the index at {} aside: {error}",
                    dir.display()
                ))
            })
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
        Memory {
            entries: BTreeMap::new(),
            reach: self.reach(),
        }
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
        let todo: Vec<u64> = self
            .segments
            .range(start..)
            .map(|(number, _)| *number)
            .collect();
        let total = todo.len() as u64;
        let mut added = 0;
        let mut batch = BTreeMap::new();
        for (done, number) in todo.into_iter().enumerate() {
            let known = from
                .filter(|reach| reach.segment == number)
                .map_or(0, |reach| reach.offset);
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
                let reach = Reach {
                    segment: number,
                    tag: segment.file.head.tag,
                    offset: segment.end,
                };
                if let Err(fault) = put(index, &mut batch, reach) {
                    return Ok(Err(fault));
                }
            }
            progress(Progress {
                stage: Stage::Segments,
                done: done as u64 + 1,
                total,
            });
        }
        let filled = put(index, &mut batch, self.reach()).and_then(|()| index.flush());
        Ok(filled.map(|()| added))
    }
}

fn put(index: &Index, batch: &mut BTreeMap<IndexKey, Location>, reach: Reach) -> Result<(), Fault> {
    let entries: Vec<_> = std::mem::take(batch).into_iter().collect();
    index.apply(&entries, &[], reach)
}
