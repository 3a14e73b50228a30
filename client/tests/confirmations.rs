//! Confirmations: true ones pass, and any change of any field is refused with the part named.
#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::Value;
use squad_client::testing::{self, GENESIS_TIME, TestChain};
use squad_client::{CLOCK_SLACK_MS, Place, TRUSTING_PERIOD_MS, TrustedCommittee, VerifyError, verify};
use squad_types::{Confirmation, Decode, Encode, Epoch, NamespaceId, Tier, Timestamp};

const NOW: Timestamp = Timestamp(GENESIS_TIME.0 + 3_600_000);
const BYTES: NamespaceId = NamespaceId(2);
const EVM: NamespaceId = NamespaceId(1);

struct Fixture {
    trusted: TrustedCommittee,
    confirmations: Vec<Confirmation>,
}

/// One confirmation of each tier, each with every optional part present and proofs of several steps, and one EVM one.
fn fixture() -> Fixture {
    let mut chain = TestChain::new(4);
    let transactions: Vec<_> =
        (0..5_u8).map(|at| testing::opaque(BYTES, vec![at; 40], NOW.plus(u64::from(at) + 1))).collect();
    let first = chain.batch(2, None, transactions.clone());
    let second = chain.batch(2, Some(&first), transactions.clone());
    let third = chain.batch(2, Some(&second), transactions.clone());
    let mut ordered = transactions;
    ordered.extend((0..3_u8).map(|at| testing::evm(EVM, vec![at; 30])));
    ordered.push(testing::evm(NamespaceId(3), vec![1]));
    chain.block(Vec::new());
    let block = chain.block(ordered);
    let confirmations = vec![
        chain.batched(&second, 3),
        chain.secured(2, &[second, third], 1),
        block.confirmation(BYTES, 2),
        block.confirmation(EVM, 1),
    ];
    Fixture { trusted: TrustedCommittee::from_genesis(&chain.genesis).unwrap(), confirmations }
}

/// Paths of all leaves of a JSON value, empty lists and nulls included.
fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, format!("{path}/{key}"), out)),
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(at, value)| leaves(value, format!("{path}/{at}"), out));
        }
        _ => out.push(path),
    }
}

/// Changed values of the same shape as a leaf: each digit end of a hex string, a number up, down and to zero, null to 0 and back.
fn changes(leaf: &Value) -> Vec<Value> {
    match leaf {
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            let mut changed = vec![number + 1, number.wrapping_sub(1) & 0xffff, 0];
            changed.retain(|other| *other != number);
            changed.into_iter().map(Value::from).chain([Value::Null]).collect()
        }
        Value::String(text) if text.starts_with("0x") && text.len() > 2 => {
            [2, text.len() / 2, text.len() - 1].into_iter().map(|at| Value::from(flip(text, at))).collect()
        }
        Value::String(text) if text == "0x" => vec![Value::from("0x01"), Value::from("0x03")],
        Value::String(_) => ["batched", "secured", "ordered"]
            .into_iter()
            .filter(|tier| leaf.as_str() != Some(tier))
            .map(Value::from)
            .collect(),
        Value::Null => vec![Value::from(0), Value::from(1)],
        _ => vec![Value::Null],
    }
}

fn flip(text: &str, at: usize) -> String {
    let digit = text[at..=at].chars().next().unwrap().to_digit(16).unwrap();
    format!("{}{:x}{}", &text[..at], digit ^ 1, &text[at + 1..])
}

/// The parts that may be named when a field is changed.
fn expected(path: &str) -> &'static [&'static str] {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["network_id"] => &["network"],
        ["transaction", ..] => &["transaction", "transaction proof", "namespace proof"],
        ["proof", ..] => &["transaction proof"],
        ["header", "statement", "epoch"] => &["epoch"],
        ["header", "statement" | "signer" | "signature", ..] => &["batch header signature"],
        ["certificate", "lane", "epoch"] => &["epoch"],
        ["certificate", "lane" | "headers", ..] => &["batch certificate"],
        ["certificate", "acks", ..] => &["acks"],
        ["header", "network_id"] => &["network"],
        ["header", "version"] => &["version"],
        ["header", "epoch"] => &["epoch"],
        ["header", "committee_hash"] => &["committee"],
        ["header", ..] => &["header"],
        ["certificate", ..] => &["commit certificate"],
        ["namespace_proof", ..] => &["namespace proof"],
        other => panic!("no part is named for {other:?}"),
    }
}

