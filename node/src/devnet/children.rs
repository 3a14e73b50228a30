//! The devnet's processes. They end with it: each watches a pipe that the devnet holds open.

use crate::cli::note;
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked at meanwhile.
const STOP_POLL: Duration = Duration::from_millis(20);

/// The process of the local chain.
pub(super) const CHAIN: &str = "chain";

struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
}

/// A process that ended by itself.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) status: ExitStatus,
    pub(super) log: PathBuf,
}

/// All processes, in the order of their start.
#[derive(Default)]
pub(super) struct Children(Vec<Process>);

impl Children {
    /// Starts this program with other arguments, its output in a log.
    pub(super) fn start(&mut self, name: &str, arguments: &[OsString], log: &Path) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        if let Some(parent) = log.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make the directory {}", parent.display()))?;
        }
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        // A group of its own: Ctrl-C reaches the devnet only, which then stops its processes in order.
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.0.push(Process { name: name.to_owned(), child, log: log.to_owned(), ended: false });
        Ok(())
    }

    /// The process ids of those whose name starts so.
    pub(super) fn pids(&self, prefix: &str) -> Vec<u32> {
        self.0.iter().filter(|process| process.name.starts_with(prefix)).map(|process| process.child.id()).collect()
    }

    /// Processes that ended since the last call.
    pub(super) fn ended(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        for process in self.0.iter_mut().filter(|process| !process.ended) {
            if let Ok(Some(status)) = process.child.try_wait() {
                process.ended = true;
                ended.push(Ended { name: process.name.clone(), status, log: process.log.clone() });
            }
        }
        ended
    }

    /// Fails if one of them has ended, with the end of its log.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.ended().into_iter().next() {
            None => Ok(()),
            Some(Ended { name, status, log }) => {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(8)..].join("\n  ");
                anyhow::bail!("{name} ended ({status}); the end of {}:\n  {tail}", log.display())
            }
        }
    }

    /// Asks all of them to end, those started last first, and kills those that do not.
    pub(super) async fn stop(&mut self) {
        for group in ["executor", "operator", CHAIN] {
            for process in self.0.iter_mut().filter(|process| process.name.starts_with(group)) {
                signal(&process.child, Signal::TERM);
            }
            let end = Instant::now() + STOP_TIMEOUT;
            for process in self.0.iter_mut().filter(|process| process.name.starts_with(group)) {
                while matches!(process.child.try_wait(), Ok(None)) {
                    if Instant::now() > end {
                        note(format_args!("{} does not end: killed", process.name));
                        let _ = process.child.kill();
                        let _ = process.child.wait();
                        break;
                    }
                    tokio::time::sleep(STOP_POLL).await;
                }
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // One that has ended by itself cannot be signalled, and need not be.
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}
