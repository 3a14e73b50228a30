//! Nobody honest can be accused, and who contradicts itself is: in plans of the simulator's campaign, with operators that sign as
//! on networks. All evidence that they find, and every pair of statements of one operator that looks like a contradiction, is
//! judged by the contract that takes stake and by Rust.
//!
//! `SQUAD_SEEDS=1..1000 cargo test -p squad-contracts --test accused` goes through other plans.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;
#[path = "common/judge.rs"]
mod judge;
mod prosecutor;

use common::Draw;
use judge::{Judge, by_rust};
use prosecutor::Prosecutor;
use squad_simulations::keys::Keys;
use squad_simulations::scenario::{Profile, draw};
use squad_simulations::simulation::{Simulation, Verdict};
use squad_types::{Address, Domain, Encode as _, Evidence};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was judged, by kind of evidence.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Evidence that operators found.
    found: [u64; 4],
    /// Charges that hold, and those that do not.
    guilty: [u64; 4],
    innocent: [u64; 4],
    /// Of those, against operators that behave.
    of_the_honest: [u64; 4],
}

impl Tally {
    fn add(&mut self, other: &Self) {
        let all = |tally: &Self| [tally.found, tally.guilty, tally.innocent, tally.of_the_honest];
        let sums = all(self).into_iter().flatten().zip(all(other).into_iter().flatten());
        let mut sums = sums.map(|(one, other)| one + other);
        for list in [&mut self.found, &mut self.guilty, &mut self.innocent, &mut self.of_the_honest] {
            list.fill_with(|| sums.next().unwrap());
        }
    }
}

fn kind_of(evidence: &Evidence) -> usize {
    usize::from(evidence.to_bytes()[0])
}

/// Runs a plan and judges what was said in it.
fn try_plan(seed: u64) -> Tally {
    let mut simulation = Simulation::signing_with(Keys::Secp256k1, draw(seed, Profile::Quick)).unwrap();
    simulation.cluster.watch.witness = Some(Box::default());
    let outcome = simulation.run_guarded();
    let cluster = &mut simulation.cluster;
    let said = cluster.watch.witness.take().unwrap();
    let network = cluster.genesis.network_id();
    let (domain, mut judge, mut tally) = (Domain::new(network), Judge::deploy(&network), Tally::default());
    let mut accused_by = |evidence: &Evidence| -> Option<Address> {
        let bytes = evidence.to_bytes();
        let (rust, (contract, _)) = (by_rust(&domain, &bytes), judge.judge(&bytes));
        assert_eq!(contract, rust, "seed {seed}: {evidence:?}");
        let operator = contract?.operator;
        assert!(!cluster.invariants.trusts(&operator), "seed {seed}: honest {operator} is accused by {evidence:?}");
        Some(operator)
    };
    let mut accused = BTreeSet::new();
    for (operator, evidence) in &said.evidence {
        assert_eq!(accused_by(evidence), Some(*operator), "seed {seed}: {evidence:?}");
        accused.insert(*operator);
        tally.found[kind_of(evidence)] += 1;
    }
    for charge in Prosecutor::new(&said, Draw(seed)).charges() {
        let (kind, against) = (kind_of(&charge.evidence), charge.against());
        let judged = accused_by(&charge.evidence);
        assert_eq!(judged, charge.holds.then_some(against), "seed {seed}: {:?}", charge.evidence);
        *if charge.holds { &mut tally.guilty[kind] } else { &mut tally.innocent[kind] } += 1;
        tally.of_the_honest[kind] += u64::from(cluster.invariants.trusts(&against));
    }
    // Among what holds in every run: whoever contradicts itself before an honest operator is accused.
    assert!(cluster.invariants.accused().keys().all(|operator| accused.contains(operator)), "seed {seed}");
    assert!(!matches!(outcome.verdict, Verdict::Violated(_)), "seed {seed}: {:?}", outcome.verdict);
    tally
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SQUAD_SEEDS") else { return 1..25 };
    let seeds = text.split_once("..").and_then(|(first, last)| Some(first.parse().ok()?..last.parse().ok()?));
    seeds.unwrap_or_else(|| panic!("SQUAD_SEEDS={text:?}: expected FIRST..END, such as 1..1000, without END itself"))
}

/// What fails for one seed need not wait for the rest.
struct StopOthers<'a>(&'a AtomicU64);

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(u64::MAX / 2, Ordering::Relaxed);
        }
    }
}

#[test]
fn nobody_honest_can_be_accused_and_who_contradicts_itself_is() {
    let (seeds, all) = (seeds(), Mutex::new(Tally::default()));
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let _stop = StopOthers(&next);
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
                    let tally = try_plan(seed);
                    all.lock().unwrap().add(&tally);
                }
            });
        }
    });
    let all = *all.lock().unwrap();
    eprintln!("{} plans, votes, proposals, batch headers, acks: {all:?}", seeds.end.saturating_sub(seeds.start));
    let each = [all.found, all.guilty, all.innocent, all.of_the_honest];
    assert!(each.iter().flatten().all(|count| *count > 0), "something was never judged: {all:?}");
}
