//! What ordering takes, counted: messages, bytes and syncs for each height and each transaction. A run is the same each time, so
//! whoever changes one of these has to say so here. Times are nobody's business in a test.

use squad_simulations::packet::Kind;
use squad_simulations::scenario::parse;
use squad_simulations::simulation::{Simulation, Verdict};

/// How far a figure may move before somebody should look: other batches come together when anything changes.
const MAY_MOVE: f64 = 0.03;

struct Taken {
    heights: f64,
    transactions: f64,
    simulation: Simulation,
}

fn run(members: usize, rate: u32) -> Taken {
    let text = format!(
        "duration_ms = 10000\n[committee]\nmembers = {members}\n[network]\ndelay_ms = 20.0\n[node]\nsync_us = 500\n\
         [[load]]\nrate = {rate}.0\nbytes = 512\nfrom_ms = 500\n"
    );
    let mut simulation = Simulation::new(parse(&text).unwrap()).unwrap();
    let outcome = simulation.run_guarded();
    assert_eq!(outcome.verdict, Verdict::Held);
    let transactions = simulation.cluster.invariants.ordered_count() as f64;
    Taken { heights: outcome.height as f64, transactions, simulation }
}

impl Taken {
    fn messages(&self, kind: Kind) -> f64 {
        self.simulation.cluster.traffic.by_kind[kind.index()].messages as f64
    }

    fn bytes(&self) -> f64 {
        self.simulation.cluster.traffic.by_kind.iter().map(|amount| amount.bytes as f64).sum()
    }

    fn syncs(&self) -> f64 {
        self.simulation.cluster.nodes.iter().map(|node| node.disk.syncs as f64).sum()
    }

    fn is(&self, what: &str, found: f64, expected: f64) {
        let moved = (found / expected - 1.0).abs();
        assert!(moved <= MAY_MOVE, "{what}: {found:.2}, it was {expected:.2}; if that is meant, write it down here");
    }
}

#[test]
fn four_operators_with_little_to_order() {
    let taken = run(4, 20);
    let height = |kind| taken.messages(kind) / taken.heights;
    taken.is("proposals a height", height(Kind::Proposal), 3.0);
    taken.is("votes a height", height(Kind::Vote), 24.0);
    taken.is("certificates a height", height(Kind::Commit), 9.0);
    taken.is("acks a transaction", taken.messages(Kind::Ack) / taken.transactions, 12.56);
    taken.is("syncs a height", taken.syncs() / taken.heights, 18.47);
    taken.is("bytes a height", taken.bytes() / taken.heights, 14_626.0);
    // Each asks each other one for its tip, its newest ack, what it saw and its evidence.
    taken.is("questions", taken.messages(Kind::Request), 48.0);
}

#[test]
fn four_operators_with_much_to_order() {
    let taken = run(4, 2_000);
    taken.is("batches a hundred transactions", 100.0 * taken.messages(Kind::Batch) / taken.transactions, 60.11);
    taken.is("acks a hundred transactions", 100.0 * taken.messages(Kind::Ack) / taken.transactions, 121.0);
    taken.is("bytes a transaction", taken.bytes() / taken.transactions, 2_161.0);
    taken.is("syncs a height", taken.syncs() / taken.heights, 106.12);
}

#[test]
fn thirty_operators_with_little_to_order() {
    let taken = run(30, 10);
    let height = |kind| taken.messages(kind) / taken.heights;
    taken.is("votes a height", height(Kind::Vote), 1_740.0);
    taken.is("certificates a height", height(Kind::Commit), 87.0);
    taken.is("acks a transaction", taken.messages(Kind::Ack) / taken.transactions, 751.7);
    taken.is("bytes a height", taken.bytes() / taken.heights, 679_800.0);
}
