//! Feeding an execution client over the Engine API, against a server that checks all that is on the wire.
#![allow(clippy::unwrap_used, missing_docs)]

mod build;
mod builder;
#[path = "../common/mod.rs"]
mod common;
mod server;

use alloy_eips::eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use common::{LOGGER, Ordered, REVERTER, STORER, deploy_code};
use serde_json::json;
use server::{EngineServer, Fake, Say};
use squad_executor::{
    Chain, ChainReader, ChannelForwarder, ChannelSource, EngineConfig, EngineError, EngineMode, Error, Genesis,
    Hardfork, JwtSecret, OrderedBlock, RollupConfig, RpcLimits, StateConfig, TimestampRule, dev_accounts, drive,
    run_with,
};
use tokio::sync::{mpsc, watch};

const SECRET: [u8; 32] = [0x5a; 32];
const NEW_PAYLOAD: &str = "engine_newPayloadV3";
const FORKCHOICE: &str = "engine_forkchoiceUpdatedV3";

/// A rollup that other clients can follow.
fn genesis(hardfork: Hardfork) -> Genesis {
    let plain = TimestampRule::After;
    Genesis { hardfork, base_fee_vault: None, timestamp_rule: plain, ..Genesis::devnet() }
}

/// A chain and the maker of its blocks.
struct Rollup {
    chain: Chain,
    ordered: Ordered,
    nonce: u64,
    _dir: tempfile::TempDir,
}

impl Rollup {
    fn new(genesis: Genesis) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let chain = Chain::open(dir.path(), genesis, b"engine").unwrap();
        Self { chain, ordered: Ordered::new(), nonce: 0, _dir: dir }
    }

    fn transact(&mut self, to: TxKind, value: U256, input: Bytes) -> Bytes {
        self.nonce += 1;
        dev_accounts()[0].transact(1516, self.nonce - 1, to, value, input, 500_000)
    }

    fn apply(&mut self, raws: Vec<Bytes>) {
        let block = self.ordered.block(raws);
        self.chain.apply(&block, false).unwrap();
    }

    /// One ordered block with a transfer.
    fn transfer(&mut self) {
        let raw = self.transact(TxKind::Call(Address::repeat_byte(9)), U256::from(7), Bytes::new());
        self.apply(vec![raw]);
    }

    /// Ordered blocks of many kinds: deployments, calls, logs, a revert, a refused transaction, and an empty one.
    fn mixed(&mut self) {
        let sender = dev_accounts()[0].address();
        let mut deployed = Vec::new();
        for code in [&STORER[..], &LOGGER, &REVERTER] {
            deployed.push(sender.create(self.nonce));
            let raw = self.transact(TxKind::Create, U256::ZERO, deploy_code(code));
            self.apply(vec![raw]);
        }
        self.apply(vec![]);
        let calls = deployed.iter().map(|to| {
            let word = Bytes::from(U256::from(5).to_be_bytes::<32>());
            self.transact(TxKind::Call(*to), U256::ZERO, word)
        });
        let mut raws: Vec<_> = calls.collect();
        raws.push(Bytes::from_static(b"no transaction"));
        self.apply(raws);
        self.transfer();
    }

    fn number(&self) -> u64 {
        self.chain.head().header.number
    }

    /// A client that has this chain's genesis, and nothing else.
    fn client(&self) -> Fake {
        let genesis = self.chain.reader().store.header(0).unwrap().unwrap();
        Fake::new(SECRET, 1516, genesis)
    }
}

fn config(url: String) -> EngineConfig {
    EngineConfig { url, secret: JwtSecret::new(SECRET), mode: EngineMode::Payload }
}

type Driving = tokio::task::JoinHandle<Result<(), EngineError>>;

/// Drives in the background until the sender is dropped.
fn start(reader: ChainReader, url: String) -> (watch::Sender<bool>, Driving) {
    start_with(reader, config(url))
}

