//! What became of the transactions of one call.

use super::histogram::Histogram;
use super::schedule::Schedule;
use squad_client::proto::{SubmitAnswer, submit_answer::Outcome};
use squad_types::Tier;
use std::collections::BTreeMap;
use std::time::Duration;

/// Codes of refusals that are told apart; an operator that makes up more has them counted together.
const MAX_CODES: usize = 64;
/// Characters of a reason that are kept.
const MAX_REASON: usize = 200;

/// Refusals of one code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    pub(super) count: u64,
    /// What the first of them said.
    pub(super) reason: String,
}

/// What one transaction took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latency {
    /// When it was due, in microseconds from the start.
    pub(super) due: u64,
    /// The call that it went out by.
    pub(super) stream: u16,
    pub(super) tier: Tier,
    pub(super) micros: u64,
}

/// Counts. Only transactions that were due in the measured time count, except where it says otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Handed to a call.
    pub(super) sent: u64,
    /// Not handed to a call, because there was none, or its operator had stopped reading.
    pub(super) unsent: u64,
    pub(super) accepted: u64,
    pub(super) rejected: BTreeMap<String, Refusals>,
    /// Answers to what has been answered, or was never sent: an operator's mistake. Counted at all times.
    pub(super) stray: u64,
    /// Accepting answers that came in the measured time, whenever their transactions were due.
    pub(super) arrived: u64,
    /// By tier.
    pub(super) latency: [Histogram; 3],
    /// Each latency, if they are wanted.
    pub(super) each: Option<Vec<Latency>>,
    answered: Bits,
}

/// A growing set of small numbers.
#[derive(Clone, Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; whether it is new.
    fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

impl Tally {
    /// Nothing yet; whether every latency is kept.
    pub(super) fn new(latencies: bool) -> Self {
        Self { each: latencies.then(Vec::new), ..Self::default() }
    }

    /// Counts an answer that came `now`, measured from the start. The latency counts from when its transaction was due.
    pub(super) fn answer(&mut self, schedule: &Schedule, stream: usize, answer: SubmitAnswer, now: Duration) {
        let group = schedule.group_of(answer.id);
        let expected = group < schedule.groups() && schedule.stream(group) == stream;
        if !expected || !self.answered.insert(schedule.place(answer.id)) {
            self.stray += 1;
            return;
        }
        let due = schedule.due(group);
        let accepted = matches!(answer.outcome, Some(Outcome::Accepted(_)));
        self.arrived += u64::from(accepted && schedule.measures(now));
        if !schedule.measures(due) {
            return;
        }
        match answer.outcome {
            Some(Outcome::Accepted(_)) => {
                self.accepted += 1;
                let (tier, took) = (schedule.tier(group), now.saturating_sub(due));
                self.latency[tier as usize].add(took);
                if let Some(each) = &mut self.each {
                    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                    let stream = u16::try_from(stream).unwrap_or(u16::MAX);
                    each.push(Latency { due: micros(due), stream, tier, micros: micros(took) });
                }
            }
            Some(Outcome::Rejected(rejected)) => self.reject(rejected.code, rejected.reason),
            None => self.reject("malformed_answer".into(), "neither accepted nor rejected".into()),
        }
    }

    fn reject(&mut self, code: String, reason: String) {
        let full = self.rejected.len() >= MAX_CODES && !self.rejected.contains_key(&code);
        let code = if full { "other".to_owned() } else { code };
        let entry = self
            .rejected
            .entry(code)
            .or_insert_with(|| Refusals { count: 0, reason: reason.chars().take(MAX_REASON).collect() });
        entry.count += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.accepted += other.accepted;
        self.stray += other.stray;
        self.arrived += other.arrived;
        for (code, theirs) in &other.rejected {
            let fresh = || Refusals { count: 0, reason: theirs.reason.clone() };
            self.rejected.entry(code.clone()).or_insert_with(fresh).count += theirs.count;
        }
        for (mine, theirs) in self.latency.iter_mut().zip(&other.latency) {
            mine.merge(theirs);
        }
        if let Some(theirs) = &other.each {
            self.each.get_or_insert_default().extend(theirs);
        }
    }

    /// Latencies of the transactions that waited for a tier.
    pub(super) fn latency(&self, tier: Tier) -> &Histogram {
        &self.latency[tier as usize]
    }

    pub(super) fn refused(&self) -> u64 {
        self.rejected.values().map(|refusals| refusals.count).sum()
    }

    /// Sent, and without an answer at the end.
    pub(super) fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.accepted + self.refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::args;
    use squad_client::proto::{Accepted, Rejected};

    fn accepted(id: u64) -> SubmitAnswer {
        SubmitAnswer { id, outcome: Some(Outcome::Accepted(Accepted::default())) }
    }

    fn rejected(id: u64, code: &str) -> SubmitAnswer {
        let rejected = Rejected { code: code.into(), reason: "why".repeat(200), ..Default::default() };
        SubmitAnswer { id, outcome: Some(Outcome::Rejected(rejected)) }
    }

    /// One call, a transaction a millisecond, the first second of three not measured.
    fn schedule() -> Schedule {
        Schedule::new(&args(1_000), 1, 512)
    }

    #[test]
    fn latency_counts_from_when_a_transaction_was_due() {
        let (schedule, mut tally) = (schedule(), Tally::default());
        tally.sent = 2;
        tally.answer(&schedule, 0, accepted(1_500), Duration::from_millis(1_540));
        let found = tally.latency(schedule.tier(1_500));
        assert_eq!((found.count(), found.max_ms()), (1, 40.0));
        assert_eq!((tally.accepted, tally.arrived, tally.unanswered()), (1, 1, 1));
    }

    #[test]
    fn the_warm_up_counts_only_for_what_arrives_after_it() {
        let (schedule, mut tally) = (schedule(), Tally::default());
        tally.answer(&schedule, 0, accepted(10), Duration::from_millis(20));
        tally.answer(&schedule, 0, accepted(999), Duration::from_millis(1_001));
        assert_eq!((tally.accepted, tally.arrived), (0, 1));
    }

    #[test]
    fn a_second_answer_and_one_to_nothing_are_strays() {
        let (schedule, mut tally) = (schedule(), Tally::default());
        for id in [1_500, 1_500, 1 << 40] {
            tally.answer(&schedule, 0, accepted(id), Duration::from_secs(2));
        }
        tally.answer(&schedule, 1, accepted(1_501), Duration::from_secs(2));
        assert_eq!((tally.accepted, tally.stray), (1, 3));
    }

    #[test]
    fn refusals_are_counted_by_code_and_codes_are_bounded() {
        let (schedule, mut tally) = (schedule(), Tally::default());
        for at in 0..100 {
            tally.answer(&schedule, 0, rejected(1_500 + at, &format!("code {at}")), Duration::from_secs(2));
        }
        assert_eq!((tally.rejected.len(), tally.refused()), (MAX_CODES + 1, 100));
        assert!(tally.rejected.values().all(|refusals| refusals.reason.len() == MAX_REASON));
        let mut sum = tally.clone();
        sum.merge(&tally);
        assert_eq!(sum.refused(), 200);
    }
}
