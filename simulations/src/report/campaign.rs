//! A campaign: how many runs held, what did not, and how long it took until all was in order again.

use super::Page;
use super::plot::{self, Line};
use crate::campaign;

pub(super) fn campaign(page: &mut Page, lines: &[campaign::Line]) -> anyhow::Result<()> {
    page.heading("Campaign");
    let count = |verdict: &str| lines.iter().filter(|line| line.verdict == verdict).count();
    let virtual_s = lines.iter().map(|line| line.virtual_ms).sum::<u64>() as f64 / 1e3;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    page.table(
        &["", ""],
        &[
            row("runs", lines.len().to_string()),
            row("everything held", count("held").to_string()),
            row("beyond what is promised", count("beyond").to_string()),
            row("violated", count("violated").to_string()),
            row("virtual seconds", format!("{virtual_s:.0}")),
            row("messages handled", lines.iter().map(|line| line.deliveries).sum::<u64>().to_string()),
            row("inclusion rule tested", lines.iter().map(|line| line.inclusions).sum::<u64>().to_string()),
        ],
    );
    let violated: Vec<Vec<String>> = lines
        .iter()
        .filter(|line| line.verdict == "violated")
        .map(|line| vec![line.seed.to_string(), line.what.chars().take(200).collect()])
        .collect();
    if !violated.is_empty() {
        page.table(&["seed", "what"], &violated);
    }
    let mut settled: Vec<f64> =
        lines.iter().filter(|line| line.verdict == "held").map(|line| line.settled_ms as f64 / 1e3).collect();
    settled.sort_by(f64::total_cmp);
    let total = settled.len().max(1) as f64;
    let points = settled.iter().enumerate().map(|(at, seconds)| (*seconds, (at + 1) as f64 / total)).collect();
    let line = [Line { name: "held".to_owned(), points, ..Line::default() }];
    let plot = plot::lines("From the last fault until everything is in order", "seconds", "share of runs", &line, &[]);
    page.plot("settled", &plot)?;
    Ok(())
}