fn start_with(reader: ChainReader, config: EngineConfig) -> (watch::Sender<bool>, Driving) {
    let (stop, stopped) = watch::channel(false);
    (stop, tokio::spawn(drive(reader, config, stopped)))
}

/// How driving a chain of two blocks ends where it must end by itself.
async fn failure(prepare: impl FnOnce(&mut Fake)) -> EngineError {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.transfer();
    rollup.transfer();
    let mut fake = rollup.client();
    prepare(&mut fake);
    let server = EngineServer::start(fake).await;
    let (_stop, driving) = start(rollup.chain.reader(), server.url());
    driving.await.unwrap().unwrap_err()
}

/// The server's chain is ours.
fn check_same(server: &EngineServer, reader: &ChainReader) {
    let fake = server.fake.lock().unwrap();
    assert_eq!(fake.chain.len() as u64, reader.head().header.number + 1);
    for (number, (hash, header)) in fake.chain.iter().enumerate() {
        let ours = reader.store.header(number as u64).unwrap().unwrap();
        assert_eq!((*hash, header), (ours.hash_slow(), &ours));
    }
}

#[tokio::test]
async fn every_block_reaches_the_client_once_and_in_order() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.mixed();
    let server = EngineServer::start(rollup.client()).await;
    let (stop, driving) = start(rollup.chain.reader(), server.url());
    server.reached(rollup.number()).await;
    // And those that come later.
    rollup.mixed();
    server.reached(rollup.number()).await;
    check_same(&server, &rollup.chain.reader());
    assert_eq!(server.payloads(), (1..=rollup.number()).collect::<Vec<_>>());
    assert_eq!(server.count(NEW_PAYLOAD), rollup.number() as usize);
    assert_eq!(server.fake.lock().unwrap().connections, 1, "the connection is kept");
    drop(stop);
    driving.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_requests_of_a_block_go_with_it_from_prague_on() {
    for hardfork in [Hardfork::Prague, Hardfork::Osaka] {
        let mut rollup = Rollup::new(genesis(hardfork));
        rollup.mixed();
        // A withdrawal request: a validator's key and an amount, for a fee of at least 1 wei.
        let input = Bytes::from([[1u8; 48].as_slice(), &7u64.to_be_bytes()].concat());
        let to = TxKind::Call(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS);
        let raw = rollup.transact(to, U256::from(1), input);
        rollup.apply(vec![raw]);
        let requests = rollup.chain.reader().store.body(rollup.number()).unwrap().unwrap().requests.unwrap();
        assert_eq!((requests.len(), requests[0][0]), (1, 1), "the block has a withdrawal request");
        let server = EngineServer::start(rollup.client()).await;
        let (_stop, _driving) = start(rollup.chain.reader(), server.url());
        server.reached(rollup.number()).await;
        check_same(&server, &rollup.chain.reader());
        assert_eq!(server.count("engine_newPayloadV4"), rollup.number() as usize);
    }
}

#[tokio::test]
async fn goes_on_above_the_clients_own_head_whatever_it_lost() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.mixed();
    let number = rollup.number();
    let server = EngineServer::start(rollup.client()).await;
    let (stop, driving) = start(rollup.chain.reader(), server.url());
    server.reached(number).await;
    drop(stop);
    driving.await.unwrap().unwrap();
    // Started anew, both as they were: nothing is given twice.
    let (_stop, _driving) = start(rollup.chain.reader(), server.url());
    rollup.transfer();
    server.reached(number + 1).await;
    assert_eq!(server.payloads(), (1..=number + 1).collect::<Vec<_>>());
    // The client falls back while it is fed: what it lost is given again, and only that.
    server.fake.lock().unwrap().forget(2);
    rollup.transfer();
    server.reached(number + 2).await;
    check_same(&server, &rollup.chain.reader());
    let again: Vec<_> = server.payloads().split_off(number as usize + 1);
    assert_eq!(again, [vec![number + 2], (3..=number + 2).collect()].concat());
}

