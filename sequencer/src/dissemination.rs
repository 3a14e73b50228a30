//! Batches and acks of others, and the certificates they add up to.

use crate::fetch::{Haste, Want};
use crate::input::Peer;
use crate::output::{After, Output, Recipients};
use crate::record::{LogRecord, Write};
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_mempool::{AckDue, AckOutcome, BatchOutcome};
use squad_types::{
    Ack, AckEntries, AckMessage, BatchCertificate, Epoch, LaneId, Message, Request, Tip, Verified, VerifiedBatch,
};
use std::sync::Arc;

/// How often the newest ack is sent again while something is not ordered: a lost ack must not hold a batch up for long.
const ACK_RESEND_MS: u64 = 1_000;

impl Sequencer {
    pub(crate) fn on_batch(&mut self, from: Option<Peer>, batch: VerifiedBatch, outputs: &mut Outputs) {
        let lane = batch.header().epoch;
        match self.mempool.on_batch(batch) {
            BatchOutcome::Stored(batches) => self.store_batches(batches, outputs),
            BatchOutcome::Known => {}
            BatchOutcome::Missing(range) => self.want(Want::Batches(range), from, Haste::Later, outputs),
            BatchOutcome::Fork { pair, stored } => {
                self.store_batches(stored, outputs);
                self.on_fork(*pair, outputs);
            }
            BatchOutcome::Refused(reason) => {
                tracing::debug!(epoch = lane.0, %reason, "batch refused");
                if let (Some(peer), true) = (from, reason.is_fault()) {
                    outputs.push(Output::Misbehaved { peer, what: "sent a batch that breaks its lane" });
                }
            }
        }
    }

    fn store_batches(&mut self, batches: Vec<VerifiedBatch>, outputs: &mut Outputs) {
        for batch in batches {
            let header = batch.header();
            let Some(lane) = self.mempool.lane_of(&header.operator, header.epoch) else { continue };
            if self.fetches.arrived_batch(lane, batch.tip(), self.now) {
                self.mempool.was_late(lane);
            }
            let id = self.persist(Write::Batch { lane, batch: batch.clone() }, outputs);
            self.writes.batches.insert(batch.id(), id);
        }
        self.rejudge_missing(outputs);
        self.advance_catch_up(outputs);
    }

    pub(crate) fn on_ack(&mut self, from: Peer, ack: Verified<Ack>, entries: AckEntries, outputs: &mut Outputs) {
        self.seen.ack(&ack);
        let (signer, epoch) = (ack.signer, ack.statement.epoch);
        match self.mempool.on_ack(ack, entries) {
            AckOutcome::Advanced { unknown, evidence } => {
                for (lane, tip) in unknown {
                    if let Some(range) = self.mempool.missing(lane, tip) {
                        self.want(Want::Batches(range), Some(Peer::Operator(signer)), Haste::Later, outputs);
                    }
                }
                if let Some(evidence) = evidence {
                    self.accuse(signer, *evidence, outputs);
                }
            }
            AckOutcome::NeedFull => {
                self.want(Want::Ack { operator: signer, epoch }, Some(Peer::Operator(signer)), Haste::Now, outputs)
            }
            AckOutcome::Stale => {}
            AckOutcome::Refused(reason) => {
                tracing::debug!(%signer, %reason, "ack refused");
                if from == Peer::Operator(signer) && reason.is_fault() {
                    outputs.push(Output::Misbehaved { peer: from, what: "sent an ack that breaks the rules" });
                }
            }
        }
    }

