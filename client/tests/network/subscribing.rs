//! Every height once and in order, whatever the operators do.

use super::fake::{Fake, Then};
use super::{EVM, HEIGHTS, client, honest};
use squad_client::{BlockVerifier, Client, ClientConfig, ClientError, Subscription};
use squad_types::Height;
use std::time::Duration;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

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

#[tokio::test]
async fn staleness_tells_how_old_and_how_far_behind_the_reader_is() {
    let honest = honest();
    let lagging = honest.sibling(|fake| fake.upto = 4);
    let change = |config: &mut squad_client::ClientConfig| config.probe_interval = Duration::from_millis(20);
    let client = client(&[&lagging, &honest], change).await;
    let mut subscription = client.subscribe(EVM, Height(2));
    let monitor = subscription.monitor();
    let before = monitor.staleness();
    assert_eq!((before.height, before.age), (Height(1), None));
    read(&mut subscription, 2, 4).await;
    // The other operator proves its tip, though the one that is followed says nothing of it.
    while monitor.highest_known() < HEIGHTS {
        tokio::task::yield_now().await;
    }
    let stale = monitor.staleness();
    assert_eq!((stale.height, stale.behind), (Height(4), HEIGHTS - 4));
    assert_eq!(stale.operator, Some(client.operators()[0].url.clone()));
    // The fabricated network began a minute ago and made its blocks at once.
    assert!(stale.age.unwrap() > Duration::from_secs(50));
    assert!(stale.exceeds(Duration::from_secs(50)) && !stale.exceeds(Duration::from_secs(3_600)), "{stale:?}");
}

#[tokio::test]
async fn staleness_grows_and_names_nobody_while_no_operator_serves() {
    let gone = honest().sibling(|fake| (fake.upto, fake.then) = (3, Then::Break));
    let hours = |config: &mut ClientConfig| (config.back_off, config.max_back_off) = (NEVER, NEVER);
    let client = client(&[&gone], hours).await;
    let mut subscription = client.subscribe(EVM, Height(1));
    read(&mut subscription, 1, 3).await;
    while subscription.staleness().operator.is_some() {
        tokio::task::yield_now().await;
    }
    let first = subscription.staleness();
    while subscription.staleness().silent == first.silent {
        tokio::task::yield_now().await;
    }
    assert!(subscription.staleness().silent > first.silent);
    assert_eq!((first.height, first.behind, subscription.switches()), (Height(3), 0, 1));
}

#[tokio::test]
async fn a_client_starts_from_a_pinned_committee_and_leaves_who_serves_another() {
    let honest = honest();
    let proof = honest.blocks.iter().filter_map(squad_client::testing::TestBlock::committee_proof).nth(1).unwrap();
    let members = squad_types::Committee::new(proof.header.epoch.next(), proof.members.clone()).unwrap();
    let network = honest.chain.genesis.network_id();
    let pin = squad_client::TrustedCommittee::new(network, members, proof.header.timestamp).pin();
    let liar = honest.sibling(|fake| fake.other_members = true);
    let urls = [liar.serve().await, honest.serve().await];
    let client = Client::from_pin(ClientConfig::new(urls), &pin).await.unwrap();
    assert_eq!(client.operators()[0].falsehoods, 1, "{:?}", client.operators());
    // Epoch 2 begins at height 8.
    read(&mut client.subscribe(EVM, Height(9)), 9, HEIGHTS).await;
    // The first committee comes with the genesis.
    let first = squad_client::TrustedCommittee::from_genesis(&honest.chain.genesis).unwrap().pin();
    let client = Client::from_pin(ClientConfig::new([honest.serve().await]), &first).await.unwrap();
    read(&mut client.subscribe(EVM, Height(1)), 1, HEIGHTS).await;
    let alone = Client::from_pin(ClientConfig::new([liar.serve().await]), &pin).await.unwrap_err();
    assert!(matches!(&alone, ClientError::Nobody { reasons, .. } if reasons.contains("pinned")), "{alone}");
    let old = squad_client::Pin { as_of: squad_types::Timestamp(1), ..pin };
    let stale = Client::from_pin(ClientConfig::new([honest.serve().await]), &old).await.unwrap_err();
    assert!(matches!(stale, ClientError::Trust(squad_client::TrustError::Stale { .. })), "{stale}");
}
