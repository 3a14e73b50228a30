//! `squad-sim` when nobody reads what it prints.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

const SCENARIO: &str = "duration_ms = 100\n[committee]\nmembers = 1\n[[load]]\nrate = 50.0\nbytes = 100\n";

fn sim(directory: &Path, arguments: &str) -> Command {
    std::fs::write(directory.join("scenario.toml"), SCENARIO).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_squad-sim"));
    command.current_dir(directory).args(arguments.split(' ')).stdin(Stdio::null());
    command
}

/// A pipe that nobody reads, as after `head -1` has ended.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Every command that needs no network of processes, in an order in which each finds what it needs.
const COMMANDS: [&str; 8] = [
    "plan 7",
    "run scenario.toml --out run",
    "run scenario.toml --json",
    "report run",
    "sweep scenario.toml --set network.delay_ms=1,2 --out sweep",
    "campaign --seeds 1..1 --jobs 1 --out campaign",
    "campaign --seeds 1..1 --jobs 1 --out campaign --json",
    "report sweep --out merged",
];

#[test]
fn every_command_ends_with_a_status_and_a_reason_when_nobody_reads_its_output() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in COMMANDS {
        let Output { status, stderr, .. } = sim(directory.path(), arguments).stdout(unread()).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{arguments}: {said}");
        assert!(said.contains("cannot write to standard output") && !said.contains("panicked"), "{arguments}: {said}");
    }
    // What goes into files is there all the same.
    for file in ["run/transactions.parquet", "run/report.html", "sweep/sweep.csv", "merged/report.html"] {
        assert!(directory.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn messages_that_nobody_reads_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in COMMANDS {
        let status = sim(directory.path(), arguments).stdout(Stdio::null()).stderr(unread()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{arguments}");
    }
    let status = sim(directory.path(), "run nowhere.toml").stdout(unread()).stderr(unread()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
