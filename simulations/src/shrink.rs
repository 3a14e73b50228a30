//! The smallest plan that still fails in the same way: parts are left out one by one while the failure stays.

use crate::campaign::run_one;
use crate::scenario::Scenario;
use crate::simulation::{Outcome, Verdict};
use std::io;

/// The most runs that shrinking may take.
const MAX_RUNS: usize = 400;

/// A smaller scenario that fails by the same invariant, its outcome, and how many runs that took. None if it does not fail.
pub fn shrink(
    scenario: &Scenario,
    progress: &mut dyn FnMut(&Scenario, usize),
) -> io::Result<Option<(Scenario, Outcome, usize)>> {
    let (_, outcome) = run_one(scenario)?;
    let Verdict::Violated(failure) = &outcome.verdict else { return Ok(None) };
    let invariant = failure.violation.invariant;
    let mut best = (scenario.clone(), outcome.clone());
    let mut runs = 1;
    // Nothing after the failure matters.
    let failed_ms = failure.at_us / 1_000 + 1;
    if failed_ms < scenario.duration_ms {
        let mut shorter = scenario.clone();
        shorter.duration_ms = failed_ms;
        shorter.fault.retain(|fault| fault.at_ms < failed_ms);
        runs += 1;
        keep_if_it_fails(&mut best, shorter, invariant)?;
    }
    loop {
        let mut smaller = false;
        for candidate in candidates(&best.0) {
            if runs >= MAX_RUNS {
                return Ok(Some((best.0, best.1, runs)));
            }
            runs += 1;
            if keep_if_it_fails(&mut best, candidate, invariant)? {
                progress(&best.0, runs);
                smaller = true;
                break;
            }
        }
        if !smaller {
            return Ok(Some((best.0, best.1, runs)));
        }
    }
}

fn keep_if_it_fails(best: &mut (Scenario, Outcome), candidate: Scenario, invariant: &str) -> io::Result<bool> {
    let (_, outcome) = run_one(&candidate)?;
    let fails = matches!(&outcome.verdict, Verdict::Violated(failure) if failure.violation.invariant == invariant);
    if fails {
        *best = (candidate, outcome);
    }
    Ok(fails)
}

/// Scenarios with one part less, the largest parts first.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        if candidate != *scenario {
            all.push(candidate);
        }
    };
    let faults = scenario.fault.len();
    if faults > 3 {
        with(&|s| s.fault.truncate(faults / 2));
        with(&|s| s.fault.drain(..faults / 2).for_each(drop));
    }
    (0..faults).for_each(|at| {
        with(&|s| {
            s.fault.remove(at);
        })
    });
    (0..scenario.byzantine.len()).for_each(|at| {
        with(&|s| {
            s.byzantine.remove(at);
        })
    });
    (0..scenario.load.len()).for_each(|at| {
        with(&|s| {
            s.load.remove(at);
        })
    });
    with(&|s| s.committee.twins.clear());
    with(&|s| s.committee.followers = 0);
    with(&|s| {
        s.committee.change.clear();
        s.committee.newcomers = 0;
        let operators = s.operators();
        s.byzantine.retain(|spec| spec.node < operators);
    });
    with(&|s| s.network.loss_per_mille = 0);
    with(&|s| s.network.duplicate_per_mille = 0);
    with(&|s| s.network.retransmit_ms = None);
    with(&|s| s.network.clusters = None);
    with(&|s| (s.network.up_mbit, s.network.down_mbit) = (None, None));
    with(&|s| s.network.jitter_ms = 0.0);
    with(&|s| s.network.in_order = true);
    with(&|s| s.node.costs = crate::scenario::Costs::None);
    with(&|s| (s.node.skew_ms, s.node.drift_ppm) = (0, 0));
    with(&|s| (s.node.sync_jitter_us, s.node.sync_quantiles_us) = (0, Vec::new()));
    with(&|s| s.node.wake_us = 0);
    with(&|s| s.node.pool_bytes = None);
    for load in 0..scenario.load.len() {
        with(&|s| s.load[load].rate = (s.load[load].rate / 2.0).max(1.0).round());
        with(&|s| (s.load[load].copies, s.load[load].burst) = (1, 1));
    }
    with(&|s| {
        // A plan's faults must lie within it.
        let last = s.fault.iter().map(|fault| fault.at_ms + 1).max().unwrap_or(1);
        s.duration_ms = (s.duration_ms / 2).max(last);
    });
    all
}
