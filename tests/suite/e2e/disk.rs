//! A disk without room: the node says so and what to do, takes nothing, proposes nothing, votes on, and recovers.

use super::devnet::{Devnet, alone, height, send_bytes, status, validity};
use super::process::{Guarded, PROGRAM, log_of, run, start_logged, start_node, start_node_with};
use super::rpc::{Rpc, get};
use super::startup::{fails, says};
use super::wait::wait_for;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The operator whose disk has no room.
const FULL: usize = 0;
/// The one that is dead meanwhile, so that no height is decided without the votes of the first.
const DEAD: usize = 1;
const WITNESS: usize = 2;

const MARK: &str = "--min-free-bytes";
/// More than any disk has.
const NEVER_ENOUGH: &str = "4611686018427387904";

fn is_refusing(state: &Value) -> bool {
    state["readiness"]["state"] == "refusing" && state["readiness"]["reason"].as_str().unwrap().contains("disk")
}

fn becomes_ready(operator: &mut Rpc) {
    wait_for("the operator is ready", || status(operator).filter(|state| state["readiness"]["state"] == "ready"));
}

/// Everywhere that its operator and its clients may look.
fn is_said_everywhere(devnet: &Devnet) {
    let mut operator = devnet.client("operators", FULL, "");
    wait_for("the operator refuses for want of space", || status(&mut operator).filter(is_refusing));
    let until = validity(&mut operator).unwrap();
    let sent = json!([{ "namespace": "bytes", "data": "0x01", "valid_until": until }]);
    let (code, text, message) = operator.refused("squad_sendTransaction", sent);
    assert_eq!((code, text.as_str()), (-32070, "not_ready"), "{message}");
    says(&message, &["disk is nearly full", "use another one"]);

    let advice = ["disk of the data directory is nearly full", "storage.min_free_bytes", "free some space"];
    let (code, ready) = get(&devnet.url(FULL, "/ready"));
    assert_eq!(code, 503, "{ready}");
    says(&ready, &advice);
    let output = run(["status", "--rpc", &devnet.url(FULL, "")]);
    says(&String::from_utf8_lossy(&output.stdout), &advice);
    says(&std::fs::read_to_string(log_of(&devnet.config(FULL))).unwrap(), &advice);
}

/// The members whose precommits are in a height's certificate, and its proposer.
fn certified(operator: &mut Rpc, at: u64) -> (Value, usize) {
    let header = operator.call("squad_getHeader", json!([at]));
    (header["header"]["proposer"].clone(), header["certificate"]["signatures"].as_array().unwrap().len())
}

/// With one operator dead, three heights more need the votes of the one without room; none of them is its own.
fn votes_and_does_not_propose(devnet: &mut Devnet) {
    devnet.kill(DEAD);
    let mut witness = devnet.client("operators", WITNESS, "");
    // A proposal that it made before it saw the disk may still be decided.
    let from = height(&mut witness).unwrap() + 2;
    wait_for("heights go on by its votes", || (height(&mut witness)? >= from + 3).then_some(()));
    for at in from..=from + 3 {
        let (proposer, signatures) = certified(&mut witness, at);
        assert!(signatures >= 3, "height {at} has {signatures} precommits");
        assert_ne!(proposer, devnet.address(FULL), "it proposed height {at} although its disk has no room");
    }
}

