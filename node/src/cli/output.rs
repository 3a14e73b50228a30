//! Prints results as text or as JSON.

use anyhow::Context as _;
use serde::Serialize;
use std::fmt::Display;
use std::io::Write as _;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
}

impl Output {
    /// Prints a result: `text` for people, `value` for programs.
    ///
    /// # Errors
    /// A value that has no JSON form; standard output that cannot be written to.
    pub fn result(self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json { line(serde_json::to_string(value)?) } else { line(text()) }
    }

    /// Says what to do next, to whoever reads text.
    pub fn note(self, text: impl FnOnce() -> String) {
        if !self.json {
            note(text());
        }
    }

    /// Prints a failure, with its causes, to standard error.
    pub fn error(self, error: &anyhow::Error) {
        if self.json {
            note(serde_json::json!({ "error": format!("{error:#}") }));
        } else {
            note(format_args!("error: {error:#}"));
        }
    }
}

/// Writes to standard output at once, as it is.
///
/// # Errors
/// Nobody reads it any more, or the disk that it goes to is full.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.context("cannot write to standard output: keep what reads it running, or send it to a file")
}

/// Writes a line to standard output at once.
///
/// # Errors
/// As [`print()`].
pub fn line(text: impl Display) -> anyhow::Result<()> {
    print(format_args!("{text}\n"))
}

/// Writes a line to standard error, if anybody reads it.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
