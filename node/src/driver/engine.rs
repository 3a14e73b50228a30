//! The thread that owns the sequencer: inputs in, effects performed in order.

use super::clock::{self, ClockWatch};
use super::courier::Courier;
use super::disk::Disk;
use super::facts::{Facts, Lanes};
use super::held::Held;
use super::inbox::Event;
use super::results::Happened;
use super::submit::{Prepared, out_of_turn, rejected};
use super::waiters::{Outgoing, Reply, Waiter};
use crate::api::Answers;
use crate::metrics::NodeMetrics;
use bytes::Bytes;
use squad_sequencer::{Decision, Input, Notice, Output, Recipients, Sequencer, Write};
use squad_types::{
    Batch, BatchHeader, Encode as _, LaneId, Message, Signed, Timestamp, TxId, ValidatorIndex, VerifiedBatch,
    VerifiedMessage,
};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// Events handled before time and disk are looked at again.
const MAX_RUN: usize = 256;
/// Inputs that came together are handed in together, up to so many: what follows from them, acks, votes and syncs, follows
/// once. More would keep what follows from the first of them waiting.
const TOGETHER: usize = 16;
/// How long the thread sleeps at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// Bytes of batches and blocks kept beyond what recovery needs, for readers and late joiners.
const RETAINED_BYTES: u64 = 16 << 30;

/// What waits for a write.
enum Effect {
    Send { to: Recipients, message: Arc<Message>, bytes: Bytes },
    Answer { request: squad_sequencer::RequestId, reply: squad_sequencer::Reply },
    Batched(VerifiedBatch),
}

/// What comes of transactions that came together.
#[derive(Default)]
struct Group {
    taken: Vec<(TxId, Waiter)>,
    refused: Outgoing,
    outputs: Vec<Output>,
}

/// The sequencer and everything that its effects need.
pub(crate) struct Engine {
    sequencer: Sequencer,
    disk: Disk,
    held: Held<Effect>,
    courier: Courier,
    results: SyncSender<Happened>,
    metrics: NodeMetrics,
    wake: Option<Timestamp>,
    lanes: Lanes,
    clock: ClockWatch,
    /// Whether the clock was last seen to be off.
    clock_off: bool,
    /// The last own batch as it travels, so that it is encoded once.
    own_batch: Option<(Signed<BatchHeader>, Bytes)>,
    /// Inputs that came together, and the room that they take in the inbox.
    inputs: Vec<Input>,
    room: Vec<OwnedSemaphorePermit>,
}

impl Engine {
    pub(crate) fn new(
        sequencer: Sequencer,
        disk: Disk,
        courier: Courier,
        results: SyncSender<Happened>,
        metrics: NodeMetrics,
    ) -> Self {
        Self {
            sequencer,
            disk,
            held: Held::default(),
            courier,
            results,
            metrics,
            wake: None,
            lanes: Lanes::default(),
            clock: ClockWatch::default(),
            clock_off: false,
            own_batch: None,
            inputs: Vec::with_capacity(TOGETHER),
            room: Vec::with_capacity(TOGETHER),
        }
    }

    /// Performs the effects of recovery, then works until it is told to stop. An error means that nothing may leave any
    /// more: the process must end.
    pub(crate) fn run(mut self, first: Vec<Output>, events: &Receiver<Event>) -> anyhow::Result<()> {
        self.perform(first)?;
        loop {
            let first = match events.recv_timeout(self.sleep()) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut stop = false;
            for event in first.into_iter().chain(events.try_iter().take(MAX_RUN)) {
                stop = matches!(event, Event::Stop);
                if stop {
                    break;
                }
                self.take(event)?;
            }
            self.hand_in_together()?;
            self.disk.flush()?;
            if self.wake.is_some_and(|at| crate::cli::now() >= at) {
                self.wake = None;
                self.handle(Input::Wake)?;
            }
            if stop {
                break;
            }
        }
        self.disk.close();
        Ok(())
    }

