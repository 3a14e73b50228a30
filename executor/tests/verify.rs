//! Blocks signed by a real committee: verified, forged in every field, and served by operators that lie.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_primitives::{Address, U256};
use bytes::Bytes;
use common::network::{NAMESPACE, Network};
use squad_executor::{
    BlockSource, BlockVerifier, Chain, Error, Feed, FeedError, Genesis, OperatorSource, Operators, dev_accounts,
};
use squad_types::{
    Bitmap, CommitCertificate, Digest, Height, MerkleRoot, NamespaceBlock, NamespaceId, NamespaceProof, NetworkId,
    Round, Timestamp, Transaction, ValidatorIndex,
};
use std::{collections::HashMap, sync::Mutex};

fn transfer(nonce: u64) -> Bytes {
    dev_accounts()[0].transfer(1516, nonce, Address::ZERO, U256::ONE).0
}

fn part(error: Error) -> String {
    match error {
        Error::Forged { part, .. } => part,
        other => panic!("not refused as forged: {other}"),
    }
}

#[test]
fn follows_committees_across_epochs_and_resumes_from_a_checkpoint() {
    let mut network = Network::new();
    let genesis = network.genesis.clone();
    let mut verifier = BlockVerifier::from_genesis(&genesis, NAMESPACE).unwrap();
    for nonce in 0..3 {
        verifier.verify(network.block(vec![transfer(nonce)])).unwrap();
        verifier.verify(network.block(vec![])).unwrap();
        network.next_epoch();
        let checkpoint = verifier.checkpoint();
        verifier = BlockVerifier::resume(&genesis, NAMESPACE, checkpoint).unwrap();
    }
    let block = verifier.verify(network.block(vec![transfer(9)])).unwrap();
    assert_eq!((block.height, block.transactions), (7, vec![transfer(9)]));
    assert!(BlockVerifier::resume(&genesis, NAMESPACE, Bytes::from_static(b"junk")).is_err());
}

#[test]
fn a_block_with_anything_changed_is_refused_and_named() {
    let mut network = Network::new();
    let mut verifier = BlockVerifier::from_genesis(&network.genesis, NAMESPACE).unwrap();
    verifier.verify(network.block(vec![transfer(0)])).unwrap();
    let good = network.block(vec![transfer(1), transfer(2)]);
    let other_network = NetworkId([9; 32]);
    type Change = Box<dyn Fn(&mut NamespaceBlock)>;
    let signed: Vec<(&str, Change)> = vec![
        ("network id", Box::new(move |b| b.header.network_id = other_network)),
        ("protocol version", Box::new(|b| b.header.version += 1)),
        ("parent hash", Box::new(|b| b.header.parent_hash.0[5] ^= 1)),
        ("timestamp", Box::new(|b| b.header.timestamp = Timestamp(1))),
        ("epoch", Box::new(|b| b.header.epoch = b.header.epoch.plus(2))),
        ("committee hash", Box::new(|b| b.header.committee_hash = Digest([1; 32]))),
        ("next committee", Box::new(|b| b.header.next_committee_hash = Digest([1; 32]))),
        ("next committee", Box::new(|b| b.next_committee = Some(Vec::new()))),
        ("namespace proof", Box::new(|b| b.header.namespaces_root = MerkleRoot([1; 32]))),
        ("namespace proof", Box::new(|b| b.proof = NamespaceProof::Absent { left: None, right: None })),
        ("namespace", Box::new(|b| b.namespace = NamespaceId(77))),
        ("transactions", Box::new(|b| b.transactions.truncate(1))),
        ("transactions", Box::new(|b| b.transactions.swap(0, 1))),
        ("transactions", Box::new(|b| b.transactions.push(b.transactions[0].clone()))),
        ("transactions", Box::new(|b| b.transactions[1].data = Bytes::from_static(b"x"))),
        ("transactions", Box::new(|b| b.transactions[1].namespace = NamespaceId(77))),
        ("transactions", Box::new(|b| b.transactions[1].valid_until = Some(Timestamp(5)))),
    ];
    // Even with a quorum's signatures over the changed header, so that the other checks are seen to bite.
    for (wanted, change) in signed {
        let mut forged = good.clone();
        change(&mut forged);
        network.resign(&mut forged);
        assert_eq!(part(verifier.verify(forged).unwrap_err()), wanted);
    }
    let unsigned: Vec<Change> = vec![
        Box::new(|b| b.header.tx_count += 1),
        Box::new(|b| b.header.proposer.0[0] ^= 1),
        Box::new(|b| b.certificate.round = Round(1)),
        Box::new(|b| b.certificate.height = Height(9)),
        Box::new(|b| b.certificate.signatures.truncate(2)),
        Box::new(|b| b.certificate.signers = Bitmap::default()),
        Box::new(|b| b.certificate.signatures.swap(0, 1)),
        Box::new(|b| {
            let two = b.certificate.signatures.iter().take(2).copied();
            let two = two.enumerate().map(|(at, signature)| (ValidatorIndex(at as u16), signature)).collect();
            b.certificate = CommitCertificate::assemble(Height(2), b.certificate.round, b.certificate.block, two);
        }),
    ];
    for change in unsigned {
        let mut forged = good.clone();
        change(&mut forged);
        assert_eq!(part(verifier.verify(forged).unwrap_err()), "commit certificate");
    }
    // An earlier height with its own valid certificate is no replacement for the next one.
    let gap = network.block(vec![]);
    assert!(matches!(verifier.verify(gap.clone()), Err(Error::Gap { expected: 2, found: 3, .. })));
    verifier.verify(good.clone()).unwrap();
    assert_eq!(part(verifier.verify(good).unwrap_err()), "height");
    verifier.verify(gap).unwrap();
}

