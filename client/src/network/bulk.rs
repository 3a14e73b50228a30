//! Submitting many transactions over one call.

use super::operators::{Choice, Operators, describe};
use super::settle::{ASKED_AT_ONCE, Lost, settle};
use super::{Client, ClientError};
use crate::proto::{self, SubmitReply, SubmitRequest, submit_answer::Outcome};
use bytes::Bytes;
use squad_types::{NamespaceId, Tier, Timestamp, Transaction};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Transactions that may be unanswered, or answered and not read, at a time: some tenths of a second at full load.
pub const MAX_IN_FLIGHT: usize = 16 * 1024;

/// Transactions packed into one request.
const PACK: usize = 256;

/// Bytes packed into one request, below the usual message limit of 4 MiB even with one transaction more.
const PACK_BYTES: usize = 2 << 20;

/// Requests that wait for the connection.
const OUTGOING: usize = 8;

/// What all transactions of one bulk submission share.
#[derive(Clone, Copy, Debug)]
pub struct BulkOptions {
    /// The namespace.
    pub namespace: NamespaceId,
    /// The tier to answer at.
    pub wait: Tier,
    /// Whether answers carry confirmations. They are not checked here.
    pub with_confirmation: bool,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkOutcome {
    /// An operator says that it has reached the tier. The confirmation, if asked for, is in canonical form and not checked.
    Accepted {
        /// The tier reached.
        tier: Tier,
        /// The confirmation; empty if it was not asked for.
        confirmation: Bytes,
    },
    /// An operator refused it. One that was sent again after a lost connection was asked for at all operators before.
    Rejected {
        /// A stable word for programs.
        code: String,
        /// For people.
        reason: String,
        /// When it may be taken, in milliseconds; 0 where waiting does not help.
        retry_after_ms: u64,
        /// Whether it will never be ordered, in this operator's words. Otherwise it may be sent again, as it is.
        for_good: bool,
    },
}

/// One transaction's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkAnswer {
    /// What [`BulkSender::send`] gave.
    pub id: u64,
    /// What became of it.
    pub outcome: BulkOutcome,
}

/// The sending half of a bulk submission. Dropping it lets the rest be answered and then ends the answers.
#[derive(Debug)]
pub struct BulkSender {
    input: mpsc::Sender<Item>,
    next: u64,
}

/// The answers of a bulk submission, in any order. Read them while sending: sending waits while too many are unread.
#[derive(Debug)]
pub struct BulkAnswers {
    answers: mpsc::Receiver<Result<BulkAnswer, ClientError>>,
}

struct Item {
    id: u64,
    data: Bytes,
    valid_until: Option<Timestamp>,
}

impl BulkSender {
    /// Sends a transaction on its way and gives the id that its answer will carry. Waits while too many are unanswered.
    ///
    /// # Errors
    /// [`ClientError::Ended`] once the answers have ended.
    pub async fn send(&mut self, data: Bytes, valid_until: Option<Timestamp>) -> Result<u64, ClientError> {
        let id = self.next;
        self.input.send(Item { id, data, valid_until }).await.map_err(|_| ClientError::Ended)?;
        self.next += 1;
        Ok(id)
    }
}

impl BulkAnswers {
    /// The next answer; none after the last. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Nobody`] if no operator is left; then nothing is known of what is unanswered.
    pub async fn next(&mut self) -> Option<Result<BulkAnswer, ClientError>> {
        self.answers.recv().await
    }
}

impl Client {
    /// Submits many transactions over one call: one answer each. After a lost connection whatever is unanswered is sent
    /// again, to another operator, with the same validity; ordering is exactly once, so nothing is ordered twice. What
    /// the other operator then refuses is asked for first, since the first one may have got it ordered.
    pub fn submit_stream(&self, options: BulkOptions) -> (BulkSender, BulkAnswers) {
        let (input, items) = mpsc::channel(PACK);
        let (output, answers) = mpsc::channel(MAX_IN_FLIGHT);
        let bulk = Bulk {
            operators: Arc::clone(&self.operators),
            options,
            items,
            output,
            open: BTreeMap::new(),
            unsent: VecDeque::new(),
            again: BTreeSet::new(),
            settling: JoinSet::new(),
            settling_ids: BTreeSet::new(),
            asked: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            ended: false,
        };
        tokio::spawn(bulk.run());
        (BulkSender { input, next: 0 }, BulkAnswers { answers })
    }
}

