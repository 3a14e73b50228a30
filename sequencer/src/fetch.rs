//! Questions to peers: each thing is asked of one peer at a time, of the next one when that fails.
//!
//! A batch that is named before it is here is on its way, as a rule: its author sends it to everybody, and small statements
//! overtake it. Asking at once would fetch most of a loaded lane twice and load it further. So a batch is waited for, as long
//! as its lane goes on and within a bound, longer where it proved to be too short (`slack`); and what nothing waits for is
//! asked for once a lane at a time.
//!
//! A node that is behind asks for everything, and its own link carries all of the answers. So it asks once a lane at a time as
//! well, of so many lanes at once as answers come in their time (`window`), and takes what comes after it all the same.

mod answers;
mod turns;
mod wants;
mod window;

pub(crate) use wants::{Haste, Want};

use crate::input::{AskId, Peer};
use crate::output::Output;
use crate::sequencer::{Outputs, Sequencer};
use crate::slack::Slack;
use crate::timers::Timer;
use squad_types::{BatchId, BatchRange, Height, LaneId, Request, Sequence, Timestamp, Tip, VerifiedBatch};
use std::collections::{BTreeMap, BTreeSet};
use wants::{Asked, WantKey, Wanted};
use window::Window;

/// How long a peer has for its answer before another one is asked.
const ASK_TIMEOUT_MS: u64 = 1_500;

/// The same if a vote waits for the answer: below what a round waits for a proposal, so that one peer's silence does not
/// cost the round.
const URGENT_TIMEOUT_MS: u64 = 400;

/// Times that these double, each time that nobody answered: a link may be slower than that.
const MAX_DOUBLINGS: u32 = 3;

/// Questions that ran out of time whose answers are still of use. The oldest are forgotten first.
const MAX_OVERDUE: usize = 1_024;

/// How long a peer that did not answer in time is asked only after all others. So whoever withholds costs its timeout once,
/// and not for each thing that is missed.
const LATE_MS: u64 = 10_000;

/// How long everybody is left alone after nobody had it.
const RETRY_MS: u64 = 250;

/// Things wanted at once. Flow control keeps lanes short, so a committee of a hundred stays below it; more wait for their turn.
const MAX_WANTS: usize = 4_096;

/// Everything asked and wanted.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    next: u64,
    asked: BTreeMap<AskId, Asked>,
    wanted: BTreeMap<WantKey, Wanted>,
    /// Until when who did not answer in time comes last.
    late: BTreeMap<Peer, Timestamp>,
    /// Questions that ran out of time.
    overdue: BTreeMap<AskId, Asked>,
    slack: Slack,
    window: Window,
    /// Something may have got its turn.
    turns: bool,
    /// A deadline may have changed since the timer was set. Most inputs change none, and there may be thousands.
    moved: bool,
}

impl Fetches {
    pub(crate) fn forget_peer(&mut self, peer: Peer) {
        self.moved = true;
        self.window.forget_peer(peer);
        self.overdue.retain(|_, asked| asked.peer != peer);
        // Answers of a peer that is gone will not come: let its questions run out at once.
        for asked in self.asked.values_mut().filter(|asked| asked.peer == peer) {
            asked.deadline = Timestamp::ZERO;
        }
    }

    /// A batch is not wanted any more; whoever is asked may still answer.
    pub(crate) fn forget_batches(&mut self, lane: LaneId, tip: Tip) {
        self.moved |= self.wanted.remove(&WantKey::Batches(lane, tip)).is_some();
    }

    /// Whether a vote had to wait for this batch.
    pub(crate) fn arrived_batch(&mut self, lane: LaneId, tip: Tip, now: Timestamp) -> bool {
        let Some(wanted) = self.wanted.remove(&WantKey::Batches(lane, tip)) else { return false };
        self.moved = true;
        wanted.needed.is_some_and(|since| now.since(since) >= Haste::Soon.pause_ms())
    }

