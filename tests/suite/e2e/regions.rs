//! Operators in regions: what they say to each other is under way as long as it would be there.

use super::devnet::{Devnet, alone, status, validity};
use super::wait::wait_for;
use serde_json::{Value, json};
use squad_regions::Places;
use std::time::{Duration, Instant};

const REGIONS: [&str; 4] = ["us-east-1", "eu-west-1", "ap-northeast-1", "sa-east-1"];

/// The least time from each operator to each other one, by whichever others it goes.
fn least(places: &Places) -> [[u64; 4]; 4] {
    let mut ways = [[0; 4]; 4];
    for (from, row) in ways.iter_mut().enumerate() {
        for (to, way) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            *way = places.between(from, to).quantile(0);
        }
    }
    for by in 0..4 {
        for from in 0..4 {
            for to in 0..4 {
                ways[from][to] = ways[from][to].min(ways[from][by] + ways[by][to]);
            }
        }
    }
    ways
}

/// The least time in which an operator hears from a quorum about what it sent: from two others of four.
fn quorum(ways: &[[u64; 4]; 4], operator: usize) -> Duration {
    let mut round_trips: Vec<u64> =
        (0..4).filter(|other| *other != operator).map(|other| ways[operator][other] + ways[other][operator]).collect();
    round_trips.sort_unstable();
    Duration::from_micros(round_trips[1])
}

#[test]
fn operators_in_regions_order_and_nothing_is_secured_faster_than_a_quorum_can_answer() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(dir.path(), &["--executors", "1", "--regions", &REGIONS.join(",")]);
    for (operator, region) in REGIONS.iter().enumerate() {
        assert_eq!(devnet.ready["operators"][operator]["region"], *region);
    }
    let places = Places::aws(4, &REGIONS.map(str::to_owned)).unwrap();
    let ways = least(&places);
    let mut last = Value::Null;
    for (at, operator) in devnet.operators().iter_mut().enumerate() {
        let bound = quorum(&ways, at);
        assert!(bound > Duration::from_millis(100), "{bound:?}");
        for tier in ["secured", "ordered"] {
            let until = wait_for("the operator answers", || validity(operator)).0;
            let data = format!("0x{}", hex::encode(format!("{tier} at {at}")));
            let started = Instant::now();
            let answer = operator.call(
                "squad_sendTransaction",
                json!([{ "namespace": "bytes", "data": data, "valid_until": until, "wait": tier }]),
            );
            let took = started.elapsed();
            assert!(took >= bound, "{tier} at operator {at} after {took:?}; a quorum cannot answer before {bound:?}");
            last = answer;
        }
    }
    // What the last one has had ordered comes to all.
    let id = &last["id"];
    for operator in &mut devnet.operators() {
        wait_for("every operator has it ordered", || {
            let found = operator.try_call("squad_getConfirmation", json!([id])).ok()?;
            (found["tier"] == "ordered").then_some(())
        });
        let state = wait_for("the operator answers", || status(operator)).0;
        assert_eq!(state["peers"].as_array().unwrap().len(), 3, "everybody talks to everybody: {state}");
    }
    devnet.stop();
}

#[test]
fn a_region_that_is_not_in_the_table_is_refused_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = super::process::squad(["devnet", "--regions", "us-east-1,atlantis-1", "--dir"]);
    let output = command.arg(dir.path().join("devnet")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(["atlantis-1", "eu-west-1", "us-4"].iter().all(|name| errors.contains(name)), "{errors}");
    assert!(!dir.path().join("devnet").exists(), "nothing was made");
}
