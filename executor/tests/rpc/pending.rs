//! The `pending` tag: what is secured, on the head's state.

use crate::{
    common::{STORER, deploy_code},
    reads::{BLOCK_READER, READER, word},
    rollup::Rollup,
};
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use serde_json::{Value, json};
use squad_executor::dev_accounts;

/// A loop that ends with the gas.
const BURNER: [u8; 3] = [0x5b, 0x5f, 0x56];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_shows_what_is_secured_and_says_so() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let raw = from.transfer(1516, 0, Address::ZERO, U256::ONE);
    let hash = rollup.result("eth_sendRawTransaction", json!([raw])).await;
    let pending = rollup.result("eth_getBlockByNumber", json!(["pending", false])).await;
    let latest = rollup.result("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(
        (&pending["number"], &pending["hash"], &pending["tier"]),
        (&json!("0x1"), &Value::Null, &json!("secured"))
    );
    assert_eq!(pending["parentHash"], latest["hash"]);
    assert_eq!(pending["transactions"], json!([hash]));
    let whole = rollup.result("eth_getBlockByNumber", json!(["pending", true])).await;
    assert_eq!(whole["transactions"][0]["from"], json!(from.address()));
    let count = rollup.result("eth_getBlockTransactionCountByNumber", json!(["pending"])).await;
    assert_eq!(count, "0x1");
    let first = rollup.result("eth_getTransactionByBlockNumberAndIndex", json!(["pending", "0x0"])).await;
    assert_eq!((&first["hash"], &first["blockHash"]), (&hash, &Value::Null));
    let listed = rollup.result("squad_pendingTransactions", json!([])).await;
    assert_eq!(listed[0]["hash"], hash);
    assert_eq!(rollup.result("eth_getRawTransactionByHash", json!([hash])).await, json!(raw));
    rollup.order(vec![raw]).await;
    let pending = rollup.result("eth_getBlockByNumber", json!(["pending", false])).await;
    assert_eq!((&pending["number"], &pending["transactions"]), (&json!("0x2"), &json!([])));
    rollup.stop().await.unwrap();
}

