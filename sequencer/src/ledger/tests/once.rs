//! Exactly once, expiry, caps.

use crate::ledger::fixture::*;
use crate::ledger::*;
use squad_types::*;

#[test]
fn a_transaction_in_two_lanes_or_two_blocks_is_ordered_once() {
    let mut chain = Chain::new(4);
    let tx = opaque(1, chain.until(), b"one");
    let (first, second) = (chain.lane(0), chain.lane(1));
    chain.batch(first, vec![tx.clone(), tx.clone()]);
    chain.batch(second, vec![tx.clone()]);
    chain.advance(100);
    assert_eq!(chain.executions[0].skipped, [1, 2]);
    assert!(chain.executions[0].rejected.is_empty(), "a repeat is no rejection");
    chain.batch(second, vec![tx.clone()]);
    chain.advance(100);
    assert_eq!(chain.executions[1].skipped, [0]);
    assert_eq!(chain.ordered(1), [tx.id]);
}

#[test]
fn after_the_window_an_opaque_transaction_cannot_come_back() {
    let mut chain = Chain::new(4);
    let tx = opaque(1, chain.until(), b"one");
    let lane = chain.lane(0);
    chain.batch(lane, vec![tx.clone()]);
    chain.advance(100);
    for _ in 0..5 {
        chain.advance(1_000);
    }
    assert_eq!(chain.ledger.window_len(), 0);
    chain.batch(lane, vec![tx.clone()]);
    chain.advance(100);
    assert_eq!(chain.executions.last().unwrap().rejected, [(tx.id, Rejection::Expired)]);
    assert_eq!(chain.ordered(1), [tx.id]);
}

#[test]
fn what_may_not_be_ordered_is_left_out_with_its_reason() {
    let mut chain = Chain::new(4);
    let good = opaque(1, chain.until(), b"good");
    let stranger = opaque(77, chain.until(), b"nowhere");
    let long = opaque(4, 1_000_000, b"long");
    let endless: IdentifiedTransaction = Transaction { valid_until: None, ..good.transaction.clone() }.into();
    let lane = chain.lane(2);
    chain.batch(lane, vec![stranger.clone(), long.clone(), good.clone(), endless.clone()]);
    chain.advance(10);
    let execution = &chain.executions[0];
    assert_eq!(execution.skipped, [0, 1, 3]);
    let rejected = [
        (stranger.id, Rejection::UnknownNamespace),
        (long.id, Rejection::ValidTooLong),
        (endless.id, Rejection::NoValidity),
    ];
    assert_eq!(execution.rejected, rejected);
    assert_eq!(chain.ordered(1), [good.id]);
}

#[test]
fn a_proposer_cuts_lanes_back_fairly_to_the_caps_and_the_rest_follows() {
    let mut genesis = genesis(4);
    genesis.params.max_block_transactions = 3;
    let mut chain = Chain::of(genesis);
    for author in 0..2 {
        for at in 0..4_u8 {
            let tx = opaque(1, chain.until(), &[author as u8, at]);
            let lane = chain.lane(author);
            chain.batch(lane, vec![tx]);
        }
    }
    for _ in 0..3 {
        chain.advance(10);
    }
    let moved: Vec<usize> = chain.blocks.iter().map(|ordered| ordered.block.cut().len()).collect();
    assert_eq!(moved, [2, 2, 2], "no lane waits for the other");
    assert_eq!(chain.executions.iter().map(Execution::count).collect::<Vec<_>>(), [3, 3, 2]);
}

#[test]
fn blocks_over_the_caps_are_invalid_whoever_builds_them() {
    let mut chain = Chain::new(4);
    let lane = chain.lane(0);
    for at in 0..3_u8 {
        let tx = opaque(1, chain.until(), &[at]);
        chain.batch(lane, vec![tx]);
    }
    let (block, _) = chain.build(chain.draft(0)).unwrap();
    // The same block judged under lower caps, whose hash it claims.
    chain.ledger.params.max_block_transactions = 2;
    assert_eq!(chain.judge(&block), Judgement::Invalid(InvalidBlock::TooManyTransactions { found: 3, cap: 2 }));
    chain.ledger.params.max_block_bytes = 10;
    assert!(matches!(chain.judge(&block), Judgement::Invalid(InvalidBlock::TooManyBytes { cap: 10, .. })));
}

#[test]
fn missing_batches_are_named_and_nothing_is_said_of_the_block() {
    let mut chain = Chain::new(4);
    let lane = chain.lane(3);
    let tx = opaque(1, chain.until(), b"one");
    let batch = chain.batch(lane, vec![tx]);
    let (block, _) = chain.build(chain.draft(0)).unwrap();
    let stored = std::mem::take(&mut chain.store);
    let range = BatchRange { lane, from: Sequence(0), to: batch.tip() };
    assert_eq!(chain.judge(&block), Judgement::Missing(vec![range]));
    assert_eq!(chain.build(chain.draft(0)).unwrap_err(), BuildError::Missing(vec![range]));
    chain.store = stored;
    assert!(matches!(chain.judge(&block), Judgement::Valid(_)));
}
