//! How far the final order is from the order of sending, and how long secured transactions wait for a block: by ordering
//! policy, and by the proposer of the block that a transaction came into.

use super::plot::{self, Line};
use super::sweep::at;
use super::{Page, cell, rows};
use std::collections::BTreeMap;
use std::path::Path;

/// An ordered transaction.
#[derive(Clone, Debug)]
struct Tx {
    sent: f64,
    /// From secured to ordered, in milliseconds.
    waited: Option<f64>,
    namespace: u64,
    height: u64,
    position: u64,
    /// Places by which it is behind (or, below zero, ahead of) its place by time of sending, in its namespace.
    moved: f64,
    /// The same, among those of its block alone.
    moved_in_block: f64,
}

fn read(directory: &Path) -> anyhow::Result<Vec<Tx>> {
    let transactions = rows(directory, "transactions.csv")?;
    let tx = |row: &Vec<String>| {
        let figure = |at: usize| row.get(at)?.parse::<u64>().ok();
        let (ordered, secured) = (cell(row, 5)?, cell(row, 4));
        // The author may learn of the quorum after the block.
        let waited = secured.map(|secured| (ordered - secured).max(0.0) / 1e3);
        Some(Tx {
            sent: cell(row, 0)?,
            waited,
            namespace: figure(7)?,
            height: figure(8)?,
            position: figure(9)?,
            moved: 0.0,
            moved_in_block: 0.0,
        })
    };
    Ok(transactions.iter().filter_map(tx).collect())
}

/// By how many places each stands behind where it would in the order of sending.
fn moved(mut group: Vec<&mut Tx>, keep: fn(&mut Tx, f64)) {
    // Sorting keeps what was sent at one moment in the order of the table.
    group.sort_by(|one, other| one.sent.total_cmp(&other.sent));
    let mut ranked: Vec<(usize, &mut Tx)> = group.into_iter().enumerate().collect();
    ranked.sort_by_key(|(_, tx)| (tx.height, tx.position));
    for (place, (by_time, tx)) in ranked.into_iter().enumerate() {
        keep(tx, place as f64 - by_time as f64);
    }
}

fn measure(transactions: &mut [Tx]) {
    let mut namespaces: BTreeMap<u64, Vec<&mut Tx>> = BTreeMap::new();
    for tx in transactions.iter_mut() {
        namespaces.entry(tx.namespace).or_default().push(tx);
    }
    namespaces.into_values().for_each(|group| moved(group, |tx, by| tx.moved = by));
    let mut blocks: BTreeMap<(u64, u64), Vec<&mut Tx>> = BTreeMap::new();
    for tx in transactions.iter_mut() {
        blocks.entry((tx.namespace, tx.height)).or_default().push(tx);
    }
    blocks.into_values().for_each(|group| moved(group, |tx, by| tx.moved_in_block = by));
}

