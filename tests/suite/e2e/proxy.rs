//! Stands between executors and operators and forges one block.

use squad_client::proto::{
    BlockMessage, BlockRequest, CommitteeReply, CommitteeRequest, ConfirmationReply, ConfirmationRequest, GenesisReply,
    GenesisRequest, HeaderReply, HeaderRequest, StatusReply, StatusRequest, SubmitReply, SubmitRequest,
    SubscribeRequest,
    squad_client::SquadClient,
    squad_server::{Squad, SquadServer},
};
use squad_types::{Decode, Encode, NamespaceBlock};
use std::pin::Pin;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};

/// Changes a block.
pub(super) type Forge = fn(&mut NamespaceBlock);

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A proxy of one operator. It passes on blocks, which is all that a follower needs.
struct Proxy {
    operator: String,
    height: u64,
    forge: Forge,
}

fn forged(mut message: BlockMessage, forge: Forge) -> BlockMessage {
    let mut block = NamespaceBlock::from_bytes(message.block).unwrap();
    forge(&mut block);
    message.block = block.to_bytes();
    message
}

#[tonic::async_trait]
impl Squad for Proxy {
    type SubscribeBlocksStream = Boxed<BlockMessage>;
    type SubmitTransactionsStream = Boxed<SubmitReply>;

    async fn subscribe_blocks(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Boxed<BlockMessage>>, Status> {
        let (height, forge) = (self.height, self.forge);
        let endpoint = Endpoint::from_shared(self.operator.clone()).unwrap();
        let blocks =
            SquadClient::new(endpoint.connect_lazy()).subscribe_blocks(request.into_inner()).await?.into_inner();
        let passed = move |message: Result<BlockMessage, Status>| {
            message.map(|message| if message.height == height { forged(message, forge) } else { message })
        };
        Ok(Response::new(Box::pin(blocks.map(passed))))
    }

    async fn submit_transactions(
        &self,
        _: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Boxed<SubmitReply>>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
    async fn get_status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
    async fn get_genesis(&self, _: Request<GenesisRequest>) -> Result<Response<GenesisReply>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
    async fn get_committee(&self, _: Request<CommitteeRequest>) -> Result<Response<CommitteeReply>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
    async fn get_confirmation(&self, _: Request<ConfirmationRequest>) -> Result<Response<ConfirmationReply>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
    async fn get_header(&self, _: Request<HeaderRequest>) -> Result<Response<HeaderReply>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
    async fn get_block(&self, _: Request<BlockRequest>) -> Result<Response<BlockMessage>, Status> {
        Err(Status::unimplemented("only blocks pass"))
    }
}

/// A proxy in front of each operator; they end with it.
pub(super) struct Proxies {
    _runtime: Runtime,
    /// Where they serve.
    pub(super) urls: Vec<String>,
}

impl Proxies {
    /// Starts them. Every one forges the block at the height alike.
    pub(super) fn start(operators: &[String], height: u64, forge: Forge) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let urls = operators
            .iter()
            .map(|operator| {
                let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
                let url = format!("http://{}", listener.local_addr().unwrap());
                let service = SquadServer::new(Proxy { operator: operator.clone(), height, forge });
                let incoming = TcpListenerStream::new(listener);
                runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
                url
            })
            .collect();
        Self { _runtime: runtime, urls }
    }
}
