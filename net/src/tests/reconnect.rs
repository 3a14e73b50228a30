//! Dialling: crossing dials, restarts, re-binding.

use super::*;
use crate::Refusal;

#[tokio::test]
async fn a_peer_that_restarts_on_its_address_is_connected_again() {
    let mut nodes = committee(3).await;
    let address = nodes[2].address();
    let peer = nodes[2].peer();
    nodes.pop().unwrap().handle.shutdown().await;
    for node in &mut nodes {
        node.until(|event| {
            matches!(event, NetEvent::PeerDisconnected { peer: gone } if gone.peer == peer).then_some(())
        })
        .await;
    }
    let mut config = member(3);
    config.listen = vec![address];
    // It knows nobody: the others dial it.
    let mut again = Node::start(config, &[]).await;
    again.handle.set_committee(vec![operator(1), operator(2), operator(3)]);
    for node in &mut nodes {
        node.until_connected(peer).await;
        node.handle.send(operator(3), Channel::Vote, Bytes::from_static(b"again")).unwrap();
        assert_eq!(again.message().await.1, Channel::Vote);
    }
}

#[tokio::test]
async fn crossing_dials_end_with_one_working_stream_each_way_and_class() {
    for round in 0..12u8 {
        let (left, right) = (10 + 2 * round, 11 + 2 * round);
        let members = vec![operator(left), operator(right)];
        let (mut a, mut b) = (member(left), member(right));
        // Ports known before either starts.
        let ports: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<Multiaddr> = ports
            .iter()
            .map(|port| format!("/ip4/127.0.0.1/tcp/{}", port.local_addr().unwrap().port()).parse().unwrap())
            .collect();
        drop(ports);
        a.listen = vec![addresses[0].clone()];
        a.bootstrap = vec![addresses[1].clone()];
        b.listen = vec![addresses[1].clone()];
        b.bootstrap = vec![addresses[0].clone()];
        let (mut a, mut b) = tokio::join!(Node::start(a, &[]), Node::start(b, &[]));
        a.handle.set_committee(members.clone());
        b.handle.set_committee(members);
        let (left_peer, right_peer) = (a.peer(), b.peer());
        tokio::join!(a.until_connected(right_peer), b.until_connected(left_peer));
        check_both_ways(&mut a, &mut b, left, right).await;
        let open = |node: &Node| node.handle.counters().connections - node.handle.counters().disconnections;
        while open(&a) != 1 || open(&b) != 1 {
            tokio::time::timeout(FAILURE, tokio::task::yield_now()).await.unwrap();
            check_both_ways(&mut a, &mut b, left, right).await;
        }
        check_both_ways(&mut a, &mut b, left, right).await;
    }
}

/// Sends on each class and way until the message of this call arrives: one may be lost with a connection that closes.
async fn check_both_ways(a: &mut Node, b: &mut Node, left: u8, right: u8) {
    for channel in [Channel::Vote, Channel::Batch] {
        deliver(a, b, right, channel).await;
        deliver(b, a, left, channel).await;
    }
}

async fn deliver(from: &Node, to: &mut Node, number: u8, channel: Channel) {
    for attempt in 0..100u8 {
        let _ = from.handle.send(operator(number), channel, Bytes::from(vec![attempt; 100]));
        let arrived = to.until(|event| match event {
            NetEvent::Message { channel: on, .. } => (*on == channel).then_some(()),
            _ => None,
        });
        if tokio::time::timeout(Duration::from_millis(500), arrived).await.is_ok() {
            return;
        }
    }
    panic!("nothing arrived on {channel:?}");
}

#[tokio::test]
async fn an_operator_that_binds_a_new_identity_takes_its_place() {
    let mut first = Node::start(member(1), &[]).await;
    let members = vec![operator(1), operator(2)];
    first.handle.set_committee(members.clone());
    let mut old = Node::start(member(2), &[&first]).await;
    old.handle.set_committee(members.clone());
    first.until_connected(old.peer()).await;
    old.until_connected(first.peer()).await;
    old.handle.shutdown().await;
    let mut config = member(3);
    config.binding = Some(bind(&config.identity, &config.domain, &signer(2), Timestamp(2), &[]));
    let mut new = Node::start(config, &[&first]).await;
    new.handle.set_committee(members.clone());
    new.until_connected(first.peer()).await;
    new.handle.send(operator(1), Channel::Vote, Bytes::from_static(b"new")).unwrap();
    assert_eq!(first.message().await, (Some(operator(2)), Channel::Vote, Bytes::from_static(b"new")));
    // When that one has gone as well, the older binding still counts for nothing.
    new.handle.shutdown().await;
    let old = Node::start(member(2), &[&first]).await;
    assert_eq!(super::hostile::refusal(&mut first, old.peer()).await, Refusal::StaleBinding);
}

