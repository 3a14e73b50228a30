//! What one operator alone answered for (T0): it outlives a kill, and where it cannot be ordered any more, that is said.

use super::devnet::{Devnet, alone, height, status};
use super::life::transfer;
use super::process::{Guarded, signal, start_node};
use super::rpc::{NoResult, Rpc};
use super::wait::wait_for;
use alloy_primitives::Address;
use rustix::process::Signal;
use serde_json::{Value, json};
use squad_executor::dev_accounts;
use squad_node::genesis::DEVNET_CHAIN_ID;

/// The operator that answers and is killed.
const VICTIM: usize = 0;
/// Heights that are looked at after the one that orders it: a repeat would come as soon as its lane is cut again.
const AFTER: u64 = 6;

/// Has a transfer batched. An EVM transaction has no validity that could end while processes come and go.
fn batched(operator: &mut Rpc, nonce: u64) -> String {
    let raw = transfer(&dev_accounts()[0], DEVNET_CHAIN_ID, nonce, Address::repeat_byte(0xd2));
    let answer =
        operator.call("squad_sendTransaction", json!([{ "namespace": "evm", "data": raw, "wait": "batched" }]));
    assert_eq!(answer["tier"], "batched", "{answer}");
    let id = answer["id"].as_str().unwrap().to_owned();
    // Still: nobody is there who could have acknowledged it.
    let known = operator.call("squad_getConfirmation", json!([id]));
    assert_eq!(known["tier"], "batched", "{known}");
    id
}

/// The heights at which an operator has it.
fn places(operator: &mut Rpc, id: &str) -> Option<(Vec<u64>, u64)> {
    let tip = height(operator)?;
    let mut found = Vec::new();
    for at in 1..=tip {
        let block = operator.try_call("squad_getBlock", json!(["evm", at])).ok()?;
        let same = |transaction: &&Value| transaction["id"] == id;
        found.extend(block["transactions"].as_array()?.iter().filter(same).map(|_| at));
    }
    Some((found, tip))
}

/// Every operator has it in one block, and in no other of some heights after it.
fn is_ordered_once(operators: &mut [Rpc], id: &str) {
    let mut seen = None;
    for operator in operators {
        let (found, _) = wait_for("what was batched is ordered", || {
            let (found, tip) = places(operator, id)?;
            (tip >= found.first()? + AFTER).then_some(found)
        });
        assert_eq!(found.len(), 1, "ordered at {found:?}");
        assert_eq!(*seen.get_or_insert(found[0]), found[0], "operators differ in where it is ordered");
        assert_eq!(operator.call("squad_evidence", json!([])), json!([]), "nobody signed twice");
    }
}

fn all_are_ready(operators: &mut [Rpc]) {
    for operator in operators {
        wait_for("every operator is ready", || status(operator).filter(|state| state["readiness"]["state"] == "ready"));
    }
}

/// The others stand still, so their kernels may still take bytes for them, but none of them stores or signs.
fn while_the_others_stand_still(devnet: &mut Devnet, operators: &mut [Rpc]) -> Guarded {
    let others: Vec<u32> = devnet.pids("operators").into_iter().skip(1).collect();
    others.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let id = batched(&mut operators[VICTIM], 0);
    devnet.kill_and_wait(VICTIM);
    others.iter().for_each(|pid| signal(*pid, Signal::CONT));
    let back = start_node(&devnet.config(VICTIM));
    is_ordered_once(operators, &id);
    all_are_ready(operators);
    back
}

/// The others are dead, so that its own disk is the only place in the world that has it.
fn while_the_others_are_dead(devnet: &mut Devnet, operators: &mut [Rpc], victim: Guarded) -> Vec<Guarded> {
    (1..operators.len()).for_each(|at| devnet.kill_and_wait(at));
    let id = batched(&mut operators[VICTIM], 1);
    drop(victim);
    let back = (0..operators.len()).map(|at| start_node(&devnet.config(at))).collect();
    is_ordered_once(operators, &id);
    back
}

#[test]
fn what_is_batched_outlives_the_kill_of_its_operator_and_is_ordered_once() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operators = devnet.operators();
    all_are_ready(&mut operators);
    let victim = while_the_others_stand_still(&mut devnet, &mut operators);
    let _nodes = while_the_others_are_dead(&mut devnet, &mut operators, victim);
    all_are_ready(&mut operators);
}

/// Until when chain time lets it be ordered: less than the step of the next block.
const SHORT_MS: u64 = 500;

#[test]
fn what_was_batched_and_expires_is_rejected_with_the_reason_and_never_ordered() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(dir.path(), &["--executors", "0"]);
    let mut operators = devnet.operators();
    all_are_ready(&mut operators);
    let others: Vec<u32> = devnet.pids("operators").into_iter().skip(1).collect();
    others.iter().for_each(|pid| signal(*pid, Signal::STOP));
    let operator = &mut operators[VICTIM];
    let until = status(operator).unwrap()["chain_time"].as_u64().unwrap() + SHORT_MS;
    let sent = json!([{ "namespace": "bytes", "data": "0x0102", "valid_until": until, "wait": "batched" }]);
    let id = operator.call("squad_sendTransaction", sent)["id"].as_str().unwrap().to_owned();
    // The next block's stamp will lie a second of chain time or more above this one's.
    wait_for("a second passes without a block", || {
        let state = status(operator)?;
        (state["clock"].as_u64()? > state["tip_time"].as_u64()? + 1_000).then_some(())
    });
    others.iter().for_each(|pid| signal(*pid, Signal::CONT));

    let (refusal, _) = wait_for("it is rejected", || match operator.try_call("squad_getConfirmation", json!([id])) {
        Err(NoResult::Refused { code, text, message }) => Some((code, text, message)),
        _ => None,
    });
    assert_eq!((refusal.0, refusal.1.as_str()), (-32064, "expired"), "{}", refusal.2);
    assert!(refusal.2.contains("will not be ordered"), "{}", refusal.2);
    let (at, all) = (height(operator).unwrap(), &mut operators);
    for operator in all {
        let count = |block: &Value| block["transactions"].as_array().unwrap().len();
        wait_for("some heights more", || (height(operator)? > at + 2).then_some(()));
        let blocks: usize = (1..=at + 2).map(|at| count(&operator.call("squad_getBlock", json!(["bytes", at])))).sum();
        assert_eq!(blocks, 0, "it was ordered all the same");
    }
}