/// Asks under a tag. Calls run a reader in the place of what they call: it gives slot 0 and the caller's balance.
async fn ask(rollup: &Rollup, method: &str, params: &Value, tag: &str) -> Value {
    let mut params = params.as_array().unwrap().clone();
    params.push(json!(tag));
    if method == "eth_call" {
        let reader = json!({"code": format!("0x{}", hex::encode(READER))});
        params.push(json!({params[0]["to"].as_str().unwrap(): reader}));
    }
    let answer = rollup.result(method, Value::Array(params)).await;
    if method == "eth_createAccessList" { answer["accessList"].clone() } else { answer }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_and_calls_under_pending_see_what_is_secured_and_those_under_latest_do_not() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let (contract, to) = (from.address().create(0), Address::repeat_byte(9));
    let seven: Bytes = U256::from(7).to_be_bytes::<32>().into();
    let raws = vec![
        from.transact(1516, 0, TxKind::Create, U256::ZERO, deploy_code(&STORER), 200_000),
        from.transfer(1516, 1, to, U256::from(5)),
        from.transact(1516, 2, TxKind::Call(contract), U256::ZERO, seven, 100_000),
    ];
    for raw in &raws {
        rollup.result("eth_sendRawTransaction", json!([raw])).await;
    }
    let read = json!({"from": to, "to": contract});
    let store = json!({"from": from.address(), "to": contract, "data": format!("0x{}", word(9))});
    let cases = [
        ("eth_getCode", json!([contract]), json!(format!("0x{}", hex::encode(STORER))), json!("0x")),
        ("eth_getTransactionCount", json!([contract]), json!("0x1"), json!("0x0")),
        ("eth_getTransactionCount", json!([from.address()]), json!("0x3"), json!("0x0")),
        ("eth_getBalance", json!([to]), json!("0x5"), json!("0x0")),
        (
            "eth_getStorageAt",
            json!([contract, "0x0"]),
            json!(format!("0x{}", word(7))),
            json!(format!("0x{}", word(0))),
        ),
        (
            "eth_call",
            json!([read]),
            json!(format!("0x{}{}", word(7), word(5))),
            json!(format!("0x{}{}", word(0), word(0))),
        ),
        (
            "eth_createAccessList",
            json!([store]),
            json!([{"address": contract, "storageKeys": [format!("0x{}", word(0))]}]),
            json!([]),
        ),
    ];
    for (method, params, pending, latest) in &cases {
        assert_eq!(&ask(&rollup, method, params, "latest").await, latest, "{method} {params} latest");
        assert_eq!(&ask(&rollup, method, params, "pending").await, pending, "{method} {params} pending");
    }
    // Where there is no contract yet, the call only pays for its data.
    let gas = async |rollup: &Rollup, tag: &str| {
        let gas = ask(rollup, "eth_estimateGas", &json!([store]), tag).await;
        u64::from_str_radix(&gas.as_str().unwrap()[2..], 16).unwrap()
    };
    let foreseen = gas(&rollup, "pending").await;
    assert!(foreseen > gas(&rollup, "latest").await + 2_900, "{foreseen}");
    // Its state has no root, so nothing can be proved under it.
    let (code, message) = rollup.error("eth_getProof", json!([to, [], "pending"])).await;
    assert_eq!((code, message.contains("ask for latest")), (-32000, true), "{message}");

    rollup.order(raws).await;
    for (method, params, pending, _) in &cases {
        for tag in ["latest", "pending"] {
            assert_eq!(&ask(&rollup, method, params, tag).await, pending, "{method} {params} {tag}, ordered");
        }
    }
    assert_eq!(gas(&rollup, "latest").await, foreseen);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pending_block_foretells_the_ordered_one() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let create = from.transact(1516, 0, TxKind::Create, U256::ZERO, deploy_code(&BLOCK_READER), 200_000);
    let raws = vec![create, from.transfer(1516, 1, Address::repeat_byte(9), U256::ONE)];
    for raw in &raws {
        rollup.result("eth_sendRawTransaction", json!([raw])).await;
    }
    let pending = rollup.result("eth_getBlockByNumber", json!(["pending", false])).await;
    let vault = json!(["0x4200000000000000000000000000000000000019", "pending"]);
    let (fees, receipts) = (
        rollup.result("eth_getBalance", vault.clone()).await,
        rollup.result("eth_getBlockReceipts", json!(["pending"])).await,
    );
    // A call sees that block.
    let answer = rollup.result("eth_call", json!([{"to": from.address().create(0)}, "pending"])).await;
    let number = |name: &str| u64::from_str_radix(&pending[name].as_str().unwrap()[2..], 16).unwrap();
    let (seen, price) = (number("timestamp"), number("baseFeePerGas"));
    assert_eq!(answer, format!("0x{}{}{}{}", word(1), word(seen), word(price), word(0)));

    rollup.order(raws).await;
    let ordered = rollup.result("eth_getBlockByNumber", json!(["latest", false])).await;
    for field in [
        "number",
        "parentHash",
        "transactions",
        "transactionsRoot",
        "receiptsRoot",
        "logsBloom",
        "gasUsed",
        "gasLimit",
        "baseFeePerGas",
        "requestsHash",
    ] {
        assert_eq!(pending[field], ordered[field], "{field}");
    }
    assert_eq!(fees, rollup.result("eth_getBalance", vault).await);
    let mut known = rollup.result("eth_getBlockReceipts", json!(["latest"])).await;
    for receipt in known.as_array_mut().unwrap() {
        receipt["blockHash"] = Value::Null;
        receipt["tier"] = json!("secured");
    }
    assert_eq!(receipts, known);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_execute_or_does_not_fit_is_left_out() {
    let mut rollup = Rollup::start().await;
    let (poor, greedy) = (&dev_accounts()[0], &dev_accounts()[1]);
    let create = greedy.transact(1516, 0, TxKind::Create, U256::ZERO, deploy_code(&BURNER), 200_000);
    rollup.order(vec![create]).await;
    // Either can be paid, both cannot.
    let balance = rollup.result("eth_getBalance", json!([poor.address(), "latest"])).await;
    let most: U256 = balance.as_str().unwrap().parse::<U256>().unwrap() * U256::from(2) / U256::from(3);
    let burn = |nonce| {
        let contract = TxKind::Call(greedy.address().create(0));
        greedy.transact(1516, nonce, contract, U256::ZERO, Bytes::new(), 16_000_000)
    };
    let to = Address::repeat_byte(9);
    let raws = [poor.transfer(1516, 0, to, most), poor.transfer(1516, 1, to, most), burn(1), burn(2), burn(3)];
    for raw in &raws {
        rollup.result("eth_sendRawTransaction", json!([raw])).await;
    }
    let block = rollup.result("eth_getBlockByNumber", json!(["pending", false])).await;
    let fits = [0, 2, 3].map(|at| keccak256(&raws[at]));
    assert_eq!((&block["transactions"], &block["gasUsed"]), (&json!(fits), &json!(format!("{:#x}", 32_021_000))));
    assert_eq!(rollup.result("eth_getBlockTransactionCountByNumber", json!(["pending"])).await, "0x3");
    let third = rollup.result("eth_getTransactionByBlockNumberAndIndex", json!(["pending", "0x2"])).await;
    assert_eq!((&third["hash"], &third["tier"]), (&json!(fits[2]), &json!("secured")));
    let none = rollup.result("eth_getTransactionByBlockNumberAndIndex", json!(["pending", "0x3"])).await;
    assert_eq!(none, Value::Null);
    // All of them are still waited for, and the next nonces come after them.
    assert_eq!(rollup.result("squad_pendingTransactions", json!([])).await.as_array().unwrap().len(), 5);
    let count = |of: Address| json!([of, "pending"]);
    assert_eq!(rollup.result("eth_getTransactionCount", count(poor.address())).await, "0x2");
    assert_eq!(rollup.result("eth_getTransactionCount", count(greedy.address())).await, "0x4");
    rollup.stop().await.unwrap();
}
