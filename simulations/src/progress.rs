//! How far a campaign or a sweep is: one line that is drawn over itself on a terminal, and a line now and then elsewhere.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Runs that are done, those of before included.
    pub runs: u64,
    /// Of how many.
    pub total: u64,
    /// Runs in which something was violated.
    pub violated: u64,
    /// Runs that went beyond what is promised.
    pub beyond: u64,
}

/// Where no terminal is, a line so often.
const EVERY: Duration = Duration::from_secs(10);

struct State {
    /// Runs that were there when it started; they say nothing about the rate.
    before: Option<u64>,
    told: Option<Instant>,
}

/// Tells how far something is, on standard error.
pub struct Progress {
    what: &'static str,
    quiet: bool,
    terminal: bool,
    started: Instant,
    state: Mutex<State>,
}

impl Progress {
    /// Of these; `quiet` says nothing at all.
    pub fn new(what: &'static str, quiet: bool) -> Self {
        let state = Mutex::new(State { before: None, told: None });
        Self { what, quiet, terminal: std::io::stderr().is_terminal(), started: Instant::now(), state }
    }

    /// Says how far it is, if it is time to.
    pub fn tell(&self, done: Done) {
        if self.quiet {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = *state.before.get_or_insert(done.runs);
        let due = state.told.is_none_or(|told| told.elapsed() >= EVERY) || done.runs == done.total;
        if !self.terminal && !due {
            return;
        }
        state.told = Some(Instant::now());
        let line = line(self.what, done, done.runs.saturating_sub(before), self.started.elapsed());
        if self.terminal { note_here(format_args!("\r{line}\x1b[K")) } else { note(line) }
    }

    /// Something to keep, above the line.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let begin = if self.terminal { "\r\x1b[K" } else { "" };
            note(format_args!("{begin}{text}"));
        }
    }

    /// Nothing more is said.
    pub fn end(&self) {
        if self.terminal && !self.quiet {
            note("");
        }
    }
}

/// Writes a line to standard error, if anybody reads it.
pub fn note(text: impl Display) {
    note_here(format_args!("{text}\n"));
}

fn note_here(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// The line: `fresh` runs of those done took `elapsed`.
fn line(what: &str, done: Done, fresh: u64, elapsed: Duration) -> String {
    let Done { runs, total, violated, beyond } = done;
    let filled = (30 * runs / total.max(1)).min(30) as usize;
    let (bar, rest) = ("#".repeat(filled), ".".repeat(30 - filled));
    let rate = fresh as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = match total.saturating_sub(runs) {
        0 => String::new(),
        _ if fresh == 0 => ", time left unknown".to_owned(),
        more => format!(", {} left", duration(more as f64 / rate)),
    };
    let beyond = if beyond > 0 { format!(", {beyond} beyond") } else { String::new() };
    format!("[{bar}{rest}] {runs}/{total} {what}, {violated} violated{beyond}, {rate:.1} a second{left}")
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_how_fast_and_how_long_it_will_take() {
        let done = Done { runs: 60, total: 120, violated: 1, beyond: 2 };
        assert_eq!(
            line("seeds", done, 20, Duration::from_secs(10)),
            "[###############...............] 60/120 seeds, 1 violated, 2 beyond, 2.0 a second, 30 s left"
        );
        let over = line("points", Done { runs: 4, total: 4, ..Done::default() }, 4, Duration::from_secs(1));
        assert_eq!(over, "[##############################] 4/4 points, 0 violated, 4.0 a second");
        let first = line("points", Done { runs: 3, total: 4, ..Done::default() }, 0, Duration::from_secs(1));
        assert!(first.ends_with("time left unknown"), "{first}");
        assert_eq!([61.0, 7_300.0].map(duration), ["1 min 1 s", "2 h 1 min"]);
    }
}
