//! Tells whether this machine's clock is off, from what the others stamp on their proposals.
//!
//! Beyond the protocol's bound the node warns: its proposals are refused then, or it refuses the others'. Far beyond it, for
//! a while, it stops.

use squad_types::{Address, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How far the clock may be off before the node refuses to run: far beyond the protocol's own bound of half a second, at
/// which proposals start to be refused, and beyond any delay of a proposal.
pub(crate) const CLOCK_BOUND_MS: u64 = 10_000;
/// How long the others must agree that it is far off: longer than it takes to work off what waited while the process stood.
const SUSTAINED: Duration = Duration::from_secs(10);
/// How long a proposer's stamp counts.
const FRESH: Duration = Duration::from_secs(60);
/// Stamps of one proposer that are looked at. A proposal that was under way for long makes this clock look ahead; so the
/// smallest difference of several counts.
const STAMPS: usize = 3;
/// So many proposers that one stamp of each is enough: in a large committee nobody's turn comes twice while stamps count.
const MANY: usize = 5;
/// Proposers remembered; a committee's worth.
const MAX_PROPOSERS: usize = squad_types::limits::MAX_COMMITTEE;

/// How far the clock is off, in milliseconds: positive if it is ahead of the others.
pub(crate) type Skew = i64;

/// What one proposer's stamps say.
#[derive(Debug)]
struct Stamps {
    skews: VecDeque<Skew>,
    seen: Instant,
}

impl Stamps {
    fn add(&mut self, skew: Skew, at: Instant) {
        if self.skews.len() == STAMPS {
            self.skews.pop_front();
        }
        self.skews.push_back(skew);
        self.seen = at;
    }

    fn last(&self) -> Skew {
        self.skews.back().copied().unwrap_or_default()
    }

    /// The smallest of at least so many.
    fn smallest_of(&self, least: usize) -> Option<Skew> {
        if self.skews.len() < least {
            return None;
        }
        self.skews.iter().copied().min_by_key(|skew| skew.unsigned_abs())
    }
}

/// What the others' clocks say.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    proposers: BTreeMap<Address, Stamps>,
    since: Option<Instant>,
}

impl ClockWatch {
    /// Takes note of a fresh proposal.
    pub(crate) fn observe(&mut self, proposer: Address, stamped: Timestamp, now: Timestamp, at: Instant) {
        let skew =
            i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(stamped.0).unwrap_or(i64::MAX));
        self.proposers.retain(|_, stamps| at.duration_since(stamps.seen) < FRESH);
        if self.proposers.len() < MAX_PROPOSERS || self.proposers.contains_key(&proposer) {
            let stamps = Stamps { skews: VecDeque::new(), seen: at };
            self.proposers.entry(proposer).or_insert(stamps).add(skew, at);
        }
        let far = |sign: i64| {
            let bound = CLOCK_BOUND_MS as i64;
            self.proposers.values().filter(|stamps| stamps.last().saturating_mul(sign) > bound).count()
        };
        // One proposer is one clock, which may be the wrong one.
        let off = self.proposers.len() >= 2 && far(1).max(far(-1)) * 2 > self.proposers.len();
        self.since = if off { self.since.or(Some(at)) } else { None };
    }

    /// The skew, if a majority of proposers has shown one beyond [`CLOCK_BOUND_MS`] for long enough: the node must stop.
    pub(crate) fn far_off(&self, at: Instant) -> Option<Skew> {
        let sustained = self.since.is_some_and(|since| at.duration_since(since) >= SUSTAINED);
        sustained.then(|| middle(self.proposers.values().map(Stamps::last))).flatten()
    }

    /// How far the clock is off by what several proposers stamped lately: the middle of what they show, so that one wrong
    /// clock among them, or a few late proposals, do not matter. None where fewer than two have shown enough.
    pub(crate) fn skew(&self, at: Instant) -> Option<Skew> {
        let fresh = || self.proposers.values().filter(|stamps| at.duration_since(stamps.seen) < FRESH);
        // One stamp may have been late. Of many proposers, most were not.
        let least = if fresh().count() < MANY { 2 } else { 1 };
        middle(fresh().filter_map(|stamps| stamps.smallest_of(least)))
    }
}

