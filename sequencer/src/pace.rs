//! Pace: blocks follow one another as fast as there is something to order, and once an idle interval otherwise.
//!
//! The propose timer starts when something can be ordered or that interval is over, so that a dead proposer costs its timeout
//! and no more, and an idle network costs next to nothing.

use crate::ledger::Draft;
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_consensus::{Input as Agree, TimeoutToken};
use squad_mempool::Tips;
use squad_types::{Bitmap, Height, L1Anchor, Round, Timestamp, limits::SIGNERS_LAG};
use std::time::Duration;

/// What waits for its moment.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the last block was decided here.
    pub(crate) since: Timestamp,
    /// The last height was decided in its first round, before this node's eyes.
    pub(crate) went_well: bool,
    /// Agreement asked for a block.
    pub(crate) build: Option<(Height, Round)>,
    /// Agreement asked for its propose timer.
    pub(crate) propose: Option<(TimeoutToken, Duration)>,
}

impl Sequencer {
    pub(crate) fn keep_pace(&mut self, outputs: &mut Outputs) {
        if self.agreeing.is_none() || (self.pace.build.is_none() && self.pace.propose.is_none()) {
            return;
        }
        let idle_until = self.pace.since.plus(self.ledger.params().idle_interval_ms.into());
        let later_round = self.pace.build.is_some_and(|(_, round)| round > Round::ZERO)
            || self.pace.propose.as_ref().is_some_and(|(token, _)| token.round > Round::ZERO);
        // Who waits for a proposal gives its proposer time from when it must have something to order.
        let tips = self.pace.build.map_or(Tips::Available, |(_, round)| self.tips_to_cut(round));
        if self.now < idle_until && !later_round && !self.mempool.has_cut(self.ledger.state(), tips) {
            self.timers.set(Timer::Idle, idle_until);
            return;
        }
        self.timers.cancel(Timer::Idle);
        if let Some((token, after)) = self.pace.propose.take() {
            self.timers.set(Timer::Consensus(token), self.now.plus(milliseconds(after)));
        }
        if let Some((height, round)) = self.pace.build.take() {
            self.build(height, round, outputs);
        }
    }

    /// How far this proposer cuts lanes: to what it holds while all goes well, to what is available as soon as a round failed.
    /// A node without its memory leans on others' acks.
    fn tips_to_cut(&self, round: Round) -> Tips {
        let epoch = self.ledger.epoch_of_next();
        let has_memory = self.guard.lane_closed_until(epoch.previous().unwrap_or(epoch)).is_none();
        if round == Round::ZERO && self.pace.went_well && has_memory { Tips::Held } else { Tips::Available }
    }

    /// What the next block says of the settlement layer. Only the first of an epoch needs anything new, and what is new may not
    /// be known to others yet.
    fn anchor_to_name(&self) -> L1Anchor {
        let parent = self.ledger.anchor();
        if self.ledger.opens_epoch() { self.config.stakes.anchor(&parent) } else { parent }
    }

    fn build(&mut self, height: Height, round: Round, outputs: &mut Outputs) {
        let Some(me) = self.me else { return };
        if self.disk_low || self.halted.is_some() || height != self.ledger.height().next() {
            return;
        }
        let draft = Draft {
            proposer: me,
            origin_round: round,
            now: self.now,
            l1_anchor: self.anchor_to_name(),
            signers: self.signers_for(height),
            cut: self.mempool.propose_cut(self.ledger.state(), self.tips_to_cut(round)),
            readies: self.readies.values().map(|ready| ready.signed().clone()).collect(),
        };
        let built = self.with_proposers(height, |proposers| {
            self.ledger.build(draft, proposers, self.config.stakes.as_ref(), &crate::judge::Held(&self.mempool))
        });
        match built {
            Ok((block, execution)) => {
                self.judgements.keep_execution(block.hash(), execution);
                self.agree(Agree::Propose { round, block }, outputs);
            }
            Err(error) => {
                tracing::warn!(height = height.0, round = round.0, %error, "no block built: the round passes")
            }
        }
    }

    /// Who is known to have precommitted the block that lies `SIGNERS_LAG` below a height.
    fn signers_for(&self, height: Height) -> Bitmap {
        height
            .0
            .checked_sub(SIGNERS_LAG)
            .and_then(|at| self.precommitters.get(&Height(at)))
            .map(|(_, signers)| signers.clone())
            .unwrap_or_default()
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
