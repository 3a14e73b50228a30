//! A small operator on loopback that serves a fabricated chain, well or badly.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use squad_client::proto::squad_server::{Squad, SquadServer};
use squad_client::proto::{self, submit_answer::Outcome};
use squad_client::testing::{TestBlock, TestChain};
use squad_types::{Encode, NamespaceBlock, NamespaceId, Transaction};
use std::sync::{Arc, Mutex};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// What comes after the last block that is served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    End,
    Hang,
    Break,
}

/// Changes a block before it is served.
pub type Forge = fn(&mut NamespaceBlock);

/// How submissions are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Submissions {
    Accept,
    /// Another transaction's confirmation.
    Lie,
    Busy,
    Refuse,
    /// Ends the call after this many answers.
    EndAfter(usize),
    Duplicate,
    /// Takes everything in and never answers.
    Silent,
    /// Says that it is too late.
    Expired,
}

#[derive(Clone)]
pub struct Fake {
    pub chain: Arc<TestChain>,
    pub blocks: Arc<Vec<TestBlock>>,
    /// Serves blocks up to this height, per call to `SubscribeBlocks` this many.
    pub upto: usize,
    pub per_call: usize,
    pub then: Then,
    pub forge: Option<(u64, Forge)>,
    /// Leaves this height out.
    pub gap: Option<u64>,
    /// Fails every subscription with this.
    pub refuse: Option<tonic::Code>,
    pub submissions: Submissions,
    /// What it says chain time is.
    pub chain_time: u64,
    /// Changes what it says the members of later committees are.
    pub other_members: bool,
    pub asked_from: Arc<Mutex<Vec<u64>>>,
    pub submitted: Arc<Mutex<Vec<Bytes>>>,
}

impl Fake {
    pub fn new(chain: TestChain, blocks: Vec<TestBlock>) -> Self {
        Self {
            upto: blocks.len(),
            per_call: usize::MAX,
            chain: Arc::new(chain),
            blocks: Arc::new(blocks),
            then: Then::Hang,
            forge: None,
            gap: None,
            refuse: None,
            submissions: Submissions::Accept,
            chain_time: 1_200,
            other_members: false,
            asked_from: Arc::default(),
            submitted: Arc::default(),
        }
    }

    /// The same network, with a record of its own.
    pub fn sibling(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = Self { asked_from: Arc::default(), submitted: Arc::default(), ..self.clone() };
        change(&mut other);
        other
    }

    /// Serves on a free port until the test's runtime ends.
    pub async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(SquadServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    pub fn asked_from(&self) -> Vec<u64> {
        self.asked_from.lock().unwrap().clone()
    }

    pub fn submitted(&self) -> usize {
        self.submitted.lock().unwrap().len()
    }

    fn message(&self, height: u64, namespace: NamespaceId) -> proto::BlockMessage {
        let mut block = self.blocks[height as usize - 1].namespace_block(namespace);
        if let Some((_, forge)) = self.forge.filter(|(at, _)| *at == height) {
            forge(&mut block);
        }
        proto::BlockMessage { block: block.to_bytes(), height, tip_height: u64::MAX }
    }

    fn answer(&self, id: u64, transaction: Transaction, seen: usize) -> Option<proto::SubmitAnswer> {
        self.submitted.lock().unwrap().push(transaction.data.clone());
        let rejected = |code: &str, retry_after_ms, r#final| {
            Outcome::Rejected(proto::Rejected {
                code: code.to_owned(),
                reason: "made up".to_owned(),
                retry_after_ms,
                r#final,
            })
        };
        let accepted = |transaction: Transaction| {
            let batch = self.chain.batch(0, None, vec![transaction.clone()]);
            Outcome::Accepted(proto::Accepted {
                tier: proto::Tier::Batched.into(),
                transaction: Bytes::copy_from_slice(transaction.id().as_bytes()),
                confirmation: self.chain.batched(&batch, 0).to_bytes(),
            })
        };
        let outcome = match self.submissions {
            Submissions::EndAfter(limit) if seen >= limit => return None,
            Submissions::Accept | Submissions::EndAfter(_) => accepted(transaction),
            Submissions::Lie => accepted(Transaction { data: Bytes::from_static(b"other"), ..transaction }),
            Submissions::Busy => rejected("busy", 60_000, false),
            Submissions::Refuse => rejected("too_large", 0, true),
            Submissions::Duplicate => rejected("duplicate", 0, false),
            Submissions::Expired => rejected("expired", 0, true),
            Submissions::Silent => return None,
        };
        Some(proto::SubmitAnswer { id, outcome: Some(outcome) })
    }
}

