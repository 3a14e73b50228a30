//! Sending: EIP-7966, and what is refused early.

use crate::rollup::Rollup;
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use serde_json::{Value, json};
use squad_executor::dev_accounts;

fn transfer(nonce: u64) -> Bytes {
    dev_accounts()[0].transfer(1516, nonce, Address::repeat_byte(7), U256::ONE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_send_answers_with_the_receipt_and_may_be_repeated() {
    let mut rollup = Rollup::start().await;
    let raw = transfer(0);
    let address = rollup.address;
    let send = |raw: Bytes| {
        tokio::spawn(async move {
            crate::common::wallet::request(address, "eth_sendRawTransactionSync", json!([raw])).await
        })
    };
    let first = send(raw.clone());
    // Forwarded means that the first is under way; the second waits for the same receipt.
    assert_eq!(rollup.forwarded.recv().await.unwrap(), raw.0);
    let second = send(raw.clone());
    rollup.order(vec![raw.clone()]).await;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first["result"]["status"], "0x1", "{first}");
    assert_eq!(first["result"]["transactionHash"], json!(keccak256(&raw)));
    assert_eq!(first["result"], second["result"]);
    // Long after it was executed, too.
    let again = rollup.result("eth_sendRawTransactionSync", json!([raw, 100])).await;
    assert_eq!(again, first["result"]);
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_send_tells_time_out_gap_and_skip_apart() {
    let mut rollup = Rollup::start().await;
    let error = async |rollup: &Rollup, params: Value| {
        rollup.request("eth_sendRawTransactionSync", params).await["error"].clone()
    };
    let raw = transfer(0);
    let late = error(&rollup, json!([raw, "0x14"])).await;
    assert_eq!((&late["code"], &late["data"]), (&json!(4), &json!(keccak256(&raw))), "{late}");
    let gap = error(&rollup, json!([transfer(5)])).await;
    assert_eq!((&gap["code"], &gap["data"]), (&json!(6), &json!("0x1")), "{gap}");
    assert_eq!(error(&rollup, json!(["0x00"])).await["code"], -32000);
    assert_eq!(error(&rollup, json!([raw, "soon"])).await["code"], -32602);

    // Two transactions with one nonce: the second to be ordered is skipped.
    let address = rollup.address;
    let rival = dev_accounts()[0].transfer(1516, 0, Address::repeat_byte(8), U256::ONE);
    let sent = rival.clone();
    let waiting = tokio::spawn(async move {
        crate::common::wallet::request(address, "eth_sendRawTransactionSync", json!([sent])).await
    });
    rollup.forwarded.recv().await.unwrap();
    assert_eq!(rollup.forwarded.recv().await.unwrap(), rival.0);
    rollup.order(vec![raw, rival.clone()]).await;
    let skipped = waiting.await.unwrap()["error"].clone();
    assert_eq!((&skipped["code"], &skipped["data"]), (&json!(5), &json!(keccak256(&rival))), "{skipped}");
    assert!(skipped["message"].as_str().unwrap().contains("nonce"), "{skipped}");
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_execute_is_refused_before_it_is_forwarded() {
    let mut rollup = Rollup::start().await;
    let from = &dev_accounts()[0];
    let init = |size: usize| from.transact(1516, 0, TxKind::Create, U256::ZERO, vec![0; size].into(), 16_000_000);
    let (code, message) = rollup.error("eth_sendRawTransaction", json!([init(49_153)])).await;
    assert_eq!((code, message.contains("max initcode size exceeded")), (-32000, true), "{message}");
    let fits = rollup.result("eth_sendRawTransaction", json!([init(49_152)])).await;
    assert_eq!(fits, json!(keccak256(init(49_152))));
    assert_eq!(rollup.forwarded.recv().await.unwrap(), init(49_152).0);
    assert!(rollup.forwarded.try_recv().is_err());
    rollup.stop().await.unwrap();
}