#[tokio::test]
async fn a_client_whose_head_is_above_its_state_is_given_the_blocks_between_again() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.mixed();
    let number = rollup.number();
    let server = EngineServer::start(rollup.client()).await;
    let (stop, driving) = start(rollup.chain.reader(), server.url());
    server.reached(number).await;
    drop(stop);
    driving.await.unwrap().unwrap();
    server.fake.lock().unwrap().forget_state(number - 3);
    rollup.transfer();
    let (_stop, _driving) = start(rollup.chain.reader(), server.url());
    server.reached(number + 1).await;
    check_same(&server, &rollup.chain.reader());
    let again = server.payloads().split_off(number as usize);
    assert_eq!(again, [number, number - 1, number - 2, number - 1, number, number + 1]);
}

#[tokio::test]
async fn waits_for_a_client_that_is_not_there_yet() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.mixed();
    // A port that refuses connections, and nobody else takes: it is bound, but nothing listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    assert!(tokio::net::TcpStream::connect(socket.local_addr().unwrap()).await.is_err());
    let (_stop, driving) = start(rollup.chain.reader(), url);
    tokio::task::yield_now().await;
    assert!(!driving.is_finished());
    let fake = std::sync::Arc::new(std::sync::Mutex::new(rollup.client()));
    let server = EngineServer::on(socket.listen(16).unwrap(), fake);
    server.reached(rollup.number()).await;
    check_same(&server, &rollup.chain.reader());
}

#[tokio::test]
async fn what_can_pass_is_tried_again() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.mixed();
    let syncing = json!({"status": "SYNCING", "latestValidHash": null, "validationError": null});
    let mut fake = rollup.client();
    fake.say("engine_exchangeCapabilities", [Say::Http(503, b"starting".to_vec()), Say::Nothing]);
    fake.say("eth_chainId", [Say::Error(-32_603, "internal error")]);
    fake.say(NEW_PAYLOAD, [Say::Result(syncing.clone()), Say::Error(-32_000, "busy"), Say::Nothing]);
    fake.say(FORKCHOICE, [Say::Result(json!({"payloadStatus": syncing}))]);
    let server = EngineServer::start(fake).await;
    let (_stop, _driving) = start(rollup.chain.reader(), server.url());
    server.reached(rollup.number()).await;
    check_same(&server, &rollup.chain.reader());
    assert!(server.fake.lock().unwrap().says.values().all(|left| left.is_empty()));
}

#[tokio::test]
async fn accepted_is_decided_by_the_call_that_sets_the_head() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.transfer();
    let accepted = json!({"status": "ACCEPTED", "latestValidHash": null});
    let mut fake = rollup.client();
    // It keeps nothing of what it only says to accept, so the head cannot be set, and the block is given again.
    fake.say(NEW_PAYLOAD, [Say::Result(accepted)]);
    let server = EngineServer::start(fake).await;
    let (_stop, _driving) = start(rollup.chain.reader(), server.url());
    server.reached(1).await;
    assert_eq!(server.payloads(), [1, 1]);
}

