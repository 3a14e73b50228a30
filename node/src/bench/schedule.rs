//! When which transaction is due, on which call, and what it waits for. All of it follows from its number alone.

use squad_types::Tier;
use std::time::Duration;

/// Time between groups where the rate needs more than one transaction in it: short beside every latency measured here,
/// long enough that waking up for it, and a message of it, cost little.
const GROUP_MICROS: u64 = 2_000;
/// Transactions of a group at most: a message of half a megabyte at 512 bytes each.
const MAX_GROUP: u64 = 1_024;
/// Bytes of a group at most, below what an operator takes in one message.
const MAX_GROUP_BYTES: u64 = 4 << 20;
/// One group of this many samples each lower tier.
const SAMPLES: u64 = 8;

/// An open-loop schedule: transactions go out in small groups at fixed instants, whatever becomes of those before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: u64,
    /// Transactions of a group.
    pub(super) group: u64,
    /// Calls, which take turns.
    pub(super) streams: u64,
    warmup: Duration,
    total: Duration,
    tier: Tier,
    samples: bool,
}

impl Schedule {
    pub(super) fn new(args: &super::BenchArgs, streams: usize, size: u32) -> Self {
        let wanted = args.rate * GROUP_MICROS / 1_000_000;
        let most = MAX_GROUP.min(MAX_GROUP_BYTES / u64::from(size.max(1)));
        let warmup = Duration::from_secs(args.warmup);
        Self {
            rate: args.rate,
            group: wanted.clamp(1, most.max(1)),
            streams: streams as u64,
            warmup,
            total: warmup + Duration::from_secs(args.duration),
            tier: args.tier,
            samples: !args.no_samples,
        }
    }

    /// How many groups there are: all that are due before the end.
    pub(super) fn groups(&self) -> u64 {
        let transactions = u128::from(self.rate) * self.total.as_nanos() / 1_000_000_000;
        u64::try_from(transactions).unwrap_or(u64::MAX).div_ceil(self.group)
    }

    /// When a group is due, from the start on.
    pub(super) fn due(&self, group: u64) -> Duration {
        let nanos = u128::from(group) * u128::from(self.group) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The group that a transaction is in.
    pub(super) fn group_of(&self, transaction: u64) -> u64 {
        transaction / self.group
    }

    /// The call that a group goes to.
    pub(super) fn stream(&self, group: u64) -> usize {
        (group % self.streams) as usize
    }

    /// A transaction's place among those of its call.
    pub(super) fn place(&self, transaction: u64) -> usize {
        (self.group_of(transaction) / self.streams * self.group + transaction % self.group) as usize
    }

    /// What a group waits for: mostly the tier that is asked for, now and then one below it.
    pub(super) fn tier(&self, group: u64) -> Tier {
        // Spread, so that samples meet all calls alike.
        let chance = scatter(group) % SAMPLES;
        match (chance, self.tier) {
            (0, Tier::Secured | Tier::Ordered) if self.samples => Tier::Batched,
            (1, Tier::Ordered) if self.samples => Tier::Secured,
            _ => self.tier,
        }
    }

    /// Whether what is due then is measured.
    pub(super) fn measures(&self, since_start: Duration) -> bool {
        since_start >= self.warmup && since_start < self.total
    }

    /// When measuring begins, from the start on.
    pub(super) fn warmup(&self) -> Duration {
        self.warmup
    }

    /// When the last transaction has been due.
    pub(super) fn end(&self) -> Duration {
        self.total
    }
}

/// A permutation of all 64-bit numbers that looks random (splitmix64's finisher).
pub(super) fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::args;

    #[test]
    fn as_many_are_due_as_the_rate_says() {
        for rate in [1, 7, 999, 1_000, 100_000, 2_000_000] {
            let schedule = Schedule::new(&args(rate), 8, 512);
            let transactions = schedule.groups() * schedule.group;
            assert!(transactions.abs_diff(rate * 3) < schedule.group.max(2), "{rate}: {transactions}");
            assert!(schedule.due(schedule.groups() - 1) < schedule.end());
            assert!(schedule.due(schedule.groups()) >= schedule.end());
        }
    }

    #[test]
    fn large_transactions_stay_below_a_message() {
        let schedule = Schedule::new(&args(2_000_000), 8, 128 * 1024);
        assert!(schedule.group * 128 * 1024 <= MAX_GROUP_BYTES);
    }

    #[test]
    fn places_of_a_call_have_no_gaps() {
        let schedule = Schedule::new(&args(20_000), 3, 512);
        let mut places = vec![Vec::new(); 3];
        for transaction in 0..schedule.group * 30 {
            places[schedule.stream(schedule.group_of(transaction))].push(schedule.place(transaction));
        }
        for places in places {
            assert_eq!(places, (0..schedule.group as usize * 10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_eighth_samples_each_lower_tier() {
        let schedule = Schedule::new(&args(1_000), 4, 512);
        let count = |tier| (0..8_000).filter(|group| schedule.tier(*group) == tier).count();
        assert!(count(Tier::Batched).abs_diff(1_000) < 150, "{}", count(Tier::Batched));
        assert!(count(Tier::Secured).abs_diff(1_000) < 150);
        let alone = Schedule::new(&super::super::BenchArgs { no_samples: true, ..args(1_000) }, 4, 512);
        assert!((0..8_000).all(|group| alone.tier(group) == Tier::Ordered));
    }
}
