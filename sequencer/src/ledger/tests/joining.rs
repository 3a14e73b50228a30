//! Snapshots, rebuilding the window, and recomputing what was ordered.

use crate::ledger::fixture::*;
use crate::ledger::*;
use squad_types::*;

fn busy(heights: u64) -> Chain {
    let mut chain = Chain::new(4);
    let mut last: Option<IdentifiedTransaction> = None;
    for height in 0..heights {
        // One lane rests for long, so that its first move within a window starts below it.
        for author in (0..4).filter(|author| *author != 3 || height % 13 == 0) {
            let (lane, until) = (chain.lane(author), chain.until());
            let own = [author.to_be_bytes().as_slice(), &height.to_be_bytes()].concat();
            let repeat = last.take().filter(|_| height % 3 == 0);
            let tx = opaque(1 + 3 * (height % 2) as u32, until, &own);
            last = Some(tx.clone());
            chain.batch(
                lane,
                [Some(tx), repeat, Some(paid(author as u8, height, &own))].into_iter().flatten().collect(),
            );
        }
        chain.advance(150);
    }
    chain
}

fn snapshot(chain: &Chain, height: usize) -> Snapshot {
    Snapshot { tip: chain.blocks[height - 1].clone(), state: ChainState::clone(&chain.executions[height - 1].state) }
}

fn join(chain: &Chain, height: usize) -> Result<Ledger, SnapshotError> {
    let committees = chain.ledger.committees().map(|committee| (**committee).clone()).collect();
    Ledger::from_snapshot(&chain.genesis, committees, &snapshot(chain, height), &KeyedHashVerifier)
}

#[test]
fn a_joiner_follows_from_a_snapshot_and_ends_like_everybody_else() {
    let chain = busy(60);
    let mut joined = join(&chain, 30).unwrap();
    assert_eq!(joined.state(), &*chain.executions[29].state);
    assert!(!joined.window_is_complete());
    let mut complete_after = 0;
    for (ordered, execution) in chain.blocks.iter().zip(&chain.executions).skip(30) {
        complete_after += usize::from(!joined.window_is_complete());
        let judged = joined.judge_replayed(ordered, &turn(&joined), &chain.store);
        let Judgement::Valid(judged) = judged else { panic!("{judged:?}") };
        assert_eq!((&judged.namespaces, &judged.skipped), (&execution.namespaces, &execution.skipped));
        joined.apply(ordered, &judged);
    }
    assert_eq!(complete_after, 14, "two seconds of blocks, 150 ms apart");
    assert_eq!(joined, chain.ledger);
    let (next, _) = chain.build(chain.draft(0)).unwrap();
    assert!(matches!(joined.judge(&next, &turn(&joined), &chain.store), Judgement::Valid(_)));
}

#[test]
fn a_joiner_builds_nothing_before_its_window_is_whole() {
    let chain = busy(40);
    let joined = join(&chain, 40).unwrap();
    let built = joined.build(chain.draft(0), &turn(&joined), &chain.stakes, &chain.store);
    assert_eq!(built.unwrap_err(), BuildError::WindowIncomplete);
}

#[test]
fn a_list_of_skipped_positions_that_lies_does_not_give_the_headers_root() {
    let chain = busy(12);
    let joined = join(&chain, 3).unwrap();
    let honest = &chain.blocks[3];
    assert!(!honest.skipped.is_empty());
    for skipped in [vec![], vec![0], vec![0, 1], vec![1, 0], [honest.skipped.as_slice(), &[999]].concat()] {
        let lie = OrderedBlock { skipped, ..honest.clone() };
        match joined.judge_replayed(&lie, &turn(&joined), &chain.store) {
            Judgement::Invalid(reason) => assert!(reason.is_about_body(), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_snapshot_that_does_not_hold_is_refused() {
    let chain = busy(30);
    let committees = || -> Vec<Committee> { chain.ledger.committees().map(|known| (**known).clone()).collect() };
    let good = snapshot(&chain, 20);
    let try_with = |committees, snapshot: &Snapshot| {
        Ledger::from_snapshot(&chain.genesis, committees, snapshot, &KeyedHashVerifier).err()
    };
    assert_eq!(try_with(committees(), &good), None);
    let mut state = good.clone();
    state.state.chain_time = state.state.chain_time.next();
    assert_eq!(try_with(committees(), &state), Some(SnapshotError::State));
    let mut unsigned = good.clone();
    unsigned.tip.certificate.signatures.pop();
    assert!(matches!(try_with(committees(), &unsigned), Some(SnapshotError::Certificate(_))));
    let mut other = good.clone();
    other.tip.certificate = chain.blocks[5].certificate.clone();
    assert!(matches!(try_with(committees(), &other), Some(SnapshotError::OtherBlock(_))));
    for at in 0..3 {
        let mut fewer = committees();
        fewer.remove(at);
        let missing = Some(SnapshotError::Committee(Epoch(at as u64)));
        assert_eq!(try_with(fewer, &good), missing);
    }
}

#[test]
fn the_window_rebuilt_from_stored_blocks_is_the_live_one() {
    let chain = busy(60);
    let base = chain.ledger.window_base().clone();
    assert!(base.from > Height(40));
    let mut restarted = join(&chain, 60).unwrap();
    assert!(!restarted.window_is_complete());
    restarted.rebuild_window(&base, &chain.blocks, &chain.store).unwrap();
    assert!(restarted.window_is_complete());
    assert_eq!(restarted, chain.ledger);
    let young = busy(5);
    let mut restarted = join(&young, 5).unwrap();
    restarted.rebuild_window(young.ledger.window_base(), &young.blocks, &young.store).unwrap();
    assert_eq!(restarted, young.ledger);
}

#[test]
fn a_window_that_was_not_whole_before_a_restart_is_not_whole_after_it() {
    let chain = busy(60);
    let mut joined = join(&chain, 55).unwrap();
    for ordered in &chain.blocks[55..] {
        let Judgement::Valid(judged) = joined.judge_replayed(ordered, &turn(&joined), &chain.store) else { panic!() };
        joined.apply(ordered, &judged);
    }
    let mut restarted = join(&chain, 60).unwrap();
    restarted.rebuild_window(joined.window_base(), &chain.blocks, &chain.store).unwrap();
    assert!(!restarted.window_is_complete());
    assert_eq!(restarted, joined);
}

#[test]
fn damage_in_the_stored_blocks_is_named() {
    let chain = busy(30);
    let base = chain.ledger.window_base().clone();
    let mut ledger = join(&chain, 30).unwrap();
    let mut blocks = chain.blocks.clone();
    let lost = blocks.remove(27);
    let height = lost.block.header().height;
    assert_eq!(ledger.rebuild_window(&base, &blocks, &chain.store), Err(RecomputeError::Block(height)));
    blocks.push(OrderedBlock { skipped: vec![0, 1, 2], ..lost });
    assert_eq!(ledger.rebuild_window(&base, &blocks, &chain.store), Err(RecomputeError::Root(height)));
    let missing = ledger.rebuild_window(&base, &chain.blocks, &Store::default());
    assert!(matches!(missing, Err(RecomputeError::Missing { .. })));
}

#[test]
fn recomputing_a_stored_block_gives_the_order_of_its_time() {
    let chain = busy(40);
    for (ordered, execution) in chain.blocks.iter().zip(&chain.executions) {
        let parts = recompute(ordered, &execution.spans, chain.ledger.namespaces(), &chain.store).unwrap();
        assert_eq!(parts, execution.namespaces);
    }
}
