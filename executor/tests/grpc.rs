//! The whole executor against operators on real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_primitives::{Address, U256, keccak256};
use bytes::Bytes;
use common::wallet;
use serde_json::json;
use squad_client::proto::{
    Accepted, BlockMessage, BlockRequest, CommitteeReply, CommitteeRequest, ConfirmationReply, ConfirmationRequest,
    GenesisReply, GenesisRequest, HeaderReply, HeaderRequest, Rejected, StatusReply, StatusRequest, SubmitAnswer,
    SubmitReply, SubmitRequest, SubscribeRequest, Tier,
    squad_server::{Squad, SquadServer},
    submit_answer::Outcome,
};
use squad_client::testing::{TestChain, evm, keys};
use squad_executor::{Error, ExecutorConfig, Genesis, RollupConfig, RpcLimits, StateConfig, dev_accounts, run};
use squad_types::{Encode, NamespaceBlock, NamespaceId};
use std::{
    collections::HashSet,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

const NAMESPACE: NamespaceId = NamespaceId(1);

fn block(network: &mut TestChain, raws: Vec<Bytes>) -> NamespaceBlock {
    network.block(raws.into_iter().map(|raw| evm(NAMESPACE, raw)).collect()).namespace_block(NAMESPACE)
}

type Blocks = watch::Receiver<Vec<NamespaceBlock>>;
type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An operator that serves the blocks it is given and takes every transaction but those it is told to refuse.
struct Operator {
    blocks: Blocks,
    submitted: mpsc::Sender<Bytes>,
    says: Arc<Says>,
}

/// What the test has an operator say.
#[derive(Default)]
struct Says {
    /// Ids of what it took.
    taken: Mutex<HashSet<Bytes>>,
    /// How many it refuses from now on, as one does that is full.
    refuses: AtomicUsize,
    /// Answers to those who ask for confirmations; none left: it waits for one.
    confirms: Mutex<Option<mpsc::Receiver<Result<ConfirmationReply, Status>>>>,
}

fn id(raw: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&evm(NAMESPACE, raw.clone()).id().0)
}

#[tonic::async_trait]
impl Squad for Operator {
    type SubscribeBlocksStream = Boxed<BlockMessage>;
    type SubmitTransactionsStream = Boxed<SubmitReply>;