    /// Whether a peer is being asked for this batch of a lane.
    fn asks_for_batch(&self, lane: LaneId, at: Sequence) -> bool {
        self.asked.values().any(|asked| match (&asked.request, &asked.want) {
            (Request::Batches(range), Some(_)) => range.lane == lane && range.from <= at && at <= range.to.sequence,
            _ => false,
        })
    }

    /// How long a want waits for its lane to go on, and at most.
    fn waits(&self, want: &Want, haste: Haste) -> (u64, u64) {
        match want {
            Want::Batches(range) => {
                (self.slack.pause(range.lane, haste.pause_ms()), self.slack.patience(range.lane, haste.patience_ms()))
            }
            _ => (haste.pause_ms(), haste.patience_ms()),
        }
    }

    /// Whether a peer is being asked for batches of a lane.
    fn asks_for(&self, lane: LaneId) -> bool {
        self.asked.values().any(|asked| matches!(asked.want, Some(WantKey::Batches(at, _)) if at == lane))
    }

    /// Forgets what the ordered tips have passed.
    pub(crate) fn prune(&mut self, height: Height, passed: impl Fn(LaneId, Tip) -> bool) {
        self.moved = true;
        // A lane of an epoch that is not in force any more has passed every tip.
        self.slack.retain(|lane| !passed(lane, Tip { sequence: Sequence(u64::MAX), batch: BatchId::ZERO }));
        self.wanted.retain(|key, _| match key {
            WantKey::Batches(lane, tip) => !passed(*lane, *tip),
            WantKey::Proposal(proposal) => proposal.height > height,
            WantKey::Ack(..) => true,
        });
    }

    fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let answers = self.asked.values().map(|asked| asked.deadline);
        let waits = |wanted: &&Wanted| wanted.asked.is_none() && !wanted.queued;
        let retries = self.wanted.values().filter(waits).map(|wanted| wanted.not_before);
        // Then the window has room again.
        let queued = self.wanted.values().any(|wanted| wanted.queued);
        let left = queued.then(|| self.on_their_way(now).min()).flatten();
        answers.chain(retries).chain(left).min()
    }
}

impl Sequencer {
    /// A batch came from its author: notes whether asking others for it was in vain.
    pub(crate) fn note_streamed(&mut self, from: Peer, batch: &VerifiedBatch) {
        let header = batch.header();
        let Some(lane) = self.mempool.lane_of(&header.operator, header.epoch) else { return };
        if from == Peer::Operator(header.operator) {
            let asked = self.fetches.asks_for_batch(lane, header.sequence) || self.mempool.holds(lane, batch.tip());
            self.fetches.slack.came(lane, asked);
        }
    }

    /// Gets something from a peer, `hint` first.
    pub(crate) fn want(&mut self, want: Want, hint: Option<Peer>, haste: Haste, outputs: &mut Outputs) {
        self.fetches.moved = true;
        let key = want.key();
        let (pause, patience) = self.fetches.waits(&want, haste);
        let (not_before, patience) = (self.now.plus(pause), self.now.plus(patience));
        let needed = (haste == Haste::Soon).then_some(self.now);
        if let Some(known) = self.fetches.wanted.get_mut(&key) {
            if haste < known.haste {
                known.haste = haste;
                known.needed = known.needed.or(needed);
                known.not_before = known.not_before.min(not_before);
                known.patience = known.patience.min(patience);
                self.hurry(key, hint, outputs);
            }
        } else if self.fetches.wanted.len() < MAX_WANTS {
            let wanted = Wanted {
                want,
                tried: BTreeSet::new(),
                passes: 0,
                asked: None,
                hint,
                haste,
                not_before,
                queued: false,
                patience,
                needed,
            };
            self.fetches.wanted.insert(key, wanted);
        }
        if haste == Haste::Now {
            self.pursue_unless_asked(key, outputs);
        }
    }

    /// What was asked for at leisure is needed now: whoever was asked has had its time, and may have all of it without answering.
    fn hurry(&mut self, key: WantKey, hint: Option<Peer>, outputs: &mut Outputs) {
        let Some(wanted) = self.fetches.wanted.get_mut(&key) else { return };
        let Some(asked) = wanted.asked.and_then(|id| self.fetches.asked.get(&id)) else { return };
        if hint == Some(asked.peer) {
            return;
        }
        wanted.asked = None;
        wanted.hint = hint.or(wanted.hint);
        self.note_late(key);
        self.pursue_unless_asked(key, outputs);
    }

