//! Every height once and in order, whatever the operators do.

use super::fake::{Fake, Then};
use super::{EVM, HEIGHTS, client, honest};
use squad_client::{BlockVerifier, ClientError, Subscription};
use squad_types::Height;
use std::time::Duration;

/// Reads heights `from` to `to`, which must come one by one.
async fn read(subscription: &mut Subscription, from: u64, to: u64) {
    for height in from..=to {
        let block = subscription.next().await.unwrap();
        assert_eq!(block.height(), Height(height));
        assert_eq!(block.transactions().len() as u64, height);
    }
}

#[tokio::test]
async fn a_stream_over_epochs_is_whole() {
    let fake = honest();
    let client = client(&[&fake], |_| {}).await;
    let mut subscription = client.subscribe(EVM, Height(1));
    read(&mut subscription, 1, HEIGHTS).await;
    assert_eq!((subscription.behind(), subscription.switches()), (0, 0));
}

#[tokio::test]
async fn a_start_in_the_middle_follows_the_committees_up_to_there() {
    let fake = honest();
    let client = client(&[&fake], |_| {}).await;
    read(&mut client.subscribe(EVM, Height(10)), 10, HEIGHTS).await;
    assert_eq!(fake.asked_from(), [10]);
}

#[tokio::test]
async fn a_dropped_stream_goes_on_at_the_next_height() {
    for then in [Then::End, Then::Break] {
        let fake = honest().sibling(|fake| (fake.per_call, fake.then) = (5, then));
        let client = client(&[&fake], |_| {}).await;
        let mut subscription = client.subscribe(EVM, Height(1));
        read(&mut subscription, 1, HEIGHTS).await;
        assert_eq!(fake.asked_from()[..3], [1, 6, 11], "{then:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_goes_on_in_another_client() {
    let fake = honest();
    let first = client(&[&fake], |_| {}).await;
    let mut subscription = first.resume(BlockVerifier::from_genesis(&fake.chain.genesis, EVM).unwrap());
    read(&mut subscription, 1, 6).await;
    let checkpoint = subscription.next().await.unwrap().checkpoint().clone();
    drop(subscription);
    let second = client(&[&fake], |_| {}).await;
    read(&mut second.resume(BlockVerifier::resume(checkpoint, EVM)), 8, HEIGHTS).await;
}

#[tokio::test]
async fn a_lying_operator_is_left_and_nothing_false_is_handed_out() {
    let honest = honest();
    type Lie = (&'static str, fn(&mut Fake));
    let lies: [Lie; 4] = [
        ("transactions", |fake| fake.forge = Some((6, |block| block.transactions[0].data = vec![0xff; 9].into()))),
        ("commit certificate", |fake| fake.forge = Some((6, |block| block.certificate.signatures.truncate(1)))),
        ("committee", |fake| fake.forge = Some((6, |block| block.header.committee_hash.0[0] ^= 1))),
        ("height", |fake| fake.gap = Some(6)),
    ];
    for (part, lie) in lies {
        let (liar, good) = (honest.sibling(lie), honest.sibling(|_| {}));
        let client = client(&[&liar, &good], |_| {}).await;
        let mut subscription = client.subscribe(EVM, Height(1));
        read(&mut subscription, 1, HEIGHTS).await;
        assert_eq!(good.asked_from(), [6], "{part}");
        assert_eq!((subscription.falsehoods(), subscription.switches()), (1, 1), "{part}");
        let health = &client.operators()[0];
        assert!(health.set_aside && health.last.contains(part), "{health:?}");
        // It stays aside for a new stream too.
        read(&mut client.subscribe(EVM, Height(1)), 1, 1).await;
        assert_eq!(liar.asked_from(), [1], "{part}");
    }
}

#[tokio::test]
async fn the_stream_ends_with_an_error_when_every_operator_lies() {
    let liar = honest().sibling(|fake| fake.gap = Some(3));
    let client = client(&[&liar, &liar.sibling(|_| {})], |_| {}).await;
    let mut subscription = client.subscribe(EVM, Height(1));
    read(&mut subscription, 1, 2).await;
    let error = subscription.next().await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Nobody { reasons, .. } if reasons.contains("block 4 came where block 3 is due")),
        "{error}"
    );
    assert_eq!(subscription.next().await, Err(ClientError::Ended));
}

#[tokio::test]
async fn operators_that_cannot_serve_are_passed_over_and_named() {
    let honest = honest();
    let pruned = honest.sibling(|fake| fake.refuse = Some(tonic::Code::OutOfRange));
    let both = client(&[&pruned, &honest], |_| {}).await;
    read(&mut both.subscribe(EVM, Height(1)), 1, HEIGHTS).await;
    let alone = client(&[&pruned], |_| {}).await;
    let error = alone.subscribe(EVM, Height(1)).next().await.unwrap_err();
    assert!(error.to_string().contains("OutOfRange"), "{error}");
}

#[tokio::test]
async fn an_operator_that_proves_to_lag_is_left() {
    let honest = honest();
    let lagging = honest.sibling(|fake| fake.upto = 4);
    let change = |config: &mut squad_client::ClientConfig| {
        (config.probe_interval, config.lag_heights) = (Duration::from_millis(20), 3);
    };
    let client = client(&[&lagging, &honest], change).await;
    let mut subscription = client.subscribe(EVM, Height(1));
    read(&mut subscription, 1, HEIGHTS).await;
    assert_eq!((lagging.asked_from(), honest.asked_from()), (vec![1], vec![5]));
    assert_eq!(subscription.falsehoods(), 0, "lagging is no lie");
}

#[tokio::test]
async fn a_silent_operator_is_left() {
    let honest = honest();
    let silent = honest.sibling(|fake| fake.upto = 3);
    let client = client(&[&silent, &honest], |config| config.stall = Duration::from_millis(300)).await;
    let mut subscription = client.subscribe(EVM, Height(1));
    read(&mut subscription, 1, HEIGHTS).await;
    assert_eq!(silent.asked_from()[0], 1);
    assert!(honest.asked_from().contains(&4));
}

#[tokio::test]
async fn an_operator_that_cannot_be_reached_is_passed_over() {
    let honest = honest();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = client(&[&honest], |config| config.operators.insert(0, nobody)).await;
    read(&mut client.subscribe(EVM, Height(1)), 1, HEIGHTS).await;
}

#[tokio::test]
async fn a_reader_that_waits_holds_the_operator_up_and_loses_nothing() {
    let fake = honest();
    let client = client(&[&fake], |_| {}).await;
    let mut subscription = client.subscribe(EVM, Height(1));
    read(&mut subscription, 1, 1).await;
    while subscription.highest_known() < 1 + squad_client::network::BUFFERED_BLOCKS as u64 {
        tokio::task::yield_now().await;
    }
    assert!(subscription.highest_known() <= 2 + squad_client::network::BUFFERED_BLOCKS as u64);
    read(&mut subscription, 2, HEIGHTS).await;
}