/// Two processes with one operator's key: the first one is heard on, the second is told of it.
async fn is_turned_away(second: NetConfig) {
    let mut home = Node::start(member(1), &[]).await;
    let members = vec![operator(1), operator(2)];
    home.handle.set_committee(members.clone());
    let mut first = Node::start(member(2), &[&home]).await;
    first.handle.set_committee(members.clone());
    home.until_connected(first.peer()).await;
    first.until_connected(home.peer()).await;

    let mut second = Node::start(second, &[&home]).await;
    second.handle.set_committee(members.clone());
    assert_eq!(super::hostile::refusal(&mut home, second.peer()).await, Refusal::Contested);
    let by = second
        .until(|event| match event {
            NetEvent::HeldElsewhere { by } => Some(by.operator),
            NetEvent::PeerConnected { .. } | NetEvent::Message { .. } => panic!("it is heard: {event:?}"),
            _ => None,
        })
        .await;
    assert_eq!(by, Some(operator(1)));
    for channel in [Channel::Vote, Channel::Batch] {
        first.handle.send(operator(1), channel, Bytes::from_static(b"first")).unwrap();
        assert_eq!(home.message().await, (Some(operator(2)), channel, Bytes::from_static(b"first")));
        home.handle.send(operator(2), channel, Bytes::from_static(b"home")).unwrap();
        assert_eq!(first.message().await.2, "home");
    }

    // When the first has gone, the second takes its place.
    first.handle.shutdown().await;
    second.until_connected(home.peer()).await;
    second.handle.send(operator(1), Channel::Vote, Bytes::from_static(b"second")).unwrap();
    assert_eq!(home.message().await, (Some(operator(2)), Channel::Vote, Bytes::from_static(b"second")));
}

#[tokio::test]
async fn a_second_process_with_the_key_on_another_identity_is_turned_away() {
    let mut second = follower(3);
    second.binding = Some(bind(&second.identity, &second.domain, &signer(2), Timestamp(2), &[]));
    is_turned_away(second).await;
}

#[tokio::test]
async fn a_second_process_with_the_key_and_the_identity_is_turned_away() {
    let mut second = member(2);
    second.binding = Some(bind(&second.identity, &second.domain, &signer(2), Timestamp(2), &[]));
    is_turned_away(second).await;
}

#[tokio::test]
async fn a_process_that_connects_anew_is_used_there_although_its_old_connection_looks_alive() {
    let mut home = Node::start(member(1), &[]).await;
    let members = vec![operator(1), operator(2)];
    home.handle.set_committee(members.clone());
    let mut before = Node::start(member(2), &[&home]).await;
    before.handle.set_committee(members.clone());
    home.until_connected(before.peer()).await;
    before.until_connected(home.peer()).await;
    // With the same binding: for the other side it is the same process, on a connection of its own.
    let mut after = Node::start(member(2), &[&home]).await;
    after.handle.set_committee(members);
    after.until_connected(home.peer()).await;
    for channel in [Channel::Vote, Channel::Batch] {
        deliver(&home, &mut after, 2, channel).await;
        deliver(&after, &mut home, 1, channel).await;
    }
}

#[tokio::test]
async fn a_bootstrap_name_is_resolved_and_a_useless_address_refused() {
    let first = Node::start(member(1), &[]).await;
    let Some(libp2p::multiaddr::Protocol::Tcp(port)) = first.address().iter().nth(1) else { panic!("no port") };
    let mut config = member(2);
    config.bootstrap = vec![format!("/dns4/localhost/tcp/{port}").parse().unwrap()];
    let mut second = Node::start(config, &[]).await;
    second.until_connected(first.peer()).await;

    let mut config = member(3);
    config.bootstrap = vec!["/ip4/10.0.0.1/udp/1".parse().unwrap()];
    let error = Network::start(config).await.unwrap_err();
    assert!(error.to_string().contains("/ip4/10.0.0.1/udp/1"), "{error}");
}
