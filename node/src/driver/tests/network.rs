//! Four operators over loopback.

use super::reporter::{contradiction, hold};
use super::*;
use squad_types::Evidenced;

#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_order_and_confirm_at_every_tier_and_one_that_was_away_catches_up() {
    let mut cluster = Cluster::start(4).await;
    for number in 0..4 {
        cluster.ready(number).await;
    }
    for (number, tier) in [(0, Tier::Batched), (1, Tier::Secured), (2, Tier::Ordered), (3, Tier::Ordered)] {
        let accepted = cluster.submit(number, &format!("to {tier} by {number}"), tier).await.unwrap();
        assert!(accepted.tier >= tier);
        assert_eq!(accepted.confirmation.unwrap().tier(), accepted.tier);
    }
    for number in 0..4 {
        cluster.reach(number, Height(20)).await;
    }
    cluster.stop_node(2).await;
    let accepted = cluster.submit(0, "while one is away", Tier::Ordered).await.unwrap();
    let confirmation = accepted.confirmation.unwrap();
    let Evidenced::Ordered(ordered) = &confirmation.evidenced else { panic!("not ordered") };
    cluster.start_node(2).await;
    cluster.reach(2, ordered.header.height).await;
    cluster.ready(2).await;
    let late = cluster.submit(2, "by the one that is back", Tier::Ordered).await.unwrap();
    assert_eq!(late.tier, Tier::Ordered);
    let found = cluster.backend(2).confirmation(accepted.id, None).await.unwrap().unwrap();
    assert_eq!(found.tier(), Tier::Ordered);

    // Everybody serves the same blocks, from memory or, after a start, from disk.
    let height = ordered.header.height;
    let expected = cluster.backend(0).namespace_block(BYTES, height).await.unwrap().unwrap();
    assert!(!expected.transactions.is_empty());
    cluster.stop_node(0).await;
    cluster.start_node(0).await;
    for number in 0..4 {
        let block = cluster.backend(number).namespace_block(BYTES, height).await.unwrap().unwrap();
        assert_eq!((&block.header, &block.transactions), (&expected.header, &expected.transactions));
    }
    let first = cluster.backend(0).namespace_block(BYTES, Height(1)).await.unwrap().unwrap();
    assert_eq!(first.header.height, Height(1));
    assert!(cluster.backend(0).namespace_block(BYTES, Height(u64::MAX)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_come_after_another_is_taken_only_where_that_one_is() {
    let cluster = Cluster::start(4).await;
    for number in 0..4 {
        cluster.ready(number).await;
    }
    let refused = async |number: u8, after: TxId| {
        let refusal = cluster.submit_after(number, "behind", Tier::Batched, Some(after)).await.unwrap_err();
        assert_eq!(refusal.code, RejectCode::OutOfTurn, "{refusal:?}");
        assert!(refusal.reason.contains(&after.to_string()), "{refusal:?}");
    };
    refused(0, TxId([7; 32])).await;
    let first = cluster.submit(0, "first", Tier::Batched).await.unwrap();
    let second = cluster.submit_after(0, "second", Tier::Batched, Some(first.id)).await.unwrap();
    // Batched or ordered by now, it counts at its operator.
    let third = cluster.submit_after(0, "third", Tier::Ordered, Some(second.id)).await.unwrap();
    assert_eq!(third.tier, Tier::Ordered);
    // Another operator knows of it as soon as it has the block.
    let confirmation = third.confirmation.unwrap();
    let Evidenced::Ordered(ordered) = &confirmation.evidenced else { panic!("not ordered") };
    cluster.reach(1, ordered.header.height).await;
    let elsewhere = cluster.submit_after(1, "elsewhere", Tier::Batched, Some(third.id)).await.unwrap();
    assert!(elsewhere.tier >= Tier::Batched);
    refused(1, TxId([8; 32])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_together_is_batched_together_and_each_is_answered() {
    let cluster = Cluster::start(4).await;
    for number in 0..4 {
        cluster.ready(number).await;
    }
    let plain = |data| cluster.submission(0, data, Tier::Batched);
    let (first, second) = (plain("first"), plain("second"));
    let id = |of: &Submission| {
        let (namespace, valid_until, data) = (of.namespace, of.valid_until, of.data.clone());
        squad_types::Transaction { namespace, valid_until, hint: None, data }.id()
    };
    let behind = |data, after| Submission { after: Some(after), ..plain(data) };
    let (lost, found) = (behind("lost", TxId([7; 32])), behind("found", id(&second)));
    let all = [first.clone(), second.clone(), first.clone(), lost, found.clone()];
    let answers = cluster.submit_all(0, all.into()).await;
    let refused = |at: usize| answers[at].outcome.as_ref().err().map(|refusal| refusal.code);
    assert_eq!((refused(1), refused(3), refused(4)), (None, Some(RejectCode::OutOfTurn), None));
    // Of one that comes twice, either counts.
    let repeats = [refused(0), refused(2)];
    assert!(repeats.contains(&None) && repeats.contains(&Some(RejectCode::Duplicate)), "{repeats:?}");
    let accepted = |at: usize| answers[at].outcome.clone().unwrap();
    let once = accepted(if repeats[0].is_none() { 0 } else { 2 });
    assert_eq!([once.id, accepted(1).id, accepted(4).id], [id(&first), id(&second), id(&found)]);
    let batch = |accepted: Accepted| match accepted.confirmation.unwrap().evidenced {
        Evidenced::Batched(batched) => batched.header,
        other => panic!("not batched: {other:?}"),
    };
    assert_eq!(batch(once), batch(accepted(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_reaches_a_node_that_was_away_when_it_went_round() {
    let mut cluster = Cluster::start(4).await;
    for number in 0..4 {
        cluster.ready(number).await;
    }
    cluster.stop_node(2).await;
    hold(&cluster, 0, &contradiction(&cluster.genesis, 3), 3);
    let proofs = |number: u8| cluster.backend(number).metrics.evidence.get();
    cluster.becomes("a proof goes round", || proofs(0) == 1 && proofs(1) == 1).await;
    cluster.start_node(2).await;
    let backend = cluster.backend(2);
    cluster.becomes("it is asked for", || backend.metrics.evidence.get() == 1).await;
}
