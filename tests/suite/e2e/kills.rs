//! kill -9 under load: of one operator, then of all.

use super::devnet::{Devnet, alone, height, send_bytes, status, validity};
use super::process::{Guarded, start_node};
use super::rpc::Rpc;
use super::wait::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// A steady trickle of submissions to every operator in turn, each waited for until it is secured.
struct Trickle {
    stop: Arc<AtomicBool>,
    secured: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Trickle {
    fn start(devnet: &Devnet, name: &'static str) -> Self {
        let (stop, secured) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, kept, mut operators) = (Arc::clone(&stop), Arc::clone(&secured), devnet.operators());
        let thread = std::thread::spawn(move || {
            for number in 0_u64.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let at = usize::try_from(number).unwrap() % operators.len();
                kept.lock().unwrap().extend(secure(&mut operators[at], &format!("{name} {number}")));
            }
        });
        Self { stop, secured, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.secured.lock().unwrap().len()
    }

    fn wait_for_more(&self, more: usize) {
        let wanted = self.count() + more;
        wait_for("submissions are secured", || (self.count() >= wanted).then_some(()));
    }

    /// Stops it; the ids of what was secured.
    fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.secured.lock().unwrap())
    }
}

/// The id of a transaction that the operator said is secured; none if it did not answer, or refused.
fn secure(operator: &mut Rpc, text: &str) -> Option<String> {
    let until = validity(operator)?;
    let sent = json!([{
        "namespace": "bytes", "data": format!("0x{}", hex::encode(text)), "valid_until": until, "wait": "secured",
    }]);
    Some(operator.try_call("squad_sendTransaction", sent).ok()?["id"].as_str()?.to_owned())
}

/// How often each id is in the namespace's blocks, as one operator has them.
fn ordered(operator: &mut Rpc) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for at in 1..=height(operator).unwrap() {
        let block = operator.call("squad_getBlock", json!(["bytes", at]));
        for transaction in block["transactions"].as_array().unwrap() {
            *found.entry(transaction["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    found
}

fn every_one_is_ordered_once(operator: &mut Rpc, secured: &[String]) {
    let (found, _) = wait_for("what is secured is ordered", || {
        let found = ordered(operator);
        secured.iter().all(|id| found.contains_key(id)).then_some(found)
    });
    let twice: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "ordered more than once: {twice:?}");
}

fn highest(operators: &mut [Rpc]) -> u64 {
    operators.iter_mut().filter_map(height).max().unwrap_or_default()
}

fn is_ready(status: &Value) -> bool {
    status["readiness"]["state"] == "ready"
}

/// Kills the operator that is to propose, and looks how the others go on.
fn one_is_killed(devnet: &mut Devnet, operators: &mut [Rpc]) -> usize {
    let state = wait_for("an operator answers", || status(&mut operators[0])).0;
    let ids: Vec<&Value> = devnet.ready["operators"].as_array().unwrap().iter().map(|o| &o["id"]).collect();
    let victim =
        ids.iter().position(|id| **id == state["proposer"]).unwrap_or_else(|| panic!("no proposer in {state}"));
    devnet.kill(victim);
    let at = highest(operators);
    let (_, next) = wait_for("the next height", || (highest(operators) > at).then_some(()));
    // Every operator proposes within as many heights: the dead one's turn comes too.
    let (_, turns) = wait_for("heights go on", || (highest(operators) > at + 4).then_some(()));
    eprintln!("kill -9 of the proposer: next height after {next:?}, four more after {turns:?}");
    victim
}

fn restarted(devnet: &Devnet, operators: &mut [Rpc], victim: usize) -> Guarded {
    let (node, started) = (start_node(&devnet.config(victim)), Instant::now());
    let target = highest(operators);
    wait_for("the operator catches up and is ready", || {
        let state = status(&mut operators[victim])?;
        (is_ready(&state) && state["height"].as_u64()? >= target).then_some(())
    });
    eprintln!("restart: caught up to height {target} and ready after {:?}", started.elapsed());
    node
}

#[test]
fn what_is_secured_is_ordered_once_whoever_is_killed() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operators = devnet.operators();

    let trickle = Trickle::start(&devnet, "one is killed");
    trickle.wait_for_more(8);
    let victim = one_is_killed(&mut devnet, &mut operators);
    trickle.wait_for_more(8);
    let back = restarted(&devnet, &mut operators, victim);
    trickle.wait_for_more(8);
    let mut secured = trickle.end();
    for operator in &mut operators {
        every_one_is_ordered_once(operator, &secured);
    }
    send_bytes(&mut operators[victim], b"the one that came back takes transactions", "ordered");

    let trickle = Trickle::start(&devnet, "all are killed");
    trickle.wait_for_more(8);
    let before = highest(&mut operators);
    (0..operators.len()).filter(|at| *at != victim).for_each(|at| devnet.kill(at));
    drop(back);
    let killed = Instant::now();
    secured.extend(trickle.end());
    let _nodes: Vec<Guarded> = (0..operators.len()).map(|at| start_node(&devnet.config(at))).collect();
    let restarted = Instant::now();
    wait_for("heights go on after all were killed", || (highest(&mut operators) > before + 1).then_some(()));
    eprintln!(
        "all killed: heights go on {:?} after the restart, {:?} after the kill",
        restarted.elapsed(),
        killed.elapsed()
    );
    for operator in &mut operators {
        wait_for("every operator is ready", || status(operator).filter(is_ready));
        every_one_is_ordered_once(operator, &secured);
        assert_eq!(operator.call("squad_evidence", json!([])), json!([]), "nobody signed twice");
    }
    send_bytes(&mut operators[0], b"and on it goes", "ordered");
    eprintln!("{} secured, each ordered once", secured.len());
}
