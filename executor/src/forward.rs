//! Wallets' transactions on their way to operators over gRPC.

use crate::{
    grpc::{GrpcOperators, describe},
    operators::Operators as _,
    source::{Behind, Earlier, Forwarder, Refusal, Submission},
};
use bytes::Bytes;
use squad_client::proto::{
    self, ConfirmationRequest, SubmitAnswer, SubmitRequest, squad_client::SquadClient, submit_answer::Outcome,
};
use squad_types::{NamespaceId, Tier, Transaction, limits::MAX_TRANSACTION_BYTES};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Time an operator has to answer a submission. Longer than it waits itself for a transaction to be secured before it
/// says that it took it and cannot say more.
const SUBMIT: Duration = Duration::from_secs(20);
/// Pause between two questions whether a transaction is secured that an operator knew already.
const POLL: Duration = Duration::from_millis(100);
/// Transactions that wait for an operator's connection; more are refused for now.
const QUEUE: usize = 4_096;

/// Those who wait for an operator's answer, by the number of their request; none once the stream has ended.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<SubmitAnswer, String>>>>>>;

/// One call to one operator, over which transactions go in order.
#[derive(Debug)]
struct Line {
    requests: mpsc::Sender<SubmitRequest>,
    waiting: Waiting,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insertion or removal: a panicking holder leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn open(client: SquadClient<Channel>) -> Self {
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(serve(client, ReceiverStream::new(outgoing), waiting.clone()));
        Self { requests, waiting }
    }

    /// Sends a request; gives it back if the stream has ended.
    fn send(&self, request: SubmitRequest) -> Result<Answered, Box<SubmitRequest>> {
        let (id, (answer, answered)) = (request.id, oneshot::channel());
        let mut waiting = lock(&self.waiting);
        let Some(open) = waiting.as_mut() else { return Err(Box::new(request)) };
        match self.requests.try_send(request) {
            Ok(()) => {
                open.insert(id, answer);
            }
            Err(mpsc::error::TrySendError::Closed(request)) => return Err(Box::new(request)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let full = format!("{QUEUE} transactions wait for its connection");
                // The receiver is below.
                let _ = answer.send(Err(full));
            }
        }
        Ok(answered)
    }
}

type Answered = oneshot::Receiver<Result<SubmitAnswer, String>>;

/// Hands answers to those who wait for them, until the stream ends.
async fn serve(mut client: SquadClient<Channel>, requests: ReceiverStream<SubmitRequest>, waiting: Waiting) {
    let answers = async {
        let mut answers = client.submit_transactions(requests).await?.into_inner();
        while let Some(reply) = answers.message().await? {
            let mut waiting = lock(&waiting);
            for answer in reply.answers {
                if let Some(waits) = waiting.as_mut().and_then(|open| open.remove(&answer.id)) {
                    // Whoever waited may have given up.
                    let _ = waits.send(Ok(answer));
                }
            }
        }
        Ok::<(), tonic::Status>(())
    };
    let end = match answers.await {
        Ok(()) => "it ended the stream".to_owned(),
        Err(status) => describe(&status),
    };
    for (_, waits) in lock(&waiting).take().into_iter().flatten() {
        let _ = waits.send(Err(end.clone()));
    }
}

/// Submits to the operator that answered last; to the next ones if it cannot be reached or takes nothing now.
///
/// What goes to one operator goes over one stream, so it arrives in the order in which it was submitted. Submitting to a
/// second operator after a lost answer is safe: the network orders a transaction at most once.
///
/// Guarantee: in the lane of every operator that took a transaction from here, all of its sender's lower nonces that were
/// not executed by then stand before it. So whichever lane the order takes it from, it finds them there, unless they were
/// forgotten here meanwhile.
#[derive(Debug, Clone)]
pub struct GrpcForwarder {
    operators: GrpcOperators,
    preferred: Arc<AtomicUsize>,
    next: Arc<AtomicU64>,
    lines: Arc<[Mutex<Option<Line>>]>,
}

impl GrpcForwarder {
    pub(crate) fn new(operators: GrpcOperators, count: usize) -> Self {
        let lines = (0..count).map(|_| Mutex::default()).collect();
        Self { operators, preferred: Arc::default(), next: Arc::default(), lines }
    }

    /// Puts a transaction on its way to an operator before it returns.
    fn hand(&self, index: usize, raw: Bytes, after: Option<&Bytes>, wait: Tier) -> Answered {
        let namespace = self.operators.namespace();
        let mut request = SubmitRequest {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            namespace: namespace.0,
            wait: proto::Tier::from(wait).into(),
            data: raw,
            after: after.map(|after| id(namespace, after)).unwrap_or_default(),
            ..SubmitRequest::default()
        };
        let mut line = lock(&self.lines[index]);
        loop {
            let open = line.get_or_insert_with(|| Line::open(self.operators.client(index)));
            match open.send(request) {
                Ok(answered) => return answered,
                Err(back) => {
                    request = *back;
                    *line = None;
                }
            }
        }
    }

    /// Hands a transaction to an operator behind `earlier`, each of which it knows already or takes behind the one before.
    fn hand_behind(&self, index: usize, raw: Bytes, earlier: &[Bytes]) -> Answered {
        let mut after = None;
        for one in earlier {
            // Their own answers were given: what counts is whether this operator takes `raw` behind them.
            drop(self.hand(index, one.clone(), after, Tier::Batched));
            after = Some(one);
        }
        self.hand(index, raw, after, Tier::Secured)
    }

