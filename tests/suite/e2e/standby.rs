//! A standby: another machine that takes over an operator's key once the operator's own is gone, and never before.

use super::devnet::{Devnet, alone, height, send_bytes};
use super::process::{log_of, start_node, start_node_with};
use super::wait::wait_for;
use serde_json::json;
use std::path::Path;

/// Whose machine dies.
const GONE: usize = 1;
/// Who dies later, when the others need the standby.
const DEAD: usize = 2;

/// The height that a node's log says it votes from.
fn votes_from(log: &str) -> Option<u64> {
    let (_, after) = log.split_once("votes_from=")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn a_standby_that_has_only_the_key_takes_over_and_nobody_is_accused() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operators = devnet.operators();
    send_bytes(&mut operators[GONE], b"before", "ordered");
    devnet.kill_and_wait(GONE);

    let standby = dir.path().join("standby");
    std::fs::create_dir(&standby).unwrap();
    let of_operator = devnet.config(GONE);
    for file in ["node.toml", "key.hex"] {
        std::fs::copy(of_operator.with_file_name(file), standby.join(file)).unwrap();
    }
    let config = standby.join("node.toml");
    let _node = start_node(&config);
    let (from, _) = wait_for("the standby says from where it votes", || {
        votes_from(&std::fs::read_to_string(log_of(&config)).unwrap())
    });
    assert!(Some(from) > height(&mut operators[0]), "{from} may have had votes already");
    wait_for("the others come to that height", || (height(&mut operators[0]) > Some(from)).then_some(()));
    wait_for("the standby follows", || (height(&mut operators[GONE]) > Some(from)).then_some(()));

    // Of four, three are a quorum, and the standby is one of them.
    devnet.kill_and_wait(DEAD);
    let at = height(&mut operators[0]).unwrap();
    wait_for("heights go on with its votes", || (height(&mut operators[0]) > Some(at + 4)).then_some(()));
    for operator in [0, GONE, 3] {
        assert_eq!(operators[operator].call("squad_evidence", json!([])), json!([]), "nobody signed twice");
    }
}

/// Ports of its own, for a second node beside the first.
const FREE_PORTS: [&str; 8] = [
    "--p2p-listen",
    "/ip4/127.0.0.1/tcp/0",
    "--rpc-listen",
    "127.0.0.1:0",
    "--grpc-listen",
    "127.0.0.1:0",
    "--metrics-listen",
    "127.0.0.1:0",
];

/// Copies a directory as a backup does, while a node writes in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_second_node_beside_a_living_one_says_so_and_ends_without_having_signed() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operators = devnet.operators();
    send_bytes(&mut operators[GONE], b"before", "ordered");

    let of_operator = devnet.config(GONE);
    let home = of_operator.parent().unwrap();
    // With everything, as from a backup: the same identity on the network. And with the key only: one of its own.
    let (backup, bare) = (dir.path().join("backup"), dir.path().join("bare"));
    copy(home, &backup);
    std::fs::create_dir(&bare).unwrap();
    for file in ["node.toml", "key.hex"] {
        std::fs::copy(home.join(file), bare.join(file)).unwrap();
    }
    for second in [backup, bare] {
        let config = second.join("node.toml");
        let _ = std::fs::remove_file(log_of(&config));
        let mut node = start_node_with(&config, &FREE_PORTS);
        let status = node.end("the second node ends");
        let log = std::fs::read_to_string(log_of(&config)).unwrap();
        assert!(!status.success(), "{log}");
        assert!(log.contains("another node runs with this operator's key"), "{log}");
        assert!(!log.contains("signing begins"), "{log}");
    }

    // The first one went on: of four, two others and it are a quorum.
    let mut devnet = devnet;
    devnet.kill_and_wait(DEAD);
    let at = height(&mut operators[0]).unwrap();
    wait_for("heights go on with its votes", || (height(&mut operators[0]) > Some(at + 4)).then_some(()));
    for operator in [0, GONE, 3] {
        assert_eq!(operators[operator].call("squad_evidence", json!([])), json!([]), "nobody signed twice");
    }
}