#[tokio::test]
async fn a_client_that_is_ahead_is_waited_for_and_checked() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.mixed();
    let number = rollup.number();
    let server = EngineServer::start(rollup.client()).await;
    let (stop, driving) = start(rollup.chain.reader(), server.url());
    server.reached(number).await;
    drop(stop);
    driving.await.unwrap().unwrap();
    // The executor lost its directory: it executes the same blocks anew, below a client that has them.
    let mut fresh = Rollup::new(genesis(Hardfork::Cancun));
    let (_stop, _driving) = start(fresh.chain.reader(), server.url());
    fresh.mixed();
    fresh.transfer();
    server.reached(number + 1).await;
    check_same(&server, &fresh.chain.reader());
    assert_eq!(server.payloads(), (1..=number + 1).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_invalid_block_ends_it_with_the_clients_words() {
    let status = json!({"status": "INVALID", "latestValidHash": null, "validationError": "invalid stateRoot"});
    let error = failure(|fake| fake.say(NEW_PAYLOAD, [Say::Result(status.clone())])).await;
    let EngineError::Invalid { number: 1, detail, .. } = &error else { panic!("{error}") };
    assert!(detail.contains("invalid stateRoot") && detail.contains(NEW_PAYLOAD), "{error}");
    let error = failure(|fake| fake.say(FORKCHOICE, [Say::Result(json!({"payloadStatus": status}))])).await;
    assert!(matches!(&error, EngineError::Invalid { number: 1, .. }) && error.to_string().contains(FORKCHOICE));
    let status = json!({"status": "INVALID_BLOCK_HASH"});
    let error = failure(|fake| fake.say(NEW_PAYLOAD, [Say::Result(status)])).await;
    assert!(matches!(error, EngineError::Invalid { number: 1, .. }), "{error}");
}

#[tokio::test]
async fn another_network_another_secret_or_another_chain_is_refused() {
    let error = failure(|fake| fake.chain_id = 1).await;
    let text = "its chain id is 1, ours is 1516";
    assert!(matches!(&error, EngineError::OtherNetwork { .. }) && error.to_string().contains(text), "{error}");
    let error = failure(|fake| fake.chain[0].0 = B256::repeat_byte(3)).await;
    let text = "its genesis hash is 0x030303";
    assert!(matches!(&error, EngineError::OtherNetwork { .. }) && error.to_string().contains(text), "{error}");
    let error = failure(|fake| fake.secret = [1; 32]).await;
    let EngineError::Unauthorised { detail, .. } = &error else { panic!("{error}") };
    assert!(detail.contains("401") && detail.contains("the signature does not match"), "{error}");
    let error = failure(|fake| {
        let mut other = fake.chain[0].1.clone();
        other.number = 1;
        fake.chain.push((B256::repeat_byte(4), other));
    });
    let error = error.await;
    let theirs = B256::repeat_byte(4);
    assert!(matches!(error, EngineError::Forked { number: 1, theirs: found, .. } if found == theirs), "{error}");
}

#[tokio::test]
async fn what_is_no_engine_api_ends_it() {
    let error = failure(|fake| fake.offers = vec![FORKCHOICE]).await;
    assert_eq!(error, EngineError::Missing { method: NEW_PAYLOAD });
    let error = failure(|fake| fake.say("engine_exchangeCapabilities", [Say::Error(-32_601, "no such method")])).await;
    assert_eq!(error, EngineError::Missing { method: "engine_exchangeCapabilities" });
    let error = failure(|fake| fake.say(FORKCHOICE, [Say::Error(-38_002, "invalid forkchoice state")])).await;
    assert!(matches!(error, EngineError::Refused { method: FORKCHOICE, code: -38_002, .. }), "{error}");
    for answer in [
        Say::Http(200, b"<html>a web page</html>".to_vec()),
        Say::Http(200, b"{\"jsonrpc\":\"2.0\",\"id\":999,\"result\":\"0x1\"}".to_vec()),
        Say::Result(json!({"status": 5})),
        Say::Result(json!({"status": "FINE"})),
        Say::Result(json!("x".repeat(1_000_000))),
    ] {
        let error = failure(|fake| fake.say(NEW_PAYLOAD, [answer])).await;
        let EngineError::Malformed { method: NEW_PAYLOAD, .. } = &error else { panic!("{error}") };
        assert!(error.to_string().len() < 700, "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_kept() {
    let mut rollup = Rollup::new(genesis(Hardfork::Cancun));
    rollup.transfer();
    let mut fake = rollup.client();
    fake.say(NEW_PAYLOAD, [Say::Http(200, vec![b' '; 25 << 20])]);
    let server = EngineServer::start(fake).await;
    let (_stop, _driving) = start(rollup.chain.reader(), server.url());
    server.reached(1).await;
    // Given up after the limit, then given again.
    assert!(server.count(NEW_PAYLOAD) >= 2);
}

#[tokio::test]
async fn rules_and_urls_that_cannot_work_are_refused_before_anything_is_sent() {
    let plain = genesis(Hardfork::Cancun);
    let cases = [
        (Genesis { base_fee_vault: Some(Address::ZERO), ..plain.clone() }, "http://127.0.0.1:1", "baseFeeVault"),
        (Genesis { timestamp_rule: TimestampRule::NotBefore, ..plain.clone() }, "http://127.0.0.1:1", "timestampRule"),
        (Genesis { elasticity: 6, ..plain.clone() }, "http://127.0.0.1:1", "elasticity"),
        (plain.clone(), "https://127.0.0.1:1", "http://"),
        (plain.clone(), "ws://127.0.0.1:1", "http://"),
        (plain, "127.0.0.1:8551", "no URL"),
    ];
    for (genesis, url, expected) in cases {
        let rollup = Rollup::new(genesis);
        let (_stop, driving) = start(rollup.chain.reader(), url.to_owned());
        let error = driving.await.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::Config(_)) && error.to_string().contains(expected), "{error}");
    }
}

/// A whole executor with a client beside it.
fn executor(url: String, dir: &std::path::Path, blocks: ChannelSource) -> (watch::Sender<bool>, Running) {
    let config = RollupConfig {
        dir: dir.into(),
        genesis: genesis(Hardfork::Cancun),
        rpc: ([127, 0, 0, 1], 0).into(),
        limits: RpcLimits::default(),
        state: StateConfig::default(),
        engine: Some(config(url)),
    };
    let (stop, stopped) = watch::channel(false);
    let forwarder = ChannelForwarder { transactions: mpsc::channel(1).0 };
    let running = run_with(config, b"", async |_| Ok(blocks), forwarder, None, stopped);
    (stop, tokio::spawn(running))
}

type Running = tokio::task::JoinHandle<Result<(), Error>>;

fn transfers() -> [OrderedBlock; 2] {
    let mut ordered = Ordered::new();
    [0, 1].map(|nonce| ordered.block(vec![dev_accounts()[0].transfer(1516, nonce, Address::ZERO, U256::from(1))]))
}

#[tokio::test]
async fn an_executor_feeds_its_client_until_it_is_stopped() {
    let server = EngineServer::start(Rollup::new(genesis(Hardfork::Cancun)).client()).await;
    let dir = tempfile::tempdir().unwrap();
    let (send, source) = ChannelSource::new(2);
    let (stop, running) = executor(server.url(), dir.path(), source);
    for block in transfers() {
        send.send(block).await.unwrap();
    }
    server.reached(2).await;
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    let chain = Chain::open(dir.path(), genesis(Hardfork::Cancun), b"").unwrap();
    check_same(&server, &chain.reader());
}

#[tokio::test]
async fn an_executor_ends_when_its_client_disagrees() {
    let mut fake = Rollup::new(genesis(Hardfork::Cancun)).client();
    fake.say(NEW_PAYLOAD, [Say::Result(json!({"status": "INVALID", "validationError": "invalid receiptsRoot"}))]);
    let server = EngineServer::start(fake).await;
    let dir = tempfile::tempdir().unwrap();
    let (send, source) = ChannelSource::new(2);
    let (_stop, running) = executor(server.url(), dir.path(), source);
    let [first, _] = transfers();
    send.send(first).await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Engine(EngineError::Invalid { number: 1, .. })), "{error}");
    // What was executed is kept, for the comparison.
    assert_eq!(Chain::open(dir.path(), genesis(Hardfork::Cancun), b"").unwrap().head().header.number, 1);
}
