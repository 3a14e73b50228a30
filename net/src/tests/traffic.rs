//! Direct streams and requests.

use super::*;
use crate::{FetchError, SendError};

#[tokio::test]
async fn direct_messages_of_both_classes_arrive_whole_and_in_order() {
    let mut nodes = committee(2).await;
    let batch = Bytes::from((0..512 * 1024).map(|index| (index % 251) as u8).collect::<Vec<_>>());
    let handle = nodes[0].handle.clone();
    for number in 0..20u8 {
        handle.send(operator(2), Channel::Batch, batch.slice(usize::from(number)..)).unwrap();
        handle.send(operator(2), Channel::Vote, Bytes::from(vec![number; 200])).unwrap();
    }
    handle.send(nodes[1].peer(), Channel::Proposal, batch.clone()).unwrap();
    let (mut votes, mut batches, mut proposals) = (0, 0, 0);
    while votes + batches + proposals < 41 {
        let (from, channel, bytes) = nodes[1].message().await;
        assert_eq!(from, Some(operator(1)));
        match channel {
            Channel::Vote => {
                assert_eq!(bytes, vec![votes; 200]);
                votes += 1;
            }
            Channel::Batch => {
                assert!(bytes == batch.slice(usize::from(batches)..), "batch {batches} is damaged");
                batches += 1;
            }
            _ => {
                assert!(bytes == batch);
                proposals += 1;
            }
        }
    }
    let counters = nodes[1].handle.counters();
    let vote = counters.channels.iter().find(|flow| flow.name == "vote").unwrap();
    assert_eq!((vote.messages_in, vote.bytes_in), (20, 4000));
}

#[tokio::test]
async fn sends_outside_the_limits_are_refused() {
    let nodes = committee(2).await;
    let handle = &nodes[0].handle;
    let long = Bytes::from(vec![0; Channel::Vote.max_bytes() + 1]);
    assert!(matches!(handle.send(operator(2), Channel::Vote, long.clone()), Err(SendError::TooLarge { .. })));
    assert_eq!(handle.send(operator(2), Channel::Vote, Bytes::new()), Err(SendError::Empty));
    assert_eq!(handle.send(operator(7), Channel::Vote, Bytes::from_static(b"x")), Err(SendError::NotConnected));
    assert!(matches!(handle.send_committee(Channel::Vote, long), Err(SendError::TooLarge { .. })));
}

async fn answer(node: &mut Node, answer: impl FnOnce(crate::Responder, Bytes)) {
    loop {
        if let NetEvent::Request { from, bytes, responder } = node.next().await {
            assert_eq!(from.operator, Some(operator(1)));
            return answer(responder, bytes);
        }
    }
}

#[tokio::test]
async fn requests_are_answered_or_refused() {
    let members = vec![operator(1), operator(2)];
    let mut config = member(2);
    config.limits.response_bytes = 2 * 1024 * 1024;
    let mut server = Node::start(config, &[]).await;
    let mut client = Node::start(member(1), &[&server]).await;
    server.handle.set_committee(members.clone());
    client.handle.set_committee(members);
    client.until_connected(server.peer()).await;

    let ask = |text: &'static [u8]| client.handle.request(operator(2), Bytes::from_static(text));
    let large = Bytes::from(vec![7; 1024 * 1024]);
    let echo = |responder: crate::Responder, bytes: Bytes| {
        assert_eq!(bytes, "large");
        assert!(responder.respond(large.clone()));
    };
    let (response, ()) = tokio::join!(ask(b"large"), answer(&mut server, echo));
    assert!(response.unwrap() == large);
    let (response, ()) = tokio::join!(ask(b"drop"), answer(&mut server, |responder, _| drop(responder)));
    assert_eq!(response, Err(FetchError::Refused));
    let (response, ()) = tokio::join!(ask(b"busy"), answer(&mut server, |responder, _| responder.busy()));
    assert_eq!(response, Err(FetchError::Busy));
    let oversize = |responder: crate::Responder, _| {
        assert!(!responder.respond(Bytes::from(vec![0; 2 * 1024 * 1024 + 1])));
    };
    let (response, ()) = tokio::join!(ask(b"oversize"), answer(&mut server, oversize));
    assert_eq!(response, Err(FetchError::Refused));

    let long = Bytes::from(vec![0; 64 * 1024 + 1]);
    assert!(matches!(client.handle.request(operator(2), long).await, Err(FetchError::TooLarge { .. })));
    let stranger = client.handle.request(operator(5), Bytes::new()).await;
    assert_eq!(stranger, Err(FetchError::NotConnected));
}

