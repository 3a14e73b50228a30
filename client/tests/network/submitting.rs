//! Transactions get their answer, checked, whatever the operators do.

use super::fake::{Fake, Submissions};
use super::{EVM, client, honest};
use squad_client::network::{BulkOptions, BulkOutcome};
use squad_client::{ClientError, testing};
use squad_types::{Evidenced, NamespaceId, Tier, Timestamp, Transaction};
use std::collections::BTreeSet;
use std::time::Duration;

fn with(submissions: Submissions) -> impl FnOnce(&mut Fake) {
    move |fake| fake.submissions = submissions
}

fn transaction() -> Transaction {
    testing::evm(EVM, vec![7; 40])
}

#[tokio::test]
async fn a_submission_ends_with_a_checked_confirmation() {
    let fake = honest();
    let client = client(&[&fake], |_| {}).await;
    let receipt = client.submit(&transaction(), Tier::Batched).await.unwrap();
    assert_eq!(receipt.id, transaction().id());
    assert!(matches!(receipt.confirmation.evidenced, Evidenced::Batched(_)));
    assert_eq!(receipt.operator, client.operators()[0].url);
}

#[tokio::test]
async fn busy_lying_and_silent_operators_are_passed_over() {
    let honest = honest();
    for submissions in [Submissions::Busy, Submissions::Lie, Submissions::EndAfter(0)] {
        let (bad, good) = (honest.sibling(with(submissions)), honest.sibling(|_| {}));
        let client = client(&[&bad, &good], |_| {}).await;
        let receipt = client.submit(&transaction(), Tier::Batched).await.unwrap();
        assert_eq!(receipt.operator, client.operators()[1].url, "{submissions:?}");
        assert_eq!(client.operators()[0].falsehoods, u64::from(submissions == Submissions::Lie));
        assert_eq!((bad.submitted(), good.submitted()), (1, 1), "{submissions:?}");
    }
}

#[tokio::test]
async fn a_confirmation_below_the_tier_waited_for_is_no_answer() {
    let fake = honest();
    let client = client(&[&fake], |_| {}).await;
    let error = client.submit(&transaction(), Tier::Ordered).await.unwrap_err();
    assert!(error.to_string().contains("only batched, not ordered"), "{error}");
}

#[tokio::test]
async fn a_final_refusal_is_handed_on_with_its_reason() {
    let fake = honest().sibling(with(Submissions::Refuse));
    let client = client(&[&fake, &fake.sibling(|_| {})], |_| {}).await;
    let error = client.submit(&transaction(), Tier::Batched).await.unwrap_err();
    assert!(matches!(&error, ClientError::Rejected { code, .. } if code == "too_large"), "{error}");
    assert_eq!(fake.submitted(), 1);
}

#[tokio::test]
async fn a_duplicate_is_waited_for_and_confirmed() {
    let fake = honest().sibling(with(Submissions::Duplicate));
    let client = client(&[&fake], |_| {}).await;
    let known = fake.blocks[1].namespace_block(EVM).transactions[0].clone();
    let receipt = client.submit(&known, Tier::Ordered).await.unwrap();
    assert_eq!(receipt.confirmation.tier(), Tier::Ordered);
}

#[tokio::test]
async fn a_submission_that_nobody_takes_times_out_and_says_why() {
    let fake = honest().sibling(with(Submissions::Busy));
    let client = client(&[&fake], |config| config.submit_timeout = Duration::from_secs(3)).await;
    let error = client.submit(&transaction(), Tier::Batched).await.unwrap_err();
    assert!(matches!(&error, ClientError::Timeout { last, .. } if last.contains("busy: made up")), "{error}");
}

#[tokio::test]
async fn bulk_submissions_get_one_answer_each_over_broken_calls() {
    const COUNT: u64 = 2_000;
    let honest = honest();
    let (breaks, good) = (honest.sibling(with(Submissions::EndAfter(700))), honest.sibling(|_| {}));
    let client = client(&[&breaks, &good], |config| config.back_off = Duration::from_secs(60)).await;
    let options = BulkOptions { namespace: EVM, wait: Tier::Batched, with_confirmation: false };
    let (mut sender, mut answers) = client.submit_stream(options);
    let sending = tokio::spawn(async move {
        for at in 0..COUNT {
            assert_eq!(sender.send(at.to_be_bytes().to_vec().into(), None).await.unwrap(), at);
        }
    });
    let mut answered = BTreeSet::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        assert!(matches!(answer.outcome, BulkOutcome::Accepted { tier: Tier::Batched, .. }));
        assert!(answered.insert(answer.id), "{} is answered twice", answer.id);
    }
    sending.await.unwrap();
    assert_eq!(answered.len() as u64, COUNT);
    assert_eq!(good.submitted() as u64, COUNT - 700);
}

