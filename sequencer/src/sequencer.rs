//! One node as one plain struct.

use crate::catchup::CatchUp;
use crate::config::Config;
use crate::decide::Precommitters;
use crate::evidence::Kept;
use crate::fetch::Fetches;
use crate::guard::Guard;
use crate::input::{Input, Peer};
use crate::inquiry::Inquiry;
use crate::judge::Judgements;
use crate::ledger::Ledger;
use crate::output::{After, Output, PersistId, Recipients};
use crate::pace::Pace;
use crate::record::{LogRecord, Write};
use crate::rival::Rivals;
use crate::seen::Seen;
use crate::snapshot::Snapshots;
use crate::timers::{Timer, Timers};
use squad_consensus::{Consensus, ProposerRotation, ProposerSchedule};
use squad_mempool::{Mempool, MempoolConfig};
use squad_types::{
    Address, BatchId, Domain, Epoch, Height, Message, Ready, Round, Signer, Timestamp, Verified, Verifier, Vote,
    VoteKind,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// One node: a deterministic state machine.
///
/// Inputs go in with the time, outputs come out; there is no clock, socket, disk, thread, task or randomness inside. The same
/// inputs at the same times give the same outputs. What a driver owes it stands at [`Output`]; what it forgets in a crash
/// it gets back from [`Sequencer::recover`].
pub struct Sequencer {
    pub(crate) config: Config,
    pub(crate) domain: Domain,
    pub(crate) me: Option<Address>,
    pub(crate) ledger: Ledger,
    pub(crate) mempool: Mempool,
    pub(crate) mempool_config: MempoolConfig,
    /// None for a follower, which has no key.
    pub(crate) consensus: Option<Consensus>,
    /// Inputs of agreement that its own outputs caused.
    pub(crate) agree_queue: VecDeque<squad_consensus::Input>,
    pub(crate) agree_running: bool,
    /// Room for what comes out of agreement.
    pub(crate) agreed: Vec<squad_consensus::Output>,
    pub(crate) rotation: Option<(Epoch, Arc<ProposerRotation>)>,
    pub(crate) schedule: Option<Arc<ProposerSchedule>>,
    pub(crate) judgements: Judgements,
    /// Own votes of the height under way, with what each waits for.
    pub(crate) own_votes: BTreeMap<(VoteKind, Round), (Verified<Vote>, After)>,
    pub(crate) fetches: Fetches,
    pub(crate) catchup: CatchUp,
    pub(crate) guard: Guard,
    pub(crate) pace: Pace,
    pub(crate) seen: Seen,
    pub(crate) timers: Timers,
    pub(crate) writes: Writes,
    pub(crate) peers: BTreeSet<Peer>,
    pub(crate) evidence: Kept,
    pub(crate) inquiry: Inquiry,
    pub(crate) rivals: Rivals,
    /// Newcomers who are ready and whose readiness was not ordered yet.
    pub(crate) readies: BTreeMap<Address, Verified<Ready>>,
    pub(crate) precommitters: Precommitters,
    pub(crate) snapshots: Snapshots,
    pub(crate) round: Round,
    pub(crate) disk_low: bool,
    pub(crate) draining: bool,
    /// Agreement runs at this height; none while catching up.
    pub(crate) agreeing: Option<Height>,
    /// Agreement cannot go on; nothing is signed any more.
    pub(crate) halted: Option<String>,
    pub(crate) now: Timestamp,
}

/// Counts of what was written, so that effects can name what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    log: u64,
    bulk: u64,
    last_log: Option<PersistId>,
    /// The writes of batches above the ordered tips.
    pub(crate) batches: BTreeMap<BatchId, PersistId>,
}

/// A list of effects under way.
pub type Outputs = Vec<Output>;

/// Inputs of agreement that one `handle` may cause by itself, far above what a height needs; it bounds the loop.
pub(crate) const MAX_CASCADE: usize = 10_000;

impl Sequencer {
    /// Takes one input at a time that never goes back (an earlier one counts as the last).
    pub fn handle(&mut self, now: Timestamp, input: Input, outputs: &mut Outputs) {
        self.now = self.now.max(now);
        self.dispatch(input, outputs);
        self.follow_up(outputs);
    }

