//! Tables and plots of what a run, a sweep or a campaign left in a directory: one page, and each plot as a file of its own,
//! as SVG and as PNG.

mod calibration;
mod campaign;
mod fairness;
mod merge;
mod phases;
mod plot;
mod png;
mod replay;
mod run;
mod svg;
mod sweep;

pub use merge::{Lenience, merge};

use crate::campaign::read_results;
use anyhow::Context as _;
use plot::Plot;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use svg::escape;

/// A page in the making.
struct Page {
    out: PathBuf,
    body: String,
}

impl Page {
    fn plot(&mut self, name: &str, plot: &Plot) -> anyhow::Result<()> {
        let svg = svg::svg(plot);
        for (ending, bytes) in [("svg", svg.as_bytes()), ("png", &png::png(plot)?)] {
            let path = self.out.join(format!("{name}.{ending}"));
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let _ = write!(self.body, "<figure>{svg}</figure>");
        Ok(())
    }

    fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        self.body.push_str("<div><table><tr>");
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
        self.body.push_str("</table></div>");
    }

    /// A table that is shown when it is asked for.
    fn details(&mut self, summary: &str, header: &[&str], rows: &[Vec<String>]) {
        let _ = write!(self.body, "<details><summary>{}</summary>", escape(summary));
        self.table(header, rows);
        self.body.push_str("</details>");
    }

    fn heading(&mut self, text: &str) {
        let _ = write!(self.body, "<h2>{}</h2>", escape(text));
    }

    fn paragraph(&mut self, text: &str) {
        let _ = write!(self.body, "<p>{}</p>", escape(text));
    }
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:780px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
                     figure{margin:1.5em 0}svg{width:100%;height:auto}div{overflow-x:auto}table{border-collapse:collapse;\
                     font-size:13px}th,td{border-bottom:1px solid #ccc;padding:.25em .7em;text-align:right}th:first-child,\
                     td:first-child{text-align:left}summary{cursor:pointer}@media(prefers-color-scheme:dark){body{color:#ddd;\
                     background:#181818}a{color:#8ab4f8}th,td{border-color:#444}}";

/// Makes `report.html`, `replay.html` and the plots in a directory; says where the report is.
pub fn report(directory: &Path) -> anyhow::Result<PathBuf> {
    let mut page = Page { out: directory.to_owned(), body: String::new() };
    let mut known = false;
    if directory.join("transactions.csv").exists() {
        run::run(&mut page, directory)?;
        fairness::fairness(&mut page, directory)?;
        known = true;
    }
    if directory.join("calibration.csv").exists() {
        calibration::calibration(&mut page, directory)?;
        known = true;
    }
    if directory.join("sweep.csv").exists() {
        sweep::sweep(&mut page, directory)?;
        known = true;
    }
    let lines = read_results(&directory.join("results.jsonl"))?;
    if !lines.is_empty() {
        campaign::campaign(&mut page, &lines)?;
        known = true;
    }
    anyhow::ensure!(
        known,
        "{} holds neither transactions.csv (run --out), nor sweep.csv, nor results.jsonl (campaign), nor calibration.csv",
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
    Ok(text.lines().skip(1).map(crate::table::split).collect())
}

fn cell(row: &[String], at: usize) -> Option<f64> {
    row.get(at)?.parse().ok()
}
