//! Whole chains of random batches.

use crate::ledger::fixture::*;
use crate::ledger::*;
use proptest::prelude::*;
use squad_types::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
struct Step {
    batches: Vec<(u16, Vec<(u8, u8)>)>,
    round: u32,
    pause: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let transactions = prop::collection::vec((0_u8..3, 0_u8..40), 0..5);
    let batches = prop::collection::vec((0_u16..4, transactions), 0..6);
    (batches, 0_u32..3, 1_u64..400).prop_map(|(batches, round, pause)| Step { batches, round, pause })
}

/// Few distinct contents, so that repeats are common; ends of validity in steps, so that a repeat has the same id.
fn transaction(chain: &Chain, kind: u8, content: u8) -> IdentifiedTransaction {
    let until = chain.ledger.state().chain_time.0.div_ceil(500) * 500 + 1_000;
    match kind {
        0 => opaque(1, until, &[content]),
        1 => opaque(4, until, &[content]),
        _ => paid(content % 4, (content / 7).into(), &[content]),
    }
}

fn run(steps: &[Step]) -> Chain {
    let mut chain = Chain::new(4);
    for step in steps {
        for (author, contents) in &step.batches {
            let transactions = contents.iter().map(|(kind, content)| transaction(&chain, *kind, *content)).collect();
            let lane = chain.lane(*author);
            chain.batch(lane, transactions);
        }
        chain.advance_from(step.round, step.pause);
    }
    chain
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_built_is_valid_complete_and_ordered_once(steps in prop::collection::vec(step(), 1..40)) {
        let chain = run(&steps);
        let mut offered: BTreeSet<TxId> = BTreeSet::new();
        let mut window: Vec<(Timestamp, TxId)> = Vec::new();
        let mut follower = Ledger::genesis(&chain.genesis).unwrap();
        for (ordered, execution) in chain.blocks.iter().zip(&chain.executions) {
            // Everybody who judges it gets the same.
            let Judgement::Valid(judged) = follower.judge(&ordered.block, &turn(&follower), &chain.store) else {
                panic!("a follower refuses")
            };
            prop_assert_eq!(&judged, execution);
            // What was in its batches is ordered, repeated or rejected.
            let mut batched: BTreeSet<TxId> = BTreeSet::new();
            for span in &execution.spans {
                for batch in chain.store.chain(span.lane, span.above, span.to).unwrap() {
                    batched.extend(batch.payload().transactions().iter().map(|tx| tx.id));
                }
            }
            let (now, parent) = (execution.state.chain_time, follower.state().chain_time);
            let in_order: Vec<TxId> = execution.ids().collect();
            for id in &batched {
                let here = in_order.iter().filter(|ordered| *ordered == id).count();
                let before = window.iter().any(|(at, old)| old == id && at.plus(2_000) >= parent);
                let rejected = execution.rejected.iter().any(|(rejected, _)| rejected == id);
                prop_assert_eq!(here, usize::from(!before && !rejected));
            }
            prop_assert!(in_order.iter().all(|id| batched.contains(id)));
            window.extend(in_order.into_iter().map(|id| (now, id)));
            offered.extend(batched);
            follower.apply(ordered, &judged);
        }
        prop_assert_eq!(&follower, &chain.ledger);
        // Opaque transactions never come twice, in whatever window.
        for namespace in [1, 4] {
            let all = chain.ordered(namespace);
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        }
        // And a block comes back from its bytes as it was.
        for ordered in &chain.blocks {
            let back = OrderedBlock::from_bytes(ordered.to_bytes()).unwrap();
            prop_assert_eq!(&back, ordered);
        }
    }
}