    /// A batch that a vote waits for is late: from what is held alone, its lane is not cut here for a while.
    fn note_late(&mut self, key: WantKey) {
        let waited_for = self.fetches.wanted.get(&key).is_some_and(|wanted| wanted.needed.is_some());
        if let (WantKey::Batches(lane, _), true) = (key, waited_for) {
            self.mempool.was_late(lane);
        }
    }

    fn pursue_unless_asked(&mut self, key: WantKey, outputs: &mut Outputs) {
        let Some(wanted) = self.fetches.wanted.get_mut(&key).filter(|wanted| wanted.asked.is_none()) else { return };
        if wanted.is_bulk() {
            wanted.queued = self.now >= wanted.not_before;
            self.fetches.turns |= wanted.queued;
            return;
        }
        self.pursue_now(key, outputs);
    }

    fn pursue_now(&mut self, key: WantKey, outputs: &mut Outputs) {
        let Some(wanted) = self.fetches.wanted.get_mut(&key) else { return };
        wanted.queued = false;
        let hint = wanted.hint;
        if let Want::Batches(BatchRange { lane, from, to }) = wanted.want {
            outputs.push(Output::Notice(crate::output::Notice::Fetching { lane, from, to }));
        }
        self.pursue(key, hint, outputs);
    }

    /// Whether to go on waiting for a batch: its lane went on meanwhile, or other batches of it are asked for already.
    fn still_waits(&mut self, key: WantKey, missed_from: Option<Sequence>) -> bool {
        let WantKey::Batches(lane, _) = key else { return false };
        let busy = self.fetches.asks_for(lane);
        let Some(wanted) = self.fetches.wanted.get_mut(&key) else { return false };
        let Want::Batches(range) = &wanted.want else { return false };
        let goes_on = missed_from.is_some_and(|from| from < range.from) && self.now < wanted.patience;
        if wanted.haste == Haste::Now || !(goes_on || (busy && wanted.haste == Haste::Later)) {
            return false;
        }
        wanted.not_before = self.now.plus(self.fetches.slack.pause(lane, wanted.haste.pause_ms()));
        true
    }

    fn pursue(&mut self, key: WantKey, hint: Option<Peer>, outputs: &mut Outputs) {
        let Some(wanted) = self.fetches.wanted.get_mut(&key) else { return };
        let fit = |peer: &Peer| match &wanted.want {
            Want::Ack { operator, .. } => *peer == Peer::Operator(*operator),
            _ => matches!(peer, Peer::Operator(_)),
        };
        let untried = |peer: &Peer| fit(peer) && !wanted.tried.contains(peer);
        let is_late = |peer: &Peer| self.fetches.late.get(peer).is_some_and(|until| *until > self.now);
        // Members: they hold what they acknowledged. Spread over peers by what is asked.
        let spread = |late: bool| {
            let candidates: Vec<Peer> =
                self.peers.iter().copied().filter(|peer| untried(peer) && is_late(peer) == late).collect();
            let at = (self.fetches.next as usize).checked_rem(candidates.len())?;
            candidates.get(at).copied()
        };
        let hinted = hint.filter(|peer| self.peers.contains(peer) && untried(peer) && !is_late(peer));
        let chosen = hinted.or_else(|| spread(false)).or_else(|| spread(true));
        let Some(peer) = chosen else {
            wanted.tried.clear();
            wanted.passes = wanted.passes.saturating_add(1);
            wanted.asked = None;
            wanted.not_before = self.now.plus(RETRY_MS);
            return;
        };
        wanted.tried.insert(peer);
        let request = wanted.want.request();
        let least = if wanted.haste < Haste::Later { URGENT_TIMEOUT_MS } else { ASK_TIMEOUT_MS };
        let doubled = least << wanted.passes.min(MAX_DOUBLINGS);
        let timeout = if wanted.is_bulk() { self.fetches.window.patience(peer, doubled) } else { doubled };
        let id = self.ask_within(timeout, peer, request, Some(key), outputs);
        if let Some(wanted) = self.fetches.wanted.get_mut(&key) {
            wanted.asked = Some(id);
        }
    }

