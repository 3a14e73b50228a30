//! Plans from seeds, what becomes of them, and what a failure leaves behind.

use squad_simulations::campaign::{Campaign, run_one};
use squad_simulations::scenario::{BehaviourName, Profile, draw, parse};
use squad_simulations::shrink::shrink;
use squad_simulations::simulation::{Simulation, Verdict};

/// A scenario that cannot hold: it asks for everything to be in order at once.
const HOPELESS: &str = "
seed = 3
duration_ms = 600
settle_ms = 1
[committee]
members = 4
[network]
duplicate_per_mille = 50
[[load]]
rate = 20.0
bytes = 100
[[fault]]
at_ms = 100
pause = { node = 1, for_ms = 50 }
[[fault]]
at_ms = 200
slow_disk = { node = 2, by_ms = 5, for_ms = 100 }
[[byzantine]]
node = 3
behaviour = \"silent\"
";

#[test]
fn seeds_hold_and_repeat_themselves() {
    for seed in 1..24 {
        let scenario = draw(seed, Profile::Quick);
        let (line, outcome) = run_one(&scenario).unwrap();
        assert_ne!(line.verdict, "violated", "seed {seed}: {}", line.what);
        if seed % 6 == 0 {
            let (again, _) = run_one(&scenario).unwrap();
            assert_eq!((line.trace, line.events), (again.trace, again.events), "seed {seed}");
            assert!(outcome.events > 0);
        }
    }
}

#[test]
fn a_third_of_four_may_misbehave_in_any_way() {
    for (at, behaviour) in BehaviourName::ALL.into_iter().enumerate() {
        let text = format!(
            "seed = {at}\nduration_ms = 1500\n[committee]\nmembers = 4\n[params]\nidle_interval_ms = 200\n\
             propose_timeout_ms = 200\nvote_timeout_ms = 100\ntimeout_step_ms = 100\n[[load]]\nrate = 40.0\nbytes = 200\n"
        );
        let mut scenario = parse(&text).unwrap();
        scenario.byzantine.push(squad_simulations::scenario::ByzantineSpec {
            node: 3,
            behaviour,
            strength: 0,
            from_ms: 0,
            until_ms: None,
        });
        let outcome = Simulation::new(scenario).unwrap().run_guarded();
        assert_eq!(outcome.verdict, Verdict::Held, "{behaviour:?}");
        assert!(outcome.height > 5, "{behaviour:?} at height {}", outcome.height);
    }
}

#[test]
fn two_nodes_with_one_key_are_borne_and_named() {
    let text = "duration_ms = 2000\n[committee]\nmembers = 4\ntwins = [2]\n[params]\nidle_interval_ms = 100\n\
                [[load]]\nrate = 60.0\nbytes = 200\n";
    let mut simulation = Simulation::new(parse(text).unwrap()).unwrap();
    let outcome = simulation.run_guarded();
    assert_eq!(outcome.verdict, Verdict::Held);
}

#[test]
fn more_than_a_third_is_told_apart_from_a_violation() {
    let text = "duration_ms = 500\nsettle_ms = 500\n[committee]\nmembers = 4\n[[byzantine]]\nnode = 2\nbehaviour = \
                \"silent\"\n[[byzantine]]\nnode = 3\nbehaviour = \"silent\"\n";
    let outcome = Simulation::new(parse(text).unwrap()).unwrap().run_guarded();
    assert!(matches!(outcome.verdict, Verdict::Beyond(_)), "{:?}", outcome.verdict);
}

#[test]
fn a_failure_is_written_down_runs_again_and_shrinks() {
    let scenario = parse(HOPELESS).unwrap();
    let (_, outcome) = run_one(&scenario).unwrap();
    let Verdict::Violated(failure) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert_eq!((failure.violation.invariant, failure.states.len()), ("liveness", 4));
    let file = squad_simulations::campaign::failure_file(&scenario, &outcome, "as it was seen");
    assert_eq!(parse(&file).unwrap(), scenario);
    let (small, outcome, _) = shrink(&scenario, &mut |_, _| ()).unwrap().unwrap();
    assert!(matches!(outcome.verdict, Verdict::Violated(_)));
    assert!(small.fault.is_empty() && small.byzantine.is_empty() && small.load.is_empty(), "{}", small.to_toml());
    assert!(small.duration_ms < 20, "{} ms", small.duration_ms);
}

