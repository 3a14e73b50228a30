//! Peers that break the rules: dropped, scored, refused; nobody else notices.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Stream, swarm::SwarmEvent};

use super::*;
use crate::{
    Class, Hello, Rate, Refusal, encode_frame_header, encode_hello,
    standing::Standings,
    streams::{StreamEvent, StreamOutcome},
    swarm::{Behaviour, BehaviourEvent, build},
};

/// A peer under the test's control: it answers no hello and writes raw bytes.
struct Rogue {
    swarm: libp2p::Swarm<Behaviour>,
}

impl Rogue {
    async fn connect(config: &NetConfig, to: &Node) -> Self {
        let standings = Arc::new(Standings::new(config.scoring.clone()));
        let mut swarm = build(config, &standings).unwrap();
        swarm.dial(to.address()).unwrap();
        Self { swarm }
    }

    /// Opens a direct stream.
    async fn open(&mut self, class: Class) -> Stream {
        let opened = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                        self.swarm.behaviour_mut().streams.open(peer_id, connection_id, class);
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Streams(StreamEvent {
                        what: StreamOutcome::Outbound(_, stream),
                        ..
                    })) => return stream,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(FAILURE, opened).await.unwrap()
    }

    /// Runs the connection until it is closed by the other side.
    async fn until_closed(mut self) {
        let closed =
            async { while !matches!(self.swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {} };
        tokio::time::timeout(FAILURE, closed).await.unwrap();
    }
}

