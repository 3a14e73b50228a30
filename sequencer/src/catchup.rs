//! Catch-up: a node that is behind follows decided blocks, and neither proposes nor votes until it is at the tip.
//!
//! Only a certificate that verifies says that a height is decided. A claim that cannot be checked yet (its committee lies
//! in the future) is a reason to ask that peer for the blocks between, and nothing else.

use crate::fetch::{Haste, Want};
use crate::input::Peer;
use crate::ledger::Judgement;
use crate::output::{Notice, Output, Recipients};
use crate::sequencer::{Outputs, Sequencer};
use crate::snapshot::Joining;
use crate::timers::Timer;
use squad_types::limits::MAX_BLOCKS_PER_RESPONSE;
use squad_types::{Address, CommitCertificate, Height, LaneId, Message, OrderedBlock, Request, Timestamp, Tip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long agreement has to reach a decision that is known to exist, before the block is fetched.
const GRACE_MS: u64 = 300;

/// Blocks waiting for their batches.
const MAX_QUEUE: usize = 2 * MAX_BLOCKS_PER_RESPONSE;

/// Queued blocks whose batches are asked for at once.
const BLOCKS_AHEAD: u64 = 8;

/// How long to wait after nobody had the next block.
const RETRY_MS: u64 = 250;

/// What is known of decisions beyond one's own.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// The highest height that each peer showed a certificate for; unverified ones only choose whom to ask.
    hints: BTreeMap<Peer, Height>,
    /// The highest verified decision.
    target: Height,
    queue: BTreeMap<Height, OrderedBlock>,
    /// A verified decision of the next height whose block has not come.
    decided: Option<CommitCertificate>,
    /// Batches asked for on the word of queued blocks that are not checked yet.
    ahead: BTreeSet<(LaneId, Tip)>,
    asking: bool,
    failed: BTreeSet<Peer>,
    /// How often all had failed since an answer was of use.
    passes: u32,
    /// When peers that are behind were last told so; only connected ones, so it is as bounded as those are.
    told: BTreeMap<Peer, Timestamp>,
    behind: bool,
    pub(crate) snapshot: Joining,
}

impl CatchUp {
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(crate) fn target(&self) -> Height {
        self.target
    }

    pub(crate) fn raise_target(&mut self, height: Height) {
        self.target = self.target.max(height);
    }

    pub(crate) fn queue(&mut self, block: OrderedBlock) {
        self.queue.insert(block.block.header().height, block);
        // The lowest are applied first. What lies above and is not checked yet must not keep them out.
        if self.queue.len() > MAX_QUEUE {
            self.queue.pop_last();
        }
    }

    pub(crate) fn forget_peer(&mut self, peer: Peer) {
        self.told.remove(&peer);
        self.hints.remove(&peer);
        self.failed.remove(&peer);
    }

    /// Lets those be asked again who failed, all of them, and gives them longer.
    pub(crate) fn forgive(&mut self) {
        self.failed.clear();
        self.passes = self.passes.saturating_add(1);
    }

    pub(crate) fn passes(&self) -> u32 {
        self.passes
    }

    /// The first height from `next` on that is not queued.
    fn first_gap(&self, next: Height) -> Height {
        (next.0..).map(Height).find(|height| !self.queue.contains_key(height)).unwrap_or(next)
    }

    /// Forgets what a peer only claimed.
    fn drop_hint(&mut self, peer: Peer) {
        self.hints.remove(&peer);
    }
}

