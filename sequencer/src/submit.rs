//! Submissions, and the batches made of them.

use crate::input::Submission;
use crate::output::{After, Output, Recipients};
use crate::record::Write;
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_mempool::{Rejection, SealDue};
use squad_types::{Message, TxId, VerifiedBatch};

/// Batches that one input may cause to be sealed: a bound on the loop, above what one block can take.
const MAX_SEALS: usize = 64;

/// Heights that a node may be behind and still take transactions. Whoever has not heard yet that it is behind takes them
/// too; further back it judges validity and repeats by a window that is too old.
const NEAR: u64 = 16;

impl Sequencer {
    pub(crate) fn on_submit(&mut self, submission: Submission, outputs: &mut Outputs) {
        let id = submission.transaction.id;
        let result = match self.closed_to_clients() {
            Some(rejection) => Err(rejection),
            // It would be skipped when its batch is ordered, and its caller would wait in vain.
            None if self.ledger.remembers(&id) => Err(Rejection::Duplicate),
            None => self.mempool.submit(self.now, submission.source, submission.transaction, submission.evm),
        };
        if let Err(rejection) = result {
            outputs.push(Output::Refused { transaction: id, rejection });
        }
    }

    /// Whether this operator took the transaction in and will batch it before any that comes later, or remembers it as
    /// ordered: what is submitted now comes after it.
    pub fn has_taken(&self, id: &TxId) -> bool {
        self.mempool.has_taken(id) || self.ledger.remembers(id)
    }

    /// Why this node takes no transactions at all right now.
    pub(crate) fn closed_to_clients(&self) -> Option<Rejection> {
        let epoch = self.ledger.epoch_of_next();
        if self.draining {
            Some(Rejection::ShuttingDown)
        } else if self.disk_low {
            Some(Rejection::DiskFull)
        } else if let Some(reason) = &self.halted {
            Some(Rejection::Halted { reason: reason.clone() })
        } else if !self.is_member(epoch) {
            Some(Rejection::NotMember { epoch })
        } else if let Some(lane_from) = self.guard.lane_closed_until(epoch) {
            Some(Rejection::StateLost { open_from: lane_from })
        } else if !self.guard.may_sign() {
            Some(Rejection::Starting)
        } else if self.is_far_behind() {
            Some(Rejection::CatchingUp { height: self.ledger.height(), target: self.catchup.target() })
        } else if self.is_leaving() {
            Some(Rejection::Leaving { epoch })
        } else {
            None
        }
    }

    fn is_far_behind(&self) -> bool {
        self.catchup.is_behind() && self.catchup.target().0.saturating_sub(self.ledger.height().0) > NEAR
    }

    /// Whether this epoch is this operator's last and about to end: what it took in now might not be ordered.
    fn is_leaving(&self) -> bool {
        let epoch = self.ledger.epoch_of_next();
        self.ledger.committee(epoch.next()).is_some() && !self.is_member(epoch.next()) && self.ledger.epoch_ends_soon()
    }

    pub(crate) fn may_write_lane(&self) -> bool {
        let epoch = self.ledger.epoch_of_next();
        self.guard.may_sign()
            && self.guard.lane_closed_until(epoch).is_none()
            && self.is_member(epoch)
            && self.halted.is_none()
    }

    pub(crate) fn seal_batches(&mut self, outputs: &mut Outputs) {
        // As after nearly every input.
        if !self.mempool.has_to_seal() && !self.timers.is_set(Timer::Seal) {
            return;
        }
        if !self.may_write_lane() {
            return;
        }
        let Some(signer) = self.signer() else { return };
        for _ in 0..MAX_SEALS {
            match self.mempool.seal_due(self.now) {
                SealDue::Now => match self.mempool.seal(self.now, signer.as_ref()) {
                    Some(batch) => self.publish_own_batch(batch, outputs),
                    None => break,
                },
                SealDue::At(at) => {
                    self.timers.set(Timer::Seal, at);
                    break;
                }
                SealDue::Never => {
                    self.timers.cancel(Timer::Seal);
                    break;
                }
            }
        }
        let dropped = self.mempool.take_dropped();
        outputs.extend(dropped.into_iter().map(|(transaction, rejection)| Output::Dropped { transaction, rejection }));
    }

    fn publish_own_batch(&mut self, batch: VerifiedBatch, outputs: &mut Outputs) {
        let header = batch.header();
        let Some(lane) = self.mempool.lane_of(&header.operator, header.epoch) else { return };
        let id = self.persist(Write::Batch { lane, batch: batch.clone() }, outputs);
        self.writes.batches.insert(batch.id(), id);
        // With the decision that opened its epoch: without it a start would not know that this place in the lane is taken.
        let after = After { bulk: Some(id), ..self.after_log() };
        self.send(Recipients::Committee, Message::Batch(batch.to_batch()), after, outputs);
        outputs.push(Output::Batched { batch, after });
    }
}