    pub(crate) fn on_secured(&mut self, from: Peer, certificate: BatchCertificate, outputs: &mut Outputs) {
        let epoch = certificate.lane.epoch;
        let Some(committee) = self.ledger.committee(epoch).cloned() else { return };
        let Some(tip) = certificate.tip() else { return };
        if self.mempool.knows_certificate(certificate.lane, tip) {
            return;
        }
        match certificate.verify(&self.domain, &committee, self.verifier().as_ref()) {
            Ok(_) => {
                self.fetch_tip(certificate.lane, tip, Some(from), outputs);
                for pair in self.mempool.on_certificate(certificate) {
                    self.on_fork(pair, outputs);
                }
                self.rejudge_refused(outputs);
            }
            Err(_) => {
                outputs.push(Output::Misbehaved { peer: from, what: "sent a batch certificate that does not hold" })
            }
        }
    }

    pub(crate) fn fetch_tip(&mut self, lane: LaneId, tip: Tip, from: Option<Peer>, outputs: &mut Outputs) {
        if let Some(range) = self.mempool.missing(lane, tip) {
            self.want(Want::Batches(range), from, Haste::Soon, outputs);
        }
    }

    pub(crate) fn send_acks(&mut self, outputs: &mut Outputs) {
        if !self.guard.may_sign() || self.halted.is_some() || self.config.signer.is_none() {
            return;
        }
        loop {
            match self.mempool.ack_due(self.now) {
                AckDue::Now(epoch) => {
                    if self.guard.lane_closed_until(epoch).is_some() {
                        break;
                    }
                    let Some(signer) = &self.config.signer else { break };
                    let Some(message) = self.mempool.make_ack(self.now, epoch, signer.as_ref()) else { break };
                    self.publish_ack(message, outputs);
                }
                AckDue::At(at) => {
                    self.timers.set(Timer::Ack, at);
                    break;
                }
                AckDue::Never => {
                    self.timers.cancel(Timer::Ack);
                    break;
                }
            }
        }
    }

    fn publish_ack(&mut self, message: AckMessage, outputs: &mut Outputs) {
        let epoch = message.ack.statement.epoch;
        // The full vector goes to the log, so that nothing acknowledged is ever acknowledged otherwise.
        let full = self.mempool.full_ack(epoch).unwrap_or_else(|| message.clone());
        self.log(LogRecord::Ack(Box::new(full)), outputs);
        let after = self.after_own_ack(epoch);
        self.send(Recipients::Committee, Message::Ack(message), after, outputs);
        self.timers.set_if_earlier(Timer::AckResend, self.now.plus(ACK_RESEND_MS));
        // Own acks count from here; the certificate is only used in statements that wait for the log as well.
        self.rejudge_refused(outputs);
    }

    /// What the newest own ack of an epoch waits for: its record, and the last batch that it covers.
    pub(crate) fn after_own_ack(&self, epoch: Epoch) -> After {
        let tips = self.mempool.own_ack_tips(epoch);
        let bulk = tips.iter().flatten().filter_map(|tip| self.writes.batches.get(&tip.batch)).max().copied();
        After { bulk, ..self.after_log() }
    }

    pub(crate) fn resend_acks(&mut self, outputs: &mut Outputs) {
        let current = self.ledger.epoch_of_next();
        if self.mempool.has_unordered() {
            self.timers.set(Timer::AckResend, self.now.plus(ACK_RESEND_MS));
        }
        for epoch in [current.previous(), Some(current)].into_iter().flatten() {
            if let Some(message) = self.mempool.full_ack(epoch) {
                let after = self.after_own_ack(epoch);
                self.send(Recipients::Committee, Message::Ack(message), after, outputs);
            }
        }
    }

    /// Tells clients whose batches a quorum holds by now.
    pub(crate) fn report_secured(&mut self, outputs: &mut Outputs) {
        for (batch, certificate) in self.mempool.newly_secured() {
            outputs.push(Output::Secured { batch, certificate: Arc::new(certificate) });
        }
    }

    pub(crate) fn ask_for_acks(&mut self, peer: Peer, outputs: &mut Outputs) {
        let current = self.ledger.epoch_of_next();
        for epoch in [current.previous(), Some(current)].into_iter().flatten() {
            self.ask(peer, Request::Ack(epoch), outputs);
        }
    }
}
