//! Faults and misbehaviour, as the timeline brings them.

use super::Simulation;
use crate::byzantine::{
    Baiter, Behaviour, Censor, CertificateHoarder, Delayer, EquivocatingProposer, EquivocatingVoter, Fabulist, Forger,
    Kept, LaneForker, LockIgnoringVoter, MalformingProposer, Naysayer, Replayer, SelectiveSender, Silent, Spammer,
    TwoTonguedAcker,
};
use crate::network::NodeIndex;
use crate::scenario::{BehaviourName, ByzantineSpec, Crash, DiskFate, FaultSpec, L1Lag};
use squad_sequencer::{Input, Memory};
use squad_types::Height;

impl FaultSpec {
    /// How long it lasts; none for what is over at once, or ends itself.
    pub(super) fn lasts_ms(&self) -> Option<u64> {
        let lasting = [
            self.cut.as_ref().map(|fault| fault.for_ms),
            self.partition.as_ref().map(|fault| fault.for_ms),
            self.loss.as_ref().map(|fault| fault.for_ms),
            self.slow_link.as_ref().map(|fault| fault.for_ms),
            self.slow_disk.as_ref().map(|fault| fault.for_ms),
            self.slow_cpu.as_ref().map(|fault| fault.for_ms),
            self.disk_low.as_ref().map(|fault| fault.for_ms),
            self.l1_lag.as_ref().map(|fault| fault.for_ms),
            self.crash_proposers.as_ref().map(|fault| fault.for_ms),
            // A node that is to die at an output may never come to it: it is killed in the end.
            self.crash.as_ref().and_then(|crash| crash.before_output.map(|_| crash.down_ms)),
        ];
        lasting.into_iter().flatten().next()
    }

    fn cuts(&self) -> Vec<(NodeIndex, NodeIndex)> {
        let mut cuts = Vec::new();
        if let Some(cut) = &self.cut {
            cuts.push((cut.from, cut.to));
        }
        if let Some(partition) = &self.partition {
            for (at, group) in partition.groups.iter().enumerate() {
                let others = partition.groups.iter().enumerate().filter(|(place, _)| *place != at);
                for other in others.flat_map(|(_, other)| other) {
                    cuts.extend(group.iter().map(|node| (*node, *other)));
                }
            }
        }
        cuts
    }
}

impl Simulation {
    pub(super) fn begin(&mut self, fault: usize) {
        let spec = self.scenario.fault[fault].clone();
        for (from, to) in spec.cuts() {
            *self.cuts.entry((from, to)).or_default() += 1;
            self.cluster.network.cut(from, to);
        }
        if let Some(crash) = &spec.crash {
            self.crash(fault, crash);
        }
        if let Some(pause) = &spec.pause {
            self.cluster.pause(pause.node, pause.for_ms);
        }
        if let Some(loss) = &spec.loss {
            self.cluster.network.links.loss_per_mille = loss.per_mille;
        }
        if let Some(slow) = &spec.slow_link {
            self.cluster.network.slow_down(slow.node, slow.by_ms * 1_000);
        }
        if let Some(slow) = &spec.slow_disk {
            self.cluster.slow_disk(slow.node, slow.by_ms * 1_000);
        }
        if let Some(slow) = &spec.slow_cpu {
            self.cluster.slow_cpu(slow.node, slow.percent);
        }
        if let Some(clock) = &spec.clock {
            self.cluster.set_skew(clock.node, clock.skew_ms);
        }
        if let Some(low) = &spec.disk_low {
            self.cluster.input(low.node, Input::DiskLow(true));
        }
        if let Some(lag) = &spec.l1_lag {
            self.lag_l1(lag, lag.by_ms);
        }
        if spec.crash_proposers.is_some() {
            self.hunts.insert(fault, self.top());
        }
    }

