//! Token buckets, in bytes, over the time they are handed.

use crate::config::Source;
use crate::limits::{MAX_SOURCES, SOURCE_SWEEP_MS};
use squad_types::Timestamp;
use std::collections::BTreeMap;

/// A bucket that holds one second's worth.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    rate: u64,
    tokens: u64,
    at: Timestamp,
}

impl Bucket {
    /// A full bucket that refills at `rate` bytes a second.
    pub(crate) fn new(rate: u64, now: Timestamp) -> Self {
        Self { rate, tokens: rate, at: now }
    }

    fn refill(&mut self, now: Timestamp) {
        let gained = u128::from(now.since(self.at)) * u128::from(self.rate) / 1_000;
        if gained > 0 {
            self.tokens = self.rate.min(self.tokens.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)));
            self.at = now;
        }
    }

    /// Whether `bytes` are there, or in how many milliseconds they would be. Takes nothing.
    pub(crate) fn check(&mut self, bytes: u64, now: Timestamp) -> Result<(), u64> {
        self.refill(now);
        // Something larger than the bucket passes when it is full, or it would never pass.
        let needed = bytes.min(self.rate);
        if self.tokens >= needed {
            return Ok(());
        }
        let short = u128::from(needed - self.tokens) * 1_000;
        Err(u64::try_from(short.div_ceil(u128::from(self.rate.max(1)))).unwrap_or(u64::MAX))
    }

    fn is_full(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.tokens == self.rate
    }

    /// Takes `bytes`.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }
}

/// Under which name a transaction is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Of(Source),
    /// That of all sources beyond the limit.
    Shared,
}

/// One source's rate, and what it has in the pool.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) bucket: Bucket,
    pub(crate) bytes: usize,
    pub(crate) count: usize,
}

/// All sources. Beyond the limit, new ones share one account, so that making sources up gains nothing.
#[derive(Debug)]
pub(crate) struct Sources {
    known: BTreeMap<Source, Usage>,
    shared: Usage,
    swept: Option<Timestamp>,
    rate: u64,
}

impl Sources {
    pub(crate) fn new(rate: u64) -> Self {
        let shared = Usage { bucket: Bucket::new(rate, Timestamp::ZERO), bytes: 0, count: 0 };
        Self { known: BTreeMap::new(), shared, swept: None, rate }
    }

    pub(crate) fn entry(&mut self, now: Timestamp, source: Source) -> (Account, &mut Usage) {
        if !self.known.contains_key(&source) && self.known.len() >= MAX_SOURCES {
            self.sweep(now);
            if self.known.len() >= MAX_SOURCES {
                return (Account::Shared, &mut self.shared);
            }
        }
        let fresh = || Usage { bucket: Bucket::new(self.rate, now), bytes: 0, count: 0 };
        (Account::Of(source), self.known.entry(source).or_insert_with(fresh))
    }

    /// Forgets sources that have nothing in the pool and a full bucket: a new entry would be the same.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept.is_some_and(|swept| now.since(swept) < SOURCE_SWEEP_MS) {
            return;
        }
        self.swept = Some(now);
        self.known.retain(|_, used| used.count > 0 || !used.bucket.is_full(now));
    }

    /// A transaction of this account left the pool.
    pub(crate) fn release(&mut self, account: Account, bytes: usize) {
        let used = match account {
            Account::Of(source) => self.known.get_mut(&source),
            Account::Shared => Some(&mut self.shared),
        };
        if let Some(used) = used {
            used.bytes = used.bytes.saturating_sub(bytes);
            used.count = used.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_at_its_rate_and_names_the_time_to_wait() {
        let mut bucket = Bucket::new(1_000, Timestamp(1_000));
        assert_eq!(bucket.check(1_000, Timestamp(1_000)), Ok(()));
        bucket.take(1_000);
        assert_eq!(bucket.check(500, Timestamp(1_000)), Err(500));
        assert_eq!(bucket.check(500, Timestamp(1_499)), Err(1));
        assert_eq!(bucket.check(500, Timestamp(1_500)), Ok(()));
        assert_eq!(bucket.check(500, Timestamp(0)), Ok(()), "a clock that steps back takes nothing away");
        assert_eq!(bucket.check(5_000, Timestamp(9_000)), Ok(()), "one larger than the bucket passes a full one");
    }

    #[test]
    fn made_up_sources_share_one_account_and_idle_ones_are_forgotten() {
        let mut sources = Sources::new(1_000);
        for source in 0..MAX_SOURCES as u64 {
            sources.entry(Timestamp(1), Source(source)).1.bucket.take(100);
        }
        assert_eq!(sources.entry(Timestamp(1), Source(u64::MAX)).0, Account::Shared);
        let later = Timestamp(1_000 + SOURCE_SWEEP_MS);
        assert_eq!(sources.entry(later, Source(u64::MAX)).0, Account::Of(Source(u64::MAX)));
        assert_eq!(sources.known.len(), 1);
    }
}
