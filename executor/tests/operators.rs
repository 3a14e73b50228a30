//! Operators that lie: blocks signed by a real committee, changed on the way to the executor.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_primitives::{Address, U256};
use bytes::Bytes;
use squad_client::{
    BlockVerifier, Checkpoint,
    testing::{TestChain, evm, keys},
};
use squad_executor::{
    BlockSource, Chain, Error, Feed, FeedError, Genesis, OperatorSource, Operators, OrderedBlock, dev_accounts,
};
use squad_types::{NamespaceBlock, NamespaceId, Timestamp};
use std::collections::HashMap;

const NAMESPACE: NamespaceId = NamespaceId(1);

fn transfer(nonce: u64) -> Bytes {
    dev_accounts()[0].transfer(1001, nonce, Address::ZERO, U256::ONE).0
}

/// Blocks with one transfer each, over two epochs.
fn chain(length: u64) -> (TestChain, Vec<NamespaceBlock>) {
    let mut network = TestChain::new(4);
    let blocks = (0..length)
        .map(|nonce| {
            if nonce == 2 {
                network.start_epoch(keys(1, 4));
            }
            network.block(vec![evm(NAMESPACE, transfer(nonce))]).namespace_block(NAMESPACE)
        })
        .collect();
    (network, blocks)
}

/// Operators made of blocks by height; each may replace some of them.
struct Served {
    lies: Vec<HashMap<u64, Option<NamespaceBlock>>>,
    truth: Vec<NamespaceBlock>,
}

struct ServedFeed(std::vec::IntoIter<Result<NamespaceBlock, FeedError>>);

impl Feed for ServedFeed {
    async fn next(&mut self) -> Result<NamespaceBlock, FeedError> {
        self.0.next().unwrap_or_else(|| Err(FeedError::Gone("the stream ended".to_owned())))
    }
}

impl Operators for Served {
    type Feed = ServedFeed;

    fn count(&self) -> usize {
        self.lies.len()
    }

    fn name(&self, index: usize) -> String {
        format!("operator {index}")
    }

    async fn open(&self, index: usize, height: u64) -> Result<ServedFeed, String> {
        let blocks = self.truth.iter().skip(height as usize - 1).cloned();
        let lies = &self.lies[index];
        let served: Vec<_> = blocks
            .map(|block| match lies.get(&block.header.height.0) {
                None => Ok(block),
                Some(Some(lie)) => Ok(lie.clone()),
                Some(None) => Err(FeedError::Malformed("trailing bytes".to_owned())),
            })
            .collect();
        Ok(ServedFeed(served.into_iter()))
    }
}

async fn take(source: &mut OperatorSource<Served>, count: u64) -> Vec<OrderedBlock> {
    let mut blocks = Vec::new();
    for _ in 0..count {
        blocks.push(source.next().await.unwrap());
    }
    blocks
}

fn forge(block: &NamespaceBlock) -> NamespaceBlock {
    NamespaceBlock { transactions: vec![evm(NAMESPACE, transfer(99))], ..block.clone() }
}

#[tokio::test]
async fn a_lying_operator_is_left_for_an_honest_one_and_counted() {
    let (network, truth) = chain(4);
    let lies = vec![HashMap::from([(3, Some(forge(&truth[2])))]), HashMap::from([(4, None)]), HashMap::new()];
    let verifier = BlockVerifier::from_genesis(&network.genesis, NAMESPACE).unwrap();
    let mut source = OperatorSource::new(Served { lies, truth }, verifier);
    for (at, block) in take(&mut source, 4).await.into_iter().enumerate() {
        assert_eq!((block.height, block.transactions), (at as u64 + 1, vec![transfer(at as u64)]));
    }
    assert_eq!(source.switches(), 2);
}

#[tokio::test]
async fn a_forged_block_that_everybody_serves_stops_execution_before_it() {
    type Change = fn(&mut NamespaceBlock);
    let changes: [(&str, Change); 5] = [
        ("transactions", |block| *block = forge(block)),
        ("transactions", |block| block.transactions.clear()),
        ("header", |block| block.header.timestamp = Timestamp(block.header.timestamp.0 + 1)),
        ("commit certificate", |block| block.certificate.signatures.swap(0, 1)),
        ("namespace", |block| block.namespace = NamespaceId(2)),
    ];
    for (wanted, change) in changes {
        let (network, truth) = chain(3);
        let mut forged = truth[1].clone();
        change(&mut forged);
        let lie = HashMap::from([(2, Some(forged))]);
        let verifier = BlockVerifier::from_genesis(&network.genesis, NAMESPACE).unwrap();
        let mut source = OperatorSource::new(Served { lies: vec![lie.clone(), lie], truth: truth.clone() }, verifier);
        let dir = tempfile::tempdir().unwrap();
        let mut chain = Chain::open(dir.path(), Genesis::devnet_for(1001), b"").unwrap();
        chain.apply(&source.next().await.unwrap(), false).unwrap();
        let error = source.next().await.unwrap_err();
        assert!(matches!(&error, Error::Forged { height: 2, part, .. } if part == wanted), "{error}");
        assert!(error.to_string().starts_with(&format!("ordered block 2 was refused: its {wanted} does not hold")));
        assert_eq!(chain.head().header.number, 1);

        // The checkpoint stored with the last good block lets a later start go on with honest operators.
        let checkpoint = chain.head().ordered.checkpoint.0;
        drop(chain);
        let mut chain = Chain::open(dir.path(), Genesis::devnet_for(1001), b"").unwrap();
        assert_eq!(chain.head().ordered.checkpoint.0, checkpoint);
        let verifier = BlockVerifier::resume(Checkpoint::from_bytes(checkpoint).unwrap(), NAMESPACE);
        let mut source = OperatorSource::new(Served { lies: vec![HashMap::new()], truth }, verifier);
        for block in take(&mut source, 2).await {
            chain.apply(&block, false).unwrap();
        }
        assert_eq!(chain.head().header.number, 3);
    }
}

#[tokio::test]
async fn a_height_left_out_is_a_gap() {
    let (network, mut truth) = chain(3);
    truth.remove(1);
    let verifier = BlockVerifier::from_genesis(&network.genesis, NAMESPACE).unwrap();
    let mut source = OperatorSource::new(Served { lies: vec![HashMap::new()], truth }, verifier);
    source.next().await.unwrap();
    assert!(matches!(source.next().await, Err(Error::Gap { last: 1, expected: 2, found: 3 })));
}
