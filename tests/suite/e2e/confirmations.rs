//! Confirmations are checked by `squad verify` alone: no server, only the genesis.

use super::devnet::{Devnet, send_bytes};
use super::process::run;
use serde_json::{Value, json};
use std::path::Path;

/// Changes checked at a time: each is a process.
const WORKERS: usize = 2;

/// A confirmation of each tier, as clients keep it.
pub(super) fn of_every_tier(devnet: &Devnet) -> Vec<(&'static str, Value)> {
    let mut operator = devnet.client("operators", 2, "");
    ["batched", "secured", "ordered"]
        .into_iter()
        .map(|tier| {
            let answer = send_bytes(&mut operator, format!("to be {tier}").as_bytes(), tier);
            // What was asked for is the least: it may have gone further meanwhile.
            assert_eq!(answer["tier"], answer["confirmation"]["tier"]);
            (tier, answer["confirmation"].clone())
        })
        .collect()
}

/// Another value of the same form.
fn changed(value: &Value) -> Value {
    match value {
        Value::Null => json!(1),
        Value::Bool(value) => json!(!value),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::String(text) => {
            let last = text.chars().last();
            let kept = &text[..text.len() - last.map_or(0, char::len_utf8)];
            json!(format!("{kept}{}", if last == Some('1') { '2' } else { '1' }))
        }
        Value::Array(_) | Value::Object(_) => unreachable!("only leaves are changed"),
    }
}

/// Pointers to every leaf.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| leaves(inner, &format!("{at}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, inner)| leaves(inner, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// Pointers to every list that has something in it.
fn lists(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| lists(inner, &format!("{at}/{name}"), found)),
        Value::Array(items) => {
            if !items.is_empty() {
                found.push(at.to_owned());
            }
            items.iter().enumerate().for_each(|(index, inner)| lists(inner, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Every confirmation that differs in one field, or lacks the last item of one list.
fn changes(confirmation: &Value) -> Vec<(String, Value)> {
    let (mut all, mut found) = (Vec::new(), Vec::new());
    leaves(confirmation, "", &mut found);
    for pointer in found {
        let mut other = confirmation.clone();
        let leaf = other.pointer_mut(&pointer).unwrap();
        *leaf = changed(leaf);
        all.push((pointer, other));
    }
    let mut found = Vec::new();
    lists(confirmation, "", &mut found);
    for pointer in found {
        let mut other = confirmation.clone();
        other.pointer_mut(&pointer).and_then(Value::as_array_mut).unwrap().pop();
        all.push((format!("{pointer} without its last"), other));
    }
    all
}

fn verify(genesis: &Path, file: &Path, confirmation: &Value) -> std::process::Output {
    std::fs::write(file, confirmation.to_string()).unwrap();
    run(["--json".as_ref(), "verify".as_ref(), file.as_os_str(), "--genesis".as_ref(), genesis.as_os_str()])
}

/// Checks that a change is refused and that the answer names a part.
fn is_refused(genesis: &Path, file: &Path, tier: &str, pointer: &str, confirmation: &Value) {
    let output = verify(genesis, file, confirmation);
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{tier} with {pointer} changed: {out}{errors}");
    match serde_json::from_str::<Value>(&out) {
        Ok(answer) => {
            assert_eq!(answer["valid"], false, "{tier} with {pointer} changed: {answer}");
            let part = answer["part"].as_str().unwrap();
            assert!(!part.is_empty() && answer["reason"].is_string(), "{tier} with {pointer} changed: {answer}");
            match pointer {
                "/network_id" => assert_eq!(part, "network"),
                "/transaction/data_hash" | "/transaction/valid_until" => {
                    assert!(part.starts_with("transaction"), "{part}")
                }
                _ => {}
            }
        }
        // It has no longer the form of a confirmation.
        Err(_) => assert!(errors.contains("it is no confirmation: "), "{tier} with {pointer} changed: {errors}"),
    }
}

/// The genuine ones are valid; every other one is refused.
pub(super) fn are_verified(genesis: &Path, confirmed: &[(&str, Value)]) {
    let dir = tempfile::tempdir().unwrap();
    for (tier, confirmation) in confirmed {
        let output = verify(genesis, &dir.path().join("genuine.json"), confirmation);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{tier}: {out}{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&answer["valid"], &answer["tier"]), (&json!(true), &confirmation["tier"]));
        let changes = changes(confirmation);
        std::thread::scope(|scope| {
            for (worker, share) in changes.chunks(changes.len().div_ceil(WORKERS)).enumerate() {
                let file = dir.path().join(format!("changed-{worker}.json"));
                scope.spawn(move || {
                    for (pointer, other) in share {
                        is_refused(genesis, &file, tier, pointer, other);
                    }
                });
            }
        });
        eprintln!("{tier}: {} changes refused", changes.len());
    }
}
