use super::{CHAIN_TIME, Served, WINDOW, refused};
use crate::api::view::{BlockView, ConfirmationView};
use crate::api::{RejectCode, Rejected};
use crate::config::Limits;
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, U256};
use jsonrpsee::core::client::ClientT;
use jsonrpsee::rpc_params;
use secp256k1::{Message, SECP256K1, SecretKey};
use serde_json::{Value, json};
use squad_client::TrustedCommittee;
use squad_types::{NamespaceBlock, Tier, Timestamp};
use std::time::Duration;

fn ethereum(chain_id: u64) -> Vec<u8> {
    let tx = TxEip1559 { chain_id, gas_limit: 21_000, max_fee_per_gas: 5, ..Default::default() };
    let key = SecretKey::from_byte_array([7; 32]).unwrap();
    let hash = Message::from_digest(tx.signature_hash().0);
    let (id, compact) = SECP256K1.sign_ecdsa_recoverable(hash, &key).serialize_compact();
    let (r, s) = (U256::from_be_slice(&compact[..32]), U256::from_be_slice(&compact[32..]));
    tx.into_signed(Signature::new(r, s, i32::from(id) == 1)).encoded_2718()
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn opaque(data: &str) -> Value {
    json!({ "namespace": "bytes", "data": data, "valid_until": CHAIN_TIME + 5 })
}

#[tokio::test]
async fn a_transaction_is_confirmed_at_the_tier_asked_for_and_the_confirmation_verifies() {
    let served = Served::new(Limits::default()).await;
    for (at, tier) in [Tier::Batched, Tier::Secured, Tier::Ordered].into_iter().enumerate() {
        let mut sent = opaque(&format!("0x0{at}"));
        sent["wait"] = json!(tier);
        let answer = served.call("", "squad_sendTransaction", &sent).await.unwrap();
        let view: ConfirmationView = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(view.tier, tier);
        let trusted = TrustedCommittee::from_genesis(&crate::api::Backend::genesis(&*served.node)).unwrap();
        squad_client::verify(&view.confirmation, &trusted, trusted.as_of()).unwrap();
        assert_eq!(served.call("", "squad_getConfirmation", view.id).await.unwrap(), answer);
    }
}

#[tokio::test]
async fn a_wallet_gets_ethereums_hash_of_what_it_sent() {
    let served = Served::new(Limits::default()).await;
    let tx = ethereum(1001);
    let answer = served.call("evm", "eth_sendRawTransaction", hex(&tx)).await.unwrap();
    assert_eq!(answer, json!(hex(&squad_types::hash::keccak256(&tx))));
    let client = served.client("evm");
    let chain: String = client.request("eth_chainId", rpc_params![]).await.unwrap();
    let version: String = client.request("net_version", rpc_params![]).await.unwrap();
    let program: String = client.request("web3_clientVersion", rpc_params![]).await.unwrap();
    assert_eq!((chain.as_str(), version.as_str()), ("0x3e9", "1001"));
    assert!(program.starts_with("squad/"));
}

#[tokio::test]
async fn every_refusal_at_the_gate_has_its_code() {
    let served = Served::new(Limits::default()).await;
    let evm = |data: &[u8]| json!({ "namespace": "evm", "data": hex(data) });
    let with = |mut value: Value, key: &str, to: Value| {
        value[key] = to;
        value
    };
    let mut high = ethereum(1001);
    let length = high.len();
    high[length - 32..].fill(0xff);
    let cases = [
        (with(opaque("0x01"), "namespace", json!("nowhere")), RejectCode::UnknownNamespace),
        (with(opaque("0x01"), "namespace", json!(99)), RejectCode::UnknownNamespace),
        (with(opaque("0x01"), "namespace", json!("shut")), RejectCode::ClosedNamespace),
        (opaque("01"), RejectCode::MalformedHex),
        (opaque("0x012"), RejectCode::MalformedHex),
        (opaque("0xgg"), RejectCode::MalformedHex),
        (opaque("0x"), RejectCode::Empty),
        (opaque(&hex(&[1; 64 * 1024 + 1])), RejectCode::TooLarge),
        (opaque(&hex(&[1; 128 * 1024 + 1])), RejectCode::TooLarge),
        (with(opaque("0x01"), "valid_until", Value::Null), RejectCode::ValidityMissing),
        (with(opaque("0x01"), "valid_until", json!(CHAIN_TIME + WINDOW + 1)), RejectCode::ValidityTooLong),
        (with(opaque("0x01"), "valid_until", json!(CHAIN_TIME)), RejectCode::Expired),
        (with(evm(&ethereum(1001)), "valid_until", json!(CHAIN_TIME + 1)), RejectCode::ValidityUnexpected),
        (with(opaque("0x01"), "wait", json!("confirmed")), RejectCode::MalformedParameter),
        (with(opaque("0x01"), "fee", json!(1)), RejectCode::MalformedParameter),
        (json!({ "namespace": "bytes" }), RejectCode::MalformedParameter),
        (json!(["0x01"]), RejectCode::MalformedParameter),
        (evm(&ethereum(1)), RejectCode::WrongChainId),
        (evm(&high), RejectCode::BadSignature),
        (evm(&[3, 0xc0]), RejectCode::BlobUnsupported),
        (evm(&[9]), RejectCode::TypeUnsupported),
        (evm(&[2, 0xc1]), RejectCode::MalformedRlp),
        (with(evm(&ethereum(1001)), "namespace", json!("club")), RejectCode::NotAllowed),
    ];
    for (sent, code) in cases {
        let (text, number, message) = refused(served.call("", "squad_sendTransaction", &sent).await);
        let shown: String = sent.to_string().chars().take(80).collect();
        assert_eq!((text.as_str(), number), (code.as_str(), code.number()), "{shown}: {message}");
        assert!(message.len() < 400, "{message}");
    }
    assert!(served.metrics.refused.with_label_values(&["malformed_hex"]).get() >= 3);
}

#[tokio::test]
async fn every_refusal_of_the_node_reaches_the_caller_with_its_code_and_time() {
    let served = Served::new(Limits::default()).await;
    for code in RejectCode::ALL {
        served.node.refuse(Rejected::new(*code, "because").retry_after(Duration::from_millis(70)));
        let outcome = served.call("", "squad_sendTransaction", opaque("0x01")).await;
        let Err(jsonrpsee::core::client::Error::Call(object)) = &outcome else { panic!("refused") };
        assert!(object.data().unwrap().get().contains("\"retry_after_ms\":70"));
        let (text, number, message) = refused(outcome);
        assert_eq!((text.as_str(), number, message.as_str()), (code.as_str(), code.number(), "because"));
    }
}

#[tokio::test]
async fn a_tier_that_is_not_reached_in_time_says_so() {
    let served = Served::new(Limits { wait_ms: 100, ..Default::default() }).await;
    let batched = served.call("", "squad_sendTransaction", opaque("0x01")).await.unwrap();
    let client = served.client("");
    let late = client.request::<Value, _>("squad_getConfirmation", rpc_params![&batched["id"], "ordered"]).await;
    let (code, _, message) = refused(late);
    assert_eq!(code, "timeout");
    assert!(message.contains(batched["id"].as_str().unwrap()) && message.contains("100 ms"), "{message}");
    let unknown = served.call("", "squad_getConfirmation", format!("0x{}", "77".repeat(32))).await;
    assert_eq!(refused(unknown).0, "not_found");
}

#[tokio::test]
async fn calls_with_wrong_parameters_name_the_parameter_and_the_value() {
    let served = Served::new(Limits::default()).await;
    let client = served.client("evm");
    let cases = [
        ("eth_sendRawTransaction", json!([]), "transaction"),
        ("eth_sendRawTransaction", json!([5]), "5"),
        ("eth_sendRawTransaction", json!(["0x01", "batched", 3]), "one too many"),
        ("squad_getConfirmation", json!(["0x12"]), "0x12"),
        ("squad_getBlock", json!(["bytes", "newest"]), "latest"),
        ("squad_getBlock", json!(["bytes", -1]), "-1"),
        ("squad_getHeader", json!([]), "height"),
        ("squad_status", json!([1]), "one too many"),
    ];
    for (method, params, expected) in cases {
        let list = params.as_array().unwrap().clone();
        let mut args = jsonrpsee::core::params::ArrayParams::new();
        list.into_iter().for_each(|value| args.insert(value).unwrap());
        let (code, number, message) = refused(client.request(method, args).await);
        assert_eq!((code.as_str(), number), ("malformed_parameter", -32602), "{method}: {message}");
        assert!(message.contains(expected), "{method}: {message}");
    }
}

#[tokio::test]
async fn ethereum_calls_need_an_ethereum_namespace_and_some_an_executor() {
    let served = Served::new(Limits::default()).await;
    assert_eq!(refused(served.call("", "eth_sendRawTransaction", "0x01").await).0, "unknown_namespace");
    assert_eq!(refused(served.call("bytes", "eth_sendRawTransaction", "0x01").await).0, "unknown_namespace");
    let balance = refused(served.call("evm", "eth_getBalance", "0x01").await);
    assert_eq!(balance.0, "executor_needed");
    assert!(balance.2.contains("[executors]"), "{}", balance.2);
    let before = served.node.order(b"x");
    let sync = served.call("evm", "eth_sendRawTransactionSync", hex(&ethereum(1001))).await;
    assert_eq!(refused(sync).0, "executor_needed");
    // Nothing was handed in.
    assert_eq!(*crate::api::Backend::tip(&*served.node).borrow(), before);
}

#[tokio::test]
async fn an_executor_answers_what_operators_cannot() {
    let mut module = jsonrpsee::RpcModule::new(());
    module.register_method("eth_getBalance", |params, _, _| params.one::<String>().unwrap()).unwrap();
    module
        .register_method("eth_call", |_, _, _| {
            let error = jsonrpsee::types::ErrorObjectOwned::owned(3, "execution reverted: no", Some("0x2a"));
            Err::<(), _>(error)
        })
        .unwrap();
    module
        .register_method("eth_getTransactionReceipt", |params, _, _| json!({ "for": params.one::<String>().unwrap() }))
        .unwrap();
    let executor = jsonrpsee::server::ServerBuilder::default().build(super::loopback()).await.unwrap();
    let url = format!("http://{}", executor.local_addr().unwrap());
    let running = executor.start(module);
    let served = Served::with_executors(Limits::default(), vec![("evm".into(), url)]).await;
    assert_eq!(served.call("evm", "eth_getBalance", "0x0a").await.unwrap(), json!("0x0a"));
    // Its refusals come through as they are: a wallet looks for code and data.
    match served.call("evm", "eth_call", json!({})).await.unwrap_err() {
        jsonrpsee::core::client::Error::Call(error) => {
            let data = error.data().map(|data| data.get());
            assert_eq!((error.code(), error.message(), data), (3, "execution reverted: no", Some("\"0x2a\"")));
        }
        other => panic!("{other}"),
    }
    let tx = ethereum(1001);
    let receipt = served.call("evm", "eth_sendRawTransactionSync", hex(&tx)).await.unwrap();
    assert_eq!(receipt["for"], json!(hex(&squad_types::hash::keccak256(&tx))));
    running.stop().unwrap();
    running.stopped().await;
    assert_eq!(refused(served.call("evm", "eth_getBalance", "0x0a").await).0, "executor_failed");
}

#[tokio::test]
async fn the_chain_can_be_read_height_by_height() {
    let served = Served::new(Limits::default()).await;
    let height = served.node.order(b"hello");
    let client = served.client("");
    let block: BlockView = client.request("squad_getBlock", rpc_params!["bytes", "latest"]).await.unwrap();
    assert_eq!(block.header.height, height);
    assert_eq!(block.transactions[0].data, hex(b"hello"));
    let block = NamespaceBlock::try_from(block).unwrap();
    let genesis = crate::api::Backend::genesis(&*served.node);
    let mut verifier = squad_client::BlockVerifier::from_genesis(&genesis, squad_types::NamespaceId(2)).unwrap();
    verifier.verify(block).unwrap();
    let header: Value = client.request("squad_getHeader", rpc_params![1]).await.unwrap();
    assert_eq!(header["header"]["height"], 1);
    assert_eq!(refused(client.request("squad_getHeader", rpc_params![2]).await).0, "not_found");
    let committee: Value = client.request("squad_getCommittee", rpc_params![0]).await.unwrap();
    assert_eq!(committee["members"].as_array().unwrap().len(), 4);
    let bytes = hex::decode(committee["bytes"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    assert_eq!(committee["hash"], hex(&squad_types::hash::keccak256(&bytes)));
    assert_eq!(squad_types::Decode::from_bytes(bytes.into()), Ok(genesis.committee().unwrap()));
    assert_eq!(refused(client.request("squad_getCommittee", rpc_params![7]).await).0, "not_found");
    let proof: String = client.request("squad_getCommitteeProof", rpc_params![1]).await.unwrap();
    assert!(proof.starts_with("0x"));
    served.node.prune(2);
    assert_eq!(refused(client.request("squad_getBlock", rpc_params!["bytes", 1]).await).0, "pruned");
}

#[tokio::test]
async fn the_node_tells_of_itself_and_its_network() {
    let served = Served::new(Limits::default()).await;
    let client = served.client("");
    let status: crate::api::NodeStatus = client.request("squad_status", rpc_params![]).await.unwrap();
    assert_eq!((status.chain_time, status.is_ready()), (Timestamp(CHAIN_TIME), true));
    let genesis: squad_types::Genesis = client.request("squad_genesis", rpc_params![]).await.unwrap();
    assert_eq!(genesis.network_id(), status.network_id);
    let namespaces: Vec<Value> = client.request("squad_namespaces", rpc_params![]).await.unwrap();
    assert_eq!(namespaces.len(), 4);
    let evidence: Vec<Value> = client.request("squad_evidence", rpc_params![]).await.unwrap();
    assert!(evidence.is_empty());
}

#[tokio::test]
async fn as_many_submissions_wait_as_the_limit_says() {
    let served = Served::new(Limits { pending_submissions: 1, wait_ms: 60_000, ..Default::default() }).await;
    served.node.silence();
    let client = served.client("");
    let waiting =
        tokio::spawn(
            async move { client.request::<Value, _>("squad_sendTransaction", rpc_params![opaque("0x01")]).await },
        );
    // The first holds the one place as soon as the node has it.
    while served.node.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let (code, _, _) = refused(served.call("", "squad_sendTransaction", opaque("0x02")).await);
    assert_eq!(code, "busy");
    // A node that goes down without an answer is said to.
    served.node.forget_waiting();
    assert_eq!(refused(waiting.await.unwrap()).0, "shutting_down");
}
