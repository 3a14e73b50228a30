use super::fake::bytes;
use super::{CHAIN_TIME, FakeBackend, loopback};
use crate::api::http::bind;
use crate::api::{Backend, Gate, GrpcServer, Readiness, RejectCode, Rejected, serve_grpc};
use crate::config::Limits;
use crate::metrics::NodeMetrics;
use squad_client::proto::squad_client::SquadClient;
use squad_client::proto::{self, submit_answer::Outcome};
use squad_types::{CommitteeProof, Confirmation, Decode, Height, NamespaceBlock, NamespaceId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Code;
use tonic::transport::Channel;

async fn served() -> (Arc<FakeBackend>, GrpcServer, SquadClient<Channel>) {
    let (node, limits) = (FakeBackend::new(), Limits::default());
    let gate = Gate::new(node.clone(), NodeMetrics::new().unwrap(), &limits);
    let server = serve_grpc(bind("grpc", loopback()).await.unwrap(), gate, &limits).unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let client = SquadClient::new(endpoint.connect().await.unwrap());
    (node, server, client)
}

fn request(id: u64, data: &[u8]) -> proto::SubmitRequest {
    proto::SubmitRequest {
        id,
        namespace: 2,
        valid_until_ms: CHAIN_TIME + 5,
        wait: proto::Tier::Batched.into(),
        data: data.to_vec().into(),
        ..Default::default()
    }
}

async fn answers(client: &mut SquadClient<Channel>, requests: Vec<proto::SubmitRequest>) -> BTreeMap<u64, Outcome> {
    let mut replies = client.submit_transactions(futures::stream::iter(requests)).await.unwrap().into_inner();
    let mut found = BTreeMap::new();
    while let Some(reply) = replies.message().await.unwrap() {
        for answer in reply.answers {
            assert!(found.insert(answer.id, answer.outcome.unwrap()).is_none(), "one answer each");
        }
    }
    found
}

#[tokio::test]
async fn blocks_stream_from_a_height_without_gaps_and_verify() {
    let (node, _server, mut client) = served().await;
    node.order(b"one");
    node.order(b"two");
    let request = proto::SubscribeRequest { namespace: 2, from_height: 1 };
    let mut blocks = client.subscribe_blocks(request).await.unwrap().into_inner();
    let mut verifier = squad_client::BlockVerifier::from_genesis(&node.genesis(), NamespaceId(2)).unwrap();
    for height in 1..=4 {
        if height > 2 {
            node.order(b"more");
        }
        let message = blocks.message().await.unwrap().unwrap();
        assert_eq!(message.height, height);
        assert!(message.tip_height >= height);
        verifier.verify_bytes(message.block).unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_cannot_begin_or_go_on_says_why() {
    let (node, _server, mut client) = served().await;
    let unknown = client.subscribe_blocks(proto::SubscribeRequest { namespace: 9, from_height: 1 }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let zero = client.subscribe_blocks(proto::SubscribeRequest { namespace: 2, from_height: 0 }).await.unwrap_err();
    assert_eq!(zero.code(), Code::InvalidArgument);
    node.order(b"one");
    node.prune(2);
    let request = proto::SubscribeRequest { namespace: 2, from_height: 1 };
    let mut blocks = client.subscribe_blocks(request).await.unwrap().into_inner();
    assert_eq!(blocks.message().await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn every_transaction_of_a_bulk_stream_gets_one_answer() {
    let (_node, _server, mut client) = served().await;
    let mut many = request(100, b"");
    many.batch = (0..1000_u32).map(|at| at.to_be_bytes().to_vec().into()).collect();
    let mut proved = request(1, b"proved");
    (proved.with_confirmation, proved.wait) = (true, proto::Tier::Ordered.into());
    let empty = request(2, b"");
    let elsewhere = proto::SubmitRequest { namespace: 77, ..request(3, b"x") };
    let odd = proto::SubmitRequest { wait: 99, ..request(4, b"x") };
    let short = proto::SubmitRequest { after: vec![1].into(), ..request(5, b"x") };
    let both = proto::SubmitRequest { batch: vec![b"x".to_vec().into()], after: vec![1; 32].into(), ..request(6, b"") };
    let found = answers(&mut client, vec![many, proved, empty, elsewhere, odd, short, both]).await;
    assert_eq!(found.len(), 1006);
    for id in 100..1100 {
        let Outcome::Accepted(accepted) = &found[&id] else { panic!("accepted") };
        assert!(accepted.confirmation.is_empty() && accepted.transaction.len() == 32);
    }
    let Outcome::Accepted(accepted) = &found[&1] else { panic!("accepted") };
    let confirmation = Confirmation::from_bytes(accepted.confirmation.clone()).unwrap();
    assert_eq!(confirmation.transaction.id().0[..], accepted.transaction[..]);
    assert_eq!(accepted.tier, i32::from(proto::Tier::Ordered));
    for (id, code) in [
        (2, "empty"),
        (3, "unknown_namespace"),
        (4, "malformed_parameter"),
        (5, "malformed_parameter"),
        (6, "malformed_parameter"),
    ] {
        let Outcome::Rejected(rejected) = &found[&id] else { panic!("rejected") };
        assert_eq!(rejected.code, code);
        assert_eq!(rejected.r#final, code != "malformed_parameter");
    }
}

#[tokio::test]
async fn refusals_of_the_node_carry_their_retry_time() {
    let (node, _server, mut client) = served().await;
    node.refuse(Rejected::new(RejectCode::Busy, "full").retry_after(std::time::Duration::from_millis(30)));
    let found = answers(&mut client, vec![request(1, b"x")]).await;
    let Outcome::Rejected(rejected) = &found[&1] else { panic!("rejected") };
    assert_eq!((rejected.code.as_str(), rejected.retry_after_ms, rejected.r#final), ("busy", 30, false));
}

#[tokio::test]
async fn the_chain_its_committees_and_confirmations_can_be_asked_for() {
    let (node, _server, mut client) = served().await;
    let fresh = client.get_status(proto::StatusRequest {}).await.unwrap().into_inner();
    assert!(fresh.accepting && fresh.header_hash.is_empty() && fresh.height == 0);
    let found = answers(&mut client, vec![request(1, b"asked for")]).await;
    let Outcome::Accepted(accepted) = &found[&1] else { panic!("accepted") };
    let ask =
        |tier: proto::Tier| proto::ConfirmationRequest { transaction: accepted.transaction.clone(), tier: tier.into() };
    let reply = client.get_confirmation(ask(proto::Tier::Batched)).await.unwrap().into_inner();
    Confirmation::from_bytes(reply.confirmation).unwrap();
    let higher = client.get_confirmation(ask(proto::Tier::Ordered)).await.unwrap_err();
    assert_eq!(higher.code(), Code::NotFound);
    let short = proto::ConfirmationRequest { transaction: vec![1].into(), tier: 1 };
    assert_eq!(client.get_confirmation(short).await.unwrap_err().code(), Code::InvalidArgument);

    node.order(b"first");
    let header = client.get_header(proto::HeaderRequest { height: 0 }).await.unwrap().into_inner();
    let known = node.header(Height(1)).await.unwrap().unwrap();
    assert_eq!(header.header[..], bytes(&known.header)[..]);
    let block = client.get_block(proto::BlockRequest { namespace: 2, height: 1 }).await.unwrap().into_inner();
    assert_eq!(NamespaceBlock::from_bytes(block.block).unwrap().header, known.header);
    let above = client.get_block(proto::BlockRequest { namespace: 2, height: 2 }).await.unwrap_err();
    assert_eq!(above.code(), Code::NotFound);
    let proof = client.get_committee(proto::CommitteeRequest { epoch: 1 }).await.unwrap().into_inner().proof;
    assert_eq!(CommitteeProof::from_bytes(proof).unwrap().members.len(), 4);
    let first = client.get_committee(proto::CommitteeRequest { epoch: 0 }).await.unwrap_err();
    assert_eq!(first.code(), Code::InvalidArgument);
    assert_eq!(client.get_committee(proto::CommitteeRequest { epoch: 5 }).await.unwrap_err().code(), Code::NotFound);
    let genesis = client.get_genesis(proto::GenesisRequest {}).await.unwrap().into_inner();
    let genesis: squad_types::Genesis = serde_json::from_str(&genesis.json).unwrap();
    assert_eq!(genesis, *node.genesis());

    node.set_readiness(Readiness::Refusing { reason: "the disk is full".into() });
    let status = client.get_status(proto::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.accepting, status.reason.as_str(), status.height), (false, "the disk is full", 1));
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let (node, server, mut client) = served().await;
    node.order(b"one");
    let request = proto::SubscribeRequest { namespace: 2, from_height: 1 };
    let mut blocks = client.subscribe_blocks(request).await.unwrap().into_inner();
    blocks.message().await.unwrap().unwrap();
    server.stop().await;
    assert!(!matches!(blocks.message().await, Ok(Some(_))));
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let (node, limits) = (FakeBackend::new(), Limits { grpc_connections: 1, ..Default::default() });
    let gate = Gate::new(node, NodeMetrics::new().unwrap(), &limits);
    let server = serve_grpc(bind("grpc", loopback()).await.unwrap(), gate, &limits).unwrap();
    let url = format!("http://{}", server.address());
    let endpoint = tonic::transport::Endpoint::from_shared(url).unwrap();
    let mut first = SquadClient::new(endpoint.connect().await.unwrap());
    first.get_status(proto::StatusRequest {}).await.unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(SquadClient::new(channel).get_status(proto::StatusRequest {}).await.is_err());
    }
}

#[tokio::test]
async fn reflection_names_the_service_and_describes_it_with_comments() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    let (_node, server, _client) = served().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let mut reflection = ServerReflectionClient::new(endpoint.connect().await.unwrap());
    let questions =
        [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol("squad.Squad".to_owned())];
    let ask = |question| ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let questions = futures::stream::iter(questions.map(ask));
    let mut answers = reflection.server_reflection_info(questions).await.unwrap().into_inner();
    let mut answer = async || -> MessageResponse {
        let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
        answer.message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(services) = answer().await else { panic!("no list of services") };
    assert!(services.service.iter().any(|service| service.name == "squad.Squad"), "{services:?}");
    let MessageResponse::FileDescriptorResponse(files) = answer().await else { panic!("no description") };
    let comment = b"Chain time, which valid_until_ms is compared with";
    assert!(files.file_descriptor_proto.iter().any(|file| file.windows(comment.len()).any(|text| text == comment)));
}
