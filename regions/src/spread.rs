//! A delay's distribution: log-normal, fitted to its median and its 90th percentile.

use std::sync::Arc;

/// Steps of the table that a draw picks from. Its last step stands for the slowest one in 256.
const STEPS: usize = 256;

/// How many standard deviations above the median the 90th percentile lies.
const Z90: f64 = 1.281_551_565_545;

/// A delay's distribution, as a table of its quantiles in microseconds.
#[derive(Clone, Debug)]
pub struct Spread(Arc<[u32]>);

impl Spread {
    /// The log-normal distribution with this median and 90th percentile, in microseconds. Nothing is faster than nine
    /// tenths of the median: light does not hurry.
    pub fn fitted(p50: f64, p90: f64) -> Self {
        let sigma = (p90.max(p50) / p50.max(1.0)).ln() / Z90;
        let at = |step: usize| {
            let z = normal_quantile((step as f64 + 0.5) / STEPS as f64);
            (p50 * (sigma * z).exp()).max(0.9 * p50).round() as u32
        };
        Self((0..STEPS).map(at).collect())
    }

    /// Always the same.
    pub fn fixed(micros: u64) -> Self {
        Self(Arc::from([u32::try_from(micros).unwrap_or(u32::MAX)]))
    }

    /// The delay that a random number picks.
    pub fn pick(&self, random: u64) -> u64 {
        let at = (u128::from(random) * self.0.len() as u128) >> 64;
        u64::from(self.0[at as usize])
    }

    /// The delay below which a share of all lies, in a thousand.
    pub fn quantile(&self, per_mille: u32) -> u64 {
        let at = (self.0.len() * per_mille.min(999) as usize) / 1_000;
        u64::from(self.0[at])
    }
}

/// The standard normal distribution's quantile function (P. Acklam's rational approximation; relative error 1.2e-9).
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e+01,
        2.209460984245205e+02,
        -2.759285104469687e+02,
        1.38357751867269e+02,
        -3.066479806614716e+01,
        2.506628277459239e+00,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e+01,
        1.615858368580409e+02,
        -1.556989798598866e+02,
        6.680131188771972e+01,
        -1.328068155288572e+01,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-03,
        -3.223964580411365e-01,
        -2.400758277161838e+00,
        -2.549732539343734e+00,
        4.374664141464968e+00,
        2.938163982698783e+00,
    ];
    const D: [f64; 4] = [7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00];
    let polynomial = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, factor| sum * x + factor);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    if p < 0.024_25 {
        tail(p)
    } else if p > 1.0 - 0.024_25 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_median_and_the_percentile_that_were_asked_for() {
        let spread = Spread::fitted(50_000.0, 65_000.0);
        // Random numbers that are spread evenly give the quantiles in order.
        let drawn: Vec<u64> = (0..20_000).map(|at| spread.pick(at * (u64::MAX / 20_000))).collect();
        assert!(drawn.is_sorted());
        let (p50, p90) = (drawn[10_000], drawn[18_000]);
        assert!((49_500..50_500).contains(&p50), "{p50}");
        assert!((64_000..66_000).contains(&p90), "{p90}");
        assert!(drawn[0] >= 45_000, "{}", drawn[0]);
    }
}
