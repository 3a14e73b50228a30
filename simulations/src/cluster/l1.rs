//! The settlement layer's stake table, as each node sees it: all see the same, each in its own time.

use super::config::address;
use super::{Cluster, ClusterConfig, StakeTableChange};
use crate::network::NodeIndex;
use crate::queue::Instant;
use squad_sequencer::ledger::{GenesisStakeTable, StakeTable};
use squad_types::{Epoch, Genesis, L1Anchor, Member, Stake};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
        let member = |(node, stake): &(NodeIndex, u64)| Member { address: address(*node), stake: Stake(*stake) };
        let mut changes: Vec<&StakeTableChange> = config.stake_changes.iter().collect();
        changes.sort_by_key(|change| change.epoch);
        let mut table = GenesisStakeTable::new(genesis);
        let mut tables = vec![Table { epoch: Epoch::ZERO, at: Instant::default(), stakes: table.clone() }];
        for change in changes {
            let epoch = Epoch(change.epoch);
            table = table.with_change(epoch, change.table.iter().map(member).collect());
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
    /// Whether it takes what it saw last for all there is, in place of knowing that it lags.
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

impl StakeTable for View {
    fn stakes(&self, epoch: Epoch, anchor: &L1Anchor) -> Option<Vec<Member>> {
        let head = self.head();
        let mut newest = self.layer.tables.iter().rev().filter(|table| table.epoch <= epoch);
        let seen = |table: &&Table| table.at.0 <= head;
        let table =
            if self.unaware.load(Ordering::Relaxed) { newest.find(seen)? } else { newest.next().filter(seen)? };
        table.stakes.stakes(epoch, anchor)
    }
}

impl Cluster {
    /// Makes a node see the settlement layer's stake table this much later, in microseconds; zero ends it. It then knows of no
    /// table that it has not seen or, if `unaware`, takes the one before for it.
    pub fn lag_l1(&mut self, node: NodeIndex, micros: u64, unaware: bool) {
        self.views[node].set_lag(micros, unaware);
    }
}
