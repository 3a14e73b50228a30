//! A calibration: both distributions of each tier.

use super::plot::{self, Line};
use super::{Page, cell, rows};
use std::path::Path;

pub(super) fn calibration(page: &mut Page, directory: &Path) -> anyhow::Result<()> {
    let quantiles = rows(directory, "calibration.csv")?;
    page.heading("Real processes and the simulator");
    let mut table = Vec::new();
    for tier in crate::calibrate::TIERS {
        let of_tier: Vec<&Vec<String>> = quantiles.iter().filter(|row| row[0] == tier).collect();
        let line = |name: &str, column: usize| {
            let points = of_tier.iter().filter_map(|row| Some((cell(row, column)?, cell(row, 1)?)));
            Line { name: name.to_owned(), points: points.collect(), ..Line::default() }
        };
        let lines = [line("processes", 2), line("simulator", 3)];
        let title = format!("Latency until {tier}");
        page.plot(&format!("calibration-{tier}"), &plot::lines(&title, "milliseconds", "share", &lines, &[]))?;
        for share in [0.5, 0.9, 0.99] {
            let Some(row) = of_tier.iter().find(|row| cell(row, 1) == Some(share)) else { continue };
            let (processes, simulator) = (cell(row, 2).unwrap_or_default(), cell(row, 3).unwrap_or_default());
            table.push(vec![
                tier.to_owned(),
                format!("p{:.0}", share * 100.0),
                format!("{processes:.1}"),
                format!("{simulator:.1}"),
                format!("{:.2}", if processes > 0.0 { simulator / processes } else { 0.0 }),
            ]);
        }
    }
    page.table(&["tier", "", "processes, ms", "simulator, ms", "ratio"], &table);
    Ok(())
}
