//! Transactions get their answer, checked, whatever the operators do.

use super::fake::{Fake, Submissions};
use super::{EVM, client, honest};
use squad_client::network::{BulkOptions, BulkOutcome};
use squad_client::{ClientError, testing};
use squad_types::{Evidenced, Tier, Transaction};
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
    let client = client(&[&fake], |config| config.submit_timeout = Duration::from_millis(200)).await;
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
