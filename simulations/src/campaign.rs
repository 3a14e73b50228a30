//! Many seeds on all cores: plans, runs, verdicts; stopped at any time and gone on with.

use crate::scenario::{Profile, Scenario, draw};
use crate::shards::Whole;
use crate::simulation::{Outcome, Simulation, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seeds.
    pub seeds: Range<u64>,
    /// How large plans are.
    pub profile: Profile,
    /// This part of that many: only seeds whose remainder is the part.
    pub shard: (u64, u64),
    /// Threads.
    pub jobs: usize,
    /// Where results go.
    pub out: PathBuf,
    /// Every so-many-th seed runs twice, and both runs must be the same; 0 for none.
    pub twice: u64,
    /// Whether the first violation ends it.
    pub stop_at_first: bool,
}

/// One line of `results.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The seed.
    pub seed: u64,
    /// `held`, `beyond` or `violated`.
    pub verdict: String,
    /// What did not hold, or why nothing is promised.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// A hash over the run.
    pub trace: String,
    /// Events.
    pub events: u64,
    /// Messages handled by nodes.
    pub deliveries: u64,
    /// Heights.
    pub height: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Virtual milliseconds after the last fault until all was in order.
    pub settled_ms: u64,
    /// Transactions sent.
    pub sent: usize,
    /// Transactions ordered.
    pub ordered: usize,
    /// How often the inclusion rule was put to the test.
    pub inclusions: u64,
    /// Statements made anew by operators that had lost their memory, because too few had heard the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten: u64,
    /// Processor time of the run, in milliseconds of one core.
    pub wall_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What a campaign found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Runs.
    pub runs: u64,
    /// Runs in which everything held.
    pub held: u64,
    /// Runs that went beyond what is promised.
    pub beyond: u64,
    /// Seeds with a violation.
    pub violated: Vec<u64>,
    /// Virtual milliseconds of all runs.
    pub virtual_ms: u64,
}

struct State {
    results: File,
    found: Found,
    last: Instant,
}

impl Campaign {
    /// Runs what has not been run yet, and adds it to what is in `out`.
    pub fn run(&self, progress: &(dyn Fn(&Found, u64) + Sync)) -> io::Result<Found> {
        std::fs::create_dir_all(&self.out)?;
        self.whole().join(&self.out)?;
        let path = self.out.join("results.jsonl");
        let mut found = Found::default();
        let mut done = BTreeSet::new();
        for line in read_results(&path)? {
            done.insert(line.seed);
            found.add(&line);
        }
        let (part, parts) = self.shard;
        let seeds: Vec<u64> = self.seeds.clone().filter(|seed| seed % parts == part && !done.contains(seed)).collect();
        let total = found.runs + seeds.len() as u64;
        progress(&found, total);
        let results = OpenOptions::new().create(true).append(true).open(&path)?;
        let state = Mutex::new(State { results, found, last: Instant::now() });
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let error = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                        let Some(seed) = seeds.get(at) else { break };
                        if let Err(failed) = self.one(*seed, &state, &stop, total, progress) {
                            *error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failed);
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        if let Some(error) = error.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(error);
        }
        let state = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        progress(&state.found, total);
        Ok(state.found)
    }

    /// What it is in all, of which this may be one shard.
    fn whole(&self) -> Whole {
        Whole {
            what: "campaign".to_owned(),
            of: self.profile.name().to_owned(),
            points: vec![String::new()],
            first: self.seeds.start,
            last: self.seeds.end.saturating_sub(1),
        }
    }

    fn one(
        &self,
        seed: u64,
        state: &Mutex<State>,
        stop: &AtomicBool,
        total: u64,
        progress: &(dyn Fn(&Found, u64) + Sync),
    ) -> io::Result<()> {
        let scenario = draw(seed, self.profile);
        let (line, outcome) = run_one(&scenario)?;
        let mut failed = matches!(outcome.verdict, Verdict::Violated(_));
        let mut line = line;
        if !failed && self.twice > 0 && seed.is_multiple_of(self.twice) {
            let (_, again) = run_one(&scenario)?;
            if (again.trace, again.events) != (outcome.trace, outcome.events) {
                failed = true;
                line.verdict = "violated".to_owned();
                line.what = format!("reproduction: the same seed ran to trace {:016x}", again.trace);
            }
        }
        if failed {
            let file = self.out.join(format!("failure-{seed}.toml"));
            std::fs::write(file, failure_file(&scenario, &outcome, &line.what))?;
        }
        let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = serde_json::to_string(&line).map_err(io::Error::other)?;
        writeln!(state.results, "{text}")?;
        state.found.add(&line);
        if failed && self.stop_at_first {
            stop.store(true, Ordering::Relaxed);
        }
        if state.last.elapsed().as_millis() >= 500 {
            state.last = Instant::now();
            progress(&state.found, total);
        }
        Ok(())
    }
}

impl Found {
    fn add(&mut self, line: &Line) {
        self.runs += 1;
        self.virtual_ms += line.virtual_ms;
        match line.verdict.as_str() {
            "held" => self.held += 1,
            "beyond" => self.beyond += 1,
            _ => self.violated.push(line.seed),
        }
    }
}

/// Runs a scenario and puts what became of it into a line.
pub fn run_one(scenario: &Scenario) -> io::Result<(Line, Outcome)> {
    let started = Instant::now();
    let mut simulation = Simulation::new(scenario.clone()).map_err(io::Error::other)?;
    let outcome = simulation.run_guarded();
    let (verdict, what) = match &outcome.verdict {
        Verdict::Held => ("held", String::new()),
        Verdict::Beyond(why) => ("beyond", why.clone()),
        Verdict::Violated(failure) => ("violated", failure.violation.to_string()),
    };
    let invariants = &simulation.cluster.invariants;
    let line = Line {
        seed: scenario.seed,
        verdict: verdict.to_owned(),
        what,
        trace: format!("{:016x}", outcome.trace),
        events: outcome.events,
        deliveries: outcome.deliveries,
        height: outcome.height,
        virtual_ms: outcome.virtual_us / 1_000,
        settled_ms: outcome.settled_ms,
        sent: simulation.sent.len(),
        ordered: invariants.ordered_count(),
        inclusions: invariants.inclusions_checked(),
        forgotten: invariants.forgotten(),
        wall_ms: started.elapsed().as_millis() as u64,
    };
    Ok((line, outcome))
}

/// A scenario file that reproduces a failure, with what was seen as its comment.
pub fn failure_file(scenario: &Scenario, outcome: &Outcome, what: &str) -> String {
    let mut text = String::new();
    let mut comment = |line: &str| {
        for line in line.lines() {
            text.push_str("# ");
            text.push_str(line);
            text.push('\n');
        }
    };
    comment(what);
    if let Verdict::Violated(failure) = &outcome.verdict {
        comment(&format!("seed {}, event {}, {} µs after the start", scenario.seed, failure.event, failure.at_us));
        failure.states.iter().for_each(|state| comment(state));
    }
    comment("Run it again: squad-sim run THIS_FILE. Make it smaller: squad-sim shrink THIS_FILE.");
    text.push('\n');
    text.push_str(&scenario.to_toml());
    text
}

/// The lines of a results file; a torn last line is left out.
pub fn read_results(path: &Path) -> io::Result<Vec<Line>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut lines = Vec::new();
    for line in BufReader::new(file).lines() {
        if let Ok(line) = serde_json::from_str(&line?) {
            lines.push(line);
        }
    }
    Ok(lines)
}
