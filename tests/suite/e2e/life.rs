//! The life of a network: ready, transfers, confirmations, refusals, stop, and on from disk.

use super::devnet::{Devnet, alone, status};
use super::process::{Guarded, lives, log_of, squad};
use super::rpc::Rpc;
use super::wait::wait_for;
use super::{confirmations, refusals};
use alloy_primitives::{Address, U256};
use serde_json::{Value, json};
use squad_executor::{DevAccount, dev_accounts};
use squad_node::genesis::DEVNET_CHAIN_ID;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

const ETHER: u64 = 1_000_000_000_000_000_000;

/// A transfer of one ether, in hex.
pub(super) fn transfer(from: &DevAccount, chain_id: u64, nonce: u64, to: Address) -> String {
    format!("0x{}", hex::encode(from.transfer(chain_id, nonce, to, U256::from(ETHER))))
}

fn number(value: &Value) -> u128 {
    u128::from_str_radix(value.as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap()
}

fn balance(executor: &mut Rpc, of: Address) -> u128 {
    number(&executor.call("eth_getBalance", json!([of, "latest"])))
}

/// Waits for the receipt at both executors, and checks that they made the same of it.
fn executed_alike(executors: &mut [Rpc; 2], hash: &Value) -> Value {
    let receipts: Vec<Value> = executors
        .iter_mut()
        .map(|executor| {
            let receipt = || Some(executor.call("eth_getTransactionReceipt", json!([hash]))).filter(|r| !r.is_null());
            wait_for("the executor has a receipt", receipt).0
        })
        .collect();
    assert_eq!(receipts[0], receipts[1]);
    assert_eq!(receipts[0]["status"], "0x1", "{}", receipts[0]);
    let at = &receipts[0]["blockNumber"];
    let [a, b] = executors.each_mut().map(|executor| executor.call("eth_getBlockByNumber", json!([at, false])));
    assert_eq!(a["stateRoot"], b["stateRoot"], "EVM height {at}");
    assert_eq!(a["hash"], b["hash"]);
    receipts.into_iter().next().unwrap()
}

fn is_described(ready: &Value) {
    let operators = ready["operators"].as_array().unwrap();
    assert_eq!(operators.len(), 4);
    for operator in operators {
        for field in ["id", "rpc", "grpc", "metrics"] {
            assert!(operator[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {operator}");
        }
        assert!(operator["pid"].as_u64().is_some_and(|pid| pid > 0), "{operator}");
    }
    let executors = ready["executors"].as_array().unwrap();
    assert_eq!(executors.len(), 2);
    assert!(executors.iter().all(|e| e["rpc"].is_string() && e["pid"].is_u64()), "{ready}");
    let names: Vec<&str> = ready["namespaces"].as_array().unwrap().iter().filter_map(|n| n["name"].as_str()).collect();
    assert_eq!(names, ["evm", "bytes", "auction", "lottery"]);
}

fn transfers(devnet: &Devnet) {
    let mut executors = [0, 1].map(|at| devnet.client("executors", at, ""));
    let mut wallet = devnet.client("operators", 1, "/evm");
    let (from, to) = (&dev_accounts()[0], Address::repeat_byte(0xd0));
    let before = balance(&mut executors[0], from.address());

    let raw = transfer(from, DEVNET_CHAIN_ID, 0, to);
    let hash = executors[0].call("eth_sendRawTransaction", json!([raw]));
    executed_alike(&mut executors, &hash);
    for executor in &mut executors {
        assert_eq!(balance(executor, to), u128::from(ETHER));
        assert!(balance(executor, from.address()) < before - u128::from(ETHER), "the sender pays");
        assert_eq!(executor.call("eth_getTransactionCount", json!([from.address(), "latest"])), "0x1");
    }

    assert_eq!(number(&wallet.call("eth_chainId", json!([]))), u128::from(DEVNET_CHAIN_ID));
    let raw = transfer(from, DEVNET_CHAIN_ID, 1, to);
    let hash = wallet.call("eth_sendRawTransaction", json!([raw]));
    let receipt = executed_alike(&mut executors, &hash);
    assert_eq!(wallet.call("eth_getTransactionReceipt", json!([hash])), receipt, "the operator passes the question on");
    assert_eq!(balance(&mut executors[1], to), 2 * u128::from(ETHER));
    let (_, _, message) = executors[0].refused("eth_sendRawTransaction", json!([raw]));
    assert!(message.contains("nonce too low") || message.contains("already known"), "{message}");
}

/// A log at the usual level tells what changes for an operator, not each step of the libraries below.
fn is_quiet(log: &str) {
    assert!(log.contains("signing begins"), "{log}");
    let of_libraries = |line: &&str| ["arc_malachitebft", "libp2p"].iter().any(|name| line.contains(name));
    let loud: Vec<&str> = log.lines().filter(of_libraries).filter(|line| line.contains("INFO")).collect();
    assert!(loud.is_empty(), "{loud:?}");
}

/// What was ordered and executed before a stop is there after it, and the network goes on above.
fn continues(dir: &std::path::Path, summary: &Value) {
    // Operators are told to stop one after the other: one may have missed the last block.
    let heights: Vec<u64> = summary["heights"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    let (lowest, highest) = (*heights.iter().min().unwrap(), *heights.iter().max().unwrap());
    let devnet = Devnet::start(dir, &[]);
    let mut executors = [0, 1].map(|at| devnet.client("executors", at, ""));
    let (from, to) = (&dev_accounts()[0], Address::repeat_byte(0xd0));
    for executor in &mut executors {
        assert_eq!(balance(executor, to), 2 * u128::from(ETHER), "the executor kept its state");
    }
    let next = || devnet.event("block")["height"].as_u64().unwrap();
    let mut at = next();
    assert!(at > lowest, "block {at} after height {lowest}");
    while at <= highest {
        at = next();
    }
    let raw = transfer(from, DEVNET_CHAIN_ID, 2, to);
    let hash = executors[1].call("eth_sendRawTransaction", json!([raw]));
    executed_alike(&mut executors, &hash);
    assert_eq!(balance(&mut executors[0], to), 3 * u128::from(ETHER));
    for mut operator in devnet.operators() {
        assert_eq!(operator.call("squad_evidence", json!([])), json!([]));
    }
    let summary = devnet.stop();
    assert_eq!(summary["executors_agree"], true, "{summary}");
}

#[test]
fn a_network_orders_executes_confirms_refuses_stops_and_goes_on_from_disk() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(dir.path(), &[]);
    is_described(&devnet.ready);
    let block = devnet.event("block");
    for field in ["height", "hash", "epoch", "timestamp", "proposer", "round", "signatures", "transactions"] {
        assert!(!block[field].is_null(), "{field} of {block}");
    }
    let confirmed = confirmations::of_every_tier(&devnet);
    transfers(&devnet);
    refusals::have_stable_codes(&devnet);
    let tip = status(&mut devnet.client("operators", 0, "")).unwrap()["height"].as_u64().unwrap();
    let logs = [0, 1, 2, 3].map(|at| std::fs::read_to_string(log_of(&devnet.config(at))).unwrap());
    let summary = devnet.stop();
    logs.iter().for_each(|log| is_quiet(log));
    assert_eq!(summary["executors_agree"], true, "{summary}");
    assert!(summary["heights"].as_array().unwrap().iter().all(|height| height.as_u64() >= Some(tip)), "{summary}");
    assert!(summary["transactions"].as_u64() >= Some(5), "{summary}");
    confirmations::are_verified(&dir.path().join("genesis.json"), &confirmed);
    continues(dir.path(), &summary);
}

#[test]
fn a_network_whose_output_nobody_reads_any_more_stops_its_processes_and_says_why() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut command =
        squad(["devnet", "--json", "--operators", "1", "--executors", "0", "--exit-after", "600", "--dir"]);
    command.arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut devnet = Guarded(command.spawn().unwrap());
    let mut ready = String::new();
    BufReader::new(devnet.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    // The pipe is closed now, as by `head -1`.
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let status = devnet.end("the devnet stops");
    let mut said = String::new();
    devnet.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write to standard output") && !said.contains("panicked"), "{said}");
    let pid = ready["operators"][0]["pid"].as_u64().unwrap();
    assert!(!lives(pid.try_into().unwrap()), "its operator is left over");
}