impl Sequencer {
    pub(crate) fn on_commit(&mut self, from: Peer, certificate: CommitCertificate, outputs: &mut Outputs) {
        let height = certificate.height;
        let next = self.ledger.height().next();
        if height < next || self.catchup.hints.get(&from).is_some_and(|known| *known >= height) {
            return;
        }
        let verified = self.verifies(&certificate);
        if height == next && !verified {
            outputs.push(Output::Misbehaved { peer: from, what: "sent a commit certificate that does not hold" });
            return;
        }
        self.catchup.hints.insert(from, height);
        if !verified {
            // Its committee lies in the future: a reason to look at that peer's next blocks, not to stop voting.
            if !self.catchup.asking {
                self.catchup.asking = true;
                self.ask(from, Request::Blocks(next), outputs);
            }
            return;
        }
        self.catchup.raise_target(height);
        if height == next {
            self.catchup.decided = Some(certificate);
        }
        if height > next || self.agreeing.is_none() {
            self.start_catching_up(outputs);
        } else if !self.timers.is_set(Timer::CatchUp) {
            self.timers.set(Timer::CatchUp, self.now.plus(GRACE_MS));
        }
    }

    /// A peer speaks of a height that was decided here a while ago: it missed the decision, and nobody else may tell it.
    pub(crate) fn help_laggard(&mut self, operator: Address, height: Height, outputs: &mut Outputs) {
        let peer = Peer::Operator(operator);
        let late = height < self.ledger.height() || self.now.since(self.pace.since) > GRACE_MS;
        if height > self.ledger.height() || !late || !self.peers.contains(&peer) {
            return;
        }
        let told = self.catchup.told.get(&peer).copied();
        if told.is_some_and(|at| self.now.since(at) < GRACE_MS) {
            return;
        }
        if let Some(tip) = self.ledger.tip() {
            let certificate = tip.certificate.clone();
            self.catchup.told.insert(peer, self.now);
            self.send(Recipients::One(peer), Message::Commit(certificate), Default::default(), outputs);
        }
    }

    pub(crate) fn restart_catch_up(&mut self, outputs: &mut Outputs) {
        if matches!(self.catchup.snapshot, Joining::Nobody) {
            // The peer that just came may have one.
            self.catchup.snapshot = Joining::No;
        }
        if self.catchup.behind && !self.catchup.asking {
            self.catchup.failed.clear();
            self.start_catching_up(outputs);
        }
    }

    pub(crate) fn start_catching_up(&mut self, outputs: &mut Outputs) {
        self.look_at_next_queued();
        let (height, target) = (self.ledger.height(), self.catchup.target());
        if target <= height {
            self.finish_catching_up(outputs);
            return;
        }
        if !self.catchup.behind {
            self.catchup.behind = true;
            outputs.push(Output::Notice(Notice::CatchingUp { height, target }));
        }
        self.agreeing = None;
        self.advance_catch_up(outputs);
    }

    /// Blocks are queued before the committee that decided them is known. Now that the next one's is, it counts as a decision, or
    /// it is none, and no right one would take its place.
    fn look_at_next_queued(&mut self) {
        let next = self.ledger.height().next();
        let Some(queued) = self.catchup.queue.get(&next) else { return };
        if self.verifies(&queued.certificate) {
            self.catchup.raise_target(next);
        } else {
            self.catchup.queue.split_off(&next);
            self.forget_ahead();
        }
    }

    /// Asks for the blocks that the queue does not hold yet.
    fn ask_for_blocks(&mut self, outputs: &mut Outputs) {
        let from = self.catchup.first_gap(self.ledger.height().next());
        if self.catchup.asking || from > self.catchup.target() || self.catchup.queue.len() >= MAX_BLOCKS_PER_RESPONSE {
            return;
        }
        if self.joins_by_snapshot(outputs) {
            return;
        }
        let peer = self.best_peer(from);
        let Some(peer) = peer else {
            self.catchup.forgive();
            self.catchup.snapshot = Joining::No;
            self.timers.set(Timer::CatchUp, self.now.plus(RETRY_MS));
            return;
        };
        self.catchup.asking = true;
        self.ask_again(self.catchup.passes, peer, Request::Blocks(from), outputs);
    }

    pub(crate) fn best_peer(&self, height: Height) -> Option<Peer> {
        let fit = |peer: &&Peer| !self.catchup.failed.contains(*peer) && matches!(peer, Peer::Operator(_));
        let known =
            self.peers.iter().filter(fit).find(|peer| self.catchup.hints.get(*peer).is_some_and(|at| *at >= height));
        known.or_else(|| self.peers.iter().find(fit)).copied()
    }