struct Bulk {
    operators: Arc<Operators>,
    options: BulkOptions,
    items: mpsc::Receiver<Item>,
    output: mpsc::Sender<Result<BulkAnswer, ClientError>>,
    /// Unanswered transactions.
    open: BTreeMap<u64, Item>,
    /// Those of them that this call has not sent yet, ascending.
    unsent: VecDeque<u64>,
    /// Those of them that an earlier call sent.
    again: BTreeSet<u64>,
    /// Those of them whose fate is being asked for. They are neither unsent nor sent again.
    settling: JoinSet<(u64, BulkOutcome)>,
    settling_ids: BTreeSet<u64>,
    asked: Arc<Semaphore>,
    ended: bool,
}

/// How a call ended.
enum Left {
    Done,
    Failed(String),
}

impl Bulk {
    async fn run(mut self) {
        let mut cursor = 0;
        loop {
            // A call is opened once there is something to send.
            if self.open.is_empty() {
                match self.items.recv().await {
                    Some(item) => self.take(item),
                    None => return,
                }
            }
            match self.operators.choose(cursor, &BTreeMap::new()) {
                Choice::Use(index) => match self.call(index).await {
                    Left::Done => return,
                    Left::Failed(why) => {
                        self.operators.failed(index, Duration::ZERO, why);
                        cursor = index + 1;
                    }
                },
                Choice::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = self.output.closed() => return,
                    }
                }
                Choice::Nobody => {
                    let what = "submit to".to_owned();
                    let error = ClientError::Nobody { what, reasons: self.operators.reasons(&BTreeMap::new()) };
                    // If nobody reads any more, nobody needs to know.
                    let _ = self.output.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    async fn call(&mut self, index: usize) -> Left {
        let (requests, outgoing) = mpsc::channel::<SubmitRequest>(OUTGOING);
        // What an earlier call has sent may be on its way.
        let unsent: BTreeSet<u64> = self.unsent.drain(..).collect();
        self.again.extend(self.open.keys().filter(|id| !unsent.contains(id)));
        self.unsent = self.open.keys().filter(|id| !self.settling_ids.contains(id)).copied().collect();
        // Some servers answer a call only once they have read something; there is room for `OUTGOING`.
        let _ = requests.try_send(self.pack());
        let mut rpc = self.operators.rpc(index);
        let call = rpc.submit_transactions(ReceiverStream::new(outgoing));
        let config = self.operators.config();
        let (call_timeout, patience) = (config.call_timeout, config.submit_timeout);
        let mut replies = match tokio::time::timeout(call_timeout, call).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => return Left::Failed(describe(&status)),
            Err(_) => return Left::Failed("it did not open the call in time".to_owned()),
        };
        self.exchange(index, requests, &mut replies, patience).await
    }

    async fn exchange(
        &mut self,
        index: usize,
        requests: mpsc::Sender<SubmitRequest>,
        replies: &mut Streaming<SubmitReply>,
        patience: Duration,
    ) -> Left {
        let mut waiting_since = Instant::now();
        loop {
            if self.ended && self.open.is_empty() {
                return Left::Done;
            }
            // Of this operator nothing is waited for while all that is open is being asked for.
            let waiting = self.open.len() > self.settling_ids.len();
            if !waiting {
                waiting_since = Instant::now();
            }
            // Every open transaction has room for its answer, so that giving it never waits.
            let room = self.open.len() < self.output.capacity();
            tokio::select! {
                item = self.items.recv(), if !self.ended && room => match item {
                    Some(item) => self.take(item),
                    None => self.ended = true,
                },
                permit = requests.reserve(), if !self.unsent.is_empty() => match permit {
                    Ok(permit) => {
                        let request = self.pack();
                        if !request.batch.is_empty() {
                            permit.send(request);
                        }
                    }
                    Err(_) => return Left::Failed("it closed the call".to_owned()),
                },
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => {
                        self.operators.succeeded(index);
                        waiting_since = Instant::now();
                        reply.answers.into_iter().for_each(|answer| self.answer(answer));
                    }
                    Ok(None) => return Left::Failed("it ended the call".to_owned()),
                    Err(status) => return Left::Failed(describe(&status)),
                },
                Some(settled) = self.settling.join_next() => {
                    if let Ok((id, outcome)) = settled {
                        self.finish(id, outcome);
                    }
                }
                () = tokio::time::sleep_until(waiting_since + patience), if waiting => {
                    return Left::Failed(format!("it gave no answer for {} ms", patience.as_millis()));
                }
                () = self.output.closed() => return Left::Done,
            }
        }
    }

