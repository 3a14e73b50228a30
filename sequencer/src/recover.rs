//! Starting: from nothing, or from what was durable.

use crate::catchup::CatchUp;
use crate::config::{Config, Memory};
use crate::evidence::Kept;
use crate::fetch::Fetches;
use crate::guard::{Guard, Remembered};
use crate::inquiry::Inquiry;
use crate::judge::Judgements;
use crate::ledger::{Judgement, Ledger};
use crate::output::Output;
use crate::pace::Pace;
use crate::record::{Checkpoint, LogRecord, Restriction, Write};
use crate::rival::Rivals;
use crate::seen::Seen;
use crate::sequencer::{Outputs, Sequencer, Writes};
use crate::snapshot::Snapshots;
use crate::store::Store;
use crate::store::Stored;
use crate::timers::Timers;
use squad_consensus::{Consensus, LogEntry, TimeoutConfig};
use squad_mempool::{Mempool, MempoolConfig};
use squad_types::{
    Ack, AckMessage, Address, Batch, Domain, Evidence, Height, OrderedBlock, Round, Sequence, Timestamp, Verified,
    VerifiedBatch,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Why a node cannot start from what is there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecoverError {
    /// The genesis is no good.
    #[error("genesis: {0}")]
    Genesis(#[from] squad_types::GenesisError),
    /// Own records contradict one another.
    #[error(
        "own records are inconsistent at height {height}: {what}; restore the data directory or start with an empty one (the node then waits before it signs)"
    )]
    Inconsistent {
        /// Where.
        height: Height,
        /// How.
        what: String,
    },
}

/// What the log says, before it is put together.
#[derive(Default)]
struct Logged {
    checkpoint: Option<Checkpoint>,
    consensus: Vec<LogEntry>,
    /// Own acks, in the order of their signing.
    acks: Vec<AckMessage>,
    decided: Vec<OrderedBlock>,
    evidence: Vec<Evidence>,
    restriction: Option<Restriction>,
}

impl Logged {
    fn read(records: impl IntoIterator<Item = LogRecord>) -> Self {
        let mut logged = Self::default();
        for record in records {
            match record {
                LogRecord::Checkpoint(checkpoint) => logged = Self::at(*checkpoint),
                LogRecord::Consensus(entry) => logged.consensus.push(entry),
                LogRecord::Ack(message) => logged.acks.push(*message),
                LogRecord::Decided(block) => {
                    // Entries of a decided height have done their work.
                    let height = block.block.header().height;
                    logged.consensus.retain(|entry| entry.height() > height);
                    logged.decided.push(*block);
                }
                LogRecord::Evidence(evidence) => logged.evidence.push(*evidence),
                LogRecord::Restricted(restriction) => logged.restriction = Some(restriction),
            }
        }
        logged
    }

    fn at(checkpoint: Checkpoint) -> Self {
        Self {
            acks: checkpoint.acks.clone(),
            evidence: checkpoint.evidence.clone(),
            restriction: checkpoint.restriction,
            checkpoint: Some(checkpoint),
            ..Self::default()
        }
    }
}

impl Sequencer {
    /// A node as its durable records leave it, and its first effects. `records` is the log from its newest checkpoint on.
    ///
    /// Without records it starts from genesis. Nothing is signed until peers holding over two thirds of stake, itself
    /// included, have shown no statement of its own that it does not remember.
    pub fn recover(
        config: Config,
        now: Timestamp,
        records: impl IntoIterator<Item = LogRecord>,
        store: &dyn Store,
    ) -> Result<(Self, Outputs), RecoverError> {
        config.genesis.check()?;
        let logged = Logged::read(records);
        let mut ledger = match &logged.checkpoint {
            Some(checkpoint) => ledger_at(&config, checkpoint, store)?,
            None => Ledger::genesis(&config.genesis)?,
        };
        if let Some(committee) = &config.committee {
            ledger.share(committee);
        }
        let mut sequencer = Self::assemble(config, now, ledger, &logged);
        let mut replayed = Vec::new();
        let behind = sequencer.replay_decided(&logged, store, &mut replayed);
        // What a replay would write is on disk and is not written again: to wait for it would be to wait forever.
        sequencer.writes = Writes::default();
        let mut outputs = Vec::new();
        sequencer.store_again(&replayed, store, &mut outputs);
        outputs.append(&mut replayed);
        sequencer.restore_lanes(&logged, store);
        sequencer.announce_committees(&mut outputs);
        let unreplayed = logged.decided.last().map_or(Height::ZERO, |block| block.block.header().height);
        if behind && unreplayed > sequencer.ledger.height() {
            // Decided here, but its batches were not durable yet: peers have them. Nothing below is voted on again.
            sequencer.catchup.raise_target(unreplayed);
            sequencer.start_catching_up(&mut outputs);
        } else {
            sequencer.start_next_height(&mut outputs);
        }
        sequencer.start_guard(&mut outputs);
        sequencer.start_inquiries();
        sequencer.settle_start(&mut outputs);
        Ok((sequencer, outputs))
    }