#[tokio::test]
async fn a_request_that_is_not_answered_times_out() {
    let mut server = Node::start(member(2), &[]).await;
    let mut config = member(1);
    config.limits.request_timeout = Duration::from_millis(300);
    let mut client = Node::start(config, &[&server]).await;
    client.until_connected(server.peer()).await;
    let asking = client.handle.request(server.peer(), Bytes::from_static(b"?"));
    tokio::pin!(asking);
    // Whether the server hears of it in that time or not, and keeps the responder until the end.
    let mut kept = Vec::new();
    let response = loop {
        tokio::select! {
            response = &mut asking => break response,
            event = server.next() => kept.push(event),
        }
    };
    assert_eq!(response, Err(FetchError::Timeout));
}

#[tokio::test]
async fn an_oversize_response_is_refused_by_the_reader() {
    let mut server = member(2);
    server.limits.response_bytes = 16 * 1024 * 1024;
    let mut server = Node::start(server, &[]).await;
    let mut client = Node::start(member(1), &[&server]).await;
    client.until_connected(server.peer()).await;
    let request = client.handle.request(server.peer(), Bytes::from_static(b"?"));
    let too_long = |responder: crate::Responder, _| {
        assert!(responder.respond(Bytes::from(vec![0; 9 * 1024 * 1024])));
    };
    let (response, ()) = tokio::join!(request, answer(&mut server, too_long));
    assert!(matches!(response, Err(FetchError::TooLarge { .. })));
    assert!(client.handle.penalty(&server.peer()) > 50.0);
}

#[tokio::test]
async fn more_requests_than_allowed_at_once_are_answered_busy() {
    let mut config = member(2);
    config.limits.requests_per_peer = 2;
    let mut server = Node::start(config, &[]).await;
    let mut client = Node::start(member(1), &[&server]).await;
    client.until_connected(server.peer()).await;
    let peer = server.peer();
    let ask = || tokio::spawn(client.handle.request(peer, Bytes::from_static(b"?")));
    let first = [ask(), ask()];
    let mut held = Vec::new();
    while held.len() < 2 {
        answer(&mut server, |responder, _| held.push(responder)).await;
    }
    assert_eq!(ask().await.unwrap(), Err(FetchError::Busy));
    held.into_iter().for_each(|responder| assert!(responder.respond(Bytes::from_static(b"!"))));
    for request in first {
        assert_eq!(request.await.unwrap().unwrap(), "!");
    }
}

#[tokio::test]
async fn shutdown_writes_what_is_queued_and_frees_the_port() {
    let mut nodes = committee(2).await;
    let address = nodes[0].address();
    for number in 0..50u8 {
        nodes[0].handle.send(operator(2), Channel::Batch, Bytes::from(vec![number; 100_000])).unwrap();
    }
    let first = nodes.remove(0);
    let (first_peer, handle) = (first.peer(), first.handle.clone());
    let stopping = tokio::spawn(async move { handle.shutdown().await });
    let (mut received, mut gone) = (0, false);
    while received < 50 || !gone {
        match nodes[0].next().await {
            NetEvent::Message { bytes, .. } => {
                assert_eq!(bytes[0], received);
                received += 1;
            }
            NetEvent::PeerDisconnected { peer } => gone |= peer.peer == first_peer,
            _ => {}
        }
    }
    stopping.await.unwrap();
    assert_eq!(first.handle.send(operator(2), Channel::Vote, Bytes::from_static(b"x")), Err(SendError::NotConnected));
    let mut again = member(1);
    again.listen = vec![address.clone()];
    let again = Node::start(again, &[]).await;
    assert_eq!(again.address(), address);
}

#[tokio::test]
async fn shutdown_waits_for_the_streams_that_what_is_queued_needs() {
    let mut receiver = Node::start(member(2), &[]).await;
    let sender = Node::start(member(1), &[&receiver]).await;
    for node in [&receiver, &sender] {
        node.handle.set_committee(vec![operator(1), operator(2)]);
    }
    // Connected, and no stream is open yet.
    while sender.handle.peers().is_empty() {
        tokio::task::yield_now().await;
    }
    for number in 0..20u8 {
        sender.handle.send(receiver.peer(), Channel::Batch, Bytes::from(vec![number; 1000])).unwrap();
    }
    let handle = sender.handle.clone();
    let stopping = tokio::spawn(async move { handle.shutdown().await });
    for number in 0..20u8 {
        let (from, _, bytes) = receiver.message().await;
        assert_eq!((from, bytes[0]), (Some(operator(1)), number));
    }
    stopping.await.unwrap();
}