/// The middle one of at least two; of the two in the middle, the smaller.
fn middle(skews: impl Iterator<Item = Skew>) -> Option<Skew> {
    let mut skews: Vec<Skew> = skews.collect();
    skews.sort_unstable();
    let (low, high) = (*skews.get(skews.len().checked_sub(1)? / 2)?, *skews.get(skews.len() / 2)?);
    (skews.len() >= 2).then_some(if low.unsigned_abs() < high.unsigned_abs() { low } else { high })
}

fn off_by(skew: Skew) -> String {
    let side = if skew > 0 { "ahead of" } else { "behind" };
    format!("this machine's clock is {:.1} s {side} the other operators'", skew.unsigned_abs() as f64 / 1000.0)
}

/// What to tell the operator whose node must stop.
pub(crate) fn advice(skew: Skew) -> String {
    let (off, most) = (off_by(skew), CLOCK_BOUND_MS / 1000);
    format!("{off} (allowed: {most} s): set it, with NTP for instance, and start again")
}

/// What to tell the operator whose node runs on.
pub(crate) fn warning(skew: Skew, bound_ms: u64) -> String {
    let effect =
        if skew > 0 { "they do not vote for what it proposes at first" } else { "it votes late for what they propose" };
    let off = off_by(skew);
    format!(
        "{off}, over the protocol's {bound_ms} ms, so {effect}: set it, and keep it with NTP (systemd-timesyncd or chrony)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn operator(number: u8) -> Address {
        Address([number; 20])
    }

    #[test]
    fn a_clock_far_off_is_told_by_several_proposers_for_a_while_and_by_nothing_less() {
        let start = Instant::now();
        let slow = Timestamp(NOW.0 - 20_000);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = ClockWatch::default();
        let mut observe = |who, stamped, second| {
            watch.observe(operator(who), stamped, NOW, at(second));
            watch.far_off(at(second))
        };
        for second in 0..30 {
            assert_eq!(observe(1, slow, second), None, "one clock alone proves nothing");
        }
        assert_eq!(observe(2, slow, 30), None);
        assert_eq!(observe(2, slow, 39), None);
        assert_eq!(observe(2, slow, 40), Some(20_000));
        assert!(advice(20_000).contains("20.0 s ahead"));
        assert_eq!(observe(1, NOW, 41), None);
    }

    #[test]
    fn a_clock_off_is_told_by_the_middle_of_several_proposers_whatever_comes_late() {
        let at = Instant::now();
        let mut watch = ClockWatch::default();
        let mut observe = |who, skew: i64| {
            watch.observe(operator(who), Timestamp(NOW.0.saturating_add_signed(-skew)), NOW, at);
            watch.skew(at)
        };
        assert_eq!([observe(1, 2_000), observe(1, 2_100)], [None, None], "one clock alone proves nothing");
        assert_eq!(observe(2, 2_050), None, "one stamp may have been late");
        assert_eq!(observe(2, 2_900), Some(2_000));
        assert_eq!([observe(3, -40), observe(3, -60)], [Some(2_000), Some(2_000)], "the middle of three");
        assert_eq!(observe(1, 30), Some(30), "a smaller difference is the truer one");
        assert_eq!(watch.skew(at + FRESH), None, "old stamps say nothing");
    }

    #[test]
    fn in_a_large_committee_one_stamp_of_each_is_enough() {
        let at = Instant::now();
        let mut watch = ClockWatch::default();
        for (who, skew) in [(1, 1_900), (2, 3_000), (3, 1_950), (4, 60)] {
            watch.observe(operator(who), Timestamp(NOW.0 - skew), NOW, at);
            assert_eq!(watch.skew(at), None);
        }
        watch.observe(operator(5), Timestamp(NOW.0 - 1_920), NOW, at);
        assert_eq!(watch.skew(at), Some(1_920));
    }

    #[test]
    fn a_clock_behind_is_told_as_well() {
        let at = Instant::now();
        let mut watch = ClockWatch::default();
        for who in [1, 2, 1, 2] {
            watch.observe(operator(who), Timestamp(NOW.0 + 1_500), NOW, at);
        }
        assert_eq!(watch.skew(at), Some(-1_500));
        let warning = warning(-1_500, 500);
        assert!(warning.contains("1.5 s behind") && warning.contains("500 ms") && warning.contains("NTP"), "{warning}");
    }
}
