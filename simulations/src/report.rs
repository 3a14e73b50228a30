//! Tables and plots of what a run, a sweep or a campaign left in a directory: one page, and each plot as a file of its own.

mod replay;
mod svg;

use crate::campaign::{Line as CampaignLine, read_results};
use crate::scenario::{Scenario, parse};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use svg::{Line, Mark, escape};

/// A page in the making.
struct Page {
    out: PathBuf,
    body: String,
}

impl Page {
    fn plot(&mut self, name: &str, svg: &str) -> std::io::Result<()> {
        std::fs::write(self.out.join(format!("{name}.svg")), svg)?;
        let _ = write!(self.body, "<figure>{svg}</figure>");
        Ok(())
    }

    fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        self.body.push_str("<table><tr>");
        header.iter().for_each(|cell| {
            let _ = write!(self.body, "<th>{}</th>", escape(cell));
        });
        self.body.push_str("</tr>");
        for row in rows {
            self.body.push_str("<tr>");
            row.iter().for_each(|cell| {
                let _ = write!(self.body, "<td>{}</td>", escape(cell));
            });
            self.body.push_str("</tr>");
        }
        self.body.push_str("</table>");
    }

    fn heading(&mut self, text: &str) {
        let _ = write!(self.body, "<h2>{}</h2>", escape(text));
    }
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:780px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
                     figure{margin:1.5em 0}svg{width:100%;height:auto}table{border-collapse:collapse;font-size:13px}\
                     th,td{border-bottom:1px solid #ccc;padding:.25em .7em;text-align:right}th:first-child,td:first-child\
                     {text-align:left}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td\
                     {border-color:#444}}";

/// Makes `report.html` and the plots in a directory; says where the page is.
pub fn report(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut page = Page { out: directory.to_owned(), body: String::new() };
    let mut known = false;
    if directory.join("transactions.csv").exists() {
        run(&mut page, directory)?;
        if replay::write(directory)?.is_some() {
            page.body.push_str("<p><a href=\"replay.html\">Replay this run</a></p>");
        }
        known = true;
    }
    if directory.join("sweep.csv").exists() {
        sweep(&mut page, directory)?;
        known = true;
    }
    let lines = read_results(&directory.join("results.jsonl"))?;
    if !lines.is_empty() {
        campaign(&mut page, &lines)?;
        known = true;
    }
    anyhow::ensure!(
        known,
        "{} holds neither transactions.csv (run --out), nor sweep.csv, nor results.jsonl (campaign)",
        directory.display()
    );
    let path = directory.join("report.html");
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>squad-sim</title><style>{STYLE}</style><body>{}</body></html>\n",
        page.body
    );
    std::fs::write(&path, html).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn rows(directory: &Path, name: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let path = directory.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect())
}

fn cell(row: &[String], at: usize) -> Option<f64> {
    row.get(at)?.parse().ok()
}

/// The tiers' columns in `transactions.csv`.
const TIERS: [(&str, usize); 3] = [("batched", 3), ("secured", 4), ("ordered", 5)];

fn run(page: &mut Page, directory: &Path) -> anyhow::Result<()> {
    let scenario = std::fs::read_to_string(directory.join("scenario.toml")).ok().and_then(|text| parse(&text).ok());
    let title = scenario.as_ref().map_or("run", |scenario| scenario.name.as_str()).to_owned();
    let _ = write!(page.body, "<h1>{}</h1>", escape(&title));
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
        distributions.push(Line { name: tier.to_owned(), points: points.collect(), dots: false });
    }
    page.table(&["tier", "transactions", "p50 ms", "p90 ms", "p99 ms", "max ms"], &table);
    page.plot("latency", &svg::lines("Latency by tier", "milliseconds since sent", "share", &distributions, &[]))?;
    let over_time: Vec<Line> = TIERS
        .iter()
        .map(|(tier, column)| Line { name: (*tier).to_owned(), points: latencies(*column), dots: true })
        .collect();
    let marks = scenario.as_ref().map(marks).unwrap_or_default();
    let plot = svg::lines("Latency over time; faults are shaded", "seconds", "milliseconds", &over_time, &marks);
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
    let throughput = [Line { name: "ordered".to_owned(), points, dots: false }];
    page.plot("throughput", &svg::lines("Transactions ordered", "seconds", "a second", &throughput, &marks))?;
    let messages = rows(directory, "messages.csv")?;
    for (name, column) in [("messages", 1), ("bytes", 2)] {
        let bars: Vec<(String, f64)> = messages
            .iter()
            .filter_map(|row| Some((row.first()?.clone(), cell(row, column)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        page.plot(&format!("{name}-by-kind"), &svg::bars(&format!("Sent, by kind: {name}"), name, &bars))?;
    }
    Ok(())
}

/// When which fault was under way, in seconds.
fn marks(scenario: &Scenario) -> Vec<Mark> {
    let faults = scenario.fault.iter().map(|fault| {
        let from = fault.at_ms as f64 / 1e3;
        let (name, lasts) = fault.describe();
        Mark { from, to: from + lasts as f64 / 1e3, name }
    });
    faults.collect()
}

fn sweep(page: &mut Page, directory: &Path) -> anyhow::Result<()> {
    page.heading("Sweep");
    let all = rows(directory, "sweep.csv")?;
    let mut labels: Vec<&String> = all.iter().filter_map(|row| row.first()).collect();
    labels.dedup();
    labels.sort();
    labels.dedup();
    let mut table = Vec::new();
    let mut bars = Vec::new();
    for label in labels {
        let of: Vec<&Vec<String>> = all.iter().filter(|row| row.first() == Some(label)).collect();
        let mean = |column: usize| {
            let values: Vec<f64> = of.iter().filter_map(|row| cell(row, column)).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        bars.push((label.clone(), mean(12)));
        let mut row = vec![label.clone(), of.len().to_string()];
        row.extend([8, 10, 12, 13].map(|column| format!("{:.1}", mean(column))));
        table.push(row);
    }
    page.table(&["set", "runs", "batched p50 ms", "secured p50 ms", "ordered p50 ms", "ordered p99 ms"], &table);
    page.plot("sweep", &svg::bars("Ordered: median, mean over seeds", "milliseconds", &bars))?;
    Ok(())
}

fn campaign(page: &mut Page, lines: &[CampaignLine]) -> anyhow::Result<()> {
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
    let line = [Line { name: "held".to_owned(), points, dots: false }];
    let plot = svg::lines("From the last fault until everything is in order", "seconds", "share of runs", &line, &[]);
    page.plot("settled", &plot)?;
    Ok(())
}
