//! kill -9 at any moment: the database stands at a whole block, and going on gives the same roots.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_primitives::{Address, Bytes, TxKind, U256};
use common::{Ordered, STORER, deploy_code};
use squad_executor::{Chain, Genesis, MIN_CACHE_BYTES, OrderedBlock, StateConfig, dev_accounts};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

const DIR: &str = "SQUAD_KILL_TEST_DIR";
const BLOCKS: u64 = 60;

fn blocks() -> Vec<OrderedBlock> {
    let sender = &dev_accounts()[0];
    let contract = sender.address().create(0);
    let mut ordered = Ordered::new();
    let mut nonce = 0..;
    let mut transact = |to, input: Bytes| sender.transact(1516, nonce.next().unwrap(), to, U256::ZERO, input, 120_000);
    (0..BLOCKS)
        .map(|at| {
            let raws = match at {
                0 => vec![transact(TxKind::Create, deploy_code(&STORER))],
                _ if at % 5 == 0 => vec![],
                _ => {
                    let value: Bytes = U256::from(at % 3).to_be_bytes::<32>().into();
                    let mut raws: Vec<_> =
                        (0..8).map(|to| transact(TxKind::Call(Address::repeat_byte(to)), Bytes::new())).collect();
                    raws.push(transact(TxKind::Call(contract), value));
                    raws
                }
            };
            ordered.block(raws)
        })
        .collect()
}

/// Blocks of state history: fewer than there are, so that history goes away while the writer is killed.
const HISTORY: u64 = 5;

fn open(dir: &Path) -> Chain {
    let state = StateConfig { cache_bytes: MIN_CACHE_BYTES, history: HISTORY };
    Chain::open_with(dir, Genesis::devnet(), b"", state).unwrap()
}

/// Runs as the child: applies blocks and names each before and after. Without its directory it has nothing to do.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut chain = open(Path::new(&dir));
    for block in blocks().iter().skip(chain.next_height() as usize - 1) {
        println!("\nbegun {}", block.height);
        chain.apply(block, block.height % 2 == 0).unwrap();
        println!("\napplied {}", block.height);
    }
    chain.flush().unwrap();
}

/// All of the state gives the head's root, and what history is kept is the steady chain's.
fn check_state(chain: &Chain, steady: &Chain) {
    let (head, reader) = (chain.head().header, chain.reader());
    let view = reader.state_at(head.number).unwrap();
    assert_eq!(view.rebuild_root().unwrap(), head.state_root);
    let contract = dev_accounts()[0].address().create(0);
    for number in head.number.saturating_sub(HISTORY)..=head.number {
        let proof = reader.proof(number, contract, &[U256::ZERO]).unwrap();
        // The steady chain may have forgotten that block's state, but not the root that the proof was checked against.
        let root = steady.reader().store.header(number).unwrap().unwrap().state_root;
        assert_eq!(reader.store.header(number).unwrap().unwrap().state_root, root);
        assert_eq!(proof.address, contract);
    }
    assert!(head.number <= HISTORY || reader.state_at(head.number - HISTORY - 1).is_err());
}

#[test]
fn a_writer_killed_at_any_block_resumes_to_the_same_chain() {
    let steady_dir = tempfile::tempdir().unwrap();
    let mut steady = open(steady_dir.path());
    for block in blocks() {
        steady.apply(&block, false).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    // The kill lands within the block that was begun, or between two blocks, or early in the next.
    let kills = [("begun", 1), ("applied", 1), ("begun", 4), ("applied", 4), ("begun", 11), ("begun", 12)];
    let later = [("applied", 17), ("begun", 26), ("begun", 33), ("applied", 39), ("begun", 47), ("applied", 52)];
    for (word, kill_after) in kills.into_iter().chain(later) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let applied = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix(word)?.trim().parse::<u64>().ok());
        let reached = applied.into_iter().find(|height| *height >= kill_after);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached.is_some());
        let chain = open(dir.path());
        let head = chain.head();
        let stored = steady.reader().store.header(head.header.number).unwrap().unwrap();
        assert_eq!(*head.header, stored);
        check_state(&chain, &steady);
    }
    let mut chain = open(dir.path());
    for block in blocks().iter().skip(chain.next_height() as usize - 1) {
        chain.apply(block, false).unwrap();
    }
    assert_eq!(chain.head().hash, steady.head().hash);
    check_state(&chain, &steady);
    let (ours, theirs) = (chain.reader().store, steady.reader().store);
    for number in 0..=steady.head().header.number {
        assert_eq!(ours.body(number).unwrap(), theirs.body(number).unwrap());
    }
}
