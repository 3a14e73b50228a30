//! Everything that reads: blocks, state, overrides, access lists, fees.

use crate::{
    common::{LOGGER, REVERTER, STORER, deploy_code},
    rollup::Rollup,
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_trie::{Nibbles, TrieAccount};
use serde_json::{Value, json};
use squad_executor::dev_accounts;

/// `mstore(0, sload(0)); mstore(32, balance(caller)); return(0, 64)`
pub(crate) const READER: [u8; 15] =
    [0x5f, 0x54, 0x5f, 0x52, 0x33, 0x31, 0x60, 0x20, 0x52, 0x60, 0x40, 0x5f, 0xf3, 0x00, 0x00];

/// `mstore(0, number); mstore(32, timestamp); mstore(64, basefee); mstore(96, coinbase); return(0, 128)`
pub(crate) const BLOCK_READER: [u8; 21] = [
    0x43, 0x5f, 0x52, 0x42, 0x60, 0x20, 0x52, 0x48, 0x60, 0x40, 0x52, 0x41, 0x60, 0x60, 0x52, 0x60, 0x80, 0x5f, 0xf3,
    0x00, 0x00,
];

pub(crate) fn word(value: u64) -> String {
    format!("{value:064x}")
}

/// A rollup with one contract and the address of it.
async fn with_contract(code: &[u8]) -> (Rollup, Address) {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    rollup.order(vec![from.transact(1516, 0, TxKind::Create, U256::ZERO, deploy_code(code), 200_000)]).await;
    let contract = from.address().create(0);
    (rollup, contract)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_found_by_hash_and_by_both_kinds_of_place() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let raws: Vec<_> = (0..2).map(|nonce| from.transfer(1516, nonce, Address::ZERO, U256::ONE)).collect();
    rollup.order(raws.clone()).await;
    let hash = keccak256(&raws[1]);
    let found = rollup.result("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(found["transactionIndex"], "0x1");
    let place = json!(["latest", "0x1"]);
    assert_eq!(rollup.result("eth_getTransactionByBlockNumberAndIndex", place).await, found);
    let place = json!([found["blockHash"], "0x1"]);
    assert_eq!(rollup.result("eth_getTransactionByBlockHashAndIndex", place).await, found);
    let beyond = json!([found["blockHash"], "0x2"]);
    assert_eq!(rollup.result("eth_getTransactionByBlockHashAndIndex", beyond).await, Value::Null);
    assert_eq!(rollup.result("eth_getRawTransactionByHash", json!([hash])).await, json!(raws[1]));
    for (method, block, wanted) in [
        ("eth_getBlockTransactionCountByNumber", json!("0x1"), json!("0x2")),
        ("eth_getBlockTransactionCountByNumber", json!("earliest"), json!("0x0")),
        ("eth_getBlockTransactionCountByHash", found["blockHash"].clone(), json!("0x2")),
        ("eth_getUncleCountByBlockNumber", json!("safe"), json!("0x0")),
        ("eth_getUncleCountByBlockHash", found["blockHash"].clone(), json!("0x0")),
        ("eth_getUncleCountByBlockHash", json!(B256::ZERO), Value::Null),
    ] {
        assert_eq!(rollup.result(method, json!([block])).await, wanted, "{method}");
    }
    let block = rollup.result("eth_getBlockByNumber", json!(["finalized", true])).await;
    assert_eq!(block["transactions"][1], found);
    assert_eq!(block.get("tier"), None);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_overridden_accounts_and_forgets_them() {
    let (rollup, contract) = with_contract(&READER).await;
    let caller = Address::repeat_byte(9);
    let call = json!({"from": caller, "to": contract});
    let run = async |overrides: Value| rollup.result("eth_call", json!([call, "latest", overrides])).await;
    let plain = rollup.result("eth_call", json!([call, "latest"])).await;
    assert_eq!(plain, format!("0x{}{}", word(0), word(0)));
    let zero = format!("0x{}", word(0));
    let both = json!({contract.to_string(): {"stateDiff": {&zero: format!("0x{}", word(5))}}, caller.to_string(): {"balance": "0x7"}});
    assert_eq!(run(both).await, format!("0x{}{}", word(5), word(7)));
    let whole = json!({contract.to_string(): {"state": {format!("0x{}", word(1)): format!("0x{}", word(5))}}});
    assert_eq!(run(whole).await, format!("0x{}{}", word(0), word(0)));
    // Code where there was none: `mstore(0, 1); return(0, 32)`.
    let elsewhere = Address::repeat_byte(8);
    let code = json!({elsewhere.to_string(): {"code": "0x60015f5260205ff3"}});
    let answer = rollup.result("eth_call", json!([{"to": elsewhere}, "latest", code])).await;
    assert_eq!(answer, format!("0x{}", word(1)));
    assert_eq!(rollup.result("eth_call", json!([call, "latest"])).await, plain);
    let both = json!({contract.to_string(): {"state": {}, "stateDiff": {}}});
    assert_eq!(rollup.error("eth_call", json!([call, "latest", both])).await.0, -32602);
    // Enough to pay for the gas only by an override.
    let paying = json!({"from": caller, "to": elsewhere, "value": "0x1"});
    assert_eq!(rollup.error("eth_estimateGas", json!([paying])).await.0, -32000);
    let rich = json!({caller.to_string(): {"balance": "0xde0b6b3a7640000"}});
    assert_eq!(rollup.result("eth_estimateGas", json!([paying, "latest", rich])).await, "0x5208");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_sees_an_overridden_block() {
    let (rollup, contract) = with_contract(&BLOCK_READER).await;
    let block = json!({"number": "0x64", "time": "0x65", "baseFeePerGas": "0x66", "feeRecipient": Address::with_last_byte(0x67)});
    let answer = rollup.result("eth_call", json!([{"to": contract}, "latest", {}, block])).await;
    assert_eq!(answer, format!("0x{}{}{}{}", word(0x64), word(0x65), word(0x66), word(0x67)));
    let unknown = json!([{"to": contract}, "latest", {}, {"blobBaseFee": "0x1"}]);
    assert_eq!(rollup.error("eth_call", unknown).await.0, -32602);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_on_the_state_of_the_block_that_they_name() {
    let (mut rollup, contract) = with_contract(&READER).await;
    let from = &dev_accounts()[0];
    let before = rollup.result("eth_getBlockByNumber", json!(["latest", false])).await;
    rollup.order(vec![from.transfer(1516, 1, Address::repeat_byte(9), U256::from(3))]).await;
    let call = json!({"from": Address::repeat_byte(9), "to": contract});
    for (block, balance) in [
        (json!("latest"), 3),
        (json!("pending"), 3),
        (json!("0x1"), 0),
        (json!({"blockHash": before["hash"], "requireCanonical": true}), 0),
        (json!({"blockNumber": "0x2"}), 3),
        (before["hash"].clone(), 0),
    ] {
        let answer = rollup.result("eth_call", json!([call, block])).await;
        assert_eq!(answer, format!("0x{}{}", word(0), word(balance)), "{block}");
    }
    // There was no contract yet.
    assert_eq!(rollup.result("eth_call", json!([call, "earliest"])).await, "0x");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_slots_are_proved_under_the_root_of_their_block() {
    let (mut rollup, contract) = with_contract(&STORER).await;
    let from = &dev_accounts()[0];
    for (nonce, value) in [(1, 7u64), (2, 9)] {
        let data: Bytes = U256::from(value).to_be_bytes::<32>().into();
        rollup.order(vec![from.transact(1516, nonce, TxKind::Call(contract), U256::ZERO, data, 100_000)]).await;
    }
    for (block, value) in [("0x2", 7u64), ("latest", 9)] {
        let header = rollup.result("eth_getBlockByNumber", json!([block, false])).await;
        let root: B256 = serde_json::from_value(header["stateRoot"].clone()).unwrap();
        let proof = rollup.result("eth_getProof", json!([contract, ["0x0", format!("0x{}", word(1))], block])).await;
        let storage_root: B256 = serde_json::from_value(proof["storageHash"].clone()).unwrap();
        let code_hash: B256 = serde_json::from_value(proof["codeHash"].clone()).unwrap();
        assert_eq!((&proof["nonce"], &proof["balance"]), (&json!("0x1"), &json!("0x0")));
        let leaf = TrieAccount { nonce: 1, balance: U256::ZERO, storage_root, code_hash };
        verify(root, keccak256(contract), Some(alloy_rlp::encode(leaf)), &proof["accountProof"]);
        let slots = &proof["storageProof"];
        assert_eq!((&slots[0]["key"], &slots[0]["value"]), (&json!("0x0"), &json!(format!("{value:#x}"))));
        verify(storage_root, keccak256(B256::ZERO), Some(alloy_rlp::encode(value)), &slots[0]["proof"]);
        assert_eq!((&slots[1]["key"], &slots[1]["value"]), (&json!(format!("0x{}", word(1))), &json!("0x0")));
        verify(storage_root, keccak256(B256::with_last_byte(1)), None, &slots[1]["proof"]);
    }
    let nobody = Address::repeat_byte(0x77);
    let header = rollup.result("eth_getBlockByNumber", json!(["latest", false])).await;
    let root: B256 = serde_json::from_value(header["stateRoot"].clone()).unwrap();
    let proof = rollup.result("eth_getProof", json!([nobody, [], "latest"])).await;
    verify(root, keccak256(nobody), None, &proof["accountProof"]);
    assert_eq!(rollup.error("eth_getProof", json!([nobody, ["zero"], "latest"])).await.0, -32602);
    assert_eq!(rollup.error("eth_getProof", json!([nobody, [], "0x99"])).await.0, -32000);
    rollup.stop().await.unwrap();
}

fn verify(root: B256, key: B256, value: Option<Vec<u8>>, proof: &Value) {
    let nodes: Vec<Bytes> = serde_json::from_value(proof.clone()).unwrap();
    alloy_trie::proof::verify_proof(root, Nibbles::unpack(key), value, &nodes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_list_names_what_a_call_touches_and_is_priced_in() {
    let (rollup, contract) = with_contract(&STORER).await;
    let from = dev_accounts()[0].address();
    let call = json!({"from": from, "to": contract, "data": format!("0x{}", word(7))});
    let answer = rollup.result("eth_createAccessList", json!([call, "latest"])).await;
    let slot = format!("0x{}", word(0));
    assert_eq!(answer["accessList"], json!([{"address": contract, "storageKeys": [slot]}]));
    assert_eq!(answer.get("error"), None);
    let mut listed = call.clone();
    listed["accessList"] = answer["accessList"].clone();
    let estimate = rollup.result("eth_estimateGas", json!([listed])).await;
    assert!(answer["gasUsed"].as_str().unwrap() <= estimate.as_str().unwrap(), "{answer} {estimate}");
    let transfer = json!([{"from": from, "to": Address::repeat_byte(5), "value": "0x1"}]);
    let plain = rollup.result("eth_createAccessList", transfer).await;
    assert_eq!(plain, json!({"accessList": [], "gasUsed": "0x5208"}));
    let code = json!({contract.to_string(): {"code": format!("0x{}", hex::encode(REVERTER))}});
    let failed = rollup.result("eth_createAccessList", json!([{"to": contract}, "latest", code])).await;
    assert_eq!(failed["error"], "execution reverted");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fee_history_covers_what_there_is() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    for nonce in 0..3 {
        rollup.order(vec![from.transfer(1516, nonce, Address::ZERO, U256::ONE)]).await;
    }
    let fees = rollup.result("eth_feeHistory", json!([2, "latest", [0, 100]])).await;
    assert_eq!(fees["oldestBlock"], "0x2");
    for (name, count) in
        [("baseFeePerGas", 3), ("gasUsedRatio", 2), ("reward", 2), ("baseFeePerBlobGas", 3), ("blobGasUsedRatio", 2)]
    {
        assert_eq!(fees[name].as_array().unwrap().len(), count, "{name}");
    }
    let all = rollup.result("eth_feeHistory", json!(["0x400", "pending"])).await;
    assert_eq!(all["baseFeePerGas"].as_array().unwrap().len(), 5);
    assert_eq!(all.get("reward"), None);
    for bad in [json!(["0x1", "latest", [5, 1]]), json!(["0x1", "latest", [101]]), json!(["0x1", "latest", ["a"]])] {
        assert_eq!(rollup.error("eth_feeHistory", bad).await.0, -32602);
    }
    assert_eq!(rollup.error("eth_feeHistory", json!(["0x1", "0x63"])).await.0, -32000);
    assert_eq!(rollup.result("eth_blobBaseFee", json!([])).await, "0x1");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_a_block_count_logs_through() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let create = from.transact(1516, 0, TxKind::Create, U256::ZERO, deploy_code(&LOGGER), 200_000);
    let contract = TxKind::Call(from.address().create(0));
    let call = |nonce| from.transact(1516, nonce, contract, U256::ZERO, Bytes::new(), 100_000);
    rollup.order(vec![create, call(1), call(2)]).await;
    let receipts = rollup.result("eth_getBlockReceipts", json!(["latest"])).await;
    assert_eq!(receipts[1]["logs"][0]["logIndex"], "0x0");
    assert_eq!(receipts[2]["logs"][0]["logIndex"], "0x1");
    for receipt in receipts.as_array().unwrap() {
        let single = rollup.result("eth_getTransactionReceipt", json!([receipt["transactionHash"]])).await;
        assert_eq!(&single, receipt);
    }
    assert_eq!(rollup.result("eth_getBlockReceipts", json!(["0x63"])).await, Value::Null);
    rollup.stop().await.unwrap();
}