/// Operators made of blocks by height; each may replace some of them.
struct Served {
    lies: Vec<HashMap<u64, NamespaceBlock>>,
    truth: Vec<NamespaceBlock>,
    opened: Mutex<Vec<usize>>,
}

struct ServedFeed(std::vec::IntoIter<NamespaceBlock>);

impl Feed for ServedFeed {
    async fn next(&mut self) -> Result<NamespaceBlock, FeedError> {
        self.0.next().ok_or_else(|| FeedError::Gone("the stream ended".to_owned()))
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
        self.opened.lock().unwrap().push(index);
        let blocks = self.truth.iter().skip(height as usize - 1).cloned();
        let served: Vec<_> =
            blocks.map(|block| self.lies[index].get(&block.header.height.0).cloned().unwrap_or(block)).collect();
        Ok(ServedFeed(served.into_iter()))
    }
}

fn forge(block: &NamespaceBlock) -> NamespaceBlock {
    let mut forged = block.clone();
    let transaction = Transaction { namespace: NAMESPACE, valid_until: None, hint: None, data: transfer(99) };
    forged.transactions = vec![transaction];
    forged
}

#[tokio::test]
async fn a_lying_operator_is_left_for_an_honest_one_and_counted() {
    let mut network = Network::new();
    let truth: Vec<_> = (0..4).map(|nonce| network.block(vec![transfer(nonce)])).collect();
    let lies = vec![[(3, forge(&truth[2]))].into_iter().collect(), HashMap::new()];
    let served = Served { lies, truth, opened: Mutex::default() };
    let verifier = BlockVerifier::from_genesis(&network.genesis, NAMESPACE).unwrap();
    let mut source = OperatorSource::new(served, verifier);
    for height in 1..=4 {
        let block = source.next().await.unwrap();
        assert_eq!((block.height, block.transactions), (height, vec![transfer(height - 1)]));
    }
    assert_eq!(source.switches(), 1);
}

#[tokio::test]
async fn a_forged_block_that_everybody_serves_stops_execution_before_it() {
    let mut network = Network::new();
    let truth: Vec<_> = (0..3).map(|nonce| network.block(vec![transfer(nonce)])).collect();
    let lie: HashMap<_, _> = [(2, forge(&truth[1]))].into_iter().collect();
    let served = Served { lies: vec![lie.clone(), lie], truth, opened: Mutex::default() };
    let verifier = BlockVerifier::from_genesis(&network.genesis, NAMESPACE).unwrap();
    let mut source = OperatorSource::new(served, verifier);
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Chain::open(dir.path(), Genesis::devnet(), b"").unwrap();
    chain.apply(&source.next().await.unwrap(), false).unwrap();
    let error = source.next().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ordered block 2 was refused: transactions does not hold: they are not those that the header commits to"
    );
    assert_eq!(chain.head().ordered.height, 1);
    // The checkpoint stored with the block lets a later start go on with good operators.
    let checkpoint = chain.head().ordered.checkpoint;
    let mut resumed = BlockVerifier::resume(&network.genesis, NAMESPACE, checkpoint.0).unwrap();
    assert_eq!(resumed.next_height(), 2);
    let honest = Network::new().blocks(vec![vec![transfer(0)], vec![transfer(1)]]);
    resumed.verify(honest[1].clone()).unwrap();
}
