//! Operators over gRPC: their block streams, and submitting to them.

use crate::{
    Error, Result,
    operators::{Feed, FeedError, Operators},
    source::{Forwarder, Refusal},
};
use bytes::Bytes;
use squad_client::proto::{
    self, BlockMessage, SubmitAnswer, SubmitRequest, SubscribeRequest, squad_client::SquadClient,
    submit_answer::Outcome,
};
use squad_types::{Decode, NamespaceBlock, NamespaceId, Tier, limits::MAX_TRANSACTION_BYTES};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// Time to connect before the next operator is asked.
const CONNECT: Duration = Duration::from_secs(2);
/// Time an operator has to answer a submission. Longer than it waits itself for a transaction to be secured before it
/// says that it took it and cannot say more.
const SUBMIT: Duration = Duration::from_secs(20);
/// Pings that notice a dead connection under an open stream.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Largest message read: a block of the largest size that a network's parameters allow, with its proofs.
const MAX_MESSAGE_BYTES: usize = (256 << 20) + (4 << 20);

#[derive(Debug)]
struct Operator {
    name: String,
    channel: Channel,
}

/// Operators by their gRPC addresses.
#[derive(Debug, Clone)]
pub struct GrpcOperators {
    operators: Arc<[Operator]>,
    namespace: NamespaceId,
}

impl GrpcOperators {
    /// Takes addresses like `http://127.0.0.1:9000`; connects when first used.
    ///
    /// # Errors
    /// [`Error::Config`] for no address or a malformed one.
    pub fn new(addresses: &[String], namespace: NamespaceId) -> Result<Self> {
        if addresses.is_empty() {
            return Err(Error::Config("no operator is named; give at least one gRPC address".into()));
        }
        let operator = |address: &String| {
            let endpoint = Endpoint::from_shared(address.clone()).map_err(|error| {
                Error::Config(format!("'{address}' is no operator address: {error}; use http://host:port"))
            })?;
            let channel = endpoint
                .connect_timeout(CONNECT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .connect_lazy();
            Ok(Operator { name: address.clone(), channel })
        };
        Ok(Self { operators: addresses.iter().map(operator).collect::<Result<_>>()?, namespace })
    }

    /// A forwarder to the same operators.
    pub fn forwarder(&self) -> GrpcForwarder {
        GrpcForwarder { operators: self.clone(), preferred: Arc::new(AtomicUsize::new(0)) }
    }

    fn client(&self, index: usize) -> SquadClient<Channel> {
        SquadClient::new(self.operators[index].channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

impl Operators for GrpcOperators {
    type Feed = GrpcFeed;

    fn count(&self) -> usize {
        self.operators.len()
    }

    fn name(&self, index: usize) -> String {
        self.operators[index].name.clone()
    }

    async fn open(&self, index: usize, height: u64) -> Result<GrpcFeed, String> {
        let request = SubscribeRequest { namespace: self.namespace.0, from_height: height };
        let answer = self.client(index).subscribe_blocks(request).await;
        let stream = answer.map_err(|status| describe(&status))?.into_inner();
        Ok(GrpcFeed { stream, highest: 0 })
    }
}

fn describe(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// One operator's block stream.
#[derive(Debug)]
pub struct GrpcFeed {
    stream: Streaming<BlockMessage>,
    highest: u64,
}

impl Feed for GrpcFeed {
    async fn next(&mut self) -> Result<NamespaceBlock, FeedError> {
        let message = match self.stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(FeedError::Gone("it ended the stream".into())),
            Err(status) => return Err(FeedError::Gone(describe(&status))),
        };
        self.highest = message.tip_height;
        NamespaceBlock::from_bytes(message.block).map_err(|error| FeedError::Malformed(error.to_string()))
    }

    fn highest_known(&self) -> u64 {
        self.highest
    }
}

/// Submits to the operator that answered last; to the next ones if it cannot be reached or takes nothing now.
///
/// Submitting to a second operator after a lost answer is safe: the network orders a transaction at most once.
#[derive(Debug, Clone)]
pub struct GrpcForwarder {
    operators: GrpcOperators,
    preferred: Arc<AtomicUsize>,
}

impl GrpcForwarder {
    async fn submit_to(&self, index: usize, raw: Bytes) -> Result<Tier, Refusal> {
        let request = SubmitRequest {
            id: 1,
            namespace: self.operators.namespace.0,
            wait: proto::Tier::Secured.into(),
            data: raw,
            ..SubmitRequest::default()
        };
        let mut client = self.operators.client(index);
        let exchange = async {
            let mut answers = client.submit_transactions(tokio_stream::once(request)).await?.into_inner();
            loop {
                match answers.message().await? {
                    None => return Err(tonic::Status::unavailable("it gave no answer")),
                    Some(reply) => {
                        if let Some(answer) = reply.answers.into_iter().find(|answer| answer.id == 1) {
                            return Ok(answer);
                        }
                    }
                }
            }
        };
        match tokio::time::timeout(SUBMIT, exchange).await {
            Ok(Ok(answer)) => judge(answer),
            Ok(Err(status)) => Err(Refusal::Busy(describe(&status))),
            Err(_) => Err(Refusal::Busy(format!("no answer in {} s", SUBMIT.as_secs()))),
        }
    }
}

fn judge(answer: SubmitAnswer) -> Result<Tier, Refusal> {
    match answer.outcome {
        Some(Outcome::Accepted(accepted)) => Ok(accepted.tier().into()),
        // It is on its way already; or it was taken, and is not secured as soon as the operator waits for it.
        Some(Outcome::Rejected(rejected)) if matches!(rejected.code.as_str(), "duplicate" | "timeout") => {
            Ok(Tier::Batched)
        }
        Some(Outcome::Rejected(rejected)) if rejected.r#final => Err(Refusal::Rejected(rejected.reason)),
        Some(Outcome::Rejected(rejected)) => {
            Err(Refusal::Busy(format!("{}; retry after {} ms", rejected.reason, rejected.retry_after_ms)))
        }
        None => Err(Refusal::Busy("its answer is neither accepted nor rejected".into())),
    }
}

impl Forwarder for GrpcForwarder {
    async fn submit(&self, raw: Bytes) -> Result<Tier, Refusal> {
        if raw.len() > MAX_TRANSACTION_BYTES {
            return Err(Refusal::Rejected(format!(
                "oversized data: transaction size {}, limit {MAX_TRANSACTION_BYTES}",
                raw.len()
            )));
        }
        let count = self.operators.count();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = Refusal::Busy("no operator answered".into());
        for index in (0..count).map(|step| (first + step) % count) {
            match self.submit_to(index, raw.clone()).await {
                Err(Refusal::Busy(reason)) => {
                    tracing::warn!(operator = self.operators.name(index), reason, "operator took no transaction");
                    last = Refusal::Busy(reason);
                }
                answered => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        Err(last)
    }
}
