//! Percentiles over the last while.

use crate::api::Percentiles;
use std::collections::VecDeque;
use std::time::Duration;

/// Measurements that percentiles are made of.
const KEPT: usize = 1_024;

/// The last measurements.
#[derive(Debug, Default)]
pub(crate) struct Latency(VecDeque<f64>);

impl Latency {
    pub(crate) fn add(&mut self, took: Duration) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(took.as_secs_f64() * 1000.0);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (sorted.len() as f64 * share) as usize;
            sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_last_measurements() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles().p99, 0.0);
        (1..=100).for_each(|ms| latency.add(Duration::from_millis(ms)));
        let found = latency.percentiles();
        assert_eq!((found.p50.round(), found.p90.round(), found.p99.round()), (51.0, 91.0, 100.0));
    }
}