/// The bytes of a valid hello, then `more`.
fn hello_and(config: &NetConfig, class: Class, more: &[u8]) -> Vec<u8> {
    let mut binding = Vec::new();
    if let Some(signed) = &config.binding {
        squad_types::Encode::encode(signed, &mut binding);
    }
    let binding = (!binding.is_empty()).then(|| Bytes::from(binding));
    let hello = encode_hello(&Hello { class, network: config.domain.network(), binding, record: None });
    let mut bytes = (hello.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(&hello);
    bytes.extend_from_slice(more);
    bytes
}

pub(super) async fn refusal(node: &mut Node, of: PeerId) -> Refusal {
    node.until(|event| match event {
        NetEvent::PeerRefused { peer, reason } if *peer == of => Some(reason.clone()),
        _ => None,
    })
    .await
}

/// A rogue says `bytes` on a stream of `class`; it must be refused, and the two honest nodes must go on.
async fn refuse_bytes(config: NetConfig, class: Class, bytes: Vec<u8>) -> Refusal {
    let mut nodes = committee(2).await;
    let peer = config.identity.peer_id();
    let mut rogue = Rogue::connect(&config, &nodes[0]).await;
    let mut stream = rogue.open(class).await;
    let closing = tokio::spawn(async move {
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        let _ = stream.read(&mut [0; 64]).await;
    });
    let (reason, ()) = tokio::join!(refusal(&mut nodes[0], peer), rogue.until_closed());
    closing.abort();
    assert!(nodes[0].handle.penalty(&peer) > 50.0 || !matches!(reason, Refusal::Banned(_)));
    nodes[0].handle.send(operator(2), Channel::Vote, Bytes::from_static(b"on")).unwrap();
    assert_eq!(nodes[1].message().await.2, "on");
    reason
}

#[tokio::test]
async fn a_garbage_hello_is_refused() {
    let garbage = [&8u16.to_be_bytes()[..], b"garbage!"].concat();
    assert!(matches!(refuse_bytes(follower(66), Class::Control, garbage).await, Refusal::Banned(_)));
}

#[tokio::test]
async fn an_oversize_frame_is_refused() {
    let config = member(66);
    let mut header = encode_frame_header(Channel::Vote, 1);
    header[1..].copy_from_slice(&u32::MAX.to_be_bytes());
    let bytes = hello_and(&config, Class::Control, &header);
    assert!(matches!(refuse_bytes(config, Class::Control, bytes).await, Refusal::Banned(_)));
}

#[tokio::test]
async fn a_frame_of_the_other_class_is_refused() {
    let config = member(66);
    let bytes = hello_and(&config, Class::Control, &encode_frame_header(Channel::Batch, 4));
    assert!(matches!(refuse_bytes(config, Class::Control, bytes).await, Refusal::Banned(_)));
}

#[tokio::test]
async fn a_forged_binding_is_refused() {
    // Signed by 66, said to be 2's.
    let mut config = member(66);
    config.binding.as_mut().unwrap().signer = operator(2);
    let bytes = hello_and(&config, Class::Control, &[]);
    assert!(matches!(refuse_bytes(config, Class::Control, bytes).await, Refusal::Forged(_)));
}

#[tokio::test]
async fn a_binding_of_another_peer_is_refused() {
    let mut config = member(66);
    config.binding = member(67).binding;
    let bytes = hello_and(&config, Class::Bulk, &[]);
    assert!(matches!(refuse_bytes(config, Class::Bulk, bytes).await, Refusal::Forged(_)));
}

#[tokio::test]
async fn a_binding_for_another_network_is_refused() {
    let mut config = member(66);
    config.binding = Some(bind(&config.identity, &domain(2), &signer(66), Timestamp(1), &[]));
    let bytes = hello_and(&config, Class::Control, &[]);
    assert!(matches!(refuse_bytes(config, Class::Control, bytes).await, Refusal::Forged(_)));
}

#[tokio::test]
async fn an_own_binding_that_peers_would_refuse_stops_the_start() {
    let mut config = member(1);
    config.binding = member(2).binding;
    assert!(matches!(Network::start(config).await, Err(crate::NetError::OwnBinding { .. })));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let node = Node::start(follower(1), &[]).await;
    let mut config = follower(2);
    config.listen = vec![node.address()];
    let error = Network::start(config).await.unwrap_err();
    assert!(error.to_string().contains(&node.address().to_string()), "{error}");
}

#[tokio::test]
async fn a_foreign_network_is_refused_and_said_so() {
    let mut home = Node::start(member(1), &[]).await;
    let mut config = follower(2);
    config.domain = domain(2);
    let mut foreign = Node::start(config, &[&home]).await;
    assert!(matches!(refusal(&mut home, foreign.peer()).await, Refusal::ForeignNetwork { .. }));
    assert!(matches!(refusal(&mut foreign, home.peer()).await, Refusal::ForeignNetwork { .. }));
    assert!(home.handle.peers().iter().all(|peer| !peer.is_member));
}

#[tokio::test]
async fn committee_messages_of_others_are_dropped_and_scored() {
    let mut nodes = committee(2).await;
    // One bound to an operator outside the committee, one bound to nobody.
    for config in [member(7), follower(8)] {
        let mut outsider = Node::start(config, &[&nodes[0]]).await;
        outsider.until_connected(nodes[0].peer()).await;
        let to = nodes[0].peer();
        for channel in [Channel::Vote, Channel::Batch, Channel::Ack] {
            outsider.handle.send(to, channel, Bytes::from_static(b"forged")).unwrap();
        }
        outsider.handle.send(to, Channel::Notice, Bytes::from_static(b"notice")).unwrap();
        let (_, channel, _) = nodes[0].message().await;
        assert_eq!(channel, Channel::Notice, "only what anybody may say arrives");
        assert!(nodes[0].handle.penalty(&outsider.peer()) > 7.0);
        nodes[1].handle.send(operator(1), Channel::Vote, Bytes::from_static(b"vote")).unwrap();
        assert_eq!(nodes[0].message().await.0, Some(operator(2)));
    }
    // A member that leaves the committee is not heard any more.
    nodes[0].handle.set_committee(vec![operator(1)]);
    nodes[1].handle.send(operator(1), Channel::Vote, Bytes::from_static(b"late")).unwrap();
    nodes[1].handle.send(operator(1), Channel::Notice, Bytes::from_static(b"still here")).unwrap();
    assert_eq!(nodes[0].message().await.1, Channel::Notice);
}

#[tokio::test]
async fn a_flood_hits_the_rate_limit_and_then_a_ban_that_expires() {
    let members = vec![operator(1), operator(2)];
    let mut config = member(1);
    // Slow enough for any machine: nothing is allowed anew, nothing forgiven, before the flood is over.
    config.scoring.rates[0] = Rate { per_second: 0.001, burst: 10.0 };
    config.scoring.ban = Duration::from_millis(300);
    let mut node = Node::start(config, &[]).await;
    node.handle.set_committee(members.clone());
    let mut flooder = Node::start(member(2), &[&node]).await;
    flooder.handle.set_committee(members);
    flooder.until_connected(node.peer()).await;
    for number in 0..1000u16 {
        flooder.handle.send(operator(1), Channel::Vote, number.to_be_bytes().to_vec().into()).unwrap();
    }
    let mut heard = 0;
    let reason = node
        .until(|event| match event {
            NetEvent::Message { .. } => {
                heard += 1;
                None
            }
            NetEvent::PeerRefused { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert!(matches!(reason, Refusal::Banned(_)));
    assert_eq!(heard, 10);
    assert!(node.handle.counters().channels[0].over_rate_in >= 90);
    // It is dialled and taken again when the ban is over.
    node.until_connected(flooder.peer()).await;
}

#[tokio::test]
async fn a_second_node_with_the_own_operator_key_is_refused_and_said_so() {
    let mut first = Node::start(member(1), &[]).await;
    let mut config = follower(5);
    config.binding = Some(bind(&config.identity, &config.domain, &signer(1), Timestamp(9), &[]));
    let mut second = Node::start(config, &[&first]).await;
    assert_eq!(refusal(&mut first, second.peer()).await, Refusal::OwnOperator);
    assert_eq!(refusal(&mut second, first.peer()).await, Refusal::OwnOperator);
}

#[tokio::test]
async fn a_peer_that_answers_no_hello_is_given_up() {
    let mut config = member(1);
    config.limits.hello_timeout = Duration::from_millis(30);
    let node = Node::start(config, &[]).await;
    // It accepts the node's streams and says nothing on them.
    let rogue = Rogue::connect(&follower(66), &node).await;
    rogue.until_closed().await;
    assert!(node.handle.counters().streams_failed >= 5);
    assert_eq!(node.handle.counters().streams_opened, 0);
}

#[tokio::test]
async fn connections_from_one_address_are_bounded() {
    let mut config = follower(1);
    config.limits.exempt_loopback = false;
    config.limits.connections_per_ip = 2;
    let mut node = Node::start(config, &[]).await;
    let mut guests = Vec::new();
    for number in 2..4 {
        let guest = Node::start(follower(number), &[&node]).await;
        node.until_connected(guest.peer()).await;
        guests.push(guest);
    }
    let third = Node::start(follower(9), &[&node]).await;
    while node.handle.counters().connections_denied == 0 {
        tokio::task::yield_now().await;
    }
    assert!(third.handle.peers().is_empty());
    assert_eq!(node.handle.peers().len(), 2);
    // A place that gets free is taken by the one that kept trying.
    guests.remove(0).handle.shutdown().await;
    node.until_connected(third.peer()).await;
}

#[tokio::test]
async fn a_driver_that_reads_nothing_slows_only_its_own_senders() {
    let mut nodes = committee(3).await;
    let batch = Bytes::from(vec![1; 512 * 1024]);
    // Node 2 reads nothing: its events, its sockets and then the queue to it fill up.
    let mut queued = 0usize;
    loop {
        match nodes[0].handle.send(operator(2), Channel::Batch, batch.clone()) {
            Ok(()) => queued += 1,
            Err(error) => {
                assert_eq!(error, crate::SendError::QueueFull);
                // Full for good once the writer waits for the peer.
                let sent = nodes[0].handle.counters().channels[Channel::Batch.index()].messages_out;
                nodes[0].handle.send(operator(3), Channel::Batch, batch.clone()).unwrap();
                assert_eq!(nodes[2].message().await.2.len(), batch.len());
                let later = nodes[0].handle.counters().channels[Channel::Batch.index()].messages_out;
                if later == sent + 1 && queued > 64 {
                    break;
                }
            }
        }
    }
    nodes[0].handle.send(operator(2), Channel::Vote, Bytes::from_static(b"vote")).unwrap();
    let (mut batches, mut vote_after) = (0, None);
    while batches < queued {
        match nodes[1].message().await.1 {
            Channel::Vote => vote_after = Some(batches),
            _ => batches += 1,
        }
    }
    assert!(vote_after.is_some_and(|after| after < queued), "a vote overtakes batches: {vote_after:?} of {queued}");
}