#[test]
fn true_confirmations_of_every_tier_pass() {
    let Fixture { trusted, confirmations } = fixture();
    let tiers: Vec<_> =
        confirmations.iter().map(|confirmation| verify(confirmation, &trusted, NOW).unwrap().tier()).collect();
    assert_eq!(tiers, [Tier::Batched, Tier::Secured, Tier::Ordered, Tier::Ordered]);
    let ordered = verify(&confirmations[2], &trusted, NOW).unwrap();
    assert!(matches!(ordered.place(), Place::Block { height, index: 2, .. } if height.0 == 2));
    assert_eq!(*ordered.transaction(), confirmations[2].transaction);
}

#[test]
fn every_changed_field_is_refused_and_its_part_named() {
    let Fixture { trusted, confirmations } = fixture();
    let mut refused = 0;
    for confirmation in &confirmations {
        let json = serde_json::to_value(confirmation).unwrap();
        assert_eq!(&serde_json::from_value::<Confirmation>(json.clone()).unwrap(), confirmation);
        let mut paths = Vec::new();
        leaves(&json, String::new(), &mut paths);
        for path in paths {
            for changed in changes(json.pointer(&path).unwrap()) {
                let mut forged = json.clone();
                *forged.pointer_mut(&path).unwrap() = changed.clone();
                // A form that no confirmation has is refused where it is read, with the field named by the reader.
                let Ok(forged) = serde_json::from_value::<Confirmation>(forged) else { continue };
                let error = verify(&forged, &trusted, NOW)
                    .expect_err(&format!("{} with {path} = {changed} passes", confirmation.tier()));
                let part = error.part();
                assert!(expected(&path).contains(&part), "{path} = {changed} names '{part}': {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "only {refused} forgeries were well-formed");
}

#[test]
fn every_flipped_bit_of_the_canonical_form_is_refused() {
    let Fixture { trusted, confirmations } = fixture();
    for confirmation in &confirmations {
        let bytes = confirmation.to_bytes();
        assert_eq!(&Confirmation::from_bytes(bytes.clone()).unwrap(), confirmation);
        for at in 0..bytes.len() {
            // One bit of each byte, another one from byte to byte.
            let mut forged = bytes.to_vec();
            forged[at] ^= 1 << (at % 8);
            if let Ok(forged) = Confirmation::from_bytes(forged.into()) {
                verify(&forged, &trusted, NOW).expect_err(&format!("byte {at} of {}", confirmation.tier()));
            }
        }
    }
}

#[test]
fn dropped_and_repeated_list_items_are_refused() {
    let Fixture { trusted, confirmations } = fixture();
    for (at, list, needed) in [
        (1, "/certificate/acks", 3),
        (2, "/certificate/signatures", 4),
        (2, "/proof/siblings", 1),
        (1, "/proof/siblings", 1),
    ] {
        let json = serde_json::to_value(&confirmations[at]).unwrap();
        let mut shorter = json.clone();
        let items = shorter.pointer_mut(list).unwrap().as_array_mut().unwrap();
        items.truncate(needed - 1);
        let mut longer = json.clone();
        let items = longer.pointer_mut(list).unwrap().as_array_mut().unwrap();
        items.push(items[0].clone());
        for forged in [shorter, longer] {
            let forged: Confirmation = serde_json::from_value(forged).unwrap();
            verify(&forged, &trusted, NOW).expect_err(list);
        }
    }
}

#[test]
fn an_operator_outside_the_committee_confirms_nothing() {
    let Fixture { trusted, .. } = fixture();
    let mut strangers = TestChain::new(4);
    strangers.signers = testing::keys(50, 4);
    let batch = strangers.batch(0, None, vec![testing::opaque(BYTES, vec![1], NOW)]);
    let error = verify(&strangers.batched(&batch, 0), &trusted, NOW).unwrap_err();
    assert!(matches!(error, VerifyError::BatchOperator(..)), "{error}");
    let error = verify(&strangers.secured(0, &[batch], 0), &trusted, NOW).unwrap_err();
    assert_eq!(error.part(), "batch certificate");
    let block = strangers.block(vec![testing::opaque(BYTES, vec![1], NOW)]);
    assert_eq!(verify(&block.confirmation(BYTES, 0), &trusted, NOW).unwrap_err().part(), "committee");
}

#[test]
fn a_committee_is_trusted_for_seven_days_and_not_ahead_of_the_clock() {
    let Fixture { trusted, confirmations } = fixture();
    let last = GENESIS_TIME.plus(TRUSTING_PERIOD_MS);
    verify(&confirmations[2], &trusted, last).unwrap();
    let error = verify(&confirmations[2], &trusted, last.next()).unwrap_err();
    assert_eq!(error.part(), "trusted committee");
    assert!(error.to_string().contains("7 days ago"), "{error}");
    let early = GENESIS_TIME.minus(CLOCK_SLACK_MS + 1);
    assert_eq!(verify(&confirmations[2], &trusted, early).unwrap_err().part(), "trusted committee");
}

#[test]
fn trust_follows_the_committees_over_epochs() {
    let mut chain = TestChain::new(4);
    let mut trusted = TrustedCommittee::from_genesis(&chain.genesis).unwrap();
    let origin = trusted.clone();
    chain.next_signers = testing::keys(2, 4);
    let mut proofs = vec![chain.block(Vec::new()).committee_proof().unwrap()];
    for epoch in 1..4 {
        chain.start_epoch(testing::keys(epoch + 2, 4));
        proofs.push(chain.block(Vec::new()).committee_proof().unwrap());
        chain.block(Vec::new());
    }
    assert!(trusted.follow(&proofs[1], NOW).is_err(), "an epoch cannot be left out");
    for proof in &proofs[..3] {
        trusted.follow(proof, NOW).unwrap();
    }
    assert_eq!(trusted.epoch(), Epoch(3));
    assert_eq!(*trusted.committee(), chain.committee());
    assert_eq!(trusted.as_of(), proofs[2].header.timestamp);
    let block = chain.block(vec![testing::opaque(BYTES, vec![1], NOW)]);
    verify(&block.confirmation(BYTES, 0), &trusted, NOW).unwrap();
    let error = verify(&block.confirmation(BYTES, 0), &origin, NOW).unwrap_err();
    assert_eq!(error, VerifyError::Epoch { expected: Epoch(0), found: Epoch(3) });
    let late = NOW.plus(TRUSTING_PERIOD_MS);
    assert!(trusted.clone().follow(&proofs[3], late).is_err(), "a stale committee is no start");
}

#[test]
fn a_forged_committee_proof_changes_nothing() {
    let mut chain = TestChain::new(4);
    let trusted = TrustedCommittee::from_genesis(&chain.genesis).unwrap();
    let proof = chain.block(Vec::new()).committee_proof().unwrap();
    let mut stolen = proof.clone();
    stolen.members = testing::genesis(&testing::keys(60, 4)).validators;
    let mut recommitted = stolen.clone();
    recommitted.header.next_committee_hash =
        squad_types::Committee::new(Epoch(1), stolen.members.clone()).unwrap().hash();
    let mut few = proof.clone();
    few.certificate = chain.certify_by(&few.header, 2);
    for forged in [stolen, recommitted, few] {
        let mut trust = trusted.clone();
        trust.follow(&forged, NOW).unwrap_err();
        assert_eq!(trust, trusted);
    }
}

#[test]
fn the_file_form_is_read_back_and_its_hash_holds_it_together() {
    let Fixture { trusted, .. } = fixture();
    let json = trusted.to_json();
    assert_eq!(TrustedCommittee::from_json(&json).unwrap(), trusted);
    let forged = json.replace("\"stake\": 100", "\"stake\": 101");
    assert_ne!(forged, json);
    assert!(TrustedCommittee::from_json(&forged).is_err());
    assert!(trusted.clone().pinned(trusted.hash()).is_ok());
    assert!(trusted.clone().pinned(squad_types::Digest::ZERO).is_err());
}
