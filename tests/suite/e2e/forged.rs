//! An executor process in front of operators that all forge the same block: it ends, says which part of which block, and
//! has executed nothing of it.

use super::devnet::{Devnet, alone};
use super::executor::{Executor, state};
use super::life::transfer;
use super::proxy::{Forge, Proxies};
use super::rpc::Rpc;
use super::wait::wait_for;
use alloy_primitives::{Address, U256};
use bytes::Bytes;
use serde_json::json;
use squad_executor::dev_accounts;
use squad_node::genesis::DEVNET_CHAIN_ID;
use squad_types::NamespaceBlock;
use std::path::Path;

/// The height whose block holds the namespace's only transaction.
fn height_of_transfer(operator: &mut Rpc) -> u64 {
    let holds = |operator: &mut Rpc, at: u64| {
        let block = operator.try_call("squad_getBlock", json!(["evm", at])).ok()?;
        (!block["transactions"].as_array()?.is_empty()).then_some(at)
    };
    wait_for("the transfer is ordered", || {
        let tip = super::devnet::height(operator)?;
        (1..=tip).find_map(|at| holds(operator, at))
    })
    .0
}

fn another_transaction(block: &mut NamespaceBlock) {
    let raw = dev_accounts()[0].transfer(DEVNET_CHAIN_ID, 0, Address::repeat_byte(0xee), U256::from(1));
    block.transactions[0].data = Bytes::from(raw.to_vec());
}

fn no_transaction(block: &mut NamespaceBlock) {
    block.transactions.clear();
}

fn later(block: &mut NamespaceBlock) {
    block.header.timestamp = block.header.timestamp.next();
}

fn fewer_signatures(block: &mut NamespaceBlock) {
    block.certificate.signatures.pop();
}

/// What may be forged, and the part that is named for it.
const FORGERIES: [(&str, Forge, &str); 4] = [
    ("another-transaction", another_transaction, "transactions"),
    ("no-transaction", no_transaction, "transactions"),
    ("later", later, "header"),
    ("fewer-signatures", fewer_signatures, "commit certificate"),
];

/// Follows operators that forge the block at the height, in a way that concerns the part.
fn ends_before(home: &Path, genesis: &Path, operators: &[String], height: u64, part: &str) {
    let mut executor = Executor::start(home, genesis, operators);
    let status = executor.process.end("an executor with a forged block ends");
    let said = executor.said();
    assert_eq!(status.code(), Some(1), "{said}");
    let error = format!("ordered block {height} was refused: its {part} does not hold");
    assert!(said.lines().any(|line| line.contains(&error)), "'{error}' is not in: {said}");
    for operator in operators {
        assert!(said.contains(operator.as_str()), "it does not say that {operator} served a bad block: {said}");
    }
}

/// Started again where nobody answers, it stands before the block; with honest operators it goes on and executes it.
fn goes_on(home: &Path, genesis: &Path, honest: &[String], height: u64) {
    let executor = Executor::start(home, genesis, &["http://127.0.0.1:1".to_owned()]);
    let mut rpc = executor.client();
    let before = state(&mut rpc);
    assert_eq!(before["orderedHeight"], height - 1, "{before}");
    assert_eq!(before["evmHeight"], 0, "{before}");
    drop(executor);

    let executor = Executor::start(home, genesis, honest);
    let mut rpc = executor.client();
    wait_for("it executes the genuine block", || (state(&mut rpc)["orderedHeight"].as_u64()? >= height).then_some(()));
    assert_eq!(state(&mut rpc)["evmHeight"], 1);
    wait_for("it says that it caught up", || executor.said().contains("caught up with the network").then_some(()));
    assert_eq!(rpc.call("eth_getBalance", json!([Address::repeat_byte(0xee), "latest"])), "0x0", "the forged one");
    assert_ne!(rpc.call("eth_getBalance", json!([Address::repeat_byte(0xd1), "latest"])), "0x0", "the genuine one");
}

#[test]
fn an_executor_whose_operators_all_forge_a_block_ends_before_it_and_names_part_and_height() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let genesis = dir.path().join("genesis.json");
    let mut wallet = devnet.client("operators", 0, "/evm");
    let raw = transfer(&dev_accounts()[0], DEVNET_CHAIN_ID, 0, Address::repeat_byte(0xd1));
    wallet.call("eth_sendRawTransaction", json!([raw]));
    let height = height_of_transfer(&mut devnet.client("operators", 0, ""));
    let honest = devnet.grpc();
    for (name, forge, part) in FORGERIES {
        let home = dir.path().join(name);
        let forging = Proxies::start(&honest, height, forge);
        ends_before(&home, &genesis, &forging.urls, height, part);
        drop(forging);
        goes_on(&home, &genesis, &honest, height);
    }
    devnet.stop();
}
