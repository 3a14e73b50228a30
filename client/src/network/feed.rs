//! Behind a subscription: one operator's stream after another.

use super::ClientError;
use super::client::{CommitteeFailure, committee_proof};
use super::operators::{Choice, Operators, describe};
use super::subscribe::Progress;
use crate::proto::{self, BlockMessage};
use crate::{BlockError, BlockVerifier, CommitteeFollower, VerifiedBlock};
use bytes::Bytes;
use squad_types::{CommitCertificate, Decode, Header, Height};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Streaming;

/// Why an operator's stream was left.
enum Left {
    /// Nobody reads any more.
    Closed,
    /// It ended, stalled or could not be reached.
    Failed(String),
    /// It lags behind what the operator at this place proved.
    Lags(usize, String),
    /// It does not have what is asked for.
    Cannot(String),
    /// It served something false.
    Lied(String),
}

pub(super) struct Pump {
    operators: Arc<Operators>,
    verifier: BlockVerifier,
    sender: mpsc::Sender<Result<VerifiedBlock, ClientError>>,
    progress: Arc<Progress>,
    cursor: usize,
    /// Operators that say they cannot serve what is asked, with their words: not asked again by this subscription.
    cannot: BTreeMap<usize, String>,
    /// Committees up to the proven tip, which may lie epochs above the next block.
    ahead: CommitteeFollower,
}

/// Epochs that one probe follows: a few calls' worth, after which the next probe goes on.
const EPOCHS_PER_PROBE: usize = 64;

/// What another operator has proven.
struct Probe {
    index: usize,
    /// Its tip, if its committee is known.
    tip: Option<Height>,
    /// The committees as far as they are known now.
    ahead: CommitteeFollower,
}

/// What one stream remembers between probes.
struct Lag {
    /// Heights behind the proven tip at the last probe.
    last: Option<u64>,
    /// Whether the reader, not the operator, held things up since then.
    reader_waited: bool,
}

impl Pump {
    pub(super) fn new(
        operators: Arc<Operators>,
        verifier: BlockVerifier,
        sender: mpsc::Sender<Result<VerifiedBlock, ClientError>>,
        progress: Arc<Progress>,
    ) -> Self {
        let ahead = verifier.committees().clone();
        Self { operators, verifier, sender, progress, cursor: 0, cannot: BTreeMap::new(), ahead }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.operators.choose(self.cursor, &self.cannot) {
                Choice::Use(index) => {
                    let left = self.follow(index).await;
                    if !self.leave(index, left) {
                        return;
                    }
                }
                Choice::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = self.sender.closed() => return,
                    }
                }
                Choice::Nobody => {
                    let what = format!(
                        "serve block {} of namespace {}",
                        self.verifier.next_height(),
                        self.verifier.namespace()
                    );
                    let error = ClientError::Nobody { what, reasons: self.operators.reasons(&self.cannot) };
                    // If nobody reads any more, nobody needs to know.
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Notes why an operator was left; whether to go on.
    fn leave(&mut self, index: usize, left: Left) -> bool {
        self.cursor = index + 1;
        match left {
            Left::Closed => return false,
            Left::Failed(why) => self.operators.failed(index, Duration::ZERO, why),
            Left::Lags(better, why) => {
                self.operators.failed(index, self.operators.config().max_back_off, why);
                self.cursor = better;
            }
            Left::Cannot(why) => {
                tracing::warn!(operator = %self.operators.url(index), why, "an operator cannot serve a subscription");
                self.cannot.insert(index, why);
            }
            Left::Lied(why) => {
                self.progress.falsehoods.fetch_add(1, Ordering::Relaxed);
                self.operators.lied(index, why);
            }
        }
        self.progress.left();
        true
    }

    async fn follow(&mut self, index: usize) -> Left {
        let mut stream = match self.open(index).await {
            Ok(stream) => stream,
            Err(left) => return left,
        };
        let config = self.operators.config().clone();
        let mut lag = Lag { last: None, reader_waited: false };
        let mut probes: JoinSet<Probe> = JoinSet::new();
        let mut probe_at = index;
        let mut ticks = tokio::time::interval(config.probe_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stalled_at = Instant::now() + config.stall;
        loop {
            tokio::select! {
                message = stream.message() => {
                    let taken = match message {
                        Ok(Some(message)) => self.take(index, message, &mut lag).await,
                        Ok(None) => Err(Left::Failed("it ended the stream".to_owned())),
                        Err(status) => Err(refused(&status)),
                    };
                    if let Err(left) = taken {
                        return left;
                    }
                    stalled_at = Instant::now() + config.stall;
                }
                () = tokio::time::sleep_until(stalled_at) => {
                    return Left::Failed(format!("it sent no block for {} ms", config.stall.as_millis()));
                }
                _ = ticks.tick(), if probes.is_empty() && self.operators.len() > 1 => {
                    probe_at = (probe_at + 1) % self.operators.len();
                    if probe_at != index {
                        probes.spawn(probe(Arc::clone(&self.operators), probe_at, self.ahead.clone()));
                    }
                }
                Some(probed) = probes.join_next() => {
                    if let Ok(probe) = probed && let Some(left) = self.compare(probe, &mut lag) {
                        return left;
                    }
                }
                () = self.sender.closed() => return Left::Closed,
            }
        }
    }

    async fn open(&self, index: usize) -> Result<Streaming<BlockMessage>, Left> {
        let request = proto::SubscribeRequest {
            namespace: self.verifier.namespace().0,
            from_height: self.verifier.next_height().0,
        };
        let mut rpc = self.operators.rpc(index);
        let call = rpc.subscribe_blocks(request);
        match tokio::time::timeout(self.operators.config().call_timeout, call).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(refused(&status)),
            Err(_) => Err(Left::Failed("it did not open a stream in time".to_owned())),
        }
    }

    async fn take(&mut self, index: usize, message: BlockMessage, lag: &mut Lag) -> Result<(), Left> {
        let block = self.verify(index, message.block).await?;
        let height = block.height().0;
        self.operators.succeeded(index);
        self.progress.came(index, height);
        match self.sender.try_send(Ok(block)) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(Left::Closed),
            Err(TrySendError::Full(block)) => {
                lag.reader_waited = true;
                self.sender.send(block).await.map_err(|_| Left::Closed)?;
            }
        }
        Ok(())
    }

