//! How much of this operator's is being ordered.

use squad_types::Timestamp;

/// Stretches of a window: what waits is to be ordered well before it expires.
const PER_WINDOW: u32 = 10;

/// Bytes of own batches that were ordered in this stretch of chain time and in the one before.
#[derive(Debug)]
pub(crate) struct Drain {
    stretch_ms: u64,
    since: Timestamp,
    now: usize,
    before: usize,
}

impl Drain {
    pub(crate) fn new(window_ms: u32) -> Self {
        Self { stretch_ms: (window_ms / PER_WINDOW).max(1).into(), since: Timestamp::ZERO, now: 0, before: 0 }
    }

    /// A block took this much.
    pub(crate) fn note(&mut self, chain_time: Timestamp, bytes: usize) {
        let passed = chain_time.since(self.since);
        if passed >= self.stretch_ms {
            self.before = if passed < 2 * self.stretch_ms { self.now } else { 0 };
            self.now = 0;
            self.since = chain_time;
        }
        self.now += bytes;
    }

    /// What was ordered within the last one to two tenths of a window of chain time in which anything was.
    pub(crate) fn of_late(&self) -> usize {
        self.before + self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_last_second_or_two() {
        let mut drain = Drain::new(10_000);
        for block in 0..40 {
            drain.note(Timestamp(10_000 + 100 * block), 7);
        }
        assert!((70..=140).contains(&drain.of_late()), "{drain:?}");
        drain.note(Timestamp(60_000), 3);
        assert_eq!(drain.of_late(), 3);
    }
}
