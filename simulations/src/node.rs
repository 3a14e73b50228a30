//! One simulated node: the shipped sequencer, its disk, and the driver's one rule.

use crate::disk::{Disk, Stream};
use crate::network::NodeIndex;
use crate::queue::Instant;
use squad_sequencer::{After, Config, Input, Memory, Notice, Output, Peer, PersistId, Sequencer, Write};
use squad_types::{Committee, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How long a write that nothing waits for stays unsynced, in microseconds: as with the real driver. It is looked at whenever an
/// input comes.
const LINGER_US: u64 = 50_000;
/// Notices kept before the frequent kinds are left out.
const MAX_NOTICES: usize = 10_000;

/// What a node's outputs come to, once they may leave.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // each is moved once and performed at once
pub enum Effect {
    /// A sync of a stream begins now.
    Sync(Stream),
    /// An output leaves.
    Leave(Output),
    /// The driver is to call at this time.
    Wake(Timestamp),
}

/// A node that is up or down.
pub struct Node {
    /// How it is configured. Its stake table may change what it sees of the settlement layer.
    pub config: Config,
    /// The shipped code; none while it is down.
    pub sequencer: Option<Sequencer>,
    /// What survives a crash.
    pub disk: Disk,
    /// Counts lives, so that what was meant for an earlier one is told apart.
    pub life: u64,
    /// Its clock minus virtual time, in milliseconds.
    pub skew_ms: i64,
    /// How much faster its clock runs, in millionths.
    pub drift_ppm: i64,
    /// Outputs performed in this life.
    pub performed: u64,
    /// Crash before performing this output of this life.
    pub crash_at: Option<u64>,
    /// Notices since the start of the run.
    pub notices: Vec<Notice>,
    /// Broken rules that it counted against each peer since the start of the run.
    pub blamed: BTreeMap<Peer, u64>,
    /// Whether it follows decided blocks instead of agreeing on the next.
    pub behind: bool,
    /// Whether it signs: it has asked its peers what it signed before.
    pub votes: bool,
    /// The committees it announced last.
    pub committees: Vec<Arc<Committee>>,
    /// The numbers of the last messages for everyone that it got.
    pub(crate) gossip: BTreeSet<u64>,
    /// The operators' nodes in these committees; none if that was not looked up since they changed.
    pub(crate) audience: Option<Arc<[NodeIndex]>>,
    /// When it asked to be woken.
    pub(crate) deadline: Option<Timestamp>,
    waiting: VecDeque<(After, Output)>,
    syncing: [bool; 2],
    /// Room for what comes out of the sequencer.
    outputs: Vec<Output>,
    /// The last write of each stream that something waits for.
    awaited: [PersistId; 2],
    /// Since when there is a write of each stream that no sync under way takes along.
    unsynced: [Option<Instant>; 2],
    /// The last write of each stream that it was given in this life.
    written: [PersistId; 2],
}

impl Node {
    /// A node that was never started.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            sequencer: None,
            disk: Disk::default(),
            life: 0,
            skew_ms: 0,
            drift_ppm: 0,
            performed: 0,
            crash_at: None,
            notices: Vec::new(),
            blamed: BTreeMap::new(),
            behind: false,
            votes: false,
            committees: Vec::new(),
            gossip: BTreeSet::new(),
            audience: None,
            deadline: None,
            waiting: VecDeque::new(),
            syncing: [false; 2],
            outputs: Vec::new(),
            awaited: [PersistId::default(); 2],
            unsynced: [None; 2],
            written: [PersistId::default(); 2],
        }
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.sequencer.is_some()
    }

    /// What its clock shows.
    pub fn clock(&self, now: Instant) -> Timestamp {
        if self.drift_ppm == 0 {
            return Timestamp((now.0 / 1_000).saturating_add_signed(self.skew_ms));
        }
        let since = i128::from(now.0) - i128::from(crate::cluster::START.0);
        let drifted = i128::from(now.0) + since * i128::from(self.drift_ppm) / 1_000_000;
        Timestamp((drifted.max(0) as u64 / 1_000).saturating_add_signed(self.skew_ms))
    }

    /// The first moment from `now` on at which its clock shows `at` or more.
    pub fn when(&self, now: Instant, at: Timestamp) -> Instant {
        let missing = |moment: Instant| at.0.saturating_sub(self.clock(moment).0);
        let mut moment = now;
        // Each step leaves less than the drift's share of what was missing.
        for _ in 0..64 {
            match missing(moment) {
                0 => break,
                more => moment = Instant((moment.0 / 1_000 + more) * 1_000),
            }
        }
        moment
    }

    /// Starts it from what its disk holds.
    ///
    /// # Panics
    /// If the sequencer refuses its own records: a bug of the core, which a run must not survive.
    pub fn start(&mut self, now: Instant, memory: Memory, effects: &mut Vec<Effect>) {
        self.life += 1;
        self.performed = 0;
        (self.behind, self.votes) = (false, false);
        self.deadline = None;
        self.gossip.clear();
        self.waiting.clear();
        self.syncing = [false; 2];
        self.awaited = [PersistId::default(); 2];
        self.unsynced = [None; 2];
        self.written = [PersistId::default(); 2];
        self.config.memory = memory;
        let recovered = Sequencer::recover(self.config.clone(), self.clock(now), self.disk.records(), &self.disk);
        let (sequencer, mut outputs) =
            recovered.unwrap_or_else(|error| panic!("a node cannot start from its own disk: {error}"));
        self.sequencer = Some(sequencer);
        self.perform(now, &mut outputs, effects);
    }

    /// Hands it an input, and appends what comes of it. It is down afterwards if it crashed at one of the outputs.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let clock = self.clock(now);
        let Some(sequencer) = &mut self.sequencer else { return };
        let mut outputs = std::mem::take(&mut self.outputs);
        sequencer.handle(clock, input, &mut outputs);
        self.perform(now, &mut outputs, effects);
        self.outputs = outputs;
    }

    fn perform(&mut self, now: Instant, outputs: &mut Vec<Output>, effects: &mut Vec<Effect>) {
        for output in outputs.drain(..) {
            if self.crash_at == Some(self.performed) {
                self.sequencer = None;
                return;
            }
            self.performed += 1;
            match output {
                Output::Persist { id, write } => {
                    if matches!(write, Write::Checkpoint(_)) {
                        // The log waits for what it stands on.
                        self.awaited[Stream::Bulk as usize] = self.written[Stream::Bulk as usize];
                    }
                    let stream = self.disk.append(id, write);
                    self.written[stream as usize] = id;
                    self.unsynced[stream as usize].get_or_insert(now);
                }
                Output::WakeAt(at) => effects.push(Effect::Wake(at)),
                Output::Notice(notice) => self.note(notice),
                Output::Misbehaved { peer, .. } => *self.blamed.entry(peer).or_default() += 1,
                Output::Committees(committees) => {
                    self.committees = committees;
                    self.audience = None;
                }
                other => {
                    let after = after_of(&other);
                    let awaited = [after.log, after.bulk].map(Option::unwrap_or_default);
                    assert!(
                        awaited.iter().zip(&self.written).all(|(awaited, written)| awaited <= written),
                        "an effect waits for a write that was never asked for ({after:?}, written {:?}): {other:?}",
                        self.written
                    );
                    if self.is_durable(after) {
                        effects.push(Effect::Leave(other));
                    } else {
                        for (known, awaited) in self.awaited.iter_mut().zip(awaited) {
                            *known = awaited.max(*known);
                        }
                        self.waiting.push_back((after, other));
                    }
                }
            }
        }
        for stream in [Stream::Bulk, Stream::Log] {
            let lingered = self.unsynced[stream as usize].is_some_and(|since| now.0 >= since.0 + LINGER_US);
            if lingered || self.awaits(stream) {
                self.sync(stream, effects);
            }
        }
    }

    /// Whether something waits for a write of a stream that is not durable.
    fn awaits(&self, stream: Stream) -> bool {
        self.awaited[stream as usize] > self.disk.durable(stream)
    }

    /// Begins a sync of all that is written, unless one is under way.
    fn sync(&mut self, stream: Stream, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.syncing[stream as usize], true) {
            self.unsynced[stream as usize] = None;
            effects.push(Effect::Sync(stream));
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::CatchingUp { .. } => self.behind = true,
            Notice::CaughtUp(_) => self.behind = false,
            Notice::SigningAllowed => self.votes = true,
            _ => {}
        }
        // A run of hours notices a round and a fetch many times; what matters to tests is rare.
        if self.notices.len() < MAX_NOTICES || !matches!(notice, Notice::Round { .. } | Notice::Fetching { .. }) {
            self.notices.push(notice);
        }
    }

    fn is_durable(&self, after: After) -> bool {
        after.log.is_none_or(|id| self.disk.durable(Stream::Log) >= id)
            && after.bulk.is_none_or(|id| self.disk.durable(Stream::Bulk) >= id)
    }

    /// Outputs that wait for a write.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A sync that began when the stream ended at `upto` is over. What waited for it leaves.
    pub fn synced(&mut self, stream: Stream, upto: squad_sequencer::PersistId, effects: &mut Vec<Effect>) {
        self.disk.synced(stream, upto);
        self.syncing[stream as usize] = false;
        // A log that waits for bulk writes goes on when they are durable.
        if self.awaits(stream) && !(stream == Stream::Log && self.disk.log_is_held()) {
            self.sync(stream, effects);
        }
        if stream == Stream::Bulk && self.awaits(Stream::Log) {
            self.sync(Stream::Log, effects);
        }
        for _ in 0..self.waiting.len() {
            let Some((after, output)) = self.waiting.pop_front() else { return };
            if self.is_durable(after) {
                effects.push(Effect::Leave(output));
            } else {
                self.waiting.push_back((after, output));
            }
        }
    }
}

fn after_of(output: &Output) -> After {
    match output {
        Output::Send { after, .. } | Output::Batched { after, .. } | Output::Answer { after, .. } => *after,
        _ => After::default(),
    }
}