    async fn subscribe_blocks(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Boxed<BlockMessage>>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        let (mut blocks, mut next) = (self.blocks.clone(), request.get_ref().from_height as usize);
        tokio::spawn(async move {
            loop {
                let ready = blocks.wait_for(|blocks| blocks.len() >= next).await.map(|blocks| blocks.clone());
                let Ok(ready) = ready else { return };
                let (block, height) = (ready[next - 1].to_bytes(), next as u64);
                let message = BlockMessage { block, height, tip_height: ready.len() as u64 };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
                next += 1;
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }

    async fn submit_transactions(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Boxed<SubmitReply>>, Status> {
        let (submitted, says) = (self.submitted.clone(), self.says.clone());
        let answers = request.into_inner().then(move |request| {
            let (submitted, says) = (submitted.clone(), says.clone());
            async move {
                let request = request?;
                let no = |code: &str| Rejected { code: code.into(), reason: code.into(), ..Rejected::default() };
                let knows = |id: &Bytes| says.taken.lock().unwrap().contains(id);
                let outcome = if says.refuses.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                    Outcome::Rejected(no("busy"))
                } else if !request.after.is_empty() && !knows(&request.after) {
                    Outcome::Rejected(no("out_of_turn"))
                } else if !says.taken.lock().unwrap().insert(id(&request.data)) {
                    Outcome::Rejected(no("duplicate"))
                } else {
                    submitted.send(request.data).await.unwrap();
                    Outcome::Accepted(Accepted { tier: Tier::Batched.into(), ..Accepted::default() })
                };
                Ok(SubmitReply { answers: vec![SubmitAnswer { id: request.id, outcome: Some(outcome) }] })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn get_genesis(&self, _: Request<GenesisRequest>) -> Result<Response<GenesisReply>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn get_committee(&self, _: Request<CommitteeRequest>) -> Result<Response<CommitteeReply>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn get_confirmation(&self, _: Request<ConfirmationRequest>) -> Result<Response<ConfirmationReply>, Status> {
        let mut confirms = self.says.confirms.lock().unwrap().take().unwrap();
        let answer = confirms.recv().await.unwrap();
        *self.says.confirms.lock().unwrap() = Some(confirms);
        answer.map(Response::new)
    }
    async fn get_header(&self, _: Request<HeaderRequest>) -> Result<Response<HeaderReply>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn get_block(&self, _: Request<BlockRequest>) -> Result<Response<BlockMessage>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// An operator that is served.
struct Served {
    url: String,
    /// What it took.
    submitted: mpsc::Receiver<Bytes>,
    says: Arc<Says>,
    /// What it says to those who ask for confirmations.
    confirm: mpsc::Sender<Result<ConfirmationReply, Status>>,
}

async fn operator(blocks: &watch::Sender<Vec<NamespaceBlock>>, refuses: usize) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (transactions, submitted) = mpsc::channel(16);
    let (confirm, confirms) = mpsc::channel(1);
    let confirms = Mutex::new(Some(confirms));
    let says = Arc::new(Says { refuses: AtomicUsize::new(refuses), confirms, ..Says::default() });
    let operator = Operator { blocks: blocks.subscribe(), submitted: transactions, says: says.clone() };
    let incoming = TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(SquadServer::new(operator));
    tokio::spawn(server.serve_with_incoming(incoming));
    Served { url, submitted, says, confirm }
}

/// An address where nobody listens.
async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

struct Executor {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    job: JoinHandle<Result<(), Error>>,
}

async fn executor(config: ExecutorConfig) -> Executor {
    let (listening, address) = oneshot::channel();
    let (stop, shutdown) = watch::channel(false);
    let job = tokio::spawn(run(config, Some(listening), shutdown));
    Executor { address: address.await.unwrap(), stop, job }
}

fn config(network: &TestChain, dir: &tempfile::TempDir, operators: Vec<String>) -> ExecutorConfig {
    let rollup = RollupConfig {
        dir: dir.path().into(),
        genesis: Genesis::devnet_for(1001),
        rpc: ([127, 0, 0, 1], 0).into(),
        limits: RpcLimits::default(),
        state: StateConfig::default(),
        engine: None,
    };
    ExecutorConfig { rollup, network: network.genesis.clone(), namespace: NAMESPACE, operators }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_through_operators_and_back_and_two_executors_agree() {
    let mut network = TestChain::new(4);
    let blocks = Arc::new(watch::Sender::new(Vec::new()));
    let busy = operator(&blocks, usize::MAX).await;
    let Served { url: honest, mut submitted, .. } = operator(&blocks, 0).await;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = executor(config(&network, &dirs[0], vec![dead().await, busy.url, honest.clone()])).await;
    let second = executor(config(&network, &dirs[1], vec![honest.clone()])).await;

    let raw = dev_accounts()[0].transfer(1001, 0, Address::repeat_byte(3), U256::from(8));
    let hash = wallet::result(first.address, "eth_sendRawTransaction", json!([raw])).await;
    assert_eq!(hash, json!(keccak256(&raw)));
    let ordered = submitted.recv().await.unwrap();
    assert_eq!(ordered, raw.0);
    let next = vec![block(&mut network, vec![]), block(&mut network, vec![ordered])];
    blocks.send_modify(|blocks| blocks.extend(next));
    for executor in [&first, &second] {
        wallet::executed(executor.address, 2).await;
        let receipt = wallet::result(executor.address, "eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt["status"], "0x1");
    }
    let head = |address| wallet::result(address, "eth_getBlockByNumber", json!(["latest", false]));
    assert_eq!(head(first.address).await, head(second.address).await);
    let status = wallet::result(first.address, "squad_status", json!([])).await;
    assert_eq!(status["sourceSwitches"], 1);

    // Stopped and started again, it goes on with the next height and the committee it followed.
    first.stop.send_replace(true);
    first.job.await.unwrap().unwrap();
    network.start_epoch(keys(1, 4));
    let next = block(&mut network, vec![]);
    blocks.send_modify(|blocks| blocks.push(next));
    let first = executor(config(&network, &dirs[0], vec![honest])).await;
    wallet::executed(first.address, 3).await;
    assert_eq!(head(first.address).await["number"], "0x1");
    for executor in [first, second] {
        executor.stop.send_replace(true);
        executor.job.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transactions_of_one_sender_arrive_in_order_whoever_refuses_one_in_between() {
    let network = TestChain::new(4);
    let blocks = watch::Sender::new(Vec::new());
    // The first has no room for one, which the second takes; what was on its way behind that one is sent again.
    let (mut full, mut roomy) = (operator(&blocks, 1).await, operator(&blocks, 0).await);
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(config(&network, &dir, vec![full.url, roomy.url])).await;
    let raws: Vec<_> = (0..8).map(|nonce| dev_accounts()[0].transfer(1001, nonce, Address::ZERO, U256::ONE)).collect();
    let address = executor.address;
    let send = |raw: alloy_primitives::Bytes| {
        tokio::spawn(async move { wallet::result(address, "eth_sendRawTransaction", json!([raw])).await })
    };
    let answers: Vec<_> = raws.iter().rev().cloned().map(send).collect();
    for (answer, raw) in answers.into_iter().zip(raws.iter().rev()) {
        assert_eq!(answer.await.unwrap(), json!(keccak256(raw)));
    }
    let mut arrived = Vec::new();
    for receiver in [&mut full.submitted, &mut roomy.submitted] {
        let mut here = Vec::new();
        while let Ok(raw) = receiver.try_recv() {
            here.push(raws.iter().position(|known| known.0 == raw).unwrap());
        }
        // Nothing is executed yet: who has one has all before it.
        assert_eq!(here, (0..here.len()).collect::<Vec<_>>());
        arrived.extend(here);
    }
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived, (0..8).collect::<Vec<_>>());
    executor.stop.send_replace(true);
    executor.job.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_operator_took_goes_to_the_next_before_what_follows_it() {
    let network = TestChain::new(4);
    let blocks = watch::Sender::new(Vec::new());
    let (mut first, mut second) = (operator(&blocks, 0).await, operator(&blocks, 0).await);
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(config(&network, &dir, vec![first.url, second.url])).await;
    let raws: Vec<_> = (0..3).map(|nonce| dev_accounts()[0].transfer(1001, nonce, Address::ZERO, U256::ONE)).collect();
    let send = |nonce: usize| wallet::result(executor.address, "eth_sendRawTransaction", json!([raws[nonce]]));
    send(0).await;
    send(1).await;
    // It took two, and is as good as gone before they are secured.
    first.says.refuses.store(usize::MAX, SeqCst);
    assert_eq!(send(2).await, json!(keccak256(&raws[2])));
    for (served, taken) in [(&mut first.submitted, 2), (&mut second.submitted, 3)] {
        for raw in &raws[..taken] {
            assert_eq!(served.recv().await.unwrap(), raw.0);
        }
        assert!(served.try_recv().is_err());
    }
    executor.stop.send_replace(true);
    executor.job.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_knew_already_is_answered_for_once_it_is_secured() {
    let network = TestChain::new(4);
    let blocks = watch::Sender::new(Vec::new());
    let (first, mut second) = (operator(&blocks, 0).await, operator(&blocks, 0).await);
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(config(&network, &dir, vec![first.url, second.url])).await;
    let from = [0, 1].map(|at| dev_accounts()[at].transfer(1001, 0, Address::ZERO, U256::ONE));
    first.says.taken.lock().unwrap().extend(from.iter().map(|raw| id(&raw.0)));
    let address = executor.address;
    let send = |raw: alloy_primitives::Bytes| {
        tokio::spawn(async move { wallet::result(address, "eth_sendRawTransaction", json!([raw])).await })
    };
    let unanswered = send(from[0].clone());
    for _ in 0..3 {
        first.confirm.send(Err(Status::not_found("only batched"))).await.unwrap();
    }
    assert!(!unanswered.is_finished());
    first.confirm.send(Ok(ConfirmationReply::default())).await.unwrap();
    assert_eq!(unanswered.await.unwrap(), json!(keccak256(&from[0])));
    assert!(second.submitted.try_recv().is_err());

    // It goes down before that: another operator is given the transaction.
    let unanswered = send(from[1].clone());
    first.confirm.send(Err(Status::not_found("only batched"))).await.unwrap();
    first.confirm.send(Err(Status::unavailable("gone"))).await.unwrap();
    assert_eq!(unanswered.await.unwrap(), json!(keccak256(&from[1])));
    assert_eq!(second.submitted.recv().await.unwrap(), from[1].0);
    executor.stop.send_replace(true);
    executor.job.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_block_ends_the_executor_and_names_height_and_part() {
    let mut network = TestChain::new(4);
    let mut forged = block(&mut network, vec![]);
    forged.header.timestamp = forged.header.timestamp.next();
    let blocks = watch::Sender::new(vec![forged]);
    let address = operator(&blocks, 0).await.url;
    let dir = tempfile::tempdir().unwrap();
    let executor = executor(config(&network, &dir, vec![address])).await;
    let error = executor.job.await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("ordered block 1 was refused: its header does not hold"), "{error}");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_says_why() {
    let network = TestChain::new(4);
    let dir = tempfile::tempdir().unwrap();
    let start = async |change: fn(&mut ExecutorConfig)| {
        let mut config = config(&network, &dir, vec!["http://127.0.0.1:1".into()]);
        change(&mut config);
        run(config, None, watch::channel(false).1).await.unwrap_err().to_string()
    };
    let error = start(|config| config.namespace = NamespaceId(99)).await;
    assert!(error.contains("has no namespace 99"), "{error}");
    let error = start(|config| config.rollup.genesis.chain_id = 5).await;
    assert!(error.contains("chain id 1001, the rollup's genesis has 5"), "{error}");
    let error = start(|config| config.operators = vec!["not an address".into()]).await;
    assert!(error.contains("use http://host:port"), "{error}");
    assert!(start(|config| config.operators.clear()).await.contains("no operator"));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let network = TestChain::new(4);
    let dir = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&network, &dir, vec!["http://127.0.0.1:1".into()]);
    config.rollup.rpc = holder.local_addr().unwrap();
    let error = run(config, None, watch::channel(false).1).await.unwrap_err();
    assert!(error.to_string().contains("choose a free port"), "{error}");
}