    /// The next transactions that can share a request: consecutive ids, one validity.
    fn pack(&mut self) -> SubmitRequest {
        let mut request = SubmitRequest {
            namespace: self.options.namespace.0,
            wait: proto::Tier::from(self.options.wait).into(),
            with_confirmation: self.options.with_confirmation,
            ..SubmitRequest::default()
        };
        let (mut bytes, mut first) = (0, None);
        while let Some(next) = self.unsent.front() {
            let Some(item) = self.open.get(next) else {
                // Answered before it was sent: an operator's mistake, which costs nothing here.
                self.unsent.pop_front();
                continue;
            };
            let until = item.valid_until.map_or(0, |until| until.0);
            let id = *first.get_or_insert(item.id);
            if request.batch.is_empty() {
                (request.id, request.valid_until_ms) = (id, until);
            } else if item.id != id + request.batch.len() as u64
                || until != request.valid_until_ms
                || request.batch.len() == PACK
                || bytes + item.data.len() > PACK_BYTES
            {
                break;
            }
            bytes += item.data.len();
            request.batch.push(item.data.clone());
            self.unsent.pop_front();
        }
        request
    }

    fn take(&mut self, item: Item) {
        self.unsent.push_back(item.id);
        self.open.insert(item.id, item);
    }

    fn answer(&mut self, answer: proto::SubmitAnswer) {
        let outcome = match answer.outcome {
            Some(Outcome::Accepted(accepted)) => {
                BulkOutcome::Accepted { tier: accepted.tier().into(), confirmation: accepted.confirmation }
            }
            Some(Outcome::Rejected(rejected)) => BulkOutcome::Rejected {
                code: rejected.code,
                reason: rejected.reason,
                retry_after_ms: rejected.retry_after_ms,
                for_good: rejected.r#final,
            },
            None => BulkOutcome::Rejected {
                code: "internal".to_owned(),
                reason: "the operator's answer says neither accepted nor rejected: submit again".to_owned(),
                retry_after_ms: 0,
                for_good: false,
            },
        };
        // An answer to nothing that is open is a repetition, or an operator's mistake: either way there is nothing to tell.
        let Some(item) = self.open.get(&answer.id).filter(|item| !self.settling_ids.contains(&item.id)) else { return };
        if let BulkOutcome::Rejected { code, for_good, .. } = &outcome
            && self.again.contains(&item.id)
            && (code == "duplicate" || *for_good)
        {
            let (namespace, valid_until, data) = (self.options.namespace, item.valid_until, item.data.clone());
            let id = Transaction { namespace, valid_until, hint: None, data }.id();
            let lost = Lost { id, on_its_way: code == "duplicate", refusal: outcome };
            let settled = settle(Arc::clone(&self.operators), self.options, lost, Arc::clone(&self.asked));
            self.settling_ids.insert(answer.id);
            self.settling.spawn(async move { (answer.id, settled.await) });
            return;
        }
        self.finish(answer.id, outcome);
    }

    fn finish(&mut self, id: u64, outcome: BulkOutcome) {
        self.open.remove(&id);
        self.again.remove(&id);
        self.settling_ids.remove(&id);
        // There is room: see `exchange`.
        let _ = self.output.try_send(Ok(BulkAnswer { id, outcome }));
    }
}
