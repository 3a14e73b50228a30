//! Tells whether this machine's clock is far off, from what the others stamp on their proposals.

use squad_types::{Address, Timestamp};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How far the clock may be off before the node refuses to run: far beyond the protocol's own bound of half a second, at
/// which proposals start to be refused, and beyond any delay of a proposal.
pub(crate) const CLOCK_BOUND_MS: u64 = 10_000;
/// How long the others must agree that it is off: longer than it takes to work off what waited while the process stood.
const SUSTAINED: Duration = Duration::from_secs(10);
/// How long a proposer's stamp counts.
const FRESH: Duration = Duration::from_secs(60);
/// Proposers remembered; a committee's worth.
const MAX_PROPOSERS: usize = squad_types::limits::MAX_COMMITTEE;

/// How far the clock is off, in milliseconds: positive if it is ahead of the others.
type Skew = i64;

/// What the others' clocks say.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    skews: BTreeMap<Address, (Skew, Instant)>,
    since: Option<Instant>,
}

impl ClockWatch {
    /// Takes note of a fresh proposal; the skew if a majority of proposers has shown one beyond the bound for long enough.
    pub(crate) fn observe(
        &mut self,
        proposer: Address,
        stamped: Timestamp,
        now: Timestamp,
        at: Instant,
    ) -> Option<Skew> {
        let skew =
            i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(stamped.0).unwrap_or(i64::MAX));
        self.skews.retain(|_, (_, seen)| at.duration_since(*seen) < FRESH);
        if self.skews.len() < MAX_PROPOSERS || self.skews.contains_key(&proposer) {
            self.skews.insert(proposer, (skew, at));
        }
        let ahead = self.skews.values().filter(|(skew, _)| *skew > CLOCK_BOUND_MS as i64).count();
        let behind = self.skews.values().filter(|(skew, _)| *skew < -(CLOCK_BOUND_MS as i64)).count();
        // One proposer is one clock, which may be the wrong one.
        let off = self.skews.len() >= 2 && ahead.max(behind) * 2 > self.skews.len();
        if !off {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(at);
        (at.duration_since(since) >= SUSTAINED).then_some(skew)
    }
}

/// What to tell the operator.
pub(crate) fn advice(skew: Skew) -> String {
    let side = if skew > 0 { "ahead of" } else { "behind" };
    format!(
        "this machine's clock is {:.1} s {side} the other operators' (allowed: {} s): set it, with NTP for instance, and start again",
        skew.unsigned_abs() as f64 / 1000.0,
        CLOCK_BOUND_MS / 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_far_off_is_told_by_several_proposers_for_a_while_and_by_nothing_less() {
        let (start, now) = (Instant::now(), Timestamp(1_000_000));
        let slow = Timestamp(now.0 - 20_000);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = ClockWatch::default();
        for second in 0..30 {
            assert_eq!(watch.observe(Address([1; 20]), slow, now, at(second)), None, "one clock alone proves nothing");
        }
        assert_eq!(watch.observe(Address([2; 20]), slow, now, at(30)), None);
        assert_eq!(watch.observe(Address([2; 20]), slow, now, at(39)), None);
        assert_eq!(watch.observe(Address([2; 20]), slow, now, at(40)), Some(20_000));
        assert!(advice(20_000).contains("20.0 s ahead"));
        assert_eq!(watch.observe(Address([1; 20]), now, now, at(41)), None);
    }
}
