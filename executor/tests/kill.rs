//! kill -9 at any moment: the database stands at a whole block, and going on gives the same roots.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_primitives::{Address, Bytes, TxKind, U256};
use common::{Ordered, STORER, deploy_code};
use squad_executor::{Chain, Genesis, OrderedBlock, dev_accounts};
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

fn open(dir: &Path) -> Chain {
    Chain::open(dir, Genesis::devnet(), b"").unwrap()
}

/// Runs as the child: applies blocks and names each when it is done. Without its directory it has nothing to do.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut chain = open(Path::new(&dir));
    for block in blocks().iter().skip(chain.next_height() as usize - 1) {
        chain.apply(block, block.height % 2 == 0).unwrap();
        println!("\napplied {}", block.height);
    }
    chain.flush().unwrap();
}

#[test]
fn a_writer_killed_at_any_block_resumes_to_the_same_chain() {
    let steady_dir = tempfile::tempdir().unwrap();
    let mut steady = open(steady_dir.path());
    for block in blocks() {
        steady.apply(&block, false).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    // The kill lands while the block after the named one is in the making.
    for kill_after in [1, 3, 4, 11, 12, 26, 39, 52] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let applied = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("applied ")?.parse::<u64>().ok());
        let reached = applied.into_iter().find(|height| *height >= kill_after);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached.is_some());
        let chain = open(dir.path());
        let head = chain.head();
        let stored = steady.reader().store.header(head.header.number).unwrap().unwrap();
        assert_eq!(*head.header, stored);
    }
    let mut chain = open(dir.path());
    for block in blocks().iter().skip(chain.next_height() as usize - 1) {
        chain.apply(block, false).unwrap();
    }
    assert_eq!(chain.head().hash, steady.head().hash);
    let (ours, theirs) = (chain.reader().store, steady.reader().store);
    for number in 0..=steady.head().header.number {
        assert_eq!(ours.body(number).unwrap(), theirs.body(number).unwrap());
    }
}
