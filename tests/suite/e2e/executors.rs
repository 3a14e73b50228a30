//! Executors under load: many transactions of one sender at once, and kill -9 of an executor, of its operator, of both.

use super::devnet::{Devnet, alone, status};
use super::executor::{Executor, state};
use super::life::transfer;
use super::process::{Guarded, signal, start_node};
use super::rpc::{NoResult, Rpc};
use super::wait::wait_for;
use alloy_primitives::{Address, keccak256};
use rustix::process::Signal;
use serde_json::{Value, json};
use squad_executor::{DevAccount, dev_accounts};
use squad_node::genesis::DEVNET_CHAIN_ID;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// Transactions that one sender sends at once.
const AT_ONCE: u64 = 100;
/// Rounds of kills: an executor, its operator, both.
const ROUNDS: usize = 2;

fn raw(from: &DevAccount, nonce: u64) -> String {
    transfer(from, DEVNET_CHAIN_ID, nonce, Address::repeat_byte(0xd3))
}

fn hash(raw: &str) -> String {
    keccak256(hex::decode(&raw[2..]).unwrap()).to_string()
}

fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap()
}

#[test]
fn a_hundred_transactions_of_one_sender_sent_at_once_are_executed_in_their_order() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(dir.path(), &["--executors", "1"]);
    let raws: Vec<String> = (0..AT_ONCE).map(|nonce| raw(&dev_accounts()[0], nonce)).collect();
    let begin = Arc::new(Barrier::new(raws.len() + 1));
    let senders: Vec<JoinHandle<Value>> = raws
        .iter()
        .cloned()
        .map(|raw| {
            let (mut rpc, begin) = (devnet.client("executors", 0, ""), begin.clone());
            std::thread::spawn(move || {
                begin.wait();
                rpc.call("eth_sendRawTransaction", json!([raw]))
            })
        })
        .collect();
    begin.wait();
    let started = Instant::now();
    for (sender, raw) in senders.into_iter().zip(&raws) {
        assert_eq!(sender.join().unwrap(), json!(hash(raw)));
    }
    let answered = started.elapsed();
    let mut rpc = devnet.client("executors", 0, "");
    let address = dev_accounts()[0].address();
    wait_for("all are executed", || {
        let count = rpc.call("eth_getTransactionCount", json!([address, "latest"]));
        (quantity(&count) == AT_ONCE).then_some(())
    });
    eprintln!("{AT_ONCE} transactions of one sender: answered in {answered:?}, executed in {:?}", started.elapsed());
    let place = |rpc: &mut Rpc, raw: &String| {
        let receipt = rpc.call("eth_getTransactionReceipt", json!([hash(raw)]));
        (quantity(&receipt["blockNumber"]), quantity(&receipt["transactionIndex"]))
    };
    let places: Vec<_> = raws.iter().map(|raw| place(&mut rpc, raw)).collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// One sender's transactions one after another, through an executor that may be killed and come back elsewhere.
struct Load {
    stop: Arc<AtomicBool>,
    /// Hashes of what was answered for.
    sent: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Load {
    fn start(from: DevAccount, url: Arc<Mutex<String>>) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, kept) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            for nonce in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let raw = raw(&from, nonce);
                send(&raw, &url);
                kept.lock().unwrap().push(hash(&raw));
            }
        });
        Self { stop, sent, thread }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::try_unwrap(self.sent).unwrap().into_inner().unwrap()
    }
}

/// Sends until somebody answers for the transaction.
fn send(raw: &str, url: &Mutex<String>) {
    wait_for("somebody answers for it", || {
        let now = url.lock().unwrap().clone();
        match Rpc::new(&now).try_call("eth_sendRawTransaction", json!([raw])) {
            Ok(_) => Some(()),
            Err(NoResult::Silent(_)) => None,
            // It was secured by one that was killed before it could say so.
            Err(NoResult::Refused { message, .. })
                if message.contains("already known") || message.contains("nonce too low") =>
            {
                Some(())
            }
            Err(NoResult::Refused { message, .. }) => {
                assert!(message.contains("busy") || message.contains("nonce too high"), "{message}");
                None
            }
        }
    });
}

/// Waits until that many more blocks are executed.
fn wait_for_blocks(executor: &mut Rpc, more: u64) {
    let wanted = state(executor)["evmHeight"].as_u64().unwrap() + more;
    wait_for("blocks are executed", || (state(executor)["evmHeight"].as_u64()? >= wanted).then_some(()));
}

/// An executor and the operator that it follows first, which are killed.
struct Victims {
    operator: Option<Guarded>,
    executor: Option<Executor>,
    url: Arc<Mutex<String>>,
}

