//! Pace: blocks follow one another as fast as there is something to order, and once an idle interval otherwise.
//!
//! The propose timer starts when something can be ordered or that interval is over, so that a dead proposer costs its timeout
//! and no more, and an idle network costs next to nothing. How long it is follows how long proposals took of late.

use crate::ledger::Draft;
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_consensus::{Input as Agree, TimeoutToken};
use squad_mempool::Tips;
use squad_types::{Address, Bitmap, Height, L1Anchor, Round, Timestamp, limits::SIGNERS_LAG};
use std::collections::BTreeMap;
use std::time::Duration;

/// A proposer has this many times as long as the slowest proposal of late took.
const PATIENCE: u64 = 8;

/// A proposer of the first round has at least this part of the network's propose timeout, so that a hiccup costs no round.
const LEAST_PART: u32 = 4;

/// The slowest proposal is forgotten by one part of this many with each height: by half in 177.
const FADING: u64 = 256;

/// Heights whose proposal may still come and count.
const LATE_HEIGHTS: u64 = 8;

/// How long proposals of first rounds took, from when their proposer had to have something to order.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// When that was, of the last heights; none once the proposal has come.
    since: BTreeMap<Height, Option<Timestamp>>,
    /// Milliseconds in parts of [`FADING`].
    slowest: u64,
}

impl Waits {
    fn began(&mut self, height: Height, now: Timestamp) {
        self.since.entry(height).or_insert(Some(now));
        self.since.retain(|at, _| at.0 + LATE_HEIGHTS > height.0);
    }

    /// A proposal came, in time or not. One that comes before anybody waits took no time.
    fn came(&mut self, height: Height, now: Timestamp) {
        let took = match self.since.insert(height, None) {
            Some(None) => return,
            Some(Some(since)) => now.since(since),
            None => 0,
        };
        // Also where nobody ever waits: a node that only follows.
        self.since.retain(|at, _| at.0 + LATE_HEIGHTS > height.0);
        let faded = self.slowest - self.slowest / FADING;
        self.slowest = faded.max(took.saturating_mul(FADING));
    }

    fn has_come(&self, height: Height) -> bool {
        self.since.get(&height).is_some_and(Option::is_none)
    }

    /// How long to wait for the proposal of a round, of the `most` that the network's parameters say. It doubles with each round
    /// until it is that, which grows with the rounds: so however slow the network is, some round is long enough.
    fn patience(&self, round: Round, most: Duration) -> Duration {
        let usual = Duration::from_millis(self.slowest.saturating_mul(PATIENCE) / FADING).max(most / LEAST_PART);
        usual.saturating_mul(1_u32.checked_shl(round.0).unwrap_or(u32::MAX)).min(most)
    }
}

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
    pub(crate) waits: Waits,
    /// The last propose timer that was set, and how late it may be.
    pub(crate) waiting: Option<(TimeoutToken, Timestamp)>,
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
        if let Some((token, most)) = self.pace.propose.take() {
            if token.round == Round::ZERO {
                self.pace.waits.began(token.height, self.now);
            }
            // What has come already has the whole of it to be judged.
            let has_come = token.round == Round::ZERO && self.pace.waits.has_come(token.height);
            let after = if has_come { most } else { self.pace.waits.patience(token.round, most) };
            self.timers.set(Timer::Consensus(token), self.now.plus(milliseconds(after)));
            self.pace.waiting = Some((token, self.now.plus(milliseconds(most))));
        }
        if let Some((height, round)) = self.pace.build.take() {
            self.build(height, round, outputs);
        }
    }

    /// A proposal came. Its data may still have to be fetched, for which the whole timeout is there; and it tells how long others may
    /// take.
    pub(crate) fn note_wait(&mut self, signer: &Address, height: Height, round: Round) {
        let next = self.ledger.height().next();
        if let Some((token, latest)) = self.pace.waiting
            && (token.height, token.round) == (height, round)
            && self.timers.is_set(Timer::Consensus(token))
            && height == next
            && self.proposer_of(round) == Some(*signer)
        {
            self.timers.set(Timer::Consensus(token), latest);
        }
        if round == Round::ZERO && height <= next && height.0 + LATE_HEIGHTS > next.0 {
            self.pace.waits.came(height, self.now);
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

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(1_000);

    fn took(waits: &mut Waits, height: u64, wait: u64) {
        waits.began(Height(height), Timestamp(1_000 * height));
        waits.came(Height(height), Timestamp(1_000 * height + wait));
    }

    #[test]
    fn patience_follows_the_slowest_proposal_of_late_within_bounds_and_doubles_with_the_rounds() {
        let mut waits = Waits::default();
        let patience = |waits: &Waits, round: u32| waits.patience(Round(round), MOST).as_millis();
        assert_eq!(patience(&waits, 0), 250);
        took(&mut waits, 1, 50);
        took(&mut waits, 2, 5);
        let now = patience(&waits, 0);
        assert!((390..=400).contains(&now), "{now}");
        assert_eq!([1, 2, 40].map(|round| patience(&waits, round)), [2 * now, 1_000, 1_000]);
        took(&mut waits, 3, 700);
        assert_eq!(patience(&waits, 0), 1_000);
        (4..300).for_each(|height| took(&mut waits, height, 0));
        assert_eq!(patience(&waits, 0), 1_000, "a slow one is remembered");
        (300..3_000).for_each(|height| took(&mut waits, height, 0));
        assert_eq!(patience(&waits, 0), 250, "and forgotten");
    }

    #[test]
    fn a_proposal_counts_once_and_also_when_nobody_waits_for_it_any_more() {
        let mut waits = Waits::default();
        waits.began(Height(1), Timestamp(1_000));
        waits.began(Height(2), Timestamp(1_010));
        waits.came(Height(2), Timestamp(1_020));
        let before = waits.patience(Round::ZERO, MOST);
        // Sent again.
        waits.came(Height(2), Timestamp(9_000));
        assert_eq!(waits.patience(Round::ZERO, MOST), before);
        // The one of the height before comes at last.
        waits.came(Height(1), Timestamp(1_080));
        assert_eq!(waits.patience(Round::ZERO, MOST).as_millis(), 640);
        // One that comes before anybody has to have something to order took no time, whenever the wait would have begun.
        waits.came(Height(3), Timestamp(1_090));
        waits.began(Height(3), Timestamp(1_095));
        waits.came(Height(3), Timestamp(8_000));
        assert!(waits.patience(Round::ZERO, MOST).as_millis() <= 640);
    }
}