    fn sleep(&self) -> Duration {
        let wake = self.wake.map_or(LONGEST_SLEEP, |at| Duration::from_millis(at.since(crate::cli::now())));
        let disk = self.disk.deadline().map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(Instant::now()));
        wake.min(disk).min(LONGEST_SLEEP)
    }

    fn take(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Input(input, room) => {
                self.watch_clock(&input)?;
                self.inputs.push(*input);
                self.room.extend(room);
                if self.inputs.len() < TOGETHER { Ok(()) } else { self.hand_in_together() }
            }
            Event::Submit(prepared, answers, _room) => {
                self.hand_in_together()?;
                self.submit(prepared, answers)
            }
            // Nothing that waits for the disk waits for inputs.
            Event::Durable => {
                if self.disk.advance() {
                    for effect in self.held.release(&self.disk.durable()) {
                        self.leave(effect);
                    }
                }
                Ok(())
            }
            Event::Failed(why) => anyhow::bail!("the disk failed, so nothing may be signed any more: {why}"),
            Event::Ask(reply) => {
                self.hand_in_together()?;
                // Whoever asked may have gone.
                let _ = reply.send(Box::new(self.facts()));
                Ok(())
            }
            Event::Stop => Ok(()),
        }
    }

    fn hand_in_together(&mut self) -> anyhow::Result<()> {
        if self.inputs.is_empty() {
            return Ok(());
        }
        let mut outputs = Vec::new();
        self.sequencer.handle_all(crate::cli::now(), self.inputs.drain(..), &mut outputs);
        self.room.clear();
        self.perform(outputs)
    }

    fn handle(&mut self, input: Input) -> anyhow::Result<()> {
        let mut outputs = Vec::new();
        self.sequencer.handle(crate::cli::now(), input, &mut outputs);
        self.perform(outputs)
    }

    /// Hands transactions in, and answers those that are refused at once.
    fn submit(&mut self, prepared: Vec<Prepared>, answers: Answers) -> anyhow::Result<()> {
        let answers = Arc::new(answers);
        let mut group = Group { taken: Vec::with_capacity(prepared.len()), ..Group::default() };
        let mut inputs = Vec::with_capacity(prepared.len());
        for Prepared { number, tier, arrived, deadline, with_confirmation, after, submission } in prepared {
            if let Some(after) = after {
                // Those before it are handed in first, so what is refused takes with it what names it.
                self.hand_in(&mut inputs, &mut group);
                if !self.sequencer.has_taken(&after) {
                    let refusal = out_of_turn(&after);
                    self.metrics.count_refusal(refusal.code);
                    group.refused.refuse(number, &answers, refusal);
                    continue;
                }
            }
            let namespace = Some(submission.transaction.transaction.namespace);
            let reply = Reply::Ticket { number, answers: Arc::clone(&answers), with_confirmation };
            group.taken.push((submission.transaction.id, Waiter { namespace, tier, arrived, deadline, reply }));
            inputs.push(Input::Submit(submission));
        }
        self.hand_in(&mut inputs, &mut group);
        // Before the batches that hold them.
        if !group.taken.is_empty() {
            self.tell(Happened::Taken(group.taken));
        }
        if !group.refused.is_empty() {
            self.tell(Happened::Refused(group.refused));
        }
        self.perform(group.outputs)
    }

    /// Hands in what was gathered, whose waiters are the last of `group.taken`, and sorts out those that are refused.
    fn hand_in(&mut self, inputs: &mut Vec<Input>, group: &mut Group) {
        let waiting = group.taken.split_off(group.taken.len() - inputs.len());
        let before = group.outputs.len();
        self.sequencer.handle_all(crate::cli::now(), inputs.drain(..), &mut group.outputs);
        let mut refusals = Vec::new();
        for output in group.outputs.extract_if(before.., |output| matches!(output, Output::Refused { .. })) {
            if let Output::Refused { transaction, rejection } = output {
                refusals.push((transaction, rejection));
            }
        }
        // They come in the order of what was handed in.
        let mut refusals = refusals.into_iter().peekable();
        for (id, waiter) in waiting {
            match refusals.next_if(|(refused, _)| *refused == id) {
                Some((_, rejection)) => {
                    let refusal = rejected(&rejection);
                    self.metrics.count_refusal(refusal.code);
                    group.refused.answer(waiter, refusal);
                }
                None => group.taken.push((id, waiter)),
            }
        }
    }

    fn tell(&self, happened: Happened) {
        // The thread ends only after this one.
        let _ = self.results.send(happened);
    }

    /// Performs effects in order. What waits for a write is held until it is durable.
    fn perform(&mut self, outputs: Vec<Output>) -> anyhow::Result<()> {
        let mut outputs = outputs.into_iter();
        while let Some(output) = outputs.next() {
            if self.disk.is_dead() {
                // The failure itself is on its way.
                return Ok(());
            }
            match output {
                Output::Persist { id, write } => self.persist(id, write, outputs.as_slice())?,
                Output::Send { to, message, after } => {
                    let bytes = self.encode(&message);
                    self.offer(after, Effect::Send { to, message, bytes });
                }
                Output::Answer { request, reply, after } => self.offer(after, Effect::Answer { request, reply }),
                Output::Batched { batch, after } => self.offer(after, Effect::Batched(batch)),
                Output::Ask { id, to, request } => self.courier.ask(id, to, &request),
                Output::WakeAt(at) => self.wake = Some(at),
                // Submissions are answered where they are handed in.
                Output::Refused { transaction, rejection } => {
                    tracing::debug!(%transaction, %rejection, "a transaction is refused");
                }
                Output::Dropped { transaction, rejection } => {
                    self.tell(Happened::Dropped(transaction, rejected(&rejection)));
                }
                Output::Secured { batch, certificate } => self.tell(Happened::Secured(batch, certificate)),
                Output::Ordered(decision) => self.ordered(decision),
                Output::Committees(committees) => self.courier.set_committees(committees),
                Output::Accused { operator, evidence } => {
                    tracing::warn!(%operator, ?evidence, "an operator was caught");
                    self.metrics.evidence.set(self.sequencer.evidence().len() as i64);
                }
                Output::LaneClosed(lane) => {
                    tracing::warn!(%lane, "a lane is closed for this epoch: its author forked it");
                    self.lanes.close(lane);
                }
                Output::Prunable { height, epoch } => self.prune(height, epoch),
                Output::Misbehaved { peer, what } => self.courier.blame(peer, what),
                // Whatever comes after it would be signed.
                Output::Notice(Notice::KeyInUse(reason)) => anyhow::bail!(reason),
                Output::Notice(notice) => self.note(&notice),
            }
        }
        self.disk.flush()
    }

    fn persist(&mut self, id: squad_sequencer::PersistId, write: Write, rest: &[Output]) -> anyhow::Result<()> {
        let own = match &write {
            Write::Batch { lane, batch } => {
                self.lanes.add(*lane, batch);
                (self.sequencer.operator() == Some(batch.header().operator)).then(|| batch.signed_header().clone())
            }
            _ => None,
        };
        let spans = match &write {
            Write::Block(block) => rest.iter().find_map(|output| match output {
                Output::Ordered(decision) if decision.block.block.hash() == block.block.hash() => {
                    Some(Arc::clone(&decision.execution))
                }
                _ => None,
            }),
            _ => None,
        };
        let wire = self.disk.persist(id, write, spans.as_ref().map_or(&[], |execution| &execution.spans))?;
        if let Some((header, wire)) = own.zip(wire) {
            self.own_batch = Some((header, wire));
        }
        Ok(())
    }

    fn encode(&self, message: &Message) -> Bytes {
        match (message, &self.own_batch) {
            (Message::Batch(Batch { header, .. }), Some((own, wire))) if header == own => wire.clone(),
            _ => message.to_bytes(),
        }
    }

    fn offer(&mut self, after: squad_sequencer::After, effect: Effect) {
        match self.held.offer(after, effect, &self.disk.durable()) {
            Some(effect) => self.leave(effect),
            None => self.disk.want(&after),
        }
    }

    fn leave(&mut self, effect: Effect) {
        if self.disk.is_dead() {
            return;
        }
        match effect {
            Effect::Send { to, message, bytes } => {
                self.metrics.network_bytes.with_label_values(&["out"]).inc_by(bytes.len() as u64);
                self.courier.send(to, &message, bytes);
            }
            Effect::Answer { request, reply } => self.courier.answer(request, reply),
            Effect::Batched(batch) => self.tell(Happened::Batched(batch)),
        }
    }

    fn ordered(&mut self, decision: Box<Decision>) {
        let header = decision.block.block.header();
        let (height, count) = (header.height, decision.execution.count());
        tracing::debug!(
            height = height.0,
            round = header.origin_round.0,
            count,
            caught_up = decision.caught_up,
            "ordered"
        );
        self.lanes.ordered(&decision.execution.spans);
        self.lanes.expire(header.epoch);
        self.metrics.height.set(height.0 as i64);
        self.metrics.epoch.set(header.epoch.0 as i64);
        self.metrics.chain_time.set(decision.execution.state.chain_time.0 as i64);
        self.tell(Happened::Ordered(decision));
    }

    fn prune(&self, height: squad_types::Height, epoch: squad_types::Epoch) {
        let store = self.courier.chain.records().0.clone();
        self.courier.runtime.spawn_blocking(move || {
            let retention = squad_storage::Retention { epoch: epoch.0, height: height.0, max_bytes: RETAINED_BYTES };
            match store.prune(retention) {
                Ok(pruned) if pruned.segments > 0 => {
                    tracing::info!(segments = pruned.segments, freed = pruned.freed_bytes, "old segments removed");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old segments could not be removed"),
            }
        });
    }

    fn note(&self, notice: &Notice) {
        match notice {
            Notice::SigningAllowed => tracing::info!("signing begins: peers know of nothing that this node does not"),
            Notice::StateLost { votes_from, lane_from } => tracing::warn!(
                votes_from = votes_from.0,
                lane_from = lane_from.0,
                "own state is lost or stale: no votes below that height, no transactions before that epoch"
            ),
            // It ends the process.
            Notice::KeyInUse(reason) => tracing::error!("{reason}"),
            Notice::CatchingUp { height, target } => {
                tracing::info!(height = height.0, target = target.0, "catching up");
            }
            Notice::CaughtUp(height) => tracing::info!(height = height.0, "caught up"),
            Notice::Round { height, round } => {
                self.metrics.round.set(i64::from(round.0));
                if round.0 > 0 {
                    tracing::info!(height = height.0, round = round.0, "another round");
                }
            }
            Notice::Rebatched { count } => tracing::info!(count, "transactions of an expired lane are batched again"),
            Notice::Fetching { lane, from, to } => {
                tracing::debug!(%lane, from = from.0, to = to.sequence.0, "fetching batches");
            }
            Notice::Refusing { height, round, why } => {
                tracing::debug!(height = height.0, round = round.0, why, "a fresh proposal is not voted for");
            }
        }
    }

    fn watch_clock(&mut self, input: &Input) -> anyhow::Result<()> {
        let Input::Message { message: VerifiedMessage::Proposal(proposal), .. } = input else { return Ok(()) };
        let header = proposal.block().header();
        let statement = &proposal.proposal().statement;
        if statement.round != header.origin_round || header.height <= self.sequencer.ledger().height() {
            return Ok(());
        }
        let at = Instant::now();
        self.clock.observe(header.proposer, header.timestamp, crate::cli::now(), at);
        if let Some(skew) = self.clock.far_off(at) {
            anyhow::bail!(clock::advice(skew));
        }
        let warning = self.clock_warning();
        match (&warning, std::mem::replace(&mut self.clock_off, warning.is_some())) {
            (Some(warning), false) => tracing::warn!("{warning}"),
            (None, true) => tracing::info!("this machine's clock agrees with the other operators' again"),
            _ => {}
        }
        Ok(())
    }

    /// What to tell the operator if the clock is off by more than the protocol allows.
    fn clock_warning(&self) -> Option<String> {
        let bound = u64::from(self.sequencer.ledger().params().clock_bound_ms);
        let skew = self.clock.skew(Instant::now()).filter(|skew| skew.unsigned_abs() > bound)?;
        Some(clock::warning(skew, bound))
    }

    fn facts(&self) -> Facts {
        let status = self.sequencer.status();
        let ledger = self.sequencer.ledger();
        let committee = ledger.committee(status.epoch).cloned();
        let me = self.sequencer.operator();
        let own = |epoch: squad_types::Epoch| {
            let index: Option<ValidatorIndex> = me.and_then(|me| ledger.committee(epoch)?.index_of(&me));
            index.map_or(0, |author| self.lanes.unordered(LaneId { epoch, author }).1)
        };
        let own_lane_bytes = own(status.epoch) + status.epoch.previous().map_or(0, own);
        self.metrics.own_lane_bytes.set(own_lane_bytes as i64);
        Facts {
            tip_hash: ledger.tip_hash(),
            tip_time: ledger.tip_time(),
            lanes: committee.as_ref().map(|committee| self.lanes.status(committee)).unwrap_or_default(),
            committee,
            own_lane_bytes,
            evidence: self.sequencer.evidence().to_vec(),
            clock_skew_ms: self.clock.skew(Instant::now()),
            warnings: self.clock_warning().into_iter().collect(),
            status,
        }
    }
}
