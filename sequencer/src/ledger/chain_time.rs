//! Chain time: the network's own clock, which a halt or one bold proposer moves by a second at most.

use squad_types::Timestamp;
use squad_types::limits::MAX_CHAIN_TIME_STEP_MS;

/// Chain time after a block: its parent's plus the milliseconds between their timestamps, at most one second.
pub(super) fn after(chain_time: Timestamp, parent: Timestamp, timestamp: Timestamp) -> Timestamp {
    chain_time.plus(timestamp.since(parent).min(MAX_CHAIN_TIME_STEP_MS))
}

/// The timestamp that a proposer puts into a block: its clock, and above the parent's in any case.
pub(super) fn stamp(now: Timestamp, parent: Timestamp) -> Timestamp {
    now.max(parent.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_of_a_minute_moves_chain_time_by_a_second() {
        assert_eq!(after(Timestamp(5), Timestamp(1_000), Timestamp(1_250)), Timestamp(255));
        assert_eq!(after(Timestamp(5), Timestamp(1_000), Timestamp(61_000)), Timestamp(1_005));
    }

    #[test]
    fn a_slow_clock_still_stamps_above_the_parent() {
        assert_eq!(stamp(Timestamp(7), Timestamp(100)), Timestamp(101));
        assert_eq!(stamp(Timestamp(700), Timestamp(100)), Timestamp(700));
    }
}