#[tokio::test]
async fn an_operator_that_never_answers_is_passed_over_with_the_same_transaction() {
    let good = honest();
    let silent = good.sibling(with(Submissions::Silent));
    let client = client(&[&silent, &good], |config| config.submit_patience = Duration::from_secs(2)).await;
    let receipt = client.submit(&transaction(), Tier::Batched).await.unwrap();
    assert_eq!(receipt.operator, client.operators()[1].url);
    assert_eq!(*silent.submitted.lock().unwrap(), *good.submitted.lock().unwrap());
    assert_eq!(receipt.id, transaction().id());
}

#[tokio::test]
async fn one_operators_refusal_for_good_is_not_believed_if_another_takes_the_transaction() {
    let good = honest();
    let refuses = good.sibling(with(Submissions::Refuse));
    let both = client(&[&refuses, &good], |_| {}).await;
    assert!(both.submit(&transaction(), Tier::Batched).await.is_ok());
    assert_eq!((refuses.submitted(), good.submitted()), (1, 1));
}

#[tokio::test]
async fn what_was_ordered_while_its_answer_got_lost_is_no_refusal() {
    let honest = honest();
    let known = honest.blocks[1].namespace_block(EVM).transactions[0].clone();
    let (silent, late) = (honest.sibling(with(Submissions::EndAfter(0))), honest.sibling(with(Submissions::Expired)));
    let both = client(&[&silent, &late], |_| {}).await;
    let receipt = both.submit(&known, Tier::Ordered).await.unwrap();
    assert_eq!(receipt.confirmation.tier(), Tier::Ordered);
    // An unknown one was not ordered, and is too late.
    let error = both.submit(&transaction(), Tier::Ordered).await.unwrap_err();
    assert!(matches!(&error, ClientError::Rejected { code, .. } if code == "expired"), "{error}");
}

#[tokio::test]
async fn many_get_their_confirmations_in_the_order_in_which_they_were_given() {
    let good = honest();
    let busy = good.sibling(with(Submissions::Busy));
    let client = client(&[&busy, &good], |_| {}).await;
    let many: Vec<_> = (0..200_u8).map(|at| testing::evm(EVM, vec![at; 40])).collect();
    let receipts = client.submit_all(many.clone(), Tier::Batched).await;
    assert_eq!(receipts.len(), many.len());
    for (receipt, transaction) in receipts.into_iter().zip(many) {
        assert_eq!(receipt.unwrap().id, transaction.id());
    }
    assert_eq!(good.submitted(), 200);
}

#[tokio::test]
async fn bulk_transactions_that_were_taken_before_the_connection_broke_are_accepted_not_duplicates() {
    let honest = honest();
    let breaks = honest.sibling(with(Submissions::EndAfter(1)));
    let knows = honest.sibling(with(Submissions::Duplicate));
    let client = client(&[&breaks, &knows], |config| config.back_off = Duration::from_secs(60)).await;
    let options = BulkOptions { namespace: EVM, wait: Tier::Ordered, with_confirmation: false };
    let (mut sender, mut answers) = client.submit_stream(options);
    // All of one block, so that the second operator can prove that they were ordered.
    let known = honest.blocks[9].namespace_block(EVM).transactions;
    let count = known.len();
    for transaction in known {
        sender.send(transaction.data, None).await.unwrap();
    }
    drop(sender);
    let mut accepted = BTreeSet::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        assert!(matches!(answer.outcome, BulkOutcome::Accepted { .. }), "{answer:?}");
        assert!(accepted.insert(answer.id));
    }
    assert_eq!(accepted.len(), count);
}

#[tokio::test]
async fn a_few_operators_that_lie_about_chain_time_change_no_validity() {
    let honest = honest();
    let (slow, fast) = (honest.sibling(|fake| fake.chain_time = 1), honest.sibling(|fake| fake.chain_time = u64::MAX));
    let client = client(&[&slow, &honest, &fast, &honest.sibling(|_| {}), &honest.sibling(|_| {})], |_| {}).await;
    assert_eq!(client.chain_time().await.unwrap(), Timestamp(1_200));
    let transaction = client.opaque(NamespaceId(2), "hello", Duration::from_secs(5)).await.unwrap();
    assert_eq!(transaction.valid_until, Some(Timestamp(6_200)));
}

#[tokio::test]
async fn a_confirmation_is_had_from_whichever_operator_can_prove_it() {
    let honest = honest();
    let known = honest.blocks[5].namespace_block(EVM).transactions[2].clone();
    let ignorant = honest.sibling(|fake| fake.blocks = Vec::new().into());
    let client = client(&[&ignorant, &honest], |_| {}).await;
    let receipt = client.confirm(&known, Tier::Ordered).await.unwrap();
    assert_eq!(receipt.operator, client.operators()[1].url);
    let Evidenced::Ordered(ordered) = receipt.confirmation.evidenced else { panic!("not ordered") };
    assert_eq!((ordered.header.height.0, ordered.proof.index), (6, 2));
}

#[tokio::test]
async fn a_confirmation_that_nobody_can_prove_times_out() {
    let honest = honest();
    let client = client(&[&honest], |config| config.submit_timeout = Duration::from_millis(200)).await;
    let error = client.confirm(&transaction(), Tier::Ordered).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
}
