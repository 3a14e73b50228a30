//! What may not be ordered is refused where it enters, with a stable code and a reason.

use super::devnet::{Devnet, send_bytes, validity};
use super::life::transfer;
use alloy_primitives::Address;
use serde_json::{Value, json};
use squad_executor::dev_accounts;
use squad_node::genesis::DEVNET_CHAIN_ID;

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