    pub(crate) fn on_blocks(&mut self, peer: Peer, blocks: Vec<OrderedBlock>, outputs: &mut Outputs) {
        self.catchup.asking = false;
        if self.go_on(&blocks) {
            self.catchup.passes = 0;
            self.queue_blocks(blocks);
        } else {
            self.catchup.failed.insert(peer);
            self.catchup.drop_hint(peer);
        }
        self.start_catching_up(outputs);
    }

    /// Blocks of an answer that came after its time; somebody else may be asked by now.
    pub(crate) fn on_late_blocks(&mut self, blocks: Vec<OrderedBlock>, outputs: &mut Outputs) {
        if self.catchup.behind && self.go_on(&blocks) {
            self.queue_blocks(blocks);
            self.start_catching_up(outputs);
        }
    }

    /// Whether blocks follow one another, and go on from the queue or lie in it: what lies above its first gap closes nothing.
    fn go_on(&self, blocks: &[OrderedBlock]) -> bool {
        let Some(first) = blocks.first().map(|block| block.block.header().height) else { return false };
        let consecutive = blocks.iter().zip(first.0..).all(|(block, expected)| {
            block.block.header().height.0 == expected && block.certificate.block == block.block.hash()
        });
        consecutive && first <= self.catchup.first_gap(self.ledger.height().next())
    }

    fn queue_blocks(&mut self, blocks: Vec<OrderedBlock>) {
        for block in blocks {
            let height = block.block.header().height;
            if height <= self.ledger.height() || self.catchup.queue.contains_key(&height) {
                continue;
            }
            // Those of a later epoch than is known here wait for the blocks before them.
            if self.verifies(&block.certificate) {
                self.catchup.raise_target(height);
            }
            self.catchup.queue(block);
        }
    }

    pub(crate) fn catch_up_failed(&mut self, peer: Peer, outputs: &mut Outputs) {
        self.catchup.asking = false;
        self.catchup.failed.insert(peer);
        if self.catchup.behind {
            self.start_catching_up(outputs);
        }
    }

    /// Applies what can be applied, fetches what is missing.
    pub(crate) fn advance_catch_up(&mut self, outputs: &mut Outputs) {
        if !self.catchup.behind {
            return;
        }
        self.queue_what_is_held();
        for _ in 0..MAX_QUEUE {
            let next = self.ledger.height().next();
            let Some(ordered) = self.catchup.queue.get(&next).cloned() else { break };
            if !self.apply_queued(ordered, outputs) {
                return;
            }
        }
        // A new epoch's committee may verify what waits, and what peers claimed.
        let later: Vec<CommitCertificate> =
            self.catchup.queue.values().map(|block| block.certificate.clone()).collect();
        for certificate in later.iter().rev().take(1) {
            if self.verifies(certificate) {
                self.catchup.raise_target(certificate.height);
            }
        }
        if self.catchup.target() <= self.ledger.height() {
            self.finish_catching_up(outputs);
        } else {
            self.ask_for_blocks(outputs);
        }
    }

    /// A block that this node got as a proposal needs nothing more than its certificate. Who sends that may be the only one that
    /// has decided, and may keep the block to itself; those who voted for it have it.
    fn queue_what_is_held(&mut self) {
        let next = self.ledger.height().next();
        let Some(certificate) = self.catchup.decided.take_if(|decided| decided.height <= next) else { return };
        if certificate.height < next || self.catchup.queue.contains_key(&next) || !self.ledger.window_is_complete() {
            return;
        }
        let logged = || self.consensus.as_ref()?.proposal(next, certificate.round, certificate.block);
        let known = self.judgements.block(&certificate.block).cloned();
        if let Some(block) = known.or_else(|| logged().map(|proposal| Arc::clone(proposal.block()))) {
            // What it skips follows from the window, which is here.
            self.catchup.queue(OrderedBlock { block, certificate, skipped: Vec::new() });
        }
    }

