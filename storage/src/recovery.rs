//! Opening a store: what the last run left, brought into a state that can be appended to.

mod segments;

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::appender::{Appender, Volume};
use crate::error::StorageError;
use crate::identity::Origin;
use crate::index::IndexState;
use crate::key::Label;
use crate::log::LogWriter;
use crate::record::{ALIGNMENT, HEAD_BYTES};
use crate::scan::Tail;
use crate::segment::{FILE_HEAD_BYTES, RecordFile, StreamKind, Summary};

/// Bytes copied at once while the last group is written again.
const COPY_BYTES: u64 = 1 << 20;

pub(crate) use segments::open_segments;

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
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| Volume::number(stream, name)).collect();
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
    let mut proven = FILE_HEAD_BYTES;
    let (position, tail) = file.scan(FILE_HEAD_BYTES, limit, |scanner| {
        while let Some(found) = scanner.next()? {
            summary.add(&found.head.label);
            proven = proven.max(found.head.synced_to);
            visit(found.head.label, found.offset, found.head.head_bytes() + found.body.len() as u64, found.body);
        }
        let tail = if footer.is_some() { Tail::Clean } else { scanner.tail()? };
        Ok((scanner.position(), tail))
    })?;
    if let Some(footer) = footer {
        if position < footer.end {
            return Err(StorageError::corrupt(&file.path, position, "a record of a closed file is damaged"));
        }
        if last {
            // See below; the footer is the last thing that was written.
            write_again(file, file.records_end(), file.head.size)?;
        }
        return Ok(End { position, closed: true, torn: false, summary });
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
    write_again(file, proven, position)?;
    Ok(End { position, closed: false, torn, summary })
}

/// Writes what is not proven durable again and syncs it.
///
/// After a crash of the process it may be in the operating system's memory only; and if an fsync failed, that memory
/// counts as clean, so that another fsync alone would not write it.
fn write_again(file: &RecordFile, from: u64, to: u64) -> Result<(), StorageError> {
    let mut at = from;
    while at < to {
        let mut bytes = vec![0; (to - at).min(COPY_BYTES) as usize];
        let read = file.read(&mut bytes, at)?;
        if read == 0 {
            break;
        }
        file.write(&[IoSlice::new(&bytes[..read])], at)?;
        at += read as u64;
    }
    file.sync()
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
    end.torn.then(|| TornTail { path: file.path.clone(), offset: end.position })
}

fn appender(volume: &Arc<Volume>, file: Arc<RecordFile>, end: &End) -> Result<Appender, StorageError> {
    let number = file.head.number;
    if end.closed {
        return Appender::start(volume, number + 1, None, 0);
    }
    Ok(Appender {
        volume: volume.clone(),
        file,
        position: end.position,
        synced: end.position,
        forgotten: crate::segment::FILE_HEAD_BYTES,
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
        return Ok((LogWriter { appender: Appender::start(volume, 1, None, 0)?, oldest: 1 }, contents));
    };
    let disk = &*volume.disk;
    // From the newest file back to the newest checkpoint: what is before it may be half recycled already.
    let mut files = Vec::new();
    let mut number = newest;
    loop {
        if !numbers.contains(&number) {
            return Err(StorageError::corrupt(&volume.path(number), 0, "this file of the log is missing"));
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
            return Err(StorageError::corrupt(&file.path, offset, "a record of the segments in the log"));
        }
        if file.head.checkpoint && index == 0 && contents.checkpoint.is_none() {
            return Err(StorageError::corrupt(&file.path, end.position, "the checkpoint of the log is damaged"));
        }
        volume.counters.live(file.head.size);
        progress(Progress { stage: Stage::Log, done: index as u64 + 1, total });
        last = Some((file.clone(), end));
    }
    let Some((file, end)) = last else {
        return Err(StorageError::Stopped);
    };
    contents.torn = torn_tail(&file, &end);
    let first = files.first().map_or(newest, |file| file.head.number);
    let appender = appender(volume, file, &end)?;
    // The newest checkpoint's name must be durable before what it replaces goes.
    volume.sync_dir()?;
    // Leftovers of a checkpoint that was cut short while it let go of the older files.
    for old in numbers.iter().filter(|old| **old < first) {
        let path = volume.path(*old);
        disk.unlink(&path).map_err(|error| StorageError::io("unlink", &path, error))?;
    }
    volume.sync_dir()?;
    Ok((LogWriter { appender, oldest: first }, contents))
}
