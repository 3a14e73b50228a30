//! The end of a run: faults stop, everything must come in order again in bounded time, and what was seen is told.

use super::Simulation;
use crate::invariants::Violation;
use crate::network::NodeIndex;
use squad_sequencer::Memory;
use squad_types::{Height, TxId};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether a panic of this thread becomes a violation, with its message.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic inside [`Simulation::run_guarded`] prints nothing: its message is in the outcome. Others still do.
pub fn quiet_guarded_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            usual(panic);
        }
    }));
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Held,
    /// The scenario goes beyond what the protocol promises anything for, and everything that could be checked held.
    Beyond(String),
    /// Something did not hold.
    Violated(Box<Failure>),
}

/// What did not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What did not hold.
    pub violation: Violation,
    /// Microseconds of virtual time since the start.
    pub at_us: u64,
    /// Events handled by then.
    pub event: u64,
    /// What each node said of itself then.
    pub states: Vec<String>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// A hash over everything that happened.
    pub trace: u64,
    /// Events handled.
    pub events: u64,
    /// Messages that nodes' own code handled.
    pub deliveries: u64,
    /// The highest decided height.
    pub height: u64,
    /// Virtual time that it took, in microseconds.
    pub virtual_us: u64,
    /// How long after the last fault everything was in order again, in milliseconds of virtual time.
    pub settled_ms: u64,
}

/// Heights that everybody must gain after the faults.
const GAIN: u64 = 4;

/// How often the end looks whether it may end.
const LOOK_MS: u64 = 50;

/// Nodes that a violation names one by one: a run may have a thousand.
const NODES_NAMED: usize = 12;

impl Simulation {
    /// Runs, and takes a panic of the code under test for what it is: a violation.
    pub fn run_guarded(&mut self) -> Outcome {
        let before = GUARDED.replace(true);
        let ended = catch_unwind(AssertUnwindSafe(|| self.run()));
        GUARDED.set(before);
        match ended {
            Ok(outcome) => outcome,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let violation = Violation::new("panic", text.unwrap_or_else(|| "something panicked".to_owned()));
                self.cluster.violation = Some(violation);
                self.outcome(0)
            }
        }
    }

    pub(super) fn finish(&mut self) -> Outcome {
        if self.cluster.violation.is_some() || self.cluster.invariants.is_beyond().is_some() {
            return self.outcome(0);
        }
        self.heal();
        let healed = self.cluster.now();
        let target = Height(self.honest().map(|node| self.cluster.height(node).0).max().unwrap_or_default() + GAIN);
        let end = healed.plus_ms(self.scenario.settle_ms);
        let mut probes: Vec<(NodeIndex, TxId)> = Vec::new();
        loop {
            let open = self.unfinished(target, &mut probes);
            let settled_ms = (self.cluster.now().0 - healed.0) / 1_000;
            let over = self.cluster.violation.is_some() || self.cluster.invariants.is_beyond().is_some();
            match open {
                None => return self.outcome(settled_ms),
                Some(_) if over => return self.outcome(settled_ms),
                Some(violation) if self.cluster.now() >= end => {
                    self.cluster.violated(violation);
                    return self.outcome(settled_ms);
                }
                Some(_) => self.run_to(self.cluster.now().plus_ms(LOOK_MS).min(end)),
            }
        }
    }

    /// Ends all faults; who misbehaves goes on.
    fn heal(&mut self) {
        for fault in 0..self.scenario.fault.len() {
            self.end(fault);
        }
        self.cuts.clear();
        self.cluster.network.heal();
        self.cluster.network.links.loss_per_mille = self.scenario.network.loss_per_mille;
        for node in 0..self.cluster.nodes.len() {
            self.cluster.unpause(node);
            if !self.cluster.nodes[node].is_up() {
                self.cluster.start(node, Memory::Kept);
            }
        }
    }

    fn honest(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        (0..self.cluster.nodes.len()).filter(|node| !self.byzantine[*node])
    }

    /// What is not in order yet; none if everything is.
    fn unfinished(&mut self, target: Height, probes: &mut Vec<(NodeIndex, TxId)>) -> Option<Violation> {
        let slow: Vec<String> = self
            .honest()
            .filter(|node| self.cluster.height(*node) < target)
            .map(|node| format!("node {node} is at {}", self.cluster.height(node)))
            .collect();
        if !slow.is_empty() {
            let (shown, more) = slow.split_at(slow.len().min(NODES_NAMED));
            let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
            return Some(Violation::new("liveness", format!("not at height {target}: {}{more}", shown.join(", "))));
        }
        // Who takes transactions has to order one, sent after all faults. One that is told to wait is asked again.
        probes.retain(|(_, id)| !self.cluster.invariants.was_refused(id));
        for node in 0..self.cluster.operator_nodes() {
            if self.byzantine[node] || probes.iter().any(|(probe, _)| *probe == node) {
                continue;
            }
            let open = self.cluster.nodes[node].sequencer.as_ref().is_some_and(|s| s.status().closed.is_none());
            if open {
                let id = self.cluster.submit(node, 64);
                probes.push((node, id));
            }
        }
        let settled = |id: &TxId| self.cluster.invariants.is_settled(id);
        if let Some((node, _)) = probes.iter().find(|(_, id)| !settled(id)) {
            return Some(Violation::new(
                "liveness",
                format!("a transaction sent to node {node} after the faults is not ordered"),
            ));
        }
        self.cluster.invariants.check_settled().err()
    }

    fn outcome(&self, settled_ms: u64) -> Outcome {
        let forks = self.cluster.invariants.forks();
        let verdict = match (&self.cluster.violation, self.cluster.invariants.is_beyond()) {
            // Of a fork there is proof, whoever misbehaves.
            (Some(violation), beyond) if beyond.is_none() || violation.invariant == "forks" => {
                Verdict::Violated(Box::new(Failure {
                    violation: violation.clone(),
                    at_us: self.elapsed(),
                    event: self.cluster.handled,
                    states: self.cluster.states(),
                }))
            }
            (_, Some(beyond)) => Verdict::Beyond(forks.iter().fold(beyond, |why, fork| format!("{why}; {fork}"))),
            (_, None) => Verdict::Held,
        };
        let heights = (0..self.cluster.nodes.len()).map(|node| self.cluster.height(node).0);
        Outcome {
            verdict,
            trace: self.cluster.trace(),
            events: self.cluster.handled,
            deliveries: self.cluster.traffic.handled_in_all(),
            height: heights.max().unwrap_or_default(),
            virtual_us: self.elapsed(),
            settled_ms,
        }
    }
}
