//! `squad bench` beside the networks that it starts itself.

use super::devnet::alone;
use super::process::{PROGRAM, squad};
use serde_json::{Value, json};
use std::process::Stdio;

#[test]
fn two_networks_are_compared_under_one_load_and_nothing_of_them_is_left() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let other = format!("{PROGRAM} --operators 1");
    let mut bench =
        squad(["bench", "--json", "--namespace", "bytes", "--rate", "40", "--duration", "2", "--warmup", "1"]);
    bench.args(["--pairs", "1", "--compare", "--operators 2", "--compare", &other, "--dir"]).arg(dir.path());
    let output = bench.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["a"], &value["b"]), (&json!("--operators 2"), &json!(other)));
    let [pair] = value["pairs"].as_array().unwrap().as_slice() else { panic!("{value}") };
    for (side, operators) in [("a", 2), ("b", 1)] {
        assert_eq!(
            (&pair[side]["targets"], &pair[side]["offered"]),
            (&json!(operators), &json!(80)),
            "{side}: {value}"
        );
        assert_eq!(pair[side]["accepted"], 80, "{side}: {value}");
    }
    let ratio = &value["b_over_a"]["ordered p50, ms"];
    assert!(ratio["median"].as_f64().unwrap() > 0.0 && ratio["least"] == ratio["most"], "{value}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{said}");

    let mut bench = squad(["bench", "--namespace", "bytes", "--pairs", "1", "--compare", "", "--compare"]);
    let output = bench.arg("no-such-program").arg("--dir").arg(dir.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot start 'no-such-program'"), "{said}");
}