/// A namespace of simulated networks, with its policy.
fn policy(namespace: u64) -> &'static str {
    match namespace {
        1 => "bytes (fifo)",
        2 => "lottery (shuffled)",
        _ => "other",
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Cells for a group: how many, then shares of distances and of waits.
fn figures(name: String, group: &[&Tx]) -> Vec<String> {
    let all = sorted(group.iter().map(|tx| tx.moved.abs()));
    let block = sorted(group.iter().map(|tx| tx.moved_in_block.abs()));
    let waited = sorted(group.iter().filter_map(|tx| tx.waited));
    let mut row = vec![name, group.len().to_string()];
    row.extend([0.5, 0.9, 1.0].map(|share| format!("{:.0}", at(&all, share))));
    row.extend([0.9, 1.0].map(|share| format!("{:.0}", at(&block, share))));
    row.extend([0.5, 0.9, 0.99].map(|share| format!("{:.1}", at(&waited, share))));
    row
}

const HEADER: [&str; 10] = [
    "",
    "transactions",
    "moved p50",
    "p90",
    "max",
    "in its block p90",
    "max",
    "secured to ordered p50 ms",
    "p90 ms",
    "p99 ms",
];

/// The part of a run's page that says how fair the order was. Nothing, if the run was not recorded.
pub(super) fn fairness(page: &mut Page, directory: &Path) -> anyhow::Result<()> {
    let mut transactions = read(directory)?;
    if transactions.is_empty() {
        return Ok(());
    }
    measure(&mut transactions);
    page.heading("Order");
    page.paragraph(
        "Moved: by how many places a transaction stands elsewhere than by its time of sending, among all of its \
         namespace, and among those of its block alone. A proposer chooses which secured batches its block takes; the \
         order within the block follows from the namespace's policy.",
    );
    let mut policies: BTreeMap<&str, Vec<&Tx>> = BTreeMap::new();
    let mut proposers: BTreeMap<u64, Vec<&Tx>> = BTreeMap::new();
    let of: BTreeMap<u64, u64> = rows(directory, "blocks.csv")?
        .iter()
        .filter_map(|row| Some((row.first()?.parse().ok()?, row.get(2)?.parse().ok()?)))
        .collect();
    for tx in &transactions {
        policies.entry(policy(tx.namespace)).or_default().push(tx);
        if let Some(proposer) = of.get(&tx.height) {
            proposers.entry(*proposer).or_default().push(tx);
        }
    }
    let table: Vec<Vec<String>> = policies.iter().map(|(name, group)| figures((*name).to_owned(), group)).collect();
    page.table(&HEADER, &table);
    let distribution = |name: &str, values: Vec<f64>| {
        let steps = 200.min(values.len());
        let points = (0..=steps).map(|step| {
            let share = step as f64 / steps.max(1) as f64;
            (at(&values, share), share)
        });
        Line { name: name.to_owned(), points: points.collect(), ..Line::default() }
    };
    let distances =
        policies.iter().map(|(name, group)| distribution(name, sorted(group.iter().map(|tx| tx.moved.abs()))));
    let distances: Vec<Line> = distances.collect();
    page.plot("reorder-distance", &plot::lines("Reorder distance by policy", "places", "share", &distances, &[]))?;
    let waits =
        policies.iter().map(|(name, group)| distribution(name, sorted(group.iter().filter_map(|tx| tx.waited))));
    let waits: Vec<Line> = waits.collect();
    let title = "Inclusion delay by policy: from secured to ordered";
    page.plot("inclusion-delay", &plot::lines(title, "milliseconds", "share", &waits, &[]))?;
    let bars = |value: &dyn Fn(&[&Tx]) -> f64| -> Vec<(String, f64)> {
        proposers.iter().map(|(proposer, group)| (proposer.to_string(), value(group))).collect()
    };
    let reorder = bars(&|group| at(&sorted(group.iter().map(|tx| tx.moved.abs())), 0.9));
    let title = "Reorder distance by the block's proposer: 90th percentile";
    page.plot("reorder-distance-by-proposer", &plot::bars(title, "node", "places", &reorder))?;
    let delay = bars(&|group| at(&sorted(group.iter().filter_map(|tx| tx.waited)), 0.9));
    let title = "Inclusion delay by the block's proposer: 90th percentile";
    page.plot("inclusion-delay-by-proposer", &plot::bars(title, "node", "milliseconds", &delay))?;
    let table: Vec<Vec<String>> =
        proposers.iter().map(|(proposer, group)| figures(format!("node {proposer}"), group)).collect();
    page.details("By proposer", &HEADER, &table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_the_namespace_and_in_the_block() {
        let tx = |sent: f64, namespace, height, position| Tx {
            sent,
            waited: None,
            namespace,
            height,
            position,
            moved: 0.0,
            moved_in_block: 0.0,
        };
        // Sent first, ordered last; another namespace does not count.
        let mut all = vec![tx(1.0, 1, 6, 1), tx(2.0, 1, 5, 1), tx(3.0, 1, 5, 0), tx(0.0, 2, 5, 0), tx(4.0, 1, 6, 0)];
        measure(&mut all);
        assert_eq!(all.iter().map(|tx| tx.moved).collect::<Vec<_>>(), [3.0, 0.0, -2.0, 0.0, -1.0]);
        assert_eq!(all.iter().map(|tx| tx.moved_in_block).collect::<Vec<_>>(), [1.0, 1.0, -1.0, 0.0, -1.0]);
    }
}
