//! Every latency of a run in a file.

use super::tally::Latency;
use anyhow::Context;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The file, made before the run, so that one that cannot be written is said at once.
pub(super) struct Latencies {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Latencies {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("--latencies: cannot write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Writes all of them, in the order of when they were due, of calls to so many targets.
    pub(super) fn write(mut self, latencies: &[Latency], targets: usize) -> anyhow::Result<()> {
        let mut sorted: Vec<&Latency> = latencies.iter().collect();
        sorted.sort_by_key(|latency| (latency.due, latency.stream));
        let write = || -> std::io::Result<()> {
            writeln!(self.file, "due_us,target,tier,latency_us")?;
            for Latency { due, stream, tier, micros } in sorted {
                writeln!(self.file, "{due},{},{tier},{micros}", usize::from(*stream) % targets.max(1))?;
            }
            self.file.flush()
        };
        write().with_context(|| format!("--latencies: cannot write {}", self.path.display()))
    }
}
