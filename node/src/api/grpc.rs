//! gRPC: the stream that executors follow, and submission in bulk.

mod intake;
mod limited;

use super::backend::Source;
use super::entry::{Gate, NamespaceName};
use super::follow::Follower;
use super::rejection::{RejectCode, Rejected};
use super::status::Readiness;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use intake::{Intake, Open, reply};
use squad_client::proto;
use squad_client::proto::squad_server::{Squad, SquadServer};
use squad_types::{Encode, Height, NamespaceId, Tier, TxId};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::config::Limits;

/// Bytes of one message to the node: some thousand transactions of half a kilobyte, far over one of the largest.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Groups of answers that go into one reply at most.
const MAX_GROUPS: usize = 64;
/// How often an idle connection is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A running gRPC server.
#[derive(Debug)]
pub struct GrpcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl GrpcServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more calls, ends the streams, and waits for the answers under way.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A connection that broke while stopping is its client's business.
        let _ = self.task.await;
    }
}

/// Serves gRPC on a bound socket.
///
/// # Errors
/// A socket that has no address, or a description of the interface that does not decode.
pub fn serve_grpc(listener: TcpListener, gate: Gate, limits: &Limits) -> std::io::Result<GrpcServer> {
    let address = listener.local_addr()?;
    let (stop, mut stopped) = watch::channel(false);
    let service = Service { gate, stop: stopped.clone() };
    let server = SquadServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let shutdown = async move {
        // A dropped sender stops it too.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let incoming = limited::incoming(listener, Arc::new(Semaphore::new(limits.grpc_connections as usize)));
    // Both forms of reflection: tools in use ask for either.
    let described = || {
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
    };
    let reflection = described().build_v1().map_err(std::io::Error::other)?;
    let old_reflection = described().build_v1alpha().map_err(std::io::Error::other)?;
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(limits.grpc_streams)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .add_service(server)
        .add_service(reflection)
        .add_service(old_reflection)
        .serve_with_incoming_shutdown(incoming, shutdown);
    Ok(GrpcServer { address, stop, task: tokio::spawn(serving) })
}

struct Service {
    gate: Gate,
    stop: watch::Receiver<bool>,
}

impl From<Rejected> for Status {
    fn from(refusal: Rejected) -> Self {
        let message = refusal.to_string();
        match refusal.code {
            RejectCode::UnknownNamespace | RejectCode::NotFound => Self::not_found(message),
            RejectCode::Pruned => Self::out_of_range(message),
            RejectCode::MalformedParameter => Self::invalid_argument(message),
            RejectCode::ShuttingDown | RejectCode::CatchingUp | RejectCode::NotReady => Self::unavailable(message),
            RejectCode::Busy | RejectCode::Quota => Self::resource_exhausted(message),
            RejectCode::Internal => Self::internal(message),
            _ => Self::failed_precondition(message),
        }
    }
}

/// Counts a stream for as long as it lives.
struct Counted(prometheus::IntGauge);

impl Counted {
    fn new(gauge: &prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Ends with the node: executors and submitters then go to another operator.
async fn stopping(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn block_message(block: &squad_types::NamespaceBlock, tip: Height) -> proto::BlockMessage {
    proto::BlockMessage {
        block: block.to_bytes(),
        height: block.header.height.0,
        tip_height: tip.0.max(block.header.height.0),
    }
}

fn malformed(reason: String) -> Status {
    Rejected::new(RejectCode::MalformedParameter, reason).into()
}

impl Service {
    fn tip(&self) -> Height {
        *self.gate.backend().tip().borrow()
    }

    /// The height asked for, where 0 stands for the tip.
    fn height(&self, height: u64) -> Height {
        if height == 0 { self.tip() } else { Height(height) }
    }

    fn missing(&self, height: Height) -> Status {
        let reason = format!("height {height} has no block here: heights go from 1 to {} now", self.tip());
        Rejected::new(RejectCode::NotFound, reason).into()
    }

    fn count(&self, method: &str) {
        self.gate.metrics().calls.with_label_values(&[method]).inc();
    }
}

#[tonic::async_trait]
impl Squad for Service {
    type SubscribeBlocksStream = BoxStream<'static, Result<proto::BlockMessage, Status>>;
    type SubmitTransactionsStream = BoxStream<'static, Result<proto::SubmitReply, Status>>;

    async fn subscribe_blocks(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeBlocksStream>, Status> {
        self.count("SubscribeBlocks");
        let request = request.into_inner();
        let spec = self.gate.namespace(&NamespaceName::Id(NamespaceId(request.namespace)))?;
        if request.from_height == 0 {
            return Err(malformed("from_height is 0, which has no block: use 1 or above".into()));
        }
        let backend = self.gate.backend();
        let follower = Follower::new(Arc::clone(backend), Some(Height(request.from_height)));
        let counted = Counted::new(&self.gate.metrics().streams);
        let tip = backend.tip();
        let blocks = stream::unfold((follower, Some(counted)), move |(mut follower, counted)| {
            let tip = tip.clone();
            async move {
                // After a failure there is nothing more.
                let counted = counted?;
                let next = follower.block(spec.id).await;
                let tip = *tip.borrow();
                let counted = next.is_ok().then_some(counted);
                Some((next.map(|block| block_message(&block, tip)).map_err(Status::from), (follower, counted)))
            }
        });
        Ok(Response::new(blocks.take_until(stopping(self.stop.clone())).boxed()))
    }

    async fn submit_transactions(
        &self,
        request: Request<Streaming<proto::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitTransactionsStream>, Status> {
        self.count("SubmitTransactions");
        let client = request.remote_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        let (answers, answered) = mpsc::unbounded_channel();
        let gate = self.gate.clone();
        let open = Arc::new(Open::new(gate.clone()));
        let intake = Intake { gate, open: Arc::clone(&open), answers, source: Source::Client(client) };
        tokio::spawn(intake.run(request.into_inner(), self.stop.clone()));
        let replies = stream::unfold((answered, open), |(mut answered, open)| async move {
            let mut groups = Vec::with_capacity(MAX_GROUPS);
            if answered.recv_many(&mut groups, MAX_GROUPS).await == 0 {
                return None;
            }
            let reply = reply(groups);
            open.release(reply.answers.len());
            Some((Ok(reply), (answered, open)))
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn get_status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusReply>, Status> {
        self.count("GetStatus");
        let status = self.gate.backend().status().await;
        let reason = match &status.readiness {
            Readiness::Ready => String::new(),
            Readiness::Starting => "the node is starting".into(),
            Readiness::CatchingUp { target } => format!("the node catches up to height {target}: ask another operator"),
            Readiness::Refusing { reason } => reason.clone(),
        };
        let decided = status.height > Height::ZERO;
        Ok(Response::new(proto::StatusReply {
            network_id: Bytes::copy_from_slice(&status.network_id.0),
            operator: Bytes::copy_from_slice(&status.operator.0),
            height: status.height.0,
            epoch: status.epoch.0,
            header_hash: if decided { Bytes::copy_from_slice(&status.tip_hash.0) } else { Bytes::new() },
            chain_time_ms: status.chain_time.0,
            oldest_height: status.oldest_height.0,
            accepting: status.is_ready(),
            reason,
            timestamp_ms: status.tip_time.0,
            version: status.version,
        }))
    }

    async fn get_genesis(&self, _: Request<proto::GenesisRequest>) -> Result<Response<proto::GenesisReply>, Status> {
        self.count("GetGenesis");
        let json = serde_json::to_string(&*self.gate.backend().genesis());
        json.map(|json| Response::new(proto::GenesisReply { json }))
            .map_err(|error| Status::internal(error.to_string()))
    }

    async fn get_committee(
        &self,
        request: Request<proto::CommitteeRequest>,
    ) -> Result<Response<proto::CommitteeReply>, Status> {
        self.count("GetCommittee");
        let epoch = squad_types::Epoch(request.into_inner().epoch);
        if epoch.0 == 0 {
            return Err(malformed("epoch 0 has no proof: its committee stands in the genesis".into()));
        }
        let proof = self.gate.backend().committee_proof(epoch).await?;
        let proof = proof.ok_or_else(|| Status::not_found(format!("epoch {epoch} has no committee here")))?;
        Ok(Response::new(proto::CommitteeReply { proof: proof.to_bytes() }))
    }

    async fn get_confirmation(
        &self,
        request: Request<proto::ConfirmationRequest>,
    ) -> Result<Response<proto::ConfirmationReply>, Status> {
        self.count("GetConfirmation");
        let request = request.into_inner();
        let id = <[u8; 32]>::try_from(&request.transaction[..])
            .map(TxId)
            .map_err(|_| malformed(format!("transaction has {} bytes: an id has 32", request.transaction.len())))?;
        let least = proto::Tier::try_from(request.tier)
            .map(Tier::from)
            .map_err(|_| malformed(format!("tier {} is none: use 1, 2 or 3", request.tier)))?;
        let confirmation = self.gate.confirmation(id, None).await?;
        if confirmation.tier() < least {
            let reason = format!("transaction {id} is {} so far, not {least}", confirmation.tier());
            return Err(Rejected::new(RejectCode::NotFound, reason).into());
        }
        Ok(Response::new(proto::ConfirmationReply { confirmation: confirmation.to_bytes() }))
    }

    async fn get_header(&self, request: Request<proto::HeaderRequest>) -> Result<Response<proto::HeaderReply>, Status> {
        self.count("GetHeader");
        let height = self.height(request.into_inner().height);
        let found = self.gate.backend().header(height).await?.ok_or_else(|| self.missing(height))?;
        Ok(Response::new(proto::HeaderReply {
            header: found.header.to_bytes(),
            certificate: found.certificate.to_bytes(),
        }))
    }

    async fn get_block(&self, request: Request<proto::BlockRequest>) -> Result<Response<proto::BlockMessage>, Status> {
        self.count("GetBlock");
        let request = request.into_inner();
        let spec = self.gate.namespace(&NamespaceName::Id(NamespaceId(request.namespace)))?;
        let height = self.height(request.height);
        let found = self.gate.backend().namespace_block(spec.id, height).await?.ok_or_else(|| self.missing(height))?;
        Ok(Response::new(block_message(&found, self.tip())))
    }
}