    /// Checks a block, after the committees up to its epoch if the stream started below them.
    async fn verify(&mut self, index: usize, bytes: Bytes) -> Result<VerifiedBlock, Left> {
        loop {
            match self.verifier.verify_bytes(bytes.clone()) {
                Ok(block) => return Ok(block),
                // Every turn takes in the proof of one more epoch or ends, so a false epoch leads nowhere.
                Err(BlockError::UnknownCommittee { found, newest }) if found > newest => {
                    match committee_proof(&self.operators, index, newest.next()).await {
                        Ok(proof) => self.verifier.follow(&proof).map_err(|error| Left::Lied(error.to_string()))?,
                        Err(CommitteeFailure::Missing(why)) => return Err(Left::Failed(why)),
                        Err(CommitteeFailure::False(why)) => return Err(Left::Lied(why)),
                    }
                }
                Err(error) => return Err(Left::Lied(error.to_string())),
            }
        }
    }

    /// Whether the current operator stays behind a tip that another one proves.
    fn compare(&mut self, probe: Probe, lag: &mut Lag) -> Option<Left> {
        let Probe { index, tip, ahead } = probe;
        self.ahead = ahead;
        let tip = tip?;
        self.progress.proven.fetch_max(tip.0, Ordering::Relaxed);
        let behind = tip.next().0.saturating_sub(self.verifier.next_height().0);
        let (last, reader_waited) = (lag.last.replace(behind), std::mem::take(&mut lag.reader_waited));
        let limit = self.operators.config().lag_heights;
        if behind > limit && last.is_some_and(|last| behind >= last) && !reader_waited {
            let better = self.operators.url(index);
            return Some(Left::Lags(
                index,
                format!("it is {behind} heights behind the tip that {better} proves and does not catch up"),
            ));
        }
        None
    }
}

fn refused(status: &tonic::Status) -> Left {
    let why = describe(status);
    match status.code() {
        tonic::Code::NotFound | tonic::Code::OutOfRange | tonic::Code::Unimplemented => Left::Cannot(why),
        _ => Left::Failed(why),
    }
}

/// Asks for another operator's tip and checks it. If it does not answer or lies, that is no fault of the current one.
async fn probe(operators: Arc<Operators>, index: usize, mut ahead: CommitteeFollower) -> Probe {
    let tip = proven_tip(&operators, index, &mut ahead).await;
    Probe { index, tip, ahead }
}

async fn proven_tip(operators: &Operators, index: usize, ahead: &mut CommitteeFollower) -> Option<Height> {
    let mut rpc = operators.rpc(index);
    let call = rpc.get_header(proto::HeaderRequest { height: 0 });
    let reply = tokio::time::timeout(operators.config().call_timeout, call).await.ok()?.ok()?.into_inner();
    let header = Header::from_bytes(reply.header).ok()?;
    let certificate = CommitCertificate::from_bytes(reply.certificate).ok()?;
    for _ in 0..EPOCHS_PER_PROBE {
        if header.epoch <= ahead.newest().epoch() {
            break;
        }
        let proof = committee_proof(operators, index, ahead.newest().epoch().next()).await.ok()?;
        ahead.follow(&proof).ok()?;
    }
    ahead.committee(header.epoch)?.check_header(&header, &certificate).ok()?;
    Some(header.height)
}
