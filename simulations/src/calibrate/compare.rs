//! Two distributions of each tier side by side.

use crate::table::{Column, Table};
use serde::Serialize;
use std::fmt::Write as _;

/// The tiers, lowest first.
pub const TIERS: [&str; 3] = ["batched", "secured", "ordered"];

/// By how much the simulator's median may be off, and its 99th percentile.
const NEAR: [(f64, f64); 2] = [(0.5, 0.10), (0.99, 0.25)];

/// Latencies in microseconds, by tier.
pub(super) type Latencies = [Vec<u64>; TIERS.len()];

/// What one tier's latencies are, in milliseconds, and how near the simulator comes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The tier.
    pub tier: &'static str,
    /// How many transactions of the processes' waited for it.
    pub measured: usize,
    /// How many the simulator's latencies are of.
    pub simulated: usize,
    /// p50, p90 and p99 over processes.
    pub processes_ms: [f64; 3],
    /// The same in the simulator.
    pub simulator_ms: [f64; 3],
    /// The simulator's over the processes'.
    pub ratio: [f64; 3],
    /// Whether that is near.
    pub within: Within,
}

/// Whether the simulator comes near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Within {
    /// Within 10 % at the median.
    pub p50: bool,
    /// Within 25 % at the 99th percentile.
    pub p99: bool,
}

/// All tiers.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// A row a tier.
    pub rows: Vec<Row>,
    #[serde(skip)]
    processes: Latencies,
    #[serde(skip)]
    simulator: Latencies,
}

/// `latencies.csv` and `simulated.csv`.
pub(super) const LATENCIES: [Column; 4] =
    [Column::integer("due_us"), Column::integer("target"), Column::text("tier"), Column::integer("latency_us")];

/// `calibration.csv`.
const QUANTILES: [Column; 4] =
    [Column::text("tier"), Column::number("quantile"), Column::number("processes_ms"), Column::number("simulator_ms")];

const SHARES: [f64; 3] = [0.5, 0.9, 0.99];

/// The value that this share does not exceed, in milliseconds, of sorted microseconds; 0 of none.
fn quantile(sorted: &[u64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |micros| *micros as f64 / 1e3)
}

impl Comparison {
    pub(super) fn new(mut processes: Latencies, mut simulator: Latencies) -> Self {
        processes.iter_mut().chain(&mut simulator).for_each(|latencies| latencies.sort_unstable());
        let row = |(at, tier): (usize, &'static str)| {
            let of = |sorted: &[u64]| SHARES.map(|share| quantile(sorted, share));
            let (processes_ms, simulator_ms) = (of(&processes[at]), of(&simulator[at]));
            let ratio = [0, 1, 2]
                .map(|share| if processes_ms[share] > 0.0 { simulator_ms[share] / processes_ms[share] } else { 0.0 });
            let near = NEAR.map(|(share, off)| {
                let ratio = SHARES.iter().position(|known| *known == share).map_or(0.0, |place| ratio[place]);
                (ratio - 1.0).abs() <= off
            });
            Row {
                tier,
                measured: processes[at].len(),
                simulated: simulator[at].len(),
                processes_ms,
                simulator_ms,
                ratio,
                within: Within { p50: near[0], p99: near[1] },
            }
        };
        let rows = TIERS.into_iter().enumerate().map(row).collect();
        Self { rows, processes, simulator }
    }

    /// Whether the simulator comes near everywhere.
    pub fn is_near(&self) -> bool {
        self.rows.iter().all(|row| row.within.p50 && row.within.p99)
    }

    /// Every hundredth of both distributions, and the slowest thousandth.
    pub(super) fn quantiles(&self) -> anyhow::Result<Table<4>> {
        let mut table = Table::new(&QUANTILES);
        let shares = || (1..=99).map(|percent| f64::from(percent) / 100.0).chain([0.999]);
        for (at, tier) in TIERS.into_iter().enumerate() {
            for share in shares() {
                let of = |sorted: &[Vec<u64>]| quantile(&sorted[at], share);
                table.push([tier.into(), share.into(), of(&self.processes).into(), of(&self.simulator).into()])?;
            }
        }
        Ok(table)
    }

    /// A table.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{:<10}{:>30}{:>30}{:>24}\n{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>8}\n",
            "",
            "processes, ms",
            "simulator, ms",
            "ratio",
            "",
            "p50",
            "p90",
            "p99",
            "p50",
            "p90",
            "p99",
            "p50",
            "p90",
            "p99"
        );
        for Row { tier, processes_ms: real, simulator_ms: simulated, ratio, within, .. } in &self.rows {
            let _ = write!(out, "{tier:<10}");
            real.iter().chain(simulated).for_each(|ms| {
                let _ = write!(out, "{ms:>10.1}");
            });
            ratio.iter().for_each(|ratio| {
                let _ = write!(out, "{ratio:>8.2}");
            });
            let verdict = match within {
                Within { p50: true, p99: true } => "",
                Within { p50: false, p99: true } => "  median off by more than 10 %",
                Within { p50: true, p99: false } => "  p99 off by more than 25 %",
                Within { p50: false, p99: false } => "  off by more than 10 % and 25 %",
            };
            let _ = writeln!(out, "{verdict}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_near_is_told_from_what_is_not() {
        let hundred = |factor: u64| (1..=100).map(|value| value * factor).rev().collect::<Vec<u64>>();
        let simulator = [hundred(1_050), hundred(1_200), hundred(1_300)];
        let comparison = Comparison::new([hundred(1_000), hundred(1_000), hundred(1_000)], simulator);
        let within: Vec<(bool, bool)> = comparison.rows.iter().map(|row| (row.within.p50, row.within.p99)).collect();
        assert_eq!(within, [(true, true), (false, true), (false, false)]);
        assert_eq!(comparison.rows[0].processes_ms, [50.0, 90.0, 99.0]);
        assert!(!comparison.is_near());
        let quantiles = comparison.quantiles().unwrap();
        assert_eq!(quantiles.rows(), 3 * 100);
        assert_eq!(quantiles.line(100 + 49), "secured,0.5,50,60\n");
        assert!(comparison.text().contains("median off"));
    }

    #[test]
    fn a_tier_that_nobody_reached_is_not_near() {
        let comparison = Comparison::new([vec![], vec![1], vec![1]], [vec![], vec![1], vec![1]]);
        assert_eq!(comparison.rows[0].ratio, [0.0; 3]);
        assert!(!comparison.rows[0].within.p50 && !comparison.is_near());
    }
}
