//! Questions in JSON get the answers that `verify` gives, and the sample beside the browser's verifier is one of them.
#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::{Value, json};
use squad_client::json::verify_json;
use squad_client::testing::{self, GENESIS_TIME, TestChain};
use squad_client::{CommitteeFollower, TRUSTING_PERIOD_MS, TrustedCommittee};
use squad_types::{Encode, Genesis, NamespaceId, Timestamp};

const NOW: Timestamp = Timestamp(GENESIS_TIME.0 + 3_600_000);
const BYTES: NamespaceId = NamespaceId(2);
const DATA: &[u8] = b"hello, rollup";

fn ask(question: &Value) -> Value {
    serde_json::from_str(&verify_json(&question.to_string())).unwrap()
}

/// The part that does not hold.
fn part(question: &Value) -> String {
    let answer = ask(question);
    assert_eq!(answer["valid"], false, "{answer}");
    assert!(!answer["reason"].as_str().unwrap().is_empty());
    answer["part"].as_str().unwrap().to_owned()
}

/// Questions about one transaction, of each tier, in epoch 2, with the proofs that lead there.
fn questions() -> (Genesis, Vec<Value>, Vec<String>) {
    let mut chain = TestChain::new(4);
    let mut proofs = Vec::new();
    for epoch in 0..2_u64 {
        let block = chain.block(Vec::new());
        proofs.push(format!("0x{}", hex::encode(block.committee_proof().unwrap().to_bytes())));
        chain.start_epoch(testing::keys(epoch * 10 + 10, 4));
    }
    let transactions = vec![testing::opaque(BYTES, vec![7; 9], NOW), testing::opaque(BYTES, DATA, NOW)];
    let batch = chain.batch(2, None, transactions.clone());
    let block = chain.block(transactions);
    let confirmations = [chain.batched(&batch, 1), chain.secured(2, &[batch], 1), block.confirmation(BYTES, 1)];
    let question =
        |confirmation| json!({ "confirmation": confirmation, "genesis": chain.genesis, "proofs": proofs, "now": NOW });
    (chain.genesis.clone(), confirmations.iter().map(question).collect(), proofs.clone())
}

#[test]
fn each_tier_is_answered_with_its_place() {
    let (_, questions, _) = questions();
    let answers: Vec<Value> = questions.iter().map(ask).collect();
    let tiers: Vec<&Value> = answers.iter().map(|answer| &answer["tier"]).collect();
    assert_eq!(tiers, ["batched", "secured", "ordered"]);
    assert!(answers.iter().all(|answer| answer["valid"] == true && answer["epoch"] == 2), "{answers:?}");
    assert_eq!(answers[0]["batch"]["sequence"], 0);
    assert_eq!((&answers[2]["block"]["height"], &answers[2]["block"]["index"]), (&json!(3), &json!(1)));
}

#[test]
fn a_confirmation_is_found_within_the_answers_that_carry_it() {
    let (_, questions, _) = questions();
    for mut question in questions {
        let bare = question["confirmation"].clone();
        question["confirmation"] =
            json!({ "jsonrpc": "2.0", "id": 1, "result": { "confirmation": bare, "tier": "x" } });
        assert_eq!(ask(&question)["valid"], true);
    }
}

#[test]
fn a_committee_file_and_a_pin_are_as_good_as_the_genesis() {
    let (genesis, questions, proofs) = questions();
    let mut follower = CommitteeFollower::from_genesis(&genesis).unwrap();
    for proof in &proofs {
        let bytes = hex::decode(&proof[2..]).unwrap();
        follower.follow(&squad_types::Decode::from_bytes(bytes.into()).unwrap()).unwrap();
    }
    let trusted: &TrustedCommittee = follower.newest();
    let committee: Value = serde_json::from_str(&trusted.to_json()).unwrap();
    for question in questions {
        let confirmation = &question["confirmation"];
        let by_file = json!({ "confirmation": confirmation, "committee": committee, "now": NOW });
        assert_eq!(ask(&by_file)["valid"], true);
        let mut by_pin =
            json!({ "confirmation": confirmation, "pin": trusted.pin(), "proofs": [proofs[1]], "now": NOW });
        assert_eq!(ask(&by_pin)["valid"], true);
        by_pin["pin"]["committee_hash"] = json!(format!("0x{}", "11".repeat(32)));
        assert_eq!(part(&by_pin), "trusted committee");
    }
}

#[test]
fn what_does_not_hold_is_named() {
    let (genesis, questions, _) = questions();
    let ordered = &questions[2];
    let change = |path: &str, value: Value| {
        let mut question = ordered.clone();
        *question.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        part(&question)
    };
    assert_eq!(change("/confirmation/header/tx_count", json!(9)), "header");
    assert_eq!(change("/confirmation/transaction/valid_until", json!(5)), "transaction proof");
    assert_eq!(change("/proofs", json!([])), "epoch");
    assert_eq!(change("/now", json!(GENESIS_TIME.0 + TRUSTING_PERIOD_MS + 1)), "trusted committee");
    assert_eq!(change("/proofs", json!(["0x00ff"])), "form");
    assert_eq!(change("/proofs", json!(["no hex"])), "form");
    assert_eq!(change("/confirmation", json!("hello")), "form");
    let other = testing::genesis(&testing::keys(5, 4));
    assert_ne!(other, genesis);
    assert_eq!(change("/genesis", json!(other)), "trusted committee");
    let mut twice = ordered.clone();
    twice["pin"] = json!(TrustedCommittee::from_genesis(&genesis).unwrap().pin());
    assert_eq!(part(&twice), "form");
    for text in ["", "{", "null", "[]", "{\"now\": 1}"] {
        assert_eq!(serde_json::from_str::<Value>(&verify_json(text)).unwrap()["part"], "form", "{text}");
    }
}

#[test]
fn the_readers_own_bytes_are_compared() {
    let (_, questions, _) = questions();
    for mut question in questions {
        question["data"] = json!(hex::encode(DATA));
        assert_eq!(ask(&question)["valid"], true);
        question["data"] = json!("0x00");
        assert_eq!(part(&question), "transaction");
    }
}

/// The browser's verifier is tried on a file of its own; here it is held to be what this library says it is.
#[test]
fn the_sample_of_the_browsers_verifier_is_current() {
    let (_, questions, _) = questions();
    let answers: Vec<Value> = questions.iter().map(ask).collect();
    let sample = json!({ "data": format!("0x{}", hex::encode(DATA)), "questions": questions, "answers": answers });
    let text = serde_json::to_string_pretty(&sample).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/wasm/test/sample.json");
    if std::env::var_os("SQUAD_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == text,
        "write it anew: SQUAD_BLESS=1 cargo test -p squad-client --test json"
    );
}
