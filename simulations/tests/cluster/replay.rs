//! The page that replays a run: complete in itself, and in agreement with the run's other results.

use squad_simulations::replay::{Recorder, Replay};
use squad_simulations::report::report;
use squad_simulations::results::{Summary, write_record, write_tables};
use squad_simulations::scenario::parse;
use squad_simulations::simulation::{Simulation, Verdict};
use std::path::PathBuf;

const SCENARIO: &str = "name = \"</script> & <b>\"\nduration_ms = 1500\n[committee]\nmembers = 5\n[network]\n\
                        regions = [\"eu-5\"]\nloss_per_mille = 20\n[[load]]\nrate = 50.0\nbytes = 100\n[[fault]]\n\
                        at_ms = 400\ncrash = { node = 1, down_ms = 300 }\n[[byzantine]]\nnode = 4\n\
                        behaviour = \"equivocating-voter\"\nfrom_ms = 200\n";

/// Results of a recorded run, with the directory that they are in.
fn recorded(name: &str, window: std::ops::Range<u64>) -> (Simulation, Summary, PathBuf) {
    let mut simulation = Simulation::new(parse(SCENARIO).unwrap()).unwrap();
    simulation.cluster.watch.recorder = Some(Box::new(Recorder::new(&simulation.cluster, window)));
    let outcome = simulation.run_guarded();
    assert_eq!(outcome.verdict, Verdict::Held);
    let summary = Summary::new(&simulation, &outcome, 1.0);
    let directory = std::env::temp_dir().join(format!("squad-replay-{name}-{}", std::process::id()));
    write_tables(&simulation, &directory).unwrap();
    write_record(&simulation, &summary, &directory).unwrap();
    (simulation, summary, directory)
}

/// The record that stands in a page.
fn record_in(page: &str) -> Replay {
    let (_, after) = page.split_once("<script type=\"application/json\" id=\"record\">").unwrap();
    let (record, _) = after.split_once("</script>").unwrap();
    serde_json::from_str(record).unwrap()
}

#[test]
fn a_page_replays_a_run_from_its_own_text_alone_and_agrees_with_the_tables() {
    let untold = Simulation::new(parse(SCENARIO).unwrap()).unwrap().run_guarded();
    let (simulation, summary, directory) = recorded("whole", 0..u64::MAX);
    assert_eq!(summary.trace, format!("{:016x}", untold.trace), "recording changes a run");
    report(&directory).unwrap();
    let page = std::fs::read_to_string(directory.join("replay.html")).unwrap();
    let table = std::fs::read_to_string(directory.join("transactions.csv")).unwrap();
    let blocks = std::fs::read_to_string(directory.join("blocks.csv")).unwrap();
    let linked = std::fs::read_to_string(directory.join("report.html")).unwrap().contains("replay.html");
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(linked && page.contains("default-src 'none'"));
    for outside in ["http:", "https:", "src=", "<link", "url(", "@import", "import(", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "the page reaches out: {outside}");
    }

    let record = record_in(&page);
    assert_eq!((record.name.as_str(), &record.trace), ("</script> & <b>", &summary.trace));
    assert_eq!(record.blocks.len(), blocks.lines().count() - 1);
    assert_eq!(record.blocks.last().unwrap().height, summary.height);
    let transactions = &record.transactions;
    assert_eq!(transactions.id.len(), simulation.sent.len());
    for (at, line) in table.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let time = |time: i64| if time < 0 { String::new() } else { time.to_string() };
        let seen = [
            transactions.sent[at].to_string(),
            transactions.node[at].to_string(),
            transactions.bytes[at].to_string(),
            time(transactions.batched[at]),
            time(transactions.secured[at]),
            time(transactions.ordered[at]),
        ];
        assert_eq!(cells[..6], seen.each_ref().map(String::as_str));
        assert!(cells[6].contains(&transactions.id[at]), "{line}");
        let height = if transactions.height[at] == 0 { String::new() } else { transactions.height[at].to_string() };
        assert_eq!((cells[8], !cells[5].is_empty()), (height.as_str(), transactions.height[at] > 0));
    }

    let kinds: Vec<&str> = record.events.what.iter().map(|what| record.events.names[*what as usize].as_str()).collect();
    let count = |name: &str| kinds.iter().filter(|kind| **kind == name).count();
    assert_eq!((count("up"), count("down")), (6, 1));
    let decided: usize = (0..5).map(|node| simulation.cluster.invariants.blocks_seen_by(node)).sum();
    assert_eq!(count("decided"), decided);
    for name in ["proposed", "prevoted", "precommitted", "batched", "secured", "round"] {
        assert!(count(name) > 0, "nobody is seen to have {name}");
    }
    assert_eq!((record.faults[0].from, record.faults[0].to, &record.faults[0].nodes[..]), (400_000, 700_000, &[1][..]));
    assert_eq!((record.byzantine[0].node, record.byzantine[0].behaviour.as_str()), (4, "equivocating-voter"));
    assert!(record.places.iter().all(|place| place.at.is_some()) && record.nodes[3].place == Some(3));

    let sent: u64 = simulation.cluster.traffic.by_kind.iter().map(|amount| amount.messages).sum();
    assert_eq!(record.counted.iter().map(|counted| counted.sent).sum::<u64>(), sent);
    assert_eq!(record.messages.at.len() as u64, record.counted.iter().map(|counted| counted.kept).sum::<u64>());
    assert!(record.messages.took.contains(&-1), "nothing is seen to be lost");
}

#[test]
fn a_window_keeps_messages_and_votes_of_its_time_and_every_decision() {
    let (_, summary, directory) = recorded("window", 500_000..600_000);
    let text = std::fs::read_to_string(directory.join("replay.json")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let record: Replay = serde_json::from_str(&text).unwrap();
    assert_eq!(record.window, (500_000, 600_000));
    let times = |steps: &[u64]| -> Vec<u64> {
        let mut at = 0;
        steps
            .iter()
            .map(|step| {
                at += step;
                at
            })
            .collect()
    };
    let sent = times(&record.messages.at);
    assert!(!sent.is_empty() && sent.iter().all(|at| (500_000..600_000).contains(at)));
    let events: Vec<(u64, &str)> = times(&record.events.at)
        .into_iter()
        .zip(record.events.what.iter().map(|what| record.events.names[*what as usize].as_str()))
        .collect();
    assert!(events.iter().all(|(at, what)| *what != "prevoted" || (500_000..600_000).contains(at)));
    let heights = events.iter().filter(|(_, what)| *what == "decided").count() as u64;
    assert!(heights >= 3 * summary.height, "{heights} decisions of {} heights", summary.height);
}

#[test]
fn a_broken_record_is_refused_with_its_path_and_what_to_do() {
    let (_, _, directory) = recorded("broken", 0..1);
    std::fs::write(directory.join("replay.json"), "{\"version\": 1}").unwrap();
    let error = format!("{:#}", report(&directory).unwrap_err());
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(error.contains("replay.json") && error.contains("run the scenario again with --out"), "{error}");
}
