//! Joining late: committees by their chain of proofs, a state by its header, then the blocks after it like everybody else.

use crate::input::Peer;
use crate::ledger::Ledger;
use crate::output::Output;
use crate::sequencer::{Outputs, Sequencer};
use squad_mempool::Mempool;
use squad_types::{Committee, CommitteeProof, Request, Snapshot};
use std::collections::VecDeque;

/// Where joining stands.
#[derive(Debug, Default)]
pub(crate) enum Joining {
    /// Not by snapshot.
    #[default]
    No,
    /// Waiting for committee proofs or for the snapshot itself.
    Asking {
        /// Committees followed so far, ascending.
        committees: Vec<Committee>,
    },
    /// Nobody gave a snapshot: block by block, until nobody gives blocks either.
    Nobody,
}

/// Epochs followed by proofs in one go: a bound on what a lying peer can keep busy.
const MAX_COMMITTEES: usize = 65_536;

/// States kept to serve joiners, one a checkpoint: together they span more than a window.
const MAX_SNAPSHOTS: usize = 64;

/// Past states, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(VecDeque<Snapshot>);

impl Sequencer {
    /// Keeps the present state for joiners.
    pub(crate) fn keep_snapshot(&mut self) {
        let Some(tip) = self.ledger.tip().cloned() else { return };
        self.snapshots.0.push_back(Snapshot { tip, state: self.ledger.state().clone() });
        if self.snapshots.0.len() > MAX_SNAPSHOTS {
            self.snapshots.0.pop_front();
        }
    }

    /// The newest state that lies a whole window back.
    pub(crate) fn snapshot_to_serve(&self) -> Option<Snapshot> {
        let window = u64::from(self.ledger.params().window_ms);
        let now = self.ledger.state().chain_time;
        self.snapshots.0.iter().rev().find(|snapshot| now.since(snapshot.state.chain_time) > window).cloned()
    }

    /// Whether this node joins by snapshot rather than block by block; asks for what comes next.
    pub(crate) fn joins_by_snapshot(&mut self, outputs: &mut Outputs) -> bool {
        let far = self.catchup.target().0.saturating_sub(self.ledger.height().0) > self.config.snapshot_gap;
        if !far {
            self.catchup.snapshot = Joining::No;
            return false;
        }
        if matches!(self.catchup.snapshot, Joining::No) {
            let committees = self.ledger.committees().map(|committee| (**committee).clone()).collect();
            self.catchup.snapshot = Joining::Asking { committees };
            let Some(peer) = self.best_peer(self.catchup.target()) else {
                // Past states are kept in memory: after a restart of all who could serve one, there is none for a while, and
                // while the network waits for this very node there never will be.
                self.catchup.snapshot = Joining::Nobody;
                self.catchup.forgive();
                return false;
            };
            self.ask_committees(peer, outputs);
        }
        !matches!(self.catchup.snapshot, Joining::Nobody)
    }

    fn ask_committees(&mut self, peer: Peer, outputs: &mut Outputs) {
        let Joining::Asking { committees } = &self.catchup.snapshot else { return };
        let epoch = committees.last().map(Committee::epoch).unwrap_or_default();
        self.ask_again(self.catchup.passes(), peer, Request::Committees(epoch), outputs);
    }

    pub(crate) fn on_committees(&mut self, peer: Peer, proofs: Vec<CommitteeProof>, outputs: &mut Outputs) {
        let Joining::Asking { committees } = &mut self.catchup.snapshot else { return };
        let before = committees.len();
        for proof in proofs {
            let Some(last) = committees.last() else { return };
            if proof.header.epoch.next() <= last.epoch() {
                continue;
            }
            let next = (proof.header.epoch == last.epoch() && committees.len() < MAX_COMMITTEES)
                .then(|| follow(last, &proof, &self.domain, self.config.verifier.as_ref()))
                .flatten();
            let Some(next) = next else {
                outputs.push(Output::Misbehaved { peer, what: "sent a committee proof that does not hold" });
                return self.abandon_snapshot(peer, outputs);
            };
            committees.push(next);
        }
        if committees.len() > before {
            self.ask_committees(peer, outputs);
        } else {
            let epoch = committees.last().map(Committee::epoch).unwrap_or_default();
            self.ask_again(self.catchup.passes(), peer, Request::Snapshot(epoch), outputs);
        }
    }