impl Victims {
    /// kill -9 of both, or one, at once; what is killed is gone when this returns.
    fn kill(&mut self, operator: bool, executor: bool) {
        let operator = operator.then(|| self.operator.take().unwrap());
        let executor = executor.then(|| self.executor.take().unwrap());
        let pids = operator.iter().map(Guarded::pid).chain(executor.iter().map(|killed| killed.process.pid()));
        pids.for_each(|pid| signal(pid, Signal::KILL));
    }

    fn restart(&mut self, devnet: &Devnet, dir: &std::path::Path) {
        self.operator.get_or_insert_with(|| start_node(&devnet.config(0)));
        if self.executor.is_none() {
            let executor = Executor::start(&dir.join("killed"), &dir.join("genesis.json"), &devnet.grpc());
            *self.url.lock().unwrap() = executor.url();
            self.executor = Some(executor);
        }
        let mut rpc = devnet.client("operators", 0, "");
        wait_for("the operator is ready", || status(&mut rpc).filter(|state| state["readiness"]["state"] == "ready"));
    }
}

/// Every block of one is the other's, each follows the one before it, and the transactions in them are each there once.
fn same_chain(killed: &mut Rpc, untouched: &mut Rpc, head: u64) -> Vec<String> {
    let (mut parent, mut place, mut transactions) = (Value::Null, None, Vec::new());
    for number in 0..=head {
        let ask = |rpc: &mut Rpc| rpc.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
        let (block, other) = (ask(killed), ask(untouched));
        assert_eq!(block, other, "block {number}");
        assert_eq!(quantity(&block["number"]), number);
        if number > 0 {
            assert_eq!(block["parentHash"], parent, "block {number}");
            // The ordered height and which of its blocks: no height twice, none before another.
            let here = hex::decode(&block["extraData"].as_str().unwrap()[2..]).unwrap();
            assert!(place.as_ref().is_none_or(|before| *before < here), "block {number} at {here:?}, after {place:?}");
            let height = u64::from_be_bytes(here[..8].try_into().unwrap());
            let made = killed.call("squad_evmBlocks", json!([format!("{height:#x}")]));
            assert!(made.as_array().unwrap().contains(&block["number"]), "height {height} made {made}");
            place = Some(here);
        }
        parent = block["hash"].clone();
        let here = block["transactions"].as_array().unwrap();
        transactions.extend(here.iter().map(|hash| hash.as_str().unwrap().to_owned()));
    }
    transactions
}

#[test]
fn an_executor_and_its_operator_are_killed_again_and_again_and_come_to_the_same_chain() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    // By hand from the beginning, so that it can be killed more than once.
    devnet.kill_and_wait(0);
    let mut victims = Victims { operator: None, executor: None, url: Arc::default() };
    victims.restart(&devnet, dir.path());
    let grpc = devnet.grpc();
    let steady = Executor::start(&dir.path().join("untouched"), &dir.path().join("genesis.json"), &grpc[2..]);
    let mut untouched = steady.client();

    let loads = [
        Load::start(dev_accounts().swap_remove(0), Arc::new(Mutex::new(steady.url()))),
        Load::start(dev_accounts().swap_remove(1), victims.url.clone()),
    ];
    for _ in 0..ROUNDS {
        for (operator, executor) in [(false, true), (true, false), (true, true)] {
            wait_for_blocks(&mut untouched, 2);
            victims.kill(operator, executor);
            // The network goes on without them.
            wait_for_blocks(&mut untouched, 2);
            victims.restart(&devnet, dir.path());
        }
    }
    let sent: Vec<String> = loads.into_iter().flat_map(Load::end).collect();

    let executed = |rpc: &mut Rpc, hash: &String| !rpc.call("eth_getTransactionReceipt", json!([hash])).is_null();
    let mut killed = victims.executor.as_ref().unwrap().client();
    for rpc in [&mut untouched, &mut killed] {
        wait_for("everything sent is executed", || sent.iter().all(|hash| executed(rpc, hash)).then_some(()));
    }
    let (here, there) = (state(&mut killed), state(&mut untouched));
    assert_eq!((&here["evmHeight"], &here["stateRoot"]), (&there["evmHeight"], &there["stateRoot"]));
    let transactions = same_chain(&mut killed, &mut untouched, here["evmHeight"].as_u64().unwrap());
    let once: BTreeSet<&String> = transactions.iter().collect();
    assert_eq!(once.len(), transactions.len(), "executed more than once");
    assert_eq!(once, sent.iter().collect(), "what was sent, and nothing else");
    eprintln!("{} kills: {} transactions in {} blocks", 3 * ROUNDS, sent.len(), here["evmHeight"]);
}