    /// Whether the queue's next block was dealt with, so that the one after is next.
    fn apply_queued(&mut self, ordered: OrderedBlock, outputs: &mut Outputs) -> bool {
        let height = ordered.block.header().height;
        let epoch = self.ledger.epoch_of_next();
        let Some(committee) = self.ledger.committee(epoch).cloned() else { return false };
        let fits = ordered.certificate.height == height
            && ordered.certificate.block == ordered.block.hash()
            && ordered.certificate.verify(&self.domain, &committee, self.config.verifier.as_ref()).is_ok();
        if !fits {
            return self.drop_queued(height, "a block came without a certificate that holds", outputs);
        }
        self.refresh_schedule();
        match self.judge_decided(&ordered) {
            Judgement::Valid(execution) => {
                self.catchup.queue.remove(&height);
                self.apply(ordered.block, ordered.certificate, Arc::new(execution), true, outputs);
                true
            }
            Judgement::Missing(ranges) => {
                ranges.into_iter().for_each(|range| self.want(Want::Batches(range), None, Haste::Now, outputs));
                self.fetch_ahead(outputs);
                false
            }
            Judgement::Invalid(reason) if reason.is_about_body() => {
                self.drop_queued(height, "a block came with a body that is not its header's", outputs)
            }
            Judgement::Invalid(reason) => {
                tracing::error!(height = height.0, %reason, "a quorum decided an invalid block");
                self.halted = Some(format!("a quorum decided an invalid block at height {height}: {reason}"));
                false
            }
        }
    }

    /// Asks for the batches of the next few queued blocks as well: one block's after another's would take a round trip for each,
    /// hardly less than the network takes to decide it.
    fn fetch_ahead(&mut self, outputs: &mut Outputs) {
        let next = self.ledger.height().next();
        let state = self.ledger.state();
        self.catchup.ahead.retain(|(lane, tip)| state.tip(*lane).is_none_or(|at| tip.sequence > at.sequence));
        let mut tips: BTreeMap<LaneId, Tip> = BTreeMap::new();
        for (_, ordered) in self.catchup.queue.range(next..next.plus(BLOCKS_AHEAD)) {
            for entry in ordered.block.cut() {
                let tip = tips.entry(entry.lane).or_insert(entry.tip);
                *tip = (*tip).max(entry.tip);
            }
        }
        for (lane, tip) in tips {
            if let Some(range) = self.mempool.missing(lane, tip) {
                self.catchup.ahead.insert((lane, range.to));
                self.want(Want::Batches(range), None, Haste::Now, outputs);
            }
        }
    }

    /// What queued blocks named is wanted no more once they prove to be none.
    fn forget_ahead(&mut self) {
        for (lane, tip) in std::mem::take(&mut self.catchup.ahead) {
            self.fetches.forget_batches(lane, tip);
        }
    }

    fn drop_queued(&mut self, height: Height, why: &'static str, outputs: &mut Outputs) -> bool {
        tracing::warn!(height = height.0, why, "fetched block dropped");
        self.catchup.queue.split_off(&height);
        self.forget_ahead();
        self.ask_for_blocks(outputs);
        false
    }

    fn finish_catching_up(&mut self, outputs: &mut Outputs) {
        self.timers.cancel(Timer::CatchUp);
        self.forget_ahead();
        let height = self.ledger.height();
        self.catchup.queue.retain(|at, _| *at > height);
        self.catchup.failed.clear();
        self.catchup.passes = 0;
        if std::mem::take(&mut self.catchup.behind) {
            outputs.push(Output::Notice(Notice::CaughtUp(height)));
            self.inquire_of_all(outputs);
            self.state_readiness(self.ledger.epoch_of_next(), outputs);
        }
        if self.agreeing != Some(height.next()) {
            self.start_next_height(outputs);
        }
    }
}