#[tonic::async_trait]
impl Squad for Fake {
    type SubscribeBlocksStream = BoxStream<'static, Result<proto::BlockMessage, Status>>;
    type SubmitTransactionsStream = BoxStream<'static, Result<proto::SubmitReply, Status>>;

    async fn subscribe_blocks(
        &self,
        request: Request<proto::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeBlocksStream>, Status> {
        let request = request.into_inner();
        self.asked_from.lock().unwrap().push(request.from_height);
        if let Some(code) = self.refuse {
            return Err(Status::new(code, "made up"));
        }
        let (fake, namespace) = (self.clone(), NamespaceId(request.namespace));
        let heights = (request.from_height..=self.upto as u64).take(self.per_call);
        let gap = self.gap;
        let blocks = stream::iter(heights.filter(move |height| gap != Some(*height)))
            .map(move |height| Ok(fake.message(height, namespace)));
        Ok(Response::new(match self.then {
            Then::End => blocks.boxed(),
            Then::Hang => blocks.chain(stream::pending()).boxed(),
            Then::Break => blocks.chain(stream::iter([Err(Status::unavailable("broken"))])).boxed(),
        }))
    }

    async fn submit_transactions(
        &self,
        request: Request<Streaming<proto::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitTransactionsStream>, Status> {
        let fake = self.clone();
        let state = (request.into_inner(), 0_usize);
        let replies = stream::unfold(state, move |(mut requests, mut seen)| {
            let fake = fake.clone();
            async move {
                let request = requests.message().await.ok()??;
                let until = (request.valid_until_ms > 0).then_some(squad_types::Timestamp(request.valid_until_ms));
                let list = if request.batch.is_empty() { vec![request.data] } else { request.batch };
                let mut answers = Vec::new();
                if fake.submissions == Submissions::Silent {
                    fake.submitted.lock().unwrap().extend(list);
                    std::future::pending::<()>().await;
                    return None;
                }
                for (id, data) in (request.id..).zip(list) {
                    let namespace = NamespaceId(request.namespace);
                    let transaction = Transaction { namespace, valid_until: until, hint: None, data };
                    match fake.answer(id, transaction, seen) {
                        Some(answer) => answers.push(answer),
                        None if answers.is_empty() => return None,
                        None => break,
                    }
                    seen += 1;
                }
                Some((Ok(proto::SubmitReply { answers }), (requests, seen)))
            }
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn get_status(&self, _: Request<proto::StatusRequest>) -> Result<Response<proto::StatusReply>, Status> {
        Ok(Response::new(proto::StatusReply {
            height: self.upto as u64,
            accepting: true,
            chain_time_ms: self.chain_time,
            ..Default::default()
        }))
    }

    async fn get_genesis(&self, _: Request<proto::GenesisRequest>) -> Result<Response<proto::GenesisReply>, Status> {
        Ok(Response::new(proto::GenesisReply { json: serde_json::to_string(&self.chain.genesis).unwrap() }))
    }

    async fn get_committee(
        &self,
        request: Request<proto::CommitteeRequest>,
    ) -> Result<Response<proto::CommitteeReply>, Status> {
        let epoch = request.into_inner().epoch;
        let mut proofs = self.blocks.iter().filter_map(TestBlock::committee_proof);
        let proof = proofs.find(|proof| proof.header.epoch.next().0 == epoch);
        let mut proof = proof.ok_or_else(|| Status::not_found("no such epoch"))?;
        if self.other_members {
            proof.members[0].stake.0 += 1;
        }
        Ok(Response::new(proto::CommitteeReply { proof: proof.to_bytes() }))
    }

    async fn get_confirmation(
        &self,
        request: Request<proto::ConfirmationRequest>,
    ) -> Result<Response<proto::ConfirmationReply>, Status> {
        let id = request.into_inner().transaction;
        for block in self.blocks.iter() {
            for namespace in [NamespaceId(1), NamespaceId(2)] {
                let list = block.namespace_block(namespace).transactions;
                if let Some(at) = list.iter().position(|tx| tx.id().as_bytes()[..] == id[..]) {
                    let confirmation = block.confirmation(namespace, at).to_bytes();
                    return Ok(Response::new(proto::ConfirmationReply { confirmation }));
                }
            }
        }
        Err(Status::not_found("no such transaction"))
    }

    async fn get_header(&self, _: Request<proto::HeaderRequest>) -> Result<Response<proto::HeaderReply>, Status> {
        let tip = &self.blocks[self.upto - 1];
        let (header, certificate) = (tip.header.to_bytes(), tip.certificate.to_bytes());
        Ok(Response::new(proto::HeaderReply { header, certificate }))
    }

    async fn get_block(&self, _: Request<proto::BlockRequest>) -> Result<Response<proto::BlockMessage>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}