    fn assemble(config: Config, now: Timestamp, ledger: Ledger, logged: &Logged) -> Self {
        let domain = Domain::new(config.genesis.network_id());
        let me = config.signer.as_ref().map(|signer| signer.address());
        let mempool_config = MempoolConfig {
            me,
            params: config.genesis.params.clone(),
            namespaces: config.genesis.namespaces.clone(),
            domain,
            pool: config.pool.clone(),
        };
        let placeholder = Arc::clone(
            ledger
                .committee(ledger.epoch_of_next())
                .unwrap_or_else(|| unreachable!("a ledger knows the committee of its next height")),
        );
        let remembered = remembered(me, logged);
        let guard = Guard::new(me.is_some(), config.memory == Memory::Lost, remembered, logged.restriction);
        // A lost statement costs a retransmission: no longer than a step waits anyway.
        let rebroadcast = std::time::Duration::from_millis(config.genesis.params.vote_timeout_ms.into());
        let timeouts = TimeoutConfig { rebroadcast, ..TimeoutConfig::from(&config.genesis.params) };
        let consensus = me.map(|address| {
            Consensus::recover(squad_consensus::Config { domain, address, timeouts }, logged.consensus.iter().cloned())
        });
        let mut sequencer = Self {
            domain,
            me,
            mempool: Mempool::new(mempool_config.clone(), placeholder),
            mempool_config,
            ledger,
            consensus,
            agree_queue: VecDeque::new(),
            agreed: Vec::new(),
            agree_running: false,
            rotation: None,
            schedule: None,
            judgements: Judgements::default(),
            own_votes: BTreeMap::new(),
            fetches: Fetches::default(),
            catchup: CatchUp::default(),
            guard,
            pace: Pace { since: now, ..Pace::default() },
            seen: Seen::restore(
                logged.checkpoint.as_ref().map(|checkpoint| checkpoint.seen.clone()).unwrap_or_default(),
            ),
            snapshots: Snapshots::default(),
            timers: Timers::default(),
            writes: Writes::default(),
            peers: BTreeSet::new(),
            evidence: Kept::restore(logged.evidence.clone(), &domain.network()),
            inquiry: Inquiry::default(),
            rivals: Rivals::default(),
            readies: BTreeMap::new(),
            precommitters: BTreeMap::new(),
            round: Round::ZERO,
            disk_low: false,
            draining: false,
            agreeing: None,
            halted: None,
            now,
            config,
        };
        for entry in &logged.consensus {
            if let LogEntry::Vote(vote) = entry {
                sequencer.seen.vote(&Verified::from_own_log(Arc::clone(vote)));
            }
        }
        sequencer.follow_members();
        sequencer.mempool = sequencer.empty_mempool();
        sequencer
    }

    /// Applies decisions after the checkpoint; whether some could not be, because their batches are not in the store.
    fn replay_decided(&mut self, logged: &Logged, store: &dyn Store, outputs: &mut Outputs) -> bool {
        for ordered in &logged.decided {
            if ordered.block.header().height != self.ledger.height().next() {
                continue;
            }
            self.load_batches(ordered, store);
            self.refresh_schedule();
            let Judgement::Valid(execution) = self.judge_decided(ordered) else { return true };
            let mut replayed = Vec::new();
            self.apply(
                Arc::clone(&ordered.block),
                ordered.certificate.clone(),
                Arc::new(execution),
                true,
                &mut replayed,
            );
            // It is all on disk; only readers that follow from here have not seen it.
            let wanted = |output: &Output| matches!(output, Output::Ordered(_) | Output::Committees(_));
            outputs.extend(replayed.into_iter().filter(wanted));
        }
        false
    }

    /// Writes decided blocks that only the log has: their own write was under way when the node went down, and the log forgets
    /// them at its next checkpoint.
    fn store_again(&mut self, replayed: &[Output], store: &dyn Store, outputs: &mut Outputs) {
        for output in replayed {
            if let Output::Ordered(decision) = output
                && store.block(decision.block.block.header().height).is_none()
            {
                self.persist(Write::Block(decision.block.clone()), outputs);
            }
        }
    }