    /// Asks one peer.
    pub(crate) fn ask(&mut self, to: Peer, request: Request, outputs: &mut Outputs) -> AskId {
        self.ask_again(0, to, request, outputs)
    }

    /// Asks one peer what all were asked in vain so many times.
    pub(crate) fn ask_again(&mut self, passes: u32, to: Peer, request: Request, outputs: &mut Outputs) -> AskId {
        self.ask_within(ASK_TIMEOUT_MS << passes.min(MAX_DOUBLINGS), to, request, None, outputs)
    }

    fn ask_within(
        &mut self,
        timeout_ms: u64,
        to: Peer,
        request: Request,
        want: Option<WantKey>,
        outputs: &mut Outputs,
    ) -> AskId {
        self.fetches.moved = true;
        self.fetches.next += 1;
        let id = AskId(self.fetches.next);
        let bulk = want.and_then(|key| self.fetches.wanted.get(&key)).is_some_and(Wanted::is_bulk);
        let (since, deadline) = (self.now, self.now.plus(timeout_ms));
        self.fetches.asked.insert(id, Asked { peer: to, want, request: request.clone(), bulk, since, deadline });
        outputs.push(Output::Ask { id, to, request });
        id
    }

    pub(crate) fn arm_fetch_timer(&mut self) {
        if !std::mem::take(&mut self.fetches.moved) {
            return;
        }
        match self.fetches.next_deadline(self.now) {
            Some(at) => self.timers.set(Timer::Fetch, at.max(self.now.plus(1))),
            None => self.timers.cancel(Timer::Fetch),
        }
    }

    pub(crate) fn retry_fetches(&mut self, outputs: &mut Outputs) {
        (self.fetches.moved, self.fetches.turns) = (true, true);
        let overdue: Vec<AskId> =
            self.fetches.asked.iter().filter(|(_, asked)| asked.deadline <= self.now).map(|(id, _)| *id).collect();
        self.fetches.late.retain(|_, until| *until > self.now);
        for id in overdue {
            let Some(asked) = self.fetches.asked.remove(&id) else { continue };
            self.conclude(id, &asked, false, outputs);
            // One that is gone was given up already: nothing is held against it.
            if asked.deadline > Timestamp::ZERO {
                if asked.bulk {
                    self.fetches.window.expired(asked.since, self.now);
                }
                self.fetches.late.insert(asked.peer, self.now.plus(LATE_MS));
                self.fetches.overdue.insert(id, asked);
            }
        }
        while self.fetches.overdue.len() > MAX_OVERDUE {
            self.fetches.overdue.pop_first();
        }
        let due = self
            .fetches
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.asked.is_none() && !wanted.queued && wanted.not_before <= self.now);
        // Of a lane the highest first: what lies below comes with it.
        let due: Vec<(WantKey, Option<Sequence>)> =
            due.rev().map(|(key, wanted)| (*key, wanted.missed_from())).collect();
        for (key, missed_from) in due {
            if !self.still_missing(key) {
                self.fetches.wanted.remove(&key);
                continue;
            }
            self.note_late(key);
            if !self.still_waits(key, missed_from) {
                self.pursue_unless_asked(key, outputs);
            }
        }
    }

    fn still_missing(&mut self, key: WantKey) -> bool {
        match key {
            WantKey::Batches(lane, tip) => {
                let Some(range) = self.mempool.missing(lane, tip) else { return false };
                if let Some(wanted) = self.fetches.wanted.get_mut(&key) {
                    wanted.want = Want::Batches(range);
                }
                true
            }
            WantKey::Proposal(proposal) => {
                proposal.height > self.ledger.height() && self.judgements.proposal(&proposal).is_none()
            }
            WantKey::Ack(_, epoch) => self.ledger.state().tips_of(epoch).is_some(),
        }
    }
}
