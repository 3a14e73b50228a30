//! Frames and hellos of the network, and the forms that clients, wallets and operators write.

use super::network;
use prost::Message as _;
use squad_client::{TrustedCommittee, proto, verify};
use squad_net::{Class, decode_answer, decode_exchange, decode_frame, decode_hello};
use squad_net::{encode_answer, encode_exchange, encode_hello};
use squad_types::{Confirmation, EcdsaVerifier, Evidence, Genesis};

pub(super) fn frame(bytes: &[u8]) {
    for class in Class::ALL {
        if let Ok(Some((channel, payload, rest))) = decode_frame(bytes, class) {
            assert!(payload.len() <= channel.max_bytes(), "a frame is over its channel's limit");
            assert!(payload.len() + rest.len() < bytes.len(), "a frame holds more than was sent");
        }
    }
}

pub(super) fn hello(bytes: &[u8]) {
    if let Ok(hello) = decode_hello(bytes) {
        assert_eq!(encode_hello(&hello), bytes, "a hello has two encodings");
    }
}

pub(super) fn answer(bytes: &[u8]) {
    if let Ok(answer) = decode_answer(bytes) {
        assert_eq!(encode_answer(&answer), bytes, "an answer has two encodings");
    }
}

pub(super) fn exchange(bytes: &[u8]) {
    if let Ok(entries) = decode_exchange(bytes) {
        assert_eq!(encode_exchange(&entries), bytes, "a peer exchange has two encodings");
    }
}

pub(super) fn genesis_json(bytes: &[u8]) {
    if let Ok(genesis) = serde_json::from_slice::<Genesis>(bytes) {
        let _ = genesis.check();
        genesis.network_id();
    }
}

pub(super) fn confirmation_json(bytes: &[u8]) {
    let Ok(confirmation) = serde_json::from_slice::<Confirmation>(bytes) else { return };
    if let Ok(trusted) = TrustedCommittee::from_genesis(&network().genesis) {
        let _ = verify(&confirmation, &trusted, network().genesis.time);
    }
}

pub(super) fn evidence_json(bytes: &[u8]) {
    if let Ok(evidence) = serde_json::from_slice::<Evidence>(bytes) {
        let _ = evidence.verify(&network().domain, &EcdsaVerifier);
    }
}

pub(super) fn trusted_committee_json(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(trusted) = TrustedCommittee::from_json(text)
    {
        let _ = trusted.check_fresh(squad_types::Timestamp(1));
    }
}

pub(super) fn grpc_messages(bytes: &[u8]) {
    let _ = proto::SubscribeRequest::decode(bytes);
    let _ = proto::SubmitRequest::decode(bytes);
    let _ = proto::ConfirmationRequest::decode(bytes);
    let _ = proto::SubmitReply::decode(bytes);
    let _ = proto::StatusReply::decode(bytes);
    if let Ok(message) = proto::BlockMessage::decode(bytes) {
        super::wire::namespace_block(&message.block);
    }
}

/// What an operator checks where a wallet's transaction enters.
pub(super) fn evm_admission(bytes: &[u8]) {
    let admitted = squad_node::evm::check(bytes, 1);
    let executable = squad_executor::SenderTransaction::decode(bytes, 1);
    // What is admitted must be executable bytes, or a wallet is told "accepted" for something that is always skipped.
    if let (Ok(facts), Err(reason)) = (&admitted, &executable) {
        panic!("admitted from {} but never executable: {reason}", facts.sender);
    }
}

/// What an executor reads out of an ordered block.
pub(super) fn evm_execution(bytes: &[u8]) {
    let _ = squad_executor::SenderTransaction::decode(bytes, 1);
}

pub(super) fn hex_text(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = squad_node::api::entry::decode_hex(text, "transaction");
    }
}

pub(super) fn config_toml(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = toml::from_str::<squad_node::config::FileConfig>(text);
    }
}

pub(super) fn keystore_json(bytes: &[u8]) {
    if let Ok(keystore) = serde_json::from_slice::<squad_node::keystore::Keystore>(bytes) {
        let _ = keystore.address();
    }
}