#[test]
fn a_node_below_its_free_space_mark_says_so_votes_on_and_takes_up_again() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operator = devnet.client("operators", FULL, "");
    wait_for("it proposes while it has room", || {
        let at = height(&mut operator).filter(|at| *at > 0)?;
        (certified(&mut operator, at).0 == devnet.address(FULL)).then_some(())
    });
    devnet.kill_and_wait(FULL);
    let config = devnet.config(FULL);
    let node = start_node_with(&config, &[MARK, NEVER_ENOUGH]);
    is_said_everywhere(&devnet);
    let output = run([
        "doctor".as_ref(),
        "--insecure-plaintext-key".as_ref(),
        MARK.as_ref(),
        NEVER_ENOUGH.as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
    ]);
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{found}");
    says(&found, &["FAIL  disk", "FAIL  node", "free some space"]);
    votes_and_does_not_propose(&mut devnet);
    // Batches of others still find room: the mark lies far above the last byte.
    send_bytes(&mut devnet.client("operators", WITNESS, ""), b"with the votes of the one below its mark", "ordered");

    drop(node);
    let fresh = dir.path().join("fresh");
    let text = fails(&config, &[MARK, NEVER_ENOUGH, "--data-dir", fresh.to_str().unwrap()]);
    says(&text, &["no space for", fresh.to_str().unwrap()]);
    let _node = start_node(&config);
    becomes_ready(&mut operator);
    send_bytes(&mut operator, b"there is room again", "ordered");
}

/// A small disk of its own for one operator, mounted where only its process sees it.
struct SmallDisk {
    node: Guarded,
    dir: PathBuf,
}

/// How to start a program that may mount: as it is, or with a user namespace; none where neither is allowed.
fn may_mount() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["-m"], &["-rm"]];
    let try_out = "mount -t tmpfs -o size=1m tmpfs /mnt";
    ways.into_iter().find(|way| {
        let output = Command::new("unshare").args(*way).args(["sh", "-c", try_out]).output();
        output.is_ok_and(|output| output.status.success())
    })
}

/// Copies the state onto the small disk, then becomes the node. The log keeps all of its room there; segments get theirs
/// when they are written, so that a full disk stops them at once.
const START: &str = "mount -t tmpfs -o size=160m tmpfs \"$1\" && cp -a --sparse=never \"$2/.\" \"$1\" \
    && rm -r \"$1/segments\" && cp -a --sparse=always \"$2/segments\" \"$1/segments\" \
    && exec \"$3\" node --insecure-plaintext-key --config \"$4\" --data-dir \"$1\" --min-free-bytes 8388608";

impl SmallDisk {
    fn start(way: &[&str], config: &Path) -> Self {
        let dir = config.with_file_name("small");
        std::fs::create_dir(&dir).unwrap();
        let mut command = Command::new("unshare");
        command.args(way).args(["sh", "-c", START, "sh"]).arg(&dir);
        command.arg(config.with_file_name("data")).arg(PROGRAM).arg(config);
        Self { node: start_logged(command, config), dir }
    }

    /// A path on it, as this process can reach it.
    fn path(&self, name: &str) -> PathBuf {
        let dir = self.dir.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.node.pid().to_string()).join("root").join(dir).join(name)
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path("ballast")).unwrap();
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0x55; size]).is_ok() {}
        }
        let error = std::fs::write(self.path("one more"), [0; 4096]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

#[test]
fn a_node_on_a_full_disk_says_so_votes_on_and_takes_up_again() {
    let _alone = alone();
    let Some(way) = may_mount() else {
        eprintln!(
            "no disk of its own can be mounted here: only the free-space mark is tried, by the test beside this one"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operator = devnet.client("operators", FULL, "");
    devnet.kill_and_wait(FULL);
    let small = SmallDisk::start(way, &devnet.config(FULL));
    becomes_ready(&mut operator);
    send_bytes(&mut operator, b"before the disk is full", "ordered");

    small.fill();
    let full_since = height(&mut operator).unwrap();
    is_said_everywhere(&devnet);
    votes_and_does_not_propose(&mut devnet);
    let log = log_of(&devnet.config(FULL));
    wait_for("the blocks find no room", || {
        std::fs::read_to_string(&log).ok().filter(|said| said.contains("no room for batches and blocks: votes go on"))
    });

    small.make_room();
    becomes_ready(&mut operator);
    let answer = send_bytes(&mut operator, b"there is room again", "ordered");
    assert_eq!(answer["tier"], "ordered");
    // What was decided meanwhile has become durable and is served.
    let tip = height(&mut operator).unwrap();
    assert!(tip > full_since + 3);
    for at in full_since..=tip {
        operator.call("squad_getBlock", json!(["bytes", at]));
    }
}
