//! The page that replays a run: one file that needs nothing else, made from the run's record.

use crate::replay::{Replay, VERSION};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("replay/page.html");
const STYLE: &str = include_str!("replay/style.css");
const SCRIPTS: [&str; 5] = [
    include_str!("replay/data.js"),
    include_str!("replay/stage.js"),
    include_str!("replay/timeline.js"),
    include_str!("replay/stories.js"),
    include_str!("replay/main.js"),
];
const LAND: &str = include_str!("../../data/land.txt");

/// Writes `replay.html` beside the `replay.json` that a run left in a directory; says where it is. Runs of before there
/// were records have none, and get no page.
pub(super) fn write(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let path = directory.join("replay.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let replay: Replay = serde_json::from_str(&text)
        .with_context(|| format!("{} is no record of a run; run the scenario again with --out", path.display()))?;
    anyhow::ensure!(
        replay.version == VERSION,
        "{} is a record of form {}, this program reads form {VERSION}; run the scenario again with --out",
        path.display(),
        replay.version
    );
    let page = directory.join("replay.html");
    std::fs::write(&page, html(&replay)?).with_context(|| format!("cannot write {}", page.display()))?;
    Ok(Some(page))
}

/// The page. Nothing in a record can end the element that it stands in.
fn html(replay: &Replay) -> anyhow::Result<String> {
    let record = serde_json::to_string(replay)?.replace('<', "\\u003c");
    let mapped = !replay.places.is_empty() && replay.places.iter().all(|place| place.at.is_some());
    let mut page = String::with_capacity(record.len() + 100_000);
    let mut rest = PAGE;
    for (mark, text) in [
        ("/*STYLE*/", STYLE.to_owned()),
        ("/*RECORD*/", record),
        ("/*LAND*/", if mapped { LAND.to_owned() } else { String::new() }),
        ("/*SCRIPT*/", SCRIPTS.concat()),
    ] {
        let (before, after) = rest.split_once(mark).with_context(|| format!("the page has no {mark}"))?;
        page.push_str(before);
        page.push_str(&text);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}
