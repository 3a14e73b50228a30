//! An executor over channels, and requests to it.

use crate::common::{Ordered, wallet};
use alloy_primitives::Bytes;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde_json::Value;
use squad_executor::{
    Behind, ChannelForwarder, ChannelSource, Error, Forwarder, Genesis, OrderedBlock, Refusal, RollupConfig, RpcLimits,
    StateConfig, Submission, run_with,
};
use squad_types::Tier;
use std::net::SocketAddr;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// A transaction that was handed over and has no answer yet.
pub(crate) struct Held {
    pub(crate) raw: Bytes,
    /// The one below that is on its way.
    pub(crate) after: Option<Bytes>,
    /// Those below that were answered for.
    pub(crate) answered: Vec<Bytes>,
    answer: oneshot::Sender<Result<Tier, Refusal>>,
}

impl Held {
    pub(crate) fn answer(self, answer: Result<Tier, Refusal>) {
        self.answer.send(answer).unwrap();
    }
}

struct HoldingForwarder(mpsc::UnboundedSender<Held>);

impl Forwarder for HoldingForwarder {
    fn submit(&self, raw: bytes::Bytes, behind: Behind) -> Submission {
        let (answer, outcome) = oneshot::channel();
        let (after, answered) = match behind {
            Behind::Nothing => (None, Vec::new()),
            Behind::OnItsWay(after) => (Some(after.into()), Vec::new()),
            Behind::AnsweredFor(last, earlier) => {
                let earlier = earlier();
                assert_eq!(earlier.last(), Some(&last));
                (None, earlier.into_iter().map(Bytes::from).collect())
            }
        };
        self.0.send(Held { raw: raw.into(), after, answered, answer }).ok().unwrap();
        Box::pin(async move { outcome.await.unwrap() })
    }
}

/// A running executor that is fed by the test.
pub(crate) struct Rollup {
    pub(crate) address: SocketAddr,
    pub(crate) blocks: mpsc::Sender<OrderedBlock>,
    pub(crate) forwarded: mpsc::Receiver<bytes::Bytes>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) job: JoinHandle<Result<(), Error>>,
    pub(crate) ordered: Ordered,
    _dir: tempfile::TempDir,
}

impl Rollup {
    pub(crate) async fn start() -> Self {
        Self::start_with(RpcLimits::default()).await
    }

    pub(crate) async fn start_with(limits: RpcLimits) -> Self {
        let (transactions, forwarded) = mpsc::channel(64);
        Self::start_over(limits, ChannelForwarder { transactions }, forwarded).await
    }

    /// One whose transactions wait in the channel until the test answers them.
    pub(crate) async fn start_held() -> (Self, mpsc::UnboundedReceiver<Held>) {
        let (sent, held) = mpsc::unbounded_channel();
        let rollup = Self::start_over(RpcLimits::default(), HoldingForwarder(sent), mpsc::channel(1).1).await;
        (rollup, held)
    }

    async fn start_over(limits: RpcLimits, forwarder: impl Forwarder, forwarded: mpsc::Receiver<bytes::Bytes>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = RollupConfig {
            dir: dir.path().into(),
            genesis: Genesis::devnet(),
            rpc: ([127, 0, 0, 1], 0).into(),
            limits,
            state: StateConfig::default(),
            engine: None,
        };
        let (blocks, source) = ChannelSource::new(16);
        let (listening, address) = oneshot::channel();
        let (stop, shutdown) = watch::channel(false);
        let job = tokio::spawn(async move {
            run_with(config, b"test", async |_| Ok(source), forwarder, Some(listening), shutdown).await
        });
        let address = address.await.unwrap();
        Self { address, blocks, forwarded, stop, job, ordered: Ordered::new(), _dir: dir }
    }

    /// Orders `raws` and waits until they are executed.
    pub(crate) async fn order(&mut self, raws: Vec<Bytes>) -> OrderedBlock {
        let block = self.ordered.block(raws);
        self.blocks.send(block.clone()).await.unwrap();
        wallet::executed(self.address, block.height).await;
        block
    }

    pub(crate) async fn raw(&self, body: &str) -> (u16, Value) {
        wallet::post(self.address, body).await
    }

    pub(crate) async fn request(&self, method: &str, params: Value) -> Value {
        wallet::request(self.address, method, params).await
    }

    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        wallet::result(self.address, method, params).await
    }

    pub(crate) async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.request(method, params).await;
        let error = &answer["error"];
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    /// A WebSocket connection.
    pub(crate) async fn socket(&self) -> WsClient {
        WsClientBuilder::default().build(format!("ws://{}", self.address)).await.unwrap()
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        self.job.await.unwrap()
    }
}