    pub(super) fn end(&mut self, fault: usize) {
        let spec = self.scenario.fault[fault].clone();
        for link in spec.cuts() {
            let open = self.cuts.entry(link).or_default();
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.cuts.remove(&link);
                self.cluster.network.mend(link.0, link.1);
            }
        }
        if spec.loss.is_some() {
            self.cluster.network.links.loss_per_mille = self.scenario.network.loss_per_mille;
        }
        if let Some(slow) = &spec.slow_link {
            self.cluster.network.slow_down(slow.node, 0);
        }
        if let Some(slow) = &spec.slow_disk {
            self.cluster.slow_disk(slow.node, 0);
        }
        if let Some(slow) = &spec.slow_cpu {
            self.cluster.slow_cpu(slow.node, 100);
        }
        if let Some(low) = &spec.disk_low {
            self.cluster.input(low.node, Input::DiskLow(false));
        }
        if let Some(lag) = &spec.l1_lag {
            self.lag_l1(lag, 0);
        }
        self.hunts.remove(&fault);
        if let Some(crash) = spec.crash.filter(|crash| crash.before_output.is_some()) {
            self.cluster.nodes[crash.node].crash_at = None;
            self.revive(fault, &crash, 0);
        }
    }

    fn lag_l1(&mut self, lag: &L1Lag, by_ms: u64) {
        let all = 0..self.cluster.nodes.len();
        for node in lag.node.map_or(all, |node| node..node + 1) {
            self.cluster.lag_l1(node, by_ms * 1_000, lag.unaware);
        }
    }

    fn crash(&mut self, fault: usize, crash: &Crash) {
        if !self.cluster.nodes[crash.node].is_up() {
            return;
        }
        match crash.before_output {
            Some(more) => {
                let performed = self.cluster.nodes[crash.node].performed;
                self.cluster.nodes[crash.node].crash_at = Some(performed + more);
            }
            None => {
                self.cluster.crash(crash.node);
                self.revive(fault, crash, crash.down_ms);
            }
        }
    }

    /// The highest height that is decided anywhere.
    fn top(&self) -> Height {
        self.cluster.invariants.blocks().last().map_or(Height::ZERO, |block| block.height)
    }

    /// Where a height was just decided: crashes who is to propose the next one.
    pub(super) fn hunt(&mut self) {
        let top = self.top();
        let due: Vec<usize> = self.hunts.iter().filter(|(_, seen)| **seen < top).map(|(fault, _)| *fault).collect();
        for fault in due {
            let Some(hunt) = self.scenario.fault[fault].crash_proposers.clone() else { continue };
            let first = (0..self.cluster.nodes.len()).find(|node| self.cluster.height(*node) == top);
            let knows = first.and_then(|node| self.cluster.nodes[node].sequencer.as_ref());
            let proposer = knows.and_then(|sequencer| sequencer.status().proposer);
            let Some(proposer) = proposer.and_then(|operator| self.cluster.node_of(&operator)) else { continue };
            self.hunts.insert(fault, top);
            let members = self.scenario.committee.members;
            let down = self.cluster.nodes[..members].iter().filter(|node| !node.is_up()).count();
            if self.cluster.nodes[proposer].is_up() && 3 * (down + 1) < members {
                self.cluster.crash(proposer);
                self.cluster.restart_in(proposer, hunt.down_ms, Memory::Kept);
            }
        }
    }

    /// Gives a dead node what it is to find, and starts it after a while.
    fn revive(&mut self, fault: usize, crash: &Crash, after_ms: u64) {
        if self.cluster.nodes[crash.node].is_up() {
            return;
        }
        let operator = self.cluster.address(crash.node);
        match crash.disk {
            DiskFate::Kept => {}
            DiskFate::Lost => {
                self.cluster.nodes[crash.node].disk.lose();
                self.cluster.invariants.forget(operator);
            }
            DiskFate::Stale => {
                if let Some(copy) = self.copies.remove(&fault) {
                    self.cluster.nodes[crash.node].disk = copy;
                    self.cluster.invariants.forget(operator);
                }
            }
        }
        self.cluster.restart_in(crash.node, after_ms, Memory::Kept);
    }

    pub(super) fn copy(&mut self, fault: usize) {
        let Some(crash) = self.scenario.fault[fault].crash.clone() else { return };
        let mut copy = self.cluster.nodes[crash.node].disk.clone();
        copy.crash(&mut self.rng);
        self.copies.insert(fault, copy);
    }

    pub(super) fn corrupt(&mut self, at: usize) {
        let spec = self.scenario.byzantine[at].clone();
        let behaviour = self.behaviour(&spec);
        self.cluster.corrupt_with(spec.node, behaviour);
    }

    fn behaviour(&self, spec: &ByzantineSpec) -> Box<dyn Behaviour> {
        let strength = |usual: u64| if spec.strength == 0 { usual } else { spec.strength };
        let nth = strength(3) as usize;
        match spec.behaviour {
            BehaviourName::Silent => Box::new(Silent),
            BehaviourName::EquivocatingProposer => Box::new(EquivocatingProposer),
            BehaviourName::EquivocatingVoter => Box::new(EquivocatingVoter),
            BehaviourName::LaneForker => Box::new(LaneForker { at: spec.strength }),
            BehaviourName::WithholdBatches => Box::new(SelectiveSender { kept: Kept::Batches, nth }),
            BehaviourName::WithholdVotes => Box::new(SelectiveSender { kept: Kept::Votes, nth }),
            BehaviourName::SelectiveSender => Box::new(SelectiveSender { kept: Kept::All, nth }),
            BehaviourName::Delayer => Box::new(Delayer { most_ms: strength(150) }),
            BehaviourName::Censor => {
                let victim = self.cluster.address(spec.strength as usize % self.scenario.operators());
                Box::new(Censor::new(victim))
            }
            BehaviourName::LockIgnorer => Box::new(LockIgnoringVoter::default()),
            BehaviourName::Naysayer => Box::new(Naysayer),
            BehaviourName::CertificateHoarder => Box::new(CertificateHoarder { hold_ms: strength(800) }),
            BehaviourName::Replayer => Box::new(Replayer::default()),
            BehaviourName::Spammer => Box::new(Spammer { times: strength(4).min(16) }),
            BehaviourName::TwoTonguedAcker => Box::new(TwoTonguedAcker),
            BehaviourName::Fabulist => Box::new(Fabulist),
            BehaviourName::MalformingProposer => Box::new(MalformingProposer::default()),
            BehaviourName::Forger => Box::new(Forger::default()),
            BehaviourName::Baiter => Box::new(Baiter { by_ms: strength(300) }),
        }
    }
}
