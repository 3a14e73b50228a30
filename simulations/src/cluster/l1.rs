//! The settlement layer and its stake table, as each node sees it: all see the same blocks, each in its own time.

use super::{Cluster, ClusterConfig, Event, StakeTableChange};
use crate::network::NodeIndex;
use crate::queue::Instant;
use squad_sequencer::Input;
use squad_sequencer::ledger::{GenesisStakeTable, StakeTable};
use squad_types::{Digest, Epoch, Genesis, L1Anchor, Member};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Microseconds from one block of the settlement layer to the next.
const BLOCK: u64 = 500_000;

/// Blocks that a proposer leaves others to see what it has seen.
const SETTLED: u64 = 1;

/// What stands from an epoch on, and when the settlement layer has it.
#[derive(Debug)]
struct Table {
    epoch: Epoch,
    at: Instant,
    stakes: GenesisStakeTable,
}

/// What there is to see.
#[derive(Debug)]
pub(crate) struct SettlementLayer {
    /// Before every change, then after each of them, by epoch.
    tables: Vec<Table>,
    /// Virtual time.
    now: AtomicU64,
}

impl SettlementLayer {
    pub(crate) fn of(config: &ClusterConfig, genesis: &Genesis) -> Arc<Self> {
        let mut changes: Vec<&StakeTableChange> = config.stake_changes.iter().collect();
        changes.sort_by_key(|change| change.epoch);
        let mut table = GenesisStakeTable::new(genesis);
        let mut tables = vec![Table { epoch: Epoch::ZERO, at: Instant::default(), stakes: table.clone() }];
        for change in changes {
            let epoch = Epoch(change.epoch);
            table = table.with_change(epoch, config.members(change.table.iter().copied()));
            tables.push(Table { epoch, at: super::START.plus_ms(change.at_ms), stakes: table.clone() });
        }
        Arc::new(Self { tables, now: AtomicU64::new(0) })
    }

    pub(crate) fn advance(&self, now: Instant) {
        self.now.store(now.0, Ordering::Relaxed);
    }
}

/// One node's view. It never goes back.
#[derive(Debug)]
pub(crate) struct View {
    layer: Arc<SettlementLayer>,
    /// How far it had come when the present lag began.
    reached: AtomicU64,
    lag: AtomicU64,
    /// Whether it takes blocks that it has not seen for known, with what it saw last.
    unaware: AtomicBool,
}

impl View {
    pub(crate) fn new(layer: &Arc<SettlementLayer>) -> Self {
        Self {
            layer: Arc::clone(layer),
            reached: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            unaware: AtomicBool::new(false),
        }
    }

    /// The time up to which it sees everything.
    fn head(&self) -> u64 {
        let behind = self.layer.now.load(Ordering::Relaxed).saturating_sub(self.lag.load(Ordering::Relaxed));
        behind.max(self.reached.load(Ordering::Relaxed))
    }

    /// Lags by so many microseconds from now on; zero ends it.
    pub(crate) fn set_lag(&self, micros: u64, unaware: bool) {
        self.reached.store(self.head(), Ordering::Relaxed);
        self.lag.store(micros, Ordering::Relaxed);
        self.unaware.store(unaware, Ordering::Relaxed);
    }
}

/// The block of that number; there is one of each.
fn block(number: u64) -> L1Anchor {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    L1Anchor { number, hash: Digest(hash) }
}

impl StakeTable for View {
    fn stakes(&self, epoch: Epoch, anchor: &L1Anchor) -> Option<Vec<Member>> {
        let (at, head) = (anchor.number.saturating_mul(BLOCK), self.head());
        let known = *anchor == block(anchor.number) && (at <= head || self.unaware.load(Ordering::Relaxed));
        let mut newest = self.layer.tables.iter().rev().filter(|table| table.epoch <= epoch);
        let table = newest.find(|table| table.at.0 <= at.min(head)).filter(|_| known)?;
        table.stakes.stakes(epoch, anchor)
    }

    fn anchor(&self, parent: &L1Anchor) -> L1Anchor {
        let newest = block((self.head() / BLOCK).saturating_sub(SETTLED));
        if newest.number > parent.number { newest } else { *parent }
    }
}

impl Cluster {
    /// Makes a node see the settlement layer this much later, in microseconds; zero ends it. It then knows no block that it has
    /// not seen or, if `unaware`, knows all of them and takes the stakes that it saw last for theirs.
    pub fn lag_l1(&mut self, node: NodeIndex, micros: u64, unaware: bool) {
        self.views[node].set_lag(micros, unaware);
        self.see_layer(node, micros);
    }

    /// While nobody lags, all see a block at once, and nothing has to be judged again.
    pub(super) fn see_layer(&mut self, node: NodeIndex, lag: u64) {
        if self.views[node].lag.load(Ordering::Relaxed) != lag {
            return;
        }
        self.input(node, Input::AnchorSeen);
        if lag > 0 {
            let seen = self.now.0.saturating_sub(lag);
            let next = seen - seen % BLOCK + BLOCK + lag;
            self.queue.push(Instant(next), Event::Layer { node, lag });
        }
    }
}
