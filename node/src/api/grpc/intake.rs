//! The side of a bulk call that reads transactions, checks them and hands them over.

use crate::api::backend::{Accepted, Answer, Answers, Source, Ticket};
use crate::api::entry::{Gate, NamespaceName};
use crate::api::rejection::{RejectCode, Rejected};
use bytes::{Bytes, BytesMut};
use futures::stream::StreamExt;
use squad_client::proto::{self, submit_answer::Outcome};
use squad_types::{Encode, NamespaceId, NamespaceSpec, Tier, Timestamp, TxId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, watch};
use tonic::Streaming;

/// Transactions of one call that may wait for their answer; then the node reads no further.
const MAX_OPEN: usize = 32 * 1024;
/// Transactions checked and handed over at once, so that a large message holds neither the thread nor the memory.
const CHUNK: usize = 256;

/// The transactions of one call that have no answer yet.
pub(super) struct Open {
    places: Semaphore,
    count: AtomicUsize,
    gate: Gate,
}

impl Open {
    pub(super) fn new(gate: Gate) -> Self {
        Self { places: Semaphore::new(MAX_OPEN), count: AtomicUsize::new(0), gate }
    }

    /// Waits for room in the call and in the node: so pressure travels back to the client.
    async fn take(&self, count: usize) {
        let many = u32::try_from(count).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(permit) = self.places.acquire_many(many).await {
            permit.forget();
        }
        self.gate.take(many).await;
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn release(&self, count: usize) {
        self.places.add_permits(count);
        self.count.fetch_sub(count, Ordering::Relaxed);
        self.gate.release(count);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gate.release(*self.count.get_mut());
    }
}

/// What the transactions of one request share.
struct Shared {
    spec: NamespaceSpec,
    valid_until: Option<Timestamp>,
    wait: Tier,
    source: Source,
    with_confirmation: bool,
    after: Option<TxId>,
}

/// The side of a call that reads transactions.
pub(super) struct Intake {
    pub(super) gate: Gate,
    pub(super) open: Arc<Open>,
    pub(super) answers: Answers,
    pub(super) source: Source,
}

impl Intake {
    pub(super) async fn run(self, mut requests: Streaming<proto::SubmitRequest>, mut stop: watch::Receiver<bool>) {
        loop {
            let next = tokio::select! {
                next = requests.next() => next,
                () = self.answers.closed() => return,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match next {
                Some(Ok(request)) => self.take(request).await,
                // The client ended its side, or broke off; what is open is still answered.
                Some(Err(_)) | None => return,
            }
        }
    }

    async fn take(&self, mut request: proto::SubmitRequest) {
        let all = std::mem::take(&mut request.batch);
        let batch = !all.is_empty();
        let all = if batch { all } else { vec![std::mem::take(&mut request.data)] };
        let shared = self.shared(&request, !batch);
        for (at, chunk) in all.chunks(CHUNK).enumerate() {
            let first = request.id.wrapping_add((at * CHUNK) as u64);
            self.open.take(chunk.len()).await;
            match &shared {
                Ok(shared) => self.hand_over(first, chunk, shared).await,
                Err(refusal) => self.refuse(first, chunk.len(), refusal),
            }
        }
    }

    fn shared(&self, request: &proto::SubmitRequest, alone: bool) -> Result<Shared, Rejected> {
        let spec = self.gate.namespace(&NamespaceName::Id(NamespaceId(request.namespace)))?;
        let tier = |_| {
            let reason = format!("wait {} is no tier: use 1 (batched), 2 (secured) or 3 (ordered)", request.wait);
            Rejected::new(RejectCode::MalformedParameter, reason)
        };
        let wait = proto::Tier::try_from(request.wait).map(Tier::from).map_err(tier)?;
        let valid_until = (request.valid_until_ms != 0).then_some(Timestamp(request.valid_until_ms));
        let with_confirmation = request.with_confirmation;
        let after = after(&request.after, alone)?;
        Ok(Shared { spec, valid_until, wait, source: self.source, with_confirmation, after })
    }

    async fn hand_over(&self, first: u64, chunk: &[Bytes], shared: &Shared) {
        let (mut tickets, mut refused) = (Vec::with_capacity(chunk.len()), Vec::new());
        for (at, data) in chunk.iter().enumerate() {
            let number = first.wrapping_add(at as u64);
            let checked = self.gate.check(&shared.spec, data.clone(), shared.valid_until, shared.wait, shared.source);
            match checked {
                Ok(mut submission) => {
                    submission.with_confirmation = shared.with_confirmation;
                    submission.after = shared.after;
                    tickets.push(Ticket { number, submission });
                }
                Err(refusal) => refused.push(Answer { number, outcome: Err(refusal) }),
            }
        }
        refused.iter().filter_map(|answer| answer.outcome.as_ref().err()).for_each(|refusal| {
            self.gate.metrics().count_refusal(refusal.code);
        });
        if !refused.is_empty() {
            // The receiver goes only with the call.
            let _ = self.answers.send(refused);
        }
        if !tickets.is_empty() {
            self.gate.backend().submit(tickets, self.answers.clone()).await;
        }
    }

    fn refuse(&self, first: u64, count: usize, refusal: &Rejected) {
        let answer = |at: usize| Answer { number: first.wrapping_add(at as u64), outcome: Err(refusal.clone()) };
        let _ = self.answers.send((0..count).map(answer).collect());
    }
}

/// The transaction that the one of a request is to come after.
fn after(bytes: &Bytes, alone: bool) -> Result<Option<TxId>, Rejected> {
    let malformed = |reason: String| Rejected::new(RejectCode::MalformedParameter, reason);
    if bytes.is_empty() {
        return Ok(None);
    }
    if !alone {
        return Err(malformed("after is for one transaction: leave batch empty and use data".into()));
    }
    let id = <[u8; 32]>::try_from(bytes.as_ref());
    id.map(|id| Some(TxId(id))).map_err(|_| malformed(format!("after has {} bytes: an id has 32", bytes.len())))
}

/// Answers as they travel; the ids in them share one allocation.
pub(super) fn reply(groups: Vec<Vec<Answer>>) -> proto::SubmitReply {
    let mut ids = BytesMut::with_capacity(groups.iter().map(Vec::len).sum::<usize>() * TxId::ZERO.0.len());
    proto::SubmitReply { answers: groups.into_iter().flatten().map(|one| answer(one, &mut ids)).collect() }
}

fn answer(answer: Answer, ids: &mut BytesMut) -> proto::SubmitAnswer {
    let outcome = match answer.outcome {
        Ok(Accepted { id, tier, confirmation }) => {
            ids.extend_from_slice(&id.0);
            Outcome::Accepted(proto::Accepted {
                tier: proto::Tier::from(tier).into(),
                transaction: ids.split().freeze(),
                confirmation: confirmation.map(|confirmation| confirmation.to_bytes()).unwrap_or_default(),
            })
        }
        Err(refusal) => Outcome::Rejected(proto::Rejected {
            code: refusal.code.as_str().into(),
            retry_after_ms: refusal.retry_after.map_or(0, |after| after.as_millis() as u64),
            r#final: refusal.code.is_final(),
            reason: refusal.reason,
        }),
    };
    proto::SubmitAnswer { id: answer.number, outcome: Some(outcome) }
}