    /// Takes inputs of one time in their order. What may follow from any of them, sealing, acknowledging and proposing,
    /// follows once, after the last: so transactions that came together are sealed together.
    pub fn handle_all(&mut self, now: Timestamp, inputs: impl IntoIterator<Item = Input>, outputs: &mut Outputs) {
        self.now = self.now.max(now);
        for input in inputs {
            self.dispatch(input, outputs);
        }
        self.follow_up(outputs);
    }

    /// What the timers and the inputs so far call for.
    fn follow_up(&mut self, outputs: &mut Outputs) {
        for _ in 0..MAX_CASCADE {
            let Some(timer) = self.timers.pop_due(self.now) else { break };
            self.on_timer(timer, outputs);
        }
        self.settle(outputs);
        if let Some(at) = self.timers.announce(self.now) {
            outputs.push(Output::WakeAt(at));
        }
    }

    fn dispatch(&mut self, input: Input, outputs: &mut Outputs) {
        match input {
            Input::Submit(submission) => self.on_submit(submission, outputs),
            Input::Message { from, message } => self.on_message(from, message, outputs),
            Input::Request { from, id, request } => self.on_request(from, id, request, outputs),
            Input::Response { id, response } => self.on_response(id, response, outputs),
            Input::Connected(peer) => self.on_connected(peer, outputs),
            Input::Disconnected(peer) => {
                self.peers.remove(&peer);
                self.fetches.forget_peer(peer);
                self.catchup.forget_peer(peer);
                self.forget_inquiry(peer, outputs);
            }
            Input::HeldElsewhere(by) => self.on_held_elsewhere(by, outputs),
            Input::Wake => self.timers.woken(),
            Input::DiskLow(low) => self.disk_low = low,
            Input::AnchorSeen => self.rejudge_refused(outputs),
            Input::Drain => self.draining = true,
        }
    }

    fn on_timer(&mut self, timer: Timer, outputs: &mut Outputs) {
        match timer {
            Timer::Seal | Timer::Ack => {} // `settle` looks at both
            Timer::AckResend => self.resend_acks(outputs),
            Timer::Idle => {} // `settle` proposes
            Timer::Fetch => self.retry_fetches(outputs),
            Timer::CatchUp => self.start_catching_up(outputs),
            Timer::Guard => self.ask_for_slots(outputs),
            Timer::Clock => self.rejudge_all(outputs),
            Timer::Inquiry => self.inquire_in_turn(outputs),
            Timer::Consensus(token) => self.agree(squad_consensus::Input::Timeout(token), outputs),
        }
    }

    /// What may follow from any input: sealing, acknowledging, proposing.
    fn settle(&mut self, outputs: &mut Outputs) {
        self.seal_batches(outputs);
        self.send_acks(outputs);
        self.report_secured(outputs);
        self.keep_pace(outputs);
        self.take_turns(outputs);
        self.arm_fetch_timer();
    }

    pub(crate) fn is_me(&self, address: &Address) -> bool {
        self.me.as_ref() == Some(address)
    }

    pub(crate) fn signer(&self) -> Option<Arc<dyn Signer>> {
        self.config.signer.clone()
    }

    pub(crate) fn verifier(&self) -> Arc<dyn Verifier> {
        Arc::clone(&self.config.verifier)
    }

    /// Whether this operator stands in the committee of an epoch.
    pub(crate) fn is_member(&self, epoch: Epoch) -> bool {
        let Some(me) = &self.me else { return false };
        self.ledger.committee(epoch).is_some_and(|committee| committee.contains(me))
    }

    pub(crate) fn persist(&mut self, write: Write, outputs: &mut Outputs) -> PersistId {
        let counter = if write.is_log() { &mut self.writes.log } else { &mut self.writes.bulk };
        *counter += 1;
        let id = PersistId(*counter);
        if write.is_log() {
            self.writes.last_log = Some(id);
        }
        outputs.push(Output::Persist { id, write });
        id
    }

    pub(crate) fn log(&mut self, record: LogRecord, outputs: &mut Outputs) -> PersistId {
        self.persist(Write::Log(record), outputs)
    }

    /// Everything written to the log so far.
    pub(crate) fn after_log(&self) -> After {
        After { log: self.writes.last_log, bulk: None }
    }

    pub(crate) fn send(&self, to: Recipients, message: Message, after: After, outputs: &mut Outputs) {
        outputs.push(Output::Send { to, message: Arc::new(message), after });
    }
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequencer").field("me", &self.me).field("height", &self.ledger.height()).finish_non_exhaustive()
    }
}
