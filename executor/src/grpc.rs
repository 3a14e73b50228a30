//! Operators over gRPC: their addresses, and their block streams.

use crate::{
    Error, Result,
    forward::GrpcForwarder,
    operators::{Feed, FeedError, Operators},
};
use squad_client::proto::{BlockMessage, SubscribeRequest, squad_client::SquadClient};
use squad_types::{Decode, NamespaceBlock, NamespaceId};
use std::{sync::Arc, time::Duration};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

/// Time to connect before the next operator is asked.
const CONNECT: Duration = Duration::from_secs(2);
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
        GrpcForwarder::new(self.clone(), self.operators.len())
    }

    pub(crate) fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    pub(crate) fn client(&self, index: usize) -> SquadClient<Channel> {
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

pub(crate) fn describe(status: &tonic::Status) -> String {
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
