//! What may not be ordered is refused where it enters, with a stable code and a reason.

use super::devnet::{Devnet, alone, send_bytes, status, validity};
use super::life::transfer;
use super::process::{Guarded, signal, squad, start_node};
use super::rpc::{NoResult, Rpc};
use super::wait::wait_for;
use alloy_primitives::Address;
use rustix::process::Signal;
use serde_json::{Value, json};
use squad_executor::dev_accounts;
use squad_node::genesis::{DEVNET_AUCTION_CHAIN_ID, DEVNET_CHAIN_ID};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A transfer whose signature's s is beyond the group's order.
fn badly_signed() -> String {
    let account = &dev_accounts()[3];
    // An s of less than 32 bytes is encoded shorter: take one that is not.
    let signed = |nonce| account.transfer(DEVNET_CHAIN_ID, nonce, Address::ZERO, Default::default()).to_vec();
    let mut raw = (0..64).map(signed).find(|raw| raw[raw.len() - 33] == 0xa0).unwrap();
    let start = raw.len() - 32;
    raw[start..].fill(0xff);
    format!("0x{}", hex::encode(raw))
}

/// Bytes in hex.
fn filled(byte: u8, count: usize) -> String {
    format!("0x{}", hex::encode(vec![byte; count]))
}

pub(super) fn have_stable_codes(devnet: &Devnet) {
    let mut wallet = devnet.client("operators", 0, "/evm");
    let account = &dev_accounts()[3];
    let over = 128 * 1024 + 1;
    for (raw, code, text) in [
        (transfer(account, 1, 0, Address::ZERO), -32053, "wrong_chain_id"),
        (badly_signed(), -32052, "bad_signature"),
        ("0x02c0".to_owned(), -32051, "malformed_rlp"),
        ("0x03c0".to_owned(), -32054, "blob_unsupported"),
        ("0x05c0".to_owned(), -32055, "type_unsupported"),
        ("0x".to_owned(), -32057, "empty"),
        ("0x0g".to_owned(), -32050, "malformed_hex"),
        ("02c0".to_owned(), -32050, "malformed_hex"),
        (filled(2, over), -32056, "too_large"),
    ] {
        let (found, name, message) = wallet.refused("eth_sendRawTransaction", json!([raw]));
        assert_eq!((found, name.as_str()), (code, text), "{message}");
        assert!(message.len() > 10, "{text} says what is wrong: {message}");
    }
    assert_eq!(wallet.refused("eth_sendRawTransaction", json!([7])).0, -32602);
    assert_eq!(wallet.refused("eth_sendNothing", json!([])).0, -32601, "no such method");

    let mut operator = devnet.client("operators", 0, "");
    let until = validity(&mut operator).unwrap();
    for (sent, code, text) in [
        (json!({ "namespace": "nowhere", "data": "0x01", "valid_until": until }), -32058, "unknown_namespace"),
        (json!({ "namespace": "bytes", "data": "0x0", "valid_until": until }), -32050, "malformed_hex"),
        (json!({ "namespace": "bytes", "data": filled(1, over), "valid_until": until }), -32056, "too_large"),
        (json!({ "namespace": "bytes", "data": "0x01" }), -32061, "validity_missing"),
        (json!({ "namespace": "bytes", "data": "0x01", "valid_until": until + 60_000 }), -32062, "validity_too_long"),
        (json!({ "namespace": "bytes", "data": "0x01", "valid_until": 1 }), -32064, "expired"),
        (json!({ "namespace": "bytes", "data": "0x01", "wait": "someday" }), -32602, "malformed_parameter"),
    ] {
        let (found, name, message) = operator.refused("squad_sendTransaction", json!([sent]));
        assert_eq!((found, name.as_str()), (code, text), "{message}");
    }
    repeats_are_refused(devnet);
}

fn repeats_are_refused(devnet: &Devnet) {
    let mut operator = devnet.client("operators", 0, "");
    let answer = send_bytes(&mut operator, b"only once", "ordered");
    let until: &Value = &answer["confirmation"]["transaction"]["valid_until"];
    let again =
        json!([{ "namespace": "bytes", "data": format!("0x{}", hex::encode("only once")), "valid_until": until }]);
    let (code, text, message) = operator.refused("squad_sendTransaction", again);
    assert_eq!((code, text.as_str()), (-32065, "duplicate"), "{message}");
}

/// Submissions that may wait for their tier: the least that a configuration may say.
const WAITING: usize = 1_024;

