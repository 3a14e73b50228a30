//! Latencies in buckets that are fine where latencies are short.

use std::time::Duration;

/// Buckets of each power of two: a value is off by less than one part in this many.
const PARTS: u64 = 128;
/// Its binary logarithm.
const PART_BITS: u32 = PARTS.trailing_zeros();
/// The largest value that is told apart, in microseconds: 19 hours.
const MAX_MICROS: u64 = (1 << 36) - 1;

/// Durations counted to within one percent.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// As long as the largest value needs.
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

fn bucket(micros: u64) -> usize {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(PART_BITS + 1);
    // Values below twice PARTS have a bucket each; every power of two above them has PARTS.
    (u64::from(shift) * PARTS + (micros >> shift)) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / PARTS).saturating_sub(1);
    ((bucket - shift * PARTS + 1) << shift) - 1
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(MAX_MICROS);
        let at = bucket(micros);
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The value that this share of all values does not exceed, in milliseconds; 0 if there are none.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(at).min(self.max) as f64 / 1_000.0;
            }
        }
        0.0
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.max as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!((Histogram::default().quantile_ms(0.5), Histogram::default().max_ms()), (0.0, 0.0));
    }

    #[test]
    fn merging_counts_both() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.add(Duration::from_micros(10));
        b.add(Duration::from_secs(100_000));
        a.merge(&b);
        assert_eq!((a.count(), a.quantile_ms(0.5)), (2, 0.01));
        assert_eq!(a.max_ms(), MAX_MICROS as f64 / 1_000.0);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_values_within_one_percent(micros in 0..=MAX_MICROS) {
            let upper = upper(bucket(micros));
            prop_assert!(upper >= micros && upper - micros <= micros / PARTS);
            prop_assert_eq!(bucket(upper), bucket(micros));
            prop_assert_eq!(bucket(upper + 1), bucket(micros) + 1);
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_values(mut values in prop::collection::vec(0u64..10_000_000, 1..200)) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|micros| histogram.add(Duration::from_micros(*micros)));
            values.sort_unstable();
            for share in [0.5, 0.9, 0.99, 1.0] {
                let exact = values[((values.len() as f64 * share).ceil() as usize).max(1) - 1] as f64 / 1_000.0;
                let found = histogram.quantile_ms(share);
                prop_assert!(found >= exact && found <= exact * 1.01 + 0.001, "{share}: {found} for {exact}");
            }
        }
    }
}