    /// Puts the batches that a block newly covers back into their lanes.
    fn load_batches(&mut self, ordered: &OrderedBlock, store: &dyn Store) {
        for entry in ordered.block.cut() {
            let from = self.ledger.state().tip(entry.lane).map_or(Sequence::ZERO, |tip| tip.sequence.next());
            let covered = store.batches_up_to(entry.lane, from, entry.tip.sequence);
            verified(covered).for_each(|batch| self.mempool.restore_batch(batch));
        }
    }

    /// Puts back what lies above the ordered tips: batches of all lanes, and own acks.
    fn restore_lanes(&mut self, logged: &Logged, store: &dyn Store) {
        let current = self.ledger.epoch_of_next();
        for epoch in [current.previous(), Some(current)].into_iter().flatten() {
            let Some(committee) = self.ledger.committee(epoch).cloned() else { continue };
            for author in 0..committee.len() as u16 {
                let lane = squad_types::LaneId { epoch, author: squad_types::ValidatorIndex(author) };
                let from = self.ledger.state().tip(lane).map_or(Sequence::ZERO, |tip| tip.sequence.next());
                for batch in verified(store.batches(lane, from)) {
                    self.seen.batch(batch.signed_header());
                    self.mempool.restore_batch(batch);
                }
            }
        }
        for message in &logged.acks {
            self.mempool.restore_ack(message);
        }
        self.mempool.close_forked(self.evidence.list());
        self.guard.remember_lanes(current.minus(1), self.mempool.own_tops());
    }

    fn settle_start(&mut self, outputs: &mut Outputs) {
        self.arm_fetch_timer();
        self.keep_pace(outputs);
        if let Some(at) = self.timers.announce(self.now) {
            outputs.push(Output::WakeAt(at));
        }
    }
}

fn verified(batches: impl IntoIterator<Item = Batch>) -> impl Iterator<Item = VerifiedBatch> {
    // A record that passed its checksum and still does not hold together is left out, and fetched from peers.
    batches.into_iter().filter_map(|batch| batch.from_own_store().ok())
}

/// The ledger at a checkpoint, its window rebuilt from stored blocks.
fn ledger_at(config: &Config, checkpoint: &Checkpoint, store: &dyn Store) -> Result<Ledger, RecoverError> {
    let Some(tip) = &checkpoint.tip else { return Ok(Ledger::genesis(&config.genesis)?) };
    let height = tip.block.header().height;
    let snapshot = squad_types::Snapshot { tip: tip.clone(), state: checkpoint.state.clone() };
    let inconsistent = |what: String| RecoverError::Inconsistent { height, what };
    let mut ledger =
        Ledger::from_snapshot(&config.genesis, checkpoint.committees.clone(), &snapshot, config.verifier.as_ref())
            .map_err(|error| inconsistent(error.to_string()))?;
    let stored = Stored(store);
    ledger
        .rebuild_window(&checkpoint.window_base, &stored, &stored)
        .map_err(|error| inconsistent(error.to_string()))?;
    Ok(ledger)
}

/// The highest own slots that the log holds.
fn remembered(me: Option<Address>, logged: &Logged) -> Remembered {
    let mut remembered = Remembered::default();
    let decided = logged.decided.last().or(logged.checkpoint.as_ref().and_then(|checkpoint| checkpoint.tip.as_ref()));
    remembered.decided = decided.map_or(Height::ZERO, |block| block.block.header().height);
    let Some(me) = me else { return remembered };
    for entry in &logged.consensus {
        match entry {
            LogEntry::Vote(vote) | LogEntry::EchoedVote(vote) if vote.signer == me => {
                let slot = match vote.statement.kind {
                    squad_types::VoteKind::Prevote => &mut remembered.prevote,
                    squad_types::VoteKind::Precommit => &mut remembered.precommit,
                };
                *slot = (*slot).max(Some((vote.statement.height, vote.statement.round)));
            }
            LogEntry::Proposal(proposal) | LogEntry::EchoedProposal(proposal) if proposal.signer == me => {
                let at = Some((proposal.statement.height, proposal.statement.round));
                remembered.proposal = remembered.proposal.max(at);
            }
            _ => {}
        }
    }
    for Ack { epoch, counter, .. } in logged.acks.iter().map(|message| message.ack.statement) {
        let slot = remembered.acks.entry(epoch).or_insert(counter);
        *slot = counter.max(*slot);
    }
    remembered
}
