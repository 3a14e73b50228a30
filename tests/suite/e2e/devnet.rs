//! A `squad devnet` with its JSON lines.

use super::process::{Guarded, lives, signal, squad};
use super::rpc::Rpc;
use super::wait::{PATIENCE, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One network at a time: each is half a dozen processes.
static ONE: Mutex<()> = Mutex::new(());

/// Waits for the other tests' networks to end.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running network.
pub(super) struct Devnet {
    process: Guarded,
    lines: Receiver<Value>,
    dir: PathBuf,
    /// Processes that were killed: their ids may be others' by now.
    killed: Vec<u32>,
    /// Its first line.
    pub(super) ready: Value,
}

impl Devnet {
    /// Starts a network and waits until it says that it is ready.
    pub(super) fn start(dir: &Path, options: &[&str]) -> Self {
        // Should this process be killed, the network ends by itself.
        let mut command = squad(["devnet", "--json", "--exit-after", "600", "--dir"]);
        command.arg(dir).args(options).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Guarded(command.spawn().unwrap());
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(json!({ "no JSON": line }));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let ready = lines.recv_timeout(PATIENCE).expect("the devnet prints a line");
        assert_eq!(ready["event"], "ready", "{ready}");
        Self { process, lines, dir: dir.to_owned(), killed: Vec::new(), ready }
    }

    /// The next line with that event.
    pub(super) fn event(&self, event: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|end| panic!("no event {event}: {end}"));
            if line["event"] == event {
                return line;
            }
        }
    }

    fn list(&self, which: &str) -> &Vec<Value> {
        self.ready[which].as_array().unwrap()
    }

    /// The processes' ids.
    pub(super) fn pids(&self, which: &str) -> Vec<u32> {
        self.list(which).iter().map(|process| process["pid"].as_u64().unwrap().try_into().unwrap()).collect()
    }

    /// kill -9 of an operator, from 0.
    pub(super) fn kill(&mut self, operator: usize) {
        let pid = self.pids("operators")[operator];
        signal(pid, Signal::KILL);
        self.killed.push(pid);
    }

    /// The same, and waits until nothing of it is left: only then are its ports and its directory free for another start.
    pub(super) fn kill_and_wait(&mut self, operator: usize) {
        self.kill(operator);
        let pid = self.pids("operators")[operator];
        // The devnet looks for processes that ended all the time, so it does not stay a zombie.
        wait_for("the killed process is gone", || (!lives(pid)).then_some(()));
    }

    /// A new client of an operator (`operators`) or executor (`executors`), from 0.
    pub(super) fn client(&self, which: &str, at: usize, path: &str) -> Rpc {
        Rpc::new(&format!("{}{path}", self.list(which)[at]["rpc"].as_str().unwrap()))
    }

    /// URLs of the operators' gRPC.
    pub(super) fn grpc(&self) -> Vec<String> {
        self.list("operators").iter().map(|operator| operator["grpc"].as_str().unwrap().to_owned()).collect()
    }

    /// Clients of all operators.
    pub(super) fn operators(&self) -> Vec<Rpc> {
        (0..self.list("operators").len()).map(|at| self.client("operators", at, "")).collect()
    }

    /// A URL of an operator, from 0, such as that of `/ready`.
    pub(super) fn url(&self, operator: usize, path: &str) -> String {
        format!("{}{path}", self.list("operators")[operator]["rpc"].as_str().unwrap())
    }

    /// The address of an operator, from 0.
    pub(super) fn address(&self, operator: usize) -> Value {
        self.list("operators")[operator]["id"].clone()
    }

    /// The configuration of an operator, from 0.
    pub(super) fn config(&self, operator: usize) -> PathBuf {
        self.dir.join(format!("operator-{}", operator + 1)).join("node.toml")
    }

    /// Asks it to stop as a service manager does; its last line, once all its processes are gone.
    pub(super) fn stop(mut self) -> Value {
        signal(self.process.pid(), Signal::TERM);
        let summary = self.event("summary");
        let status = self.process.end("the devnet ends after SIGTERM");
        assert!(status.success(), "{status}");
        let left: Vec<u32> = self.all_pids().into_iter().filter(|pid| lives(*pid)).collect();
        assert!(left.is_empty(), "processes {left:?} outlived the devnet");
        assert!(self.lines.recv_timeout(PATIENCE).is_err(), "the summary is the last line");
        summary
    }

    fn all_pids(&self) -> Vec<u32> {
        let all = [self.pids("operators"), self.pids("executors")].concat();
        all.into_iter().filter(|pid| !self.killed.contains(pid)).collect()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // Stopped already: its processes' ids may be others' now.
        if matches!(self.process.0.try_wait(), Ok(Some(_))) {
            return;
        }
        self.all_pids().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
}

/// An operator's state, if it answers.
pub(super) fn status(rpc: &mut Rpc) -> Option<Value> {
    rpc.try_call("squad_status", json!([])).ok()
}

/// An operator's last height, if it answers.
pub(super) fn height(rpc: &mut Rpc) -> Option<u64> {
    status(rpc)?["height"].as_u64()
}

/// Until when a transaction that is sent to the operator now may be ordered.
pub(super) fn validity(rpc: &mut Rpc) -> Option<u64> {
    Some(status(rpc)?["chain_time"].as_u64()? + 9_000)
}

/// Sends opaque bytes and expects a confirmation at the tier.
pub(super) fn send_bytes(rpc: &mut Rpc, bytes: &[u8], tier: &str) -> Value {
    let until = wait_for("the operator answers", || validity(rpc)).0;
    let data = format!("0x{}", hex::encode(bytes));
    rpc.call(
        "squad_sendTransaction",
        json!([{ "namespace": "bytes", "data": data, "valid_until": until, "wait": tier }]),
    )
}