#[test]
fn a_campaign_goes_on_where_it_was_stopped() {
    let directory = std::env::temp_dir().join(format!("squad-campaign-{}", std::process::id()));
    let campaign = |last: u64| Campaign {
        seeds: 40..last,
        profile: Profile::Quick,
        shard: (0, 1),
        jobs: 2,
        out: directory.clone(),
        twice: 0,
        stop_at_first: false,
    };
    let first = campaign(42).run(&|_, _| ()).unwrap();
    assert_eq!(first.runs, 2);
    let all = campaign(44).run(&|_, _| ()).unwrap();
    assert_eq!(all.runs, 4);
    let lines = squad_simulations::campaign::read_results(&directory.join("results.jsonl")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let mut seeds: Vec<u64> = lines.iter().map(|line| line.seed).collect();
    seeds.sort_unstable();
    assert_eq!(seeds, vec![40, 41, 42, 43], "no seed ran twice");
}

/// A buffer that the test keeps.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_trace_tells_every_message_and_decision_and_changes_nothing() {
    let text = "duration_ms = 500\n[committee]\nmembers = 4\n[[load]]\nrate = 50.0\nbytes = 100\n[[fault]]\nat_ms = 200\n\
                crash = { node = 1, down_ms = 100 }\n";
    let untold = Simulation::new(parse(text).unwrap()).unwrap().run_guarded();
    let mut simulation = Simulation::new(parse(text).unwrap()).unwrap();
    let shared = Shared::default();
    simulation.cluster.watch.trace = Some(squad_simulations::trace::Trace::new(Box::new(shared.clone())));
    let told = simulation.run_guarded();
    simulation.cluster.watch.trace.take().unwrap().finish().unwrap();
    assert_eq!((told.trace, told.events), (untold.trace, untold.events));
    let written = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |event: &str| lines.iter().filter(|line| line["e"] == event).count();
    assert_eq!(count("handle") as u64, told.deliveries);
    assert_eq!((count("down"), count("up")), (1, 5));
    assert!(count("send") > count("handle") / 2 && count("batched") > 5 && count("secured") > 5);
    assert!(count("decided") as u64 >= 3 * told.height);
}

#[test]
fn a_run_leaves_tables_and_a_page_with_plots() {
    let text = "name = \"a < b\"\nduration_ms = 1500\n[committee]\nmembers = 4\n[[load]]\nrate = 50.0\nbytes = 100\n[[fault]]\n\
                at_ms = 500\npause = { node = 1, for_ms = 200 }\n";
    let mut simulation = Simulation::new(parse(text).unwrap()).unwrap();
    let outcome = simulation.run_guarded();
    assert_eq!(outcome.verdict, Verdict::Held);
    let directory = std::env::temp_dir().join(format!("squad-report-{}", std::process::id()));
    squad_simulations::results::write_tables(&simulation, &directory).unwrap();
    let table = std::fs::read_to_string(directory.join("transactions.csv")).unwrap();
    let page = std::fs::read_to_string(squad_simulations::report::report(&directory).unwrap()).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(table.lines().count(), 1 + simulation.sent.len());
    let last: Vec<u64> = table.lines().last().unwrap().split(',').take(6).map(|cell| cell.parse().unwrap()).collect();
    assert!(last[0] < last[3] && last[3] < last[4] && last[4] <= last[5], "tiers follow one another: {last:?}");
    assert!(page.matches("<svg").count() >= 5 && page.contains("a &lt; b") && page.contains("node 1 stands still"));
}

#[test]
fn what_a_third_censors_is_ordered_and_the_inclusion_rule_is_put_to_the_test() {
    let mut text = String::from(
        "seed = 5\nduration_ms = 8000\n[committee]\nmembers = 10\n[params]\ninclusion_heights = 1\nidle_interval_ms = 200\n\
         propose_timeout_ms = 300\nvote_timeout_ms = 100\ntimeout_step_ms = 100\n[[load]]\nrate = 200.0\nbytes = 200\n",
    );
    for node in 7..10 {
        text.push_str(&format!("[[byzantine]]\nnode = {node}\nbehaviour = \"censor\"\nstrength = 0\n"));
    }
    let mut simulation = Simulation::new(parse(&text).unwrap()).unwrap();
    let outcome = simulation.run_guarded();
    assert_eq!(outcome.verdict, Verdict::Held);
    assert!(simulation.cluster.invariants.inclusions_checked() > 0, "nothing was ever due everywhere");
}

#[test]
fn a_third_that_withholds_its_batches_costs_little_more_than_half_of_the_heights() {
    let run = |withholders: std::ops::Range<u32>| {
        let mut text = String::from(
            "seed = 5\nduration_ms = 8000\n[committee]\nmembers = 10\n[network]\ndelay_ms = 20.0\njitter_ms = 4.0\n\
             [[load]]\nrate = 100.0\nbytes = 200\n",
        );
        for node in withholders {
            text.push_str(&format!("[[byzantine]]\nnode = {node}\nbehaviour = \"withhold-batches\"\n"));
        }
        let outcome = Simulation::new(parse(&text).unwrap()).unwrap().run_guarded();
        assert_eq!(outcome.verdict, Verdict::Held);
        outcome.height
    };
    let (honest, withheld) = (run(0..0), run(7..10));
    // By the seed, 58 to 61 of 121.
    assert!(20 * withheld > 9 * honest, "{withheld} heights in the time of {honest}");
}
