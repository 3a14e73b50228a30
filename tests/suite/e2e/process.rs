//! Processes of the program under test. None outlives its test.

use super::wait::wait_for;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The program under test.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_squad-under-test");

/// A command of the program, with nothing of this process's settings.
pub(super) fn squad<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SQUAD_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub(super) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    squad(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Sends a signal, if the process is still there.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether there is such a process.
pub(super) fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// A child that is killed when it goes out of scope.
pub(super) struct Guarded(pub(super) Child);

impl Guarded {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end.
    pub(super) fn end(&mut self, what: &str) -> ExitStatus {
        wait_for(what, || self.0.try_wait().unwrap()).0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an operator by hand, as its configuration's first line says.
pub(super) fn start_node(config: &Path) -> Guarded {
    start_node_with(config, &[])
}

/// The same with further options.
pub(super) fn start_node_with(config: &Path, options: &[&str]) -> Guarded {
    let mut command = squad(["node", "--insecure-plaintext-key", "--config"]);
    command.arg(config).args(options);
    start_logged(command, config)
}

/// Starts a command that runs the operator of that configuration.
pub(super) fn start_logged(mut command: Command, config: &Path) -> Guarded {
    let log = std::fs::File::options().create(true).append(true).open(log_of(config)).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Guarded(command.spawn().unwrap())
}

/// Where an operator's log lies.
pub(super) fn log_of(config: &Path) -> PathBuf {
    config.with_file_name("node.log")
}