    /// What the operator says, within its time.
    async fn answer(&self, index: usize, raw: &Bytes, answered: Answered) -> Result<Tier, Refusal> {
        let deadline = Instant::now() + SUBMIT;
        let outcome = match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(Ok(answer))) => judge(answer),
            Ok(Ok(Err(reason))) => Err(Refusal::Busy(reason)),
            Ok(Err(_)) => Err(Refusal::Busy("its connection was given up".into())),
            Err(_) => Err(Refusal::Busy(format!("no answer in {} s", SUBMIT.as_secs()))),
        };
        let outcome = match outcome {
            Ok(Taken::Now(tier)) => Ok(tier),
            // It may only be batched there: this operator could go down with it.
            Ok(Taken::Before) => match tokio::time::timeout_at(deadline, self.secured(index, raw)).await {
                Ok(secured) => secured,
                Err(_) => Ok(Tier::Batched),
            },
            Err(refusal) => Err(refusal),
        };
        match &outcome {
            Err(Refusal::Busy(reason)) => {
                tracing::warn!(operator = self.operators.name(index), reason, "operator took no transaction");
            }
            Err(Refusal::OutOfTurn(reason)) => {
                tracing::debug!(operator = self.operators.name(index), reason, "not the operator of the one before");
            }
            Ok(_) | Err(Refusal::Rejected(_)) => self.preferred.store(index, Ordering::Relaxed),
        }
        outcome
    }

    /// Asks until a transaction is secured that the operator knows.
    async fn secured(&self, index: usize, raw: &Bytes) -> Result<Tier, Refusal> {
        let transaction = id(self.operators.namespace(), raw);
        let mut client = self.operators.client(index);
        loop {
            let tier = proto::Tier::Secured.into();
            let found = client.get_confirmation(ConfirmationRequest { transaction: transaction.clone(), tier }).await;
            match found {
                Ok(_) => return Ok(Tier::Secured),
                Err(status) if status.code() == tonic::Code::NotFound => tokio::time::sleep(POLL).await,
                Err(status) => return Err(Refusal::Busy(describe(&status))),
            }
        }
    }

    /// Asks operators in turn until one takes it: the one it was handed to, then the next ones.
    async fn ask(&self, first: usize, handed: Answered, raw: Bytes, behind: Behind) -> Result<Tier, Refusal> {
        let (after, earlier) = match &behind {
            Behind::Nothing => (None, None),
            Behind::OnItsWay(_) => return self.answer(first, &raw, handed).await,
            Behind::AnsweredFor(last, earlier) => (Some(last), Some(earlier)),
        };
        let mut outcome = self.answer_behind(first, handed, &raw, earlier).await;
        let count = self.operators.count();
        for index in (1..count).map(|step| (first + step) % count) {
            if !matches!(outcome, Err(Refusal::Busy(_) | Refusal::OutOfTurn(_))) {
                break;
            }
            let handed = self.hand(index, raw.clone(), after, Tier::Secured);
            outcome = self.answer_behind(index, handed, &raw, earlier).await;
        }
        outcome
    }

    /// What the operator says; after it has been given the earlier ones, where it does not hold them.
    async fn answer_behind(
        &self,
        index: usize,
        handed: Answered,
        raw: &Bytes,
        earlier: Option<&Earlier>,
    ) -> Result<Tier, Refusal> {
        match (self.answer(index, raw, handed).await, earlier) {
            (Err(Refusal::OutOfTurn(_)), Some(earlier)) => {
                let handed = self.hand_behind(index, raw.clone(), &earlier());
                self.answer(index, raw, handed).await
            }
            (outcome, _) => outcome,
        }
    }
}

/// The id of a transaction of the namespace.
fn id(namespace: NamespaceId, raw: &Bytes) -> Bytes {
    let transaction = Transaction { namespace, valid_until: None, hint: None, data: raw.clone() };
    Bytes::copy_from_slice(&transaction.id().0)
}

/// What an operator that did not refuse has done.
enum Taken {
    /// It took the transaction, which has reached this tier.
    Now(Tier),
    /// It knew it already.
    Before,
}

fn judge(answer: SubmitAnswer) -> Result<Taken, Refusal> {
    let rejected = match answer.outcome {
        Some(Outcome::Accepted(accepted)) => return Ok(Taken::Now(accepted.tier().into())),
        Some(Outcome::Rejected(rejected)) => rejected,
        None => return Err(Refusal::Busy("its answer is neither accepted nor rejected".into())),
    };
    match rejected.code.as_str() {
        "duplicate" => Ok(Taken::Before),
        // It was taken, and is not secured as long as the operator waits for it.
        "timeout" => Ok(Taken::Now(Tier::Batched)),
        "out_of_turn" => Err(Refusal::OutOfTurn(rejected.reason)),
        _ if rejected.r#final => Err(Refusal::Rejected(rejected.reason)),
        _ => Err(Refusal::Busy(format!("{}; retry after {} ms", rejected.reason, rejected.retry_after_ms))),
    }
}

impl Forwarder for GrpcForwarder {
    fn submit(&self, raw: Bytes, behind: Behind) -> Submission {
        if raw.len() > MAX_TRANSACTION_BYTES {
            let size = raw.len();
            let text = format!("oversized data: transaction size {size}, limit {MAX_TRANSACTION_BYTES}");
            return Box::pin(std::future::ready(Err(Refusal::Rejected(text))));
        }
        let first = self.preferred.load(Ordering::Relaxed);
        let after = match &behind {
            Behind::Nothing => None,
            Behind::OnItsWay(last) | Behind::AnsweredFor(last, _) => Some(last),
        };
        let handed = self.hand(first, raw.clone(), after, Tier::Secured);
        let this = self.clone();
        Box::pin(async move { this.ask(first, handed, raw, behind).await })
    }
}
