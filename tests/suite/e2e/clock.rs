//! A clock that is off: the node says so, wherever its operator looks, and what to do.

use super::devnet::{Devnet, alone, height, send_bytes, status};
use super::process::{log_of, run, start_node, start_node_with};
use super::rpc::get;
use super::startup::{fails, says};
use super::wait::wait_for;
use serde_json::Value;
use std::ffi::OsString;

const OFFSET: &str = "--insecure-clock-offset-ms";
/// The operator whose clock is off.
const OFF: usize = 0;

/// What `squad doctor` finds at an operator, with these options.
fn doctor(devnet: &Devnet, operator: usize, options: &[&str]) -> Vec<Value> {
    let mut arguments: Vec<OsString> =
        ["--json", "doctor", "--insecure-plaintext-key", "--config"].map(OsString::from).into();
    arguments.push(devnet.config(operator).into());
    arguments.extend(options.iter().map(OsString::from));
    let output = run(arguments);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["checks"].as_array().unwrap().clone()
}

/// The details of what it calls a failure under that name.
fn failures(checks: &[Value], name: &str) -> Vec<String> {
    let failed = checks.iter().filter(|check| check["name"] == name && check["verdict"] == "fail");
    failed.map(|check| check["detail"].as_str().unwrap().to_owned()).collect()
}

/// Makes a block by another operator's batch: proposers show their clocks by what they propose.
fn a_block(devnet: &Devnet, number: u64) {
    send_bytes(&mut devnet.client("operators", 1, ""), format!("a block to be stamped {number}").as_bytes(), "ordered");
}

/// Has blocks made until the operator's state is as wanted.
fn once(devnet: &Devnet, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
    let (mut operator, mut number) = (devnet.client("operators", OFF, ""), 0);
    let begin = height(&mut devnet.client("operators", 1, "")).unwrap();
    let look = || {
        number += 1;
        a_block(devnet, begin * 10_000 + number);
        status(&mut operator).filter(&mut wanted)
    };
    wait_for(what, look).0
}

fn warned(state: &Value) -> Option<String> {
    let warnings = state["warnings"].as_array()?;
    warnings.iter().filter_map(Value::as_str).find(|warning| warning.contains("clock")).map(str::to_owned)
}

/// Everywhere that its operator may look.
fn is_said_everywhere(devnet: &Devnet, warning: &str, side: &str) {
    says(warning, &[side, "500 ms", "NTP"]);
    // The figure moves with every proposal.
    let same = |text: &str| text.contains(side) && text.contains("NTP");
    let (code, ready) = get(&devnet.url(OFF, "/ready"));
    assert!(code == 200 && same(&ready), "{code} {ready}");
    let output = run(["status", "--rpc", &devnet.url(OFF, "")]);
    assert!(same(&String::from_utf8_lossy(&output.stdout)), "{output:?}");
    let checks = doctor(devnet, OFF, &[]);
    assert!(failures(&checks, "node").iter().any(|detail| same(detail)), "{checks:?}");
    let log = std::fs::read_to_string(log_of(&devnet.config(OFF))).unwrap();
    assert!(log.lines().any(|line| line.contains("WARN") && same(line)), "{log}");
}

#[test]
fn a_clock_beyond_the_bound_is_said_everywhere_until_it_is_set() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    devnet.kill_and_wait(OFF);
    for (offset, side) in [("2000", "s ahead of the other operators'"), ("-2000", "s behind the other operators'")] {
        let node = start_node_with(&devnet.config(OFF), &[OFFSET, offset]);
        let state = once(&devnet, "the node warns of its clock", |state| warned(state).is_some());
        let skew = state["clock_skew_ms"].as_i64().unwrap();
        let wanted: i64 = offset.parse().unwrap();
        assert!((skew - wanted).abs() < 1_500, "{skew} ms for a clock that is {wanted} ms off");
        is_said_everywhere(&devnet, &warned(&state).unwrap(), side);
        drop(node);
    }
    let others: Vec<String> = (1..4).map(|at| devnet.url(at, "")).collect();
    let checks = doctor(&devnet, OFF, &[OFFSET, "2000", "--compare", &others.join(",")]);
    let found = failures(&checks, "clock");
    assert!(found.iter().any(|detail| detail.contains("ahead of 3 other operators")), "{checks:?}");

    let _node = start_node(&devnet.config(OFF));
    let set = |state: &Value| state["clock_skew_ms"].as_i64().is_some_and(|skew| skew.abs() <= 500);
    let state = once(&devnet, "the node sees that its clock is right", set);
    assert_eq!(warned(&state), None, "{state}");
}

#[test]
fn a_clock_far_off_stops_the_node_and_a_genesis_in_the_future_keeps_it_from_starting() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    devnet.kill_and_wait(OFF);
    let config = devnet.config(OFF);

    let mut ahead = start_node_with(&config, &[OFFSET, "30000"]);
    let mut number = 0;
    let (status, took) = wait_for("a node that is far ahead stops", || {
        number += 1;
        a_block(&devnet, number);
        ahead.0.try_wait().unwrap()
    });
    let log = std::fs::read_to_string(log_of(&config)).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    says(&log, &["s ahead of the other operators' (allowed: 10 s): set it, with NTP"]);
    eprintln!("a clock 30 s ahead stopped the node after {took:?}");

    // A clock that lies before the last block which this very node has decided.
    let text = fails(&config, &[OFFSET, "-20000"]);
    says(&text, &["this machine's clock is", "s behind the network's last block: set it, with NTP", "start again"]);

    // A clock an hour behind: by it, the network has not begun.
    let text = fails(&config, &[OFFSET, "-3600000"]);
    says(
        &text,
        &["genesis of network", "s in the future by this machine's clock", "start the node then", "set the clock"],
    );
    let checks = doctor(&devnet, OFF, &[OFFSET, "-3600000"]);
    assert!(failures(&checks, "genesis").iter().any(|detail| detail.contains("in the future")), "{checks:?}");

    let at = height(&mut devnet.client("operators", 1, "")).unwrap();
    let mut other = devnet.client("operators", 2, "");
    wait_for("the others go on", || (height(&mut other)? > at).then_some(()));
    a_network_that_begins_tomorrow(&devnet, dir.path());
}

fn a_network_that_begins_tomorrow(devnet: &Devnet, dir: &std::path::Path) {
    let genesis = std::fs::read_to_string(dir.join("genesis.json")).unwrap();
    let mut genesis: Value = serde_json::from_str(&genesis).unwrap();
    genesis["time"] = (genesis["time"].as_u64().unwrap() + 86_400_000).into();
    let file = dir.join("tomorrow.json");
    std::fs::write(&file, genesis.to_string()).unwrap();
    let data = dir.join("tomorrow");
    let options = ["--genesis", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let text = fails(&devnet.config(OFF), &options);
    says(&text, &["genesis of network", "s in the future by this machine's clock", "start the node then"]);
    assert!(!data.exists(), "nothing is written for a network that has not begun");
}