/// A network of two operators that lets only one sender write to `evm`, nobody to `auction`, and little to `bytes`.
fn restrict(dir: &Path) -> [(String, String, PathBuf); 2] {
    let devnet = Devnet::start(dir, &["--operators", "2", "--executors", "0"]);
    let operators = [0, 1].map(|at| (devnet.url(at, ""), devnet.grpc().remove(at), devnet.config(at)));
    devnet.stop();
    let path = dir.join("genesis.json");
    let mut genesis: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for namespace in genesis["namespaces"].as_array_mut().unwrap() {
        match namespace["name"].as_str().unwrap() {
            "evm" => namespace["access"] = json!({ "allow-list": [dev_accounts()[0].address()] }),
            "auction" => namespace["access"] = json!("closed"),
            "bytes" => namespace["quota_bytes_per_second"] = json!(1),
            _ => {}
        }
    }
    std::fs::write(&path, genesis.to_string()).unwrap();
    for (_, _, config) in &operators {
        std::fs::remove_dir_all(config.with_file_name("data")).unwrap();
        let text = std::fs::read_to_string(config).unwrap();
        let limits = format!("\n[limits]\npending_submissions = {WAITING}\nwait_ms = 5000\n");
        std::fs::write(config, text + &limits).unwrap();
    }
    operators
}

#[test]
fn what_a_genesis_or_the_limits_forbid_is_refused() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let operators = restrict(dir.path());
    let mut nodes = operators.each_ref().map(|(_, _, config)| start_node(config));
    let mut operator = Rpc::new(&operators[0].0);
    wait_for("the operator is ready", || status(&mut operator).filter(|state| state["readiness"]["state"] == "ready"));
    // From here on nothing is secured.
    signal(nodes[1].pid(), Signal::STOP);

    let send = |namespace: &str, raw: String| json!([{ "namespace": namespace, "data": raw, "wait": "batched" }]);
    let signed = |account: usize, chain_id| transfer(&dev_accounts()[account], chain_id, 0, Address::ZERO);
    let mut refused = |params| operator.refused("squad_sendTransaction", params);
    let (code, text, message) = refused(send("auction", signed(0, DEVNET_AUCTION_CHAIN_ID)));
    assert_eq!((code, text.as_str()), (-32059, "closed_namespace"), "{message}");
    let (code, text, message) = refused(send("evm", signed(1, DEVNET_CHAIN_ID)));
    assert_eq!((code, text.as_str()), (-32060, "not_allowed"), "{message}");
    let stranger = dev_accounts()[1].address().to_string().to_lowercase();
    assert!(message.to_lowercase().contains(&stranger), "it names the sender: {message}");
    operator.call("squad_sendTransaction", send("evm", signed(0, DEVNET_CHAIN_ID)));

    // One request, so that no second passes in between, in which a byte would be allowed again.
    let until = validity(&mut operator).unwrap();
    let bytes = |byte: u8| json!([{ "namespace": "bytes", "data": filled(byte, 100), "valid_until": until, "wait": "batched" }]);
    let outcomes = operator.batch("squad_sendTransaction", (0..8).map(bytes));
    let is_over = |outcome: &&Result<Value, NoResult>| match outcome {
        Ok(answer) => {
            assert_eq!(answer["tier"], "batched");
            false
        }
        Err(NoResult::Refused { code, text, message }) => {
            assert_eq!((*code, text.as_str()), (-32066, "quota"), "{message}");
            true
        }
        Err(silent) => panic!("{silent:?}"),
    };
    let over = outcomes.iter().filter(is_over).count();
    assert!((1..8).contains(&over), "{outcomes:?}");

    is_busy_at_its_limit(&mut operator, &operators[0].1);
    signal(nodes[0].pid(), Signal::TERM);
    assert!(nodes[0].end("the operator stops").success());
}

/// One client's submissions wait, none of them is ever secured, and they are as many as may: the next client is told.
fn is_busy_at_its_limit(operator: &mut Rpc, grpc: &str) {
    let mut bench = squad(["bench", "--namespace", "lottery", "--tier", "secured", "--no-samples", "--warmup", "0"]);
    bench.args(["--rate", &(8 * WAITING).to_string(), "--size", "64", "--duration", "1", "--targets", grpc]);
    bench.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _bench = Guarded(bench.spawn().unwrap());
    let mut number = 0;
    let (code, text, message) = wait_for("the operator is busy", || {
        number += 1;
        let until = validity(operator)?;
        let data = format!("0x{}", hex::encode(format!("place {number}")));
        let sent = json!([{ "namespace": "lottery", "data": data, "valid_until": until, "wait": "batched" }]);
        match operator.try_call("squad_sendTransaction", sent) {
            Err(NoResult::Refused { code, text, message }) => Some((code, text, message)),
            _ => None,
        }
    })
    .0;
    assert_eq!((code, text.as_str()), (-32067, "busy"), "{message}");
}
