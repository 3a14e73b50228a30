//! Sending: EIP-7966, and what is refused early.

use crate::rollup::{Held, Rollup};
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use serde_json::{Value, json};
use squad_executor::{Refusal, dev_accounts};
use squad_types::Tier;
use tokio::{sync::mpsc, task::JoinHandle};

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

/// Sends transfers with these nonces at once; the answers to come.
fn send_all<const N: usize>(rollup: &Rollup, nonces: [u64; N]) -> [JoinHandle<Value>; N] {
    let address = rollup.address;
    nonces.map(|nonce| {
        tokio::spawn(async move {
            crate::common::wallet::request(address, "eth_sendRawTransaction", json!([transfer(nonce)])).await
        })
    })
}

/// The next transaction that is handed over, which must be the transfer with this nonce, behind the one named.
async fn next(held: &mut mpsc::UnboundedReceiver<Held>, nonce: u64, after: Option<u64>) -> Held {
    let next = held.recv().await.unwrap();
    assert_eq!((&next.raw, &next.after), (&transfer(nonce), &after.map(transfer)), "{nonce} after {after:?}");
    next
}

async fn sent(answer: JoinHandle<Value>, nonce: u64) {
    assert_eq!(answer.await.unwrap()["result"], json!(keccak256(transfer(nonce))));
}

async fn refused(answer: JoinHandle<Value>, why: &str) {
    let answer = answer.await.unwrap();
    assert_eq!((&answer["error"]["code"], &answer["error"]["message"]), (&json!(-32000), &json!(why)), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_senders_transactions_leave_behind_each_other_before_any_is_answered() {
    let (mut rollup, mut held) = Rollup::start_held().await;
    let [third, first, second] = send_all(&rollup, [2, 0, 1]);
    let zero = next(&mut held, 0, None).await;
    let one = next(&mut held, 1, Some(0)).await;
    let two = next(&mut held, 2, Some(1)).await;
    // Answers may come in any order.
    two.answer(Ok(Tier::Secured));
    sent(third, 2).await;
    one.answer(Ok(Tier::Secured));
    zero.answer(Ok(Tier::Batched));
    sent(first, 0).await;
    sent(second, 1).await;
    // Until they are executed, answered ones come first wherever it goes: their operator may be gone.
    let [fourth] = send_all(&rollup, [3]);
    let three = next(&mut held, 3, None).await;
    assert_eq!(three.answered, [0, 1, 2].map(transfer));
    three.answer(Ok(Tier::Batched));
    sent(fourth, 3).await;
    rollup.order([0, 1].map(transfer).into()).await;
    let [fifth, again] = send_all(&rollup, [4, 3]);
    for _ in [3, 4] {
        let held = held.recv().await.unwrap();
        let answered: &[u64] = if held.raw == transfer(4) { &[2, 3] } else { &[2] };
        assert_eq!(held.answered, answered.iter().map(|nonce| transfer(*nonce)).collect::<Vec<_>>());
        held.answer(Ok(Tier::Secured));
    }
    sent(fifth, 4).await;
    // What is only batched may be sent again; what is secured is known.
    sent(again, 3).await;
    let [once_more] = send_all(&rollup, [3]);
    refused(once_more, "already known").await;
    rollup.order([2, 3, 4].map(transfer).into()).await;
    let [last] = send_all(&rollup, [5]);
    let five = next(&mut held, 5, None).await;
    assert!(five.answered.is_empty());
    five.answer(Ok(Tier::Secured));
    sent(last, 5).await;
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_is_refused_those_behind_it_are_not_taken_and_are_told_what_is_missing() {
    let (rollup, mut held) = Rollup::start_held().await;
    let [first, second, third] = send_all(&rollup, [0, 1, 2]);
    let sent_in_order =
        [next(&mut held, 0, None).await, next(&mut held, 1, Some(0)).await, next(&mut held, 2, Some(1)).await];
    let [zero, one, two] = sent_in_order;
    zero.answer(Err(Refusal::Rejected("never".into())));
    refused(first, "never").await;
    one.answer(Err(Refusal::OutOfTurn("0 is not here".into())));
    two.answer(Err(Refusal::OutOfTurn("1 is not here".into())));
    let missing = |nonce: u64| {
        format!("nonce too high: next nonce 0, tx nonce {nonce}; send the missing ones first, gaps are not kept")
    };
    refused(second, &missing(1)).await;
    refused(third, &missing(2)).await;
    // Nothing of them is left: sent again, they go as at first.
    let [first, second] = send_all(&rollup, [0, 1]);
    next(&mut held, 0, None).await.answer(Ok(Tier::Secured));
    sent(first, 0).await;
    held.recv().await.unwrap().answer(Ok(Tier::Secured));
    sent(second, 1).await;
    rollup.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_has_no_room_for_is_sent_again_in_order() {
    let (rollup, mut held) = Rollup::start_held().await;
    let [first, second, third] = send_all(&rollup, [0, 1, 2]);
    let zero = next(&mut held, 0, None).await;
    let one = next(&mut held, 1, Some(0)).await;
    let two = next(&mut held, 2, Some(1)).await;
    two.answer(Err(Refusal::OutOfTurn("1 is not here".into())));
    one.answer(Err(Refusal::Busy("full".into())));
    zero.answer(Ok(Tier::Secured));
    sent(first, 0).await;
    // Each waits for the answer to the one below now, so that any operator may take it.
    let one = next(&mut held, 1, None).await;
    assert!(held.try_recv().is_err(), "2 waits for 1");
    one.answer(Ok(Tier::Secured));
    sent(second, 1).await;
    next(&mut held, 2, None).await.answer(Err(Refusal::Busy("full".into())));
    refused(third, "busy: full").await;
    rollup.stop().await.unwrap();
}
