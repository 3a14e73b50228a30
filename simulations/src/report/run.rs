//! A run: latency by tier and over time, throughput, traffic.

use super::plot::{self, Line, Mark};
use super::svg::escape;
use super::{Page, cell, phases, replay, rows};
use crate::scenario::{Scenario, parse};
use std::fmt::Write as _;
use std::path::Path;

/// The tiers' columns in `transactions.csv`.
const TIERS: [(&str, usize); 3] = [("batched", 3), ("secured", 4), ("ordered", 5)];

pub(super) fn run(page: &mut Page, directory: &Path) -> anyhow::Result<()> {
    let scenario = std::fs::read_to_string(directory.join("scenario.toml")).ok().and_then(|text| parse(&text).ok());
    let title = scenario.as_ref().map_or("run", |scenario| scenario.name.as_str()).to_owned();
    let _ = write!(page.body, "<h1>{}</h1>", escape(&title));
    if replay::write(directory)?.is_some() {
        page.body.push_str("<p><a href=\"replay.html\">Replay this run</a></p>");
    }
    let transactions = rows(directory, "transactions.csv")?;
    let latencies = |column: usize| -> Vec<(f64, f64)> {
        let sent_and_done = transactions.iter().filter_map(|row| Some((cell(row, 0)?, cell(row, column)?)));
        sent_and_done.map(|(sent, done)| (sent / 1e6, (done - sent) / 1e3)).collect()
    };
    let (mut distributions, mut table) = (Vec::new(), Vec::new());
    for (tier, column) in TIERS {
        let mut sorted: Vec<f64> = latencies(column).into_iter().map(|(_, latency)| latency).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
            sorted.get(place).map_or_else(String::new, |latency| format!("{latency:.1}"))
        };
        table.push(vec![tier.to_owned(), sorted.len().to_string(), at(0.5), at(0.9), at(0.99), at(1.0)]);
        let steps = 200.min(sorted.len());
        let points = (0..steps).map(|step| {
            let share = (step as f64 + 0.5) / steps as f64;
            (sorted[(share * sorted.len() as f64) as usize], share)
        });
        distributions.push(Line { name: tier.to_owned(), points: points.collect(), ..Line::default() });
    }
    page.table(&["tier", "transactions", "p50 ms", "p90 ms", "p99 ms", "max ms"], &table);
    page.plot("latency", &plot::lines("Latency by tier", "milliseconds since sent", "share", &distributions, &[]))?;
    if let Some(scenario) = &scenario {
        phases::phases(page, scenario, &transactions);
    }
    let over_time: Vec<Line> = TIERS
        .iter()
        .map(|(tier, column)| Line {
            name: (*tier).to_owned(),
            points: latencies(*column),
            dots: true,
            ..Line::default()
        })
        .collect();
    let marks = scenario.as_ref().map(marks).unwrap_or_default();
    let plot = plot::lines("Latency over time; faults are shaded", "seconds", "milliseconds", &over_time, &marks);
    page.plot("latency-over-time", &plot)?;
    let blocks = rows(directory, "blocks.csv")?;
    let end = blocks.iter().filter_map(|row| cell(row, 3)).fold(0.0, f64::max) / 1e6;
    let mut per_second = vec![0.0; end as usize + 1];
    for row in &blocks {
        if let (Some(at), Some(count)) = (cell(row, 3), cell(row, 4)) {
            per_second[(at / 1e6) as usize] += count;
        }
    }
    let points = per_second.iter().enumerate().map(|(second, count)| (second as f64, *count)).collect();
    let throughput = [Line { name: "ordered".to_owned(), points, ..Line::default() }];
    page.plot("throughput", &plot::lines("Transactions ordered", "seconds", "a second", &throughput, &marks))?;
    let messages = rows(directory, "messages.csv")?;
    for (name, column) in [("messages", 1), ("bytes", 2)] {
        let bars: Vec<(String, f64)> = messages
            .iter()
            .filter_map(|row| Some((row.first()?.clone(), cell(row, column)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        page.plot(&format!("{name}-by-kind"), &plot::bars(&format!("Sent, by kind: {name}"), "", name, &bars))?;
    }
    Ok(())
}

/// When which fault was under way and who misbehaved, in seconds.
fn marks(scenario: &Scenario) -> Vec<Mark> {
    let faults = scenario.fault.iter().map(|fault| {
        let (name, lasts) = fault.describe();
        (fault.at_ms, fault.at_ms + lasts, name)
    });
    let liars = scenario.byzantine.iter().map(|liar| {
        let name = format!("node {}: {}", liar.node, liar.behaviour.name());
        (liar.from_ms, liar.until_ms.unwrap_or(scenario.duration_ms), name)
    });
    let mark = |(from, to, name): (u64, u64, String)| Mark { from: from as f64 / 1e3, to: to as f64 / 1e3, name };
    let mut marks: Vec<Mark> = faults.chain(liars).map(mark).collect();
    // Several at one time are shaded once, so that the plot behind them is seen.
    marks.sort_by(|one, other| one.from.total_cmp(&other.from).then(one.to.total_cmp(&other.to)));
    marks.dedup_by(|next, kept| {
        let same = (next.from, next.to) == (kept.from, kept.to);
        if same {
            kept.name = format!("{}, {}", kept.name, next.name);
        }
        same
    });
    marks
}
