//! Latency before, during and after what went wrong, by the time at which a transaction was sent.

use super::sweep::at;
use super::{Page, cell};
use crate::scenario::Scenario;

/// What a run needs to come into its stride; transactions sent before are in no phase.
const WARM_UP_MS: u64 = 1_000;

/// Windows in which latency is compared with what it was before.
const WINDOW_MS: u64 = 200;

/// When latency counts as what it was before: at most so many times the median of before.
const NORMAL: f64 = 1.3;

/// From when to when something was wrong, in milliseconds; none if nothing was, or if it never ended.
fn trouble(scenario: &Scenario) -> Option<(u64, u64)> {
    let faults = scenario.fault.iter().map(|fault| (fault.at_ms, Some(fault.at_ms + fault.describe().1)));
    let liars = scenario.byzantine.iter().map(|liar| (liar.from_ms, liar.until_ms));
    let all: Vec<(u64, Option<u64>)> = faults.chain(liars).collect();
    let from = all.iter().map(|(from, _)| *from).min()?;
    let to = all.iter().map(|(_, to)| *to).try_fold(0, |last, to| to.map(|to| to.max(last)))?;
    (from > WARM_UP_MS && to < scenario.duration_ms).then_some((from, to))
}

/// Milliseconds after the trouble from which on every window has its median at most [`NORMAL`] times that of before; none
/// if the last one has not. `latencies` are pairs of a time of sending and a latency, in milliseconds.
fn back_after(latencies: &[(f64, f64)], (from, to): (u64, u64), end: u64) -> Option<u64> {
    let median = |from: u64, to: u64| {
        let inside = latencies.iter().filter(|(sent, _)| (from as f64..to as f64).contains(sent));
        let mut values: Vec<f64> = inside.map(|(_, latency)| *latency).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| at(&values, 0.5))
    };
    let before = median(WARM_UP_MS, from)?;
    let windows = (0..).map(|window| to + window * WINDOW_MS).take_while(|start| start + WINDOW_MS <= end);
    let mut back = to;
    for start in windows {
        // A window without an ordered transaction is not as before.
        if median(start, start + WINDOW_MS).is_none_or(|median| median > NORMAL * before) {
            back = start + WINDOW_MS;
        }
    }
    (back + WINDOW_MS <= end).then_some(back - to)
}

/// Tiers with their columns in the table of transactions.
const TIERS: [(&str, usize); 3] = [("batched", 3), ("secured", 4), ("ordered", 5)];

/// The part of a run's page with latency by phase. Nothing, if there are no phases.
pub(super) fn phases(page: &mut Page, scenario: &Scenario, transactions: &[Vec<String>]) {
    let Some((from, to)) = trouble(scenario) else { return };
    let latencies = |column: usize| -> Vec<(f64, f64)> {
        let pair = |row: &Vec<String>| Some((cell(row, 0)? / 1e3, (cell(row, column)? - cell(row, 0)?) / 1e3));
        transactions.iter().filter_map(pair).collect()
    };
    let mut table = Vec::new();
    for (tier, column) in TIERS {
        let all = latencies(column);
        let mut row = vec![tier.to_owned()];
        for (from, to) in [(WARM_UP_MS, from), (from, to), (to, scenario.duration_ms)] {
            let inside = all.iter().filter(|(sent, _)| (from as f64..to as f64).contains(sent));
            let mut values: Vec<f64> = inside.map(|(_, latency)| *latency).collect();
            values.sort_by(f64::total_cmp);
            row.extend([0.5, 0.99].map(|share| match values.len() {
                0 => "–".to_owned(),
                _ => format!("{:.1}", at(&values, share)),
            }));
        }
        let back = back_after(&all, (from, to), scenario.duration_ms);
        row.push(back.map_or_else(|| "not in this run".to_owned(), |ms| ms.to_string()));
        table.push(row);
    }
    page.heading("Before, during and after");
    page.paragraph(&format!(
        "Milliseconds from sending, of transactions sent before {:.1} s, from then to {:.1} s, and after. The last column: \
         how long after the end every {WINDOW_MS} ms of sending have their median within {NORMAL} times that of before.",
        from as f64 / 1e3,
        to as f64 / 1e3
    ));
    page.table(&["tier", "before p50", "p99", "during p50", "p99", "after p50", "p99", "as before after, ms"], &table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_back_when_it_stays_back() {
        // Ten milliseconds before 2000; then slow until 3300, with one quick stretch between.
        let slow = |sent: u64| (2_000..3_300).contains(&sent) && !(3_000..3_200).contains(&sent);
        let latencies: Vec<(f64, f64)> =
            (1_000..5_000).step_by(10).map(|sent| (sent as f64, if slow(sent) { 90.0 } else { 10.0 })).collect();
        assert_eq!(back_after(&latencies, (2_000, 2_500), 5_000), Some(800));
        assert_eq!(back_after(&latencies, (2_000, 2_500), 3_300), None);
        assert_eq!(back_after(&latencies, (2_000, 4_000), 5_000), Some(0));
    }
}
