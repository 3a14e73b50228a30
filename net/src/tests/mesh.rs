//! Discovery, gossip and who is told what.

use super::*;
use crate::{Announce, Topic, Verdict};

#[tokio::test]
async fn a_mesh_of_five_with_one_bootstrap_discovers_all() {
    let nodes = committee(5).await;
    for node in &nodes {
        assert_eq!(node.handle.peers().len(), 4);
        let sent = node.handle.send_committee(Channel::Vote, Bytes::from_static(b"vote")).unwrap();
        assert_eq!((sent.direct, sent.missing, sent.gossiped), (4, 0, false));
    }
}

#[tokio::test]
async fn gossip_reaches_everybody_that_accepts_it_and_stops_at_rejection() {
    // A line: 1 - 2 - 3, so that 3 hears 1 only through 2.
    let first = Node::start(follower(1), &[]).await;
    let mut second = Node::start(follower(2), &[&first]).await;
    let mut third = Node::start(follower(3), &[&second]).await;
    second.until_connected(first.peer()).await;
    third.until_connected(second.peer()).await;
    let seen = publish_until_seen(&first, &mut second, b"good").await;
    second.handle.verdict(seen, Verdict::Accept);
    let (relay, bytes) = third
        .until(|event| match event {
            NetEvent::Gossip { from, topic: Topic::Headers, bytes, .. } => Some((from.peer, bytes.clone())),
            _ => None,
        })
        .await;
    assert_eq!((relay, &bytes[..4]), (second.peer(), &b"good"[..]));

    let bad = publish_until_seen(&first, &mut second, b"bad!").await;
    second.handle.verdict(bad, Verdict::Reject);
    let later = publish_until_seen(&first, &mut second, b"last").await;
    second.handle.verdict(later, Verdict::Accept);
    let next = third
        .until(|event| match event {
            NetEvent::Gossip { bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
        .await;
    assert_eq!(&next[..4], b"last", "what was rejected is not forwarded");
    assert_eq!(second.handle.counters().gossip_rejected, 1);
    assert!(second.handle.penalty(&first.peer()) > 10.0);
}

/// Publishes `text` with a growing number until the other node hears it: subscriptions travel in their own time.
async fn publish_until_seen(from: &Node, to: &mut Node, text: &[u8; 4]) -> crate::GossipId {
    for number in 0u8..100 {
        let mut bytes = text.to_vec();
        bytes.push(number);
        from.handle.gossip(Topic::Headers, bytes.into()).unwrap();
        let heard = to.until(|event| match event {
            NetEvent::Gossip { id, bytes, .. } if bytes[..4] == text[..] => Some(*id),
            _ => None,
        });
        if let Ok(id) = tokio::time::timeout(Duration::from_millis(200), heard).await {
            return id;
        }
    }
    panic!("gossip was not heard");
}

#[tokio::test]
async fn followers_reach_members_and_hear_the_mesh() {
    let mut nodes = committee(2).await;
    let mut follower = Node::start(follower(9), &[&nodes[0]]).await;
    follower.handle.set_committee(vec![operator(1), operator(2)]);
    follower.until_connected(nodes[1].peer()).await;
    assert!(follower.handle.peers().iter().all(|peer| peer.operator.is_some()));
    nodes[1].until_connected(follower.peer()).await;
    follower.handle.send(operator(2), Channel::Notice, Bytes::from_static(b"hello")).unwrap();
    assert_eq!(nodes[1].message().await, (None, Channel::Notice, Bytes::from_static(b"hello")));
}

#[tokio::test]
async fn a_member_that_only_others_reach_gets_statements_by_gossip() {
    // 1 and 3 know only 2, and have no address of each other to dial.
    let members = vec![operator(1), operator(2), operator(3)];
    let mut hub = member(2);
    hub.limits.exchange_interval = Duration::from_millis(200);
    let mut hub = Node::start(hub, &[]).await;
    let mut ends = Vec::new();
    for number in [1, 3] {
        let mut config = member(number);
        config.limits.exchange_interval = Duration::from_millis(200);
        // The others are not told where to dial it.
        config.announce = Announce::Nothing;
        ends.push(Node::start(config, &[&hub]).await);
    }
    hub.handle.set_committee(members.clone());
    for end in &mut ends {
        end.handle.set_committee(members.clone());
        end.until_connected(hub.peer()).await;
    }
    let statement = |number: u8| Bytes::from(vec![b's', number]);
    let mut number = 0;
    let heard = loop {
        number += 1;
        ends[0].handle.send_committee(Channel::Vote, statement(number)).unwrap();
        // The hub forwards what it accepts.
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(20), hub.events.recv()).await {
            if let NetEvent::Gossip { id, channel, .. } = event {
                assert_eq!(channel, Some(Channel::Vote));
                hub.handle.verdict(id, Verdict::Accept);
            }
        }
        let gossip = ends[1].until(|event| match event {
            NetEvent::Gossip { channel: Some(Channel::Vote), bytes, topic: Topic::Committee, from, .. } => {
                Some((from.operator, bytes[0]))
            }
            _ => None,
        });
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(50), gossip).await {
            break heard;
        }
        assert!(number < 200, "no statement came by gossip");
    };
    assert_eq!(heard, (Some(operator(2)), b's'));
}