    pub(crate) fn on_snapshot(&mut self, peer: Peer, snapshot: Option<Box<Snapshot>>, outputs: &mut Outputs) {
        let Joining::Asking { committees } = &self.catchup.snapshot else { return };
        let Some(snapshot) = snapshot.filter(|snapshot| snapshot.tip.block.header().height > self.ledger.height())
        else {
            return self.abandon_snapshot(peer, outputs);
        };
        match Ledger::from_snapshot(&self.config.genesis, committees.clone(), &snapshot, self.config.verifier.as_ref())
        {
            Ok(ledger) => {
                self.ledger = ledger;
                self.move_lanes(outputs);
                self.judgements.clear(self.ledger.height());
                self.catchup.snapshot = Joining::No;
                self.announce_committees(outputs);
                // Everything that recovery would need from before is void now.
                self.checkpoint(outputs);
                self.start_catching_up(outputs);
            }
            Err(error) => {
                tracing::warn!(%error, "snapshot refused");
                outputs.push(Output::Misbehaved { peer, what: "sent a snapshot that does not hold" });
                self.abandon_snapshot(peer, outputs);
            }
        }
    }

    /// Takes the lanes to where the ledger now stands. What this node signed in epochs still in force, and what waits in its
    /// pool, stays: forgetting an own ack or lane head here would be to sign twice.
    fn move_lanes(&mut self, outputs: &mut Outputs) {
        let epoch = self.ledger.epoch_of_next();
        let in_force = self
            .ledger
            .committees()
            .filter(|committee| committee.epoch() <= epoch && committee.epoch().next() >= epoch);
        let in_force: Vec<_> = in_force.cloned().collect();
        for committee in in_force {
            let rebatched = self.mempool.start_epoch(committee);
            if !rebatched.is_empty() {
                outputs.push(Output::Notice(crate::output::Notice::Rebatched { count: rebatched.len() }));
            }
        }
        self.mempool.restore_ordered(self.ledger.state());
        self.limit_lanes();
    }

    pub(crate) fn abandon_snapshot(&mut self, peer: Peer, outputs: &mut Outputs) {
        self.catchup.snapshot = Joining::No;
        self.catch_up_failed(peer, outputs);
    }

    /// A mempool whose lanes stand at the ledger's ordered tips, without content.
    pub(crate) fn empty_mempool(&self) -> Mempool {
        let epoch = self.ledger.epoch_of_next();
        let config = self.mempool_config.clone();
        let committees = self
            .ledger
            .committees()
            .filter(|committee| committee.epoch() <= epoch && committee.epoch().next() >= epoch);
        let mut mempool: Option<Mempool> = None;
        for committee in committees.cloned() {
            match &mut mempool {
                None => mempool = Some(Mempool::new(config.clone(), committee)),
                Some(mempool) => {
                    mempool.start_epoch(committee);
                }
            }
        }
        let mut mempool = mempool.unwrap_or_else(|| unreachable!("a ledger knows the committee of its next height"));
        mempool.restore_ordered(self.ledger.state());
        mempool.limit_lanes(|epoch| self.ledger.heights_left(epoch));
        mempool
    }
}

fn follow(
    known: &Committee,
    proof: &CommitteeProof,
    domain: &squad_types::Domain,
    verifier: &dyn squad_types::Verifier,
) -> Option<Committee> {
    let header = &proof.header;
    let next = Committee::new(header.epoch.next(), proof.members.clone()).ok()?;
    let holds = header.committee_hash == known.hash()
        && header.next_committee_hash == next.hash()
        && proof.certificate.block == header.hash()
        && proof.certificate.height == header.height
        && proof.certificate.verify(domain, known, verifier).is_ok();
    holds.then_some(next)
}
