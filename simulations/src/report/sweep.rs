//! A sweep: each figure against the value that was swept, over all seeds.

use super::Page;
use super::plot::{self, Line};
use crate::sweep::{COLUMNS, CSV};
use crate::table::{Cell, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Figures of a sweep: their columns, and how they are called.
const FIGURES: [(&str, &str); 11] = [
    ("height", "heights"),
    ("later_rounds", "heights that took more than one round"),
    ("ordered", "transactions ordered"),
    ("refused", "transactions refused"),
    ("batched_p50_ms", "batched, median, ms"),
    ("batched_p99_ms", "batched, 99th percentile, ms"),
    ("secured_p50_ms", "secured, median, ms"),
    ("secured_p99_ms", "secured, 99th percentile, ms"),
    ("ordered_p50_ms", "ordered, median, ms"),
    ("ordered_p99_ms", "ordered, 99th percentile, ms"),
    ("bytes", "bytes sent"),
];

/// The value at a share of sorted values.
pub(super) fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

/// One setting: the key and value of each thing that was swept.
type Setting = Vec<(String, String)>;

fn setting(label: &str) -> Setting {
    label.split(' ').filter_map(|part| part.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// What goes on the horizontal axis: the first key that has several values, all of them numbers.
fn axis(labels: &[String]) -> Option<String> {
    let settings: Vec<Setting> = labels.iter().map(|label| setting(label)).collect();
    let keys: Vec<String> = settings.first()?.iter().map(|(key, _)| key.clone()).collect();
    keys.into_iter().find(|key| {
        let mut values: Vec<&str> =
            settings.iter().flatten().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect();
        values.sort_unstable();
        values.dedup();
        values.len() > 1 && values.iter().all(|value| value.parse::<f64>().is_ok_and(f64::is_finite))
    })
}

pub(super) fn sweep(page: &mut Page, directory: &Path) -> anyhow::Result<()> {
    page.heading("Sweep");
    let all = Table::read(&COLUMNS, &directory.join(CSV))?;
    let of = |label: &str, column: &str| -> Vec<Cell> {
        let rows = all.column("set").iter().zip(all.column(column));
        rows.filter(|(own, _)| own.text() == Some(label)).map(|(_, cell)| cell.clone()).collect()
    };
    let labels: BTreeSet<&str> = all.column("set").iter().filter_map(Cell::text).collect();
    let labels: Vec<String> = labels.into_iter().map(str::to_owned).collect();
    let sorted = |label: &str, column: &str| {
        let mut values: Vec<f64> = of(label, column).iter().filter_map(Cell::number).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let table = labels.iter().map(|label| {
        let verdicts = of(label, "verdict");
        let violated = verdicts.iter().filter(|verdict| verdict.text() == Some("violated"));
        let mut row = vec![label.clone(), verdicts.len().to_string(), violated.count().to_string()];
        let shown = ["batched_p50_ms", "secured_p50_ms", "ordered_p50_ms", "ordered_p99_ms"];
        row.extend(shown.map(|column| format!("{:.1}", at(&sorted(label, column), 0.5))));
        row
    });
    let table: Vec<Vec<String>> = table.collect();
    page.table(
        &["set", "runs", "violated", "batched p50 ms", "secured p50 ms", "ordered p50 ms", "ordered p99 ms"],
        &table,
    );
    let axis = axis(&labels);
    for (column, name) in FIGURES {
        let title = format!("{name}: median over seeds, band from the 10th to the 90th percentile");
        let plot = match &axis {
            Some(key) => plot::lines(&title, key, "", &curves(&labels, key, &|label| sorted(label, column)), &[]),
            None => {
                let bars: Vec<(String, f64)> =
                    labels.iter().map(|label| (label.clone(), at(&sorted(label, column), 0.5))).collect();
                plot::bars(&format!("{name}: median over seeds"), "", "", &bars)
            }
        };
        page.plot(&format!("sweep-{column}"), &plot)?;
    }
    Ok(())
}

/// A line for each combination of the other keys, with a point for each value of the axis.
fn curves(labels: &[String], axis: &str, sorted: &dyn Fn(&str) -> Vec<f64>) -> Vec<Line> {
    let mut lines: BTreeMap<String, Vec<(f64, Vec<f64>)>> = BTreeMap::new();
    for label in labels {
        let (mut x, mut others) = (0.0, Vec::new());
        for (key, value) in setting(label) {
            if key == axis { x = value.parse().unwrap_or_default() } else { others.push(format!("{key}={value}")) }
        }
        lines.entry(others.join(" ")).or_default().push((x, sorted(label)));
    }
    let line = |(name, mut values): (String, Vec<(f64, Vec<f64>)>)| {
        values.sort_by(|one, other| one.0.total_cmp(&other.0));
        Line {
            name,
            points: values.iter().map(|(x, sorted)| (*x, at(sorted, 0.5))).collect(),
            band: values.iter().map(|(x, sorted)| (*x, at(sorted, 0.1), at(sorted, 0.9))).collect(),
            dots: false,
        }
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_key_with_numbers_is_the_axis_and_the_others_make_the_lines() {
        let labels: Vec<String> =
            ["a=x n=1", "a=x n=10", "a=y n=1", "a=y n=10"].iter().map(|label| (*label).to_owned()).collect();
        let key = axis(&labels).unwrap();
        assert_eq!(key, "n");
        let lines = curves(&labels, &key, &|label| if label.ends_with("10") { vec![1.0, 2.0, 9.0] } else { vec![4.0] });
        assert_eq!(lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(), ["a=x", "a=y"]);
        assert_eq!(lines[0].points, [(1.0, 4.0), (10.0, 2.0)]);
        assert_eq!(lines[0].band, [(1.0, 4.0, 4.0), (10.0, 1.0, 9.0)]);
        assert!(axis(&["costs=none".to_owned(), "costs=measured".to_owned()]).is_none());
    }
}
