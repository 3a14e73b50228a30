//! Token buckets, in bytes, over the time they are handed.

use squad_types::Timestamp;

/// A bucket that holds one second's worth.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    rate: u64,
    tokens: u64,
    pub(crate) at: Timestamp,
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
        Err(u64::try_from(short / u128::from(self.rate.max(1))).unwrap_or(u64::MAX).max(1))
    }

    /// Takes `bytes`.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }
}
