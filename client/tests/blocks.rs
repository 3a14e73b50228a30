//! Blocks: a true chain passes over epochs, and every forged part is refused and named.
#![allow(clippy::unwrap_used, missing_docs)]

use squad_client::testing::{self, GENESIS_TIME, TestBlock, TestChain};
use squad_client::{BlockError, BlockVerifier, Checkpoint, CommitteeFollower, TrustedCommittee};
use squad_types::{
    Address, Decode, Digest, Encode, Epoch, FeeHint, HeaderHash, Height, MerkleRoot, NamespaceBlock, NamespaceId,
    NamespaceProof, NetworkId, Timestamp, Transaction, ValidatorIndex,
};

const EVM: NamespaceId = NamespaceId(1);
const BYTES: NamespaceId = NamespaceId(2);

fn transactions(count: u8) -> Vec<Transaction> {
    (0..count)
        .flat_map(|at| [testing::evm(EVM, vec![at; 20]), testing::opaque(BYTES, vec![at; 9], GENESIS_TIME)])
        .collect()
}

/// A chain of three verified blocks, its verifier, and the fourth block.
fn fixture() -> (TestChain, BlockVerifier, TestBlock) {
    let mut chain = TestChain::new(4);
    let mut verifier = BlockVerifier::from_genesis(&chain.genesis, EVM).unwrap();
    for count in [3, 0, 1] {
        let block = chain.block(transactions(count)).namespace_block(EVM);
        let verified = verifier.verify(block.clone()).unwrap();
        assert_eq!(verified.transactions().len(), usize::from(count));
        assert_eq!(verified.hash(), block.header.hash());
    }
    let next = chain.block(transactions(4));
    (chain, verifier, next)
}

fn refused(verifier: &BlockVerifier, block: NamespaceBlock) -> BlockError {
    let mut verifier = verifier.clone();
    let (height, newest) = (verifier.next_height(), verifier.committees().newest().clone());
    let error = verifier.verify(block).expect_err("a forged block passes");
    assert_eq!(verifier.next_height(), height, "a refused block moves nothing");
    assert_eq!(*verifier.committees().newest(), newest, "a refused block changes no committee");
    error
}

#[test]
fn every_forged_part_is_named() {
    let (chain, verifier, next) = fixture();
    let good = next.namespace_block(EVM);
    let with = |change: fn(&mut NamespaceBlock)| {
        let mut block = good.clone();
        change(&mut block);
        refused(&verifier, block).part()
    };
    assert_eq!(with(|b| b.namespace = BYTES), "namespace");
    assert_eq!(with(|b| b.header.version += 1), "version");
    assert_eq!(with(|b| b.header.network_id = NetworkId::ZERO), "network");
    assert_eq!(with(|b| b.header.height = Height(5)), "height");
    assert_eq!(with(|b| b.header.height = Height(3)), "height");
    assert_eq!(with(|b| b.header.epoch = Epoch(1)), "committee");
    assert_eq!(with(|b| b.header.epoch = Epoch(2)), "epoch");
    assert_eq!(with(|b| b.header.parent_hash = HeaderHash::ZERO), "header");
    assert_eq!(with(|b| b.header.proposer = Address::ZERO), "header");
    assert_eq!(with(|b| b.header.origin_round.0 += 1), "header");
    assert_eq!(with(|b| b.header.timestamp.0 += 1), "header");
    assert_eq!(with(|b| b.header.l1_anchor.number += 1), "header");
    assert_eq!(with(|b| b.header.l1_anchor.hash.0[0] ^= 1), "header");
    assert_eq!(with(|b| b.header.cut_digest.0[0] ^= 1), "header");
    assert_eq!(with(|b| b.header.namespaces_root = MerkleRoot::ZERO), "header");
    assert_eq!(with(|b| b.header.tx_count += 1), "header");
    assert_eq!(with(|b| b.header.params_hash = Digest::ZERO), "header");
    assert_eq!(with(|b| b.header.committee_hash = Digest::ZERO), "committee");
    assert_eq!(with(|b| b.header.next_committee_hash = Digest::ZERO), "header");
    assert_eq!(with(|b| b.header.signers.insert(ValidatorIndex(1))), "header");
    assert_eq!(with(|b| b.certificate.height.0 += 1), "commit certificate");
    assert_eq!(with(|b| b.certificate.round.0 += 1), "commit certificate");
    assert_eq!(with(|b| b.certificate.block = HeaderHash::ZERO), "commit certificate");
    assert_eq!(with(|b| b.certificate.signatures.truncate(3)), "commit certificate");
    assert_eq!(with(|b| b.certificate.signatures.swap(0, 1)), "commit certificate");
    assert_eq!(with(|b| b.next_committee = Some(Vec::new())), "next committee");
    assert_eq!(with(|b| b.transactions.truncate(3)), "transactions");
    assert_eq!(with(|b| b.transactions.push(b.transactions[0].clone())), "transactions");
    assert_eq!(with(|b| b.transactions.swap(0, 1)), "transactions");
    assert_eq!(with(|b| b.transactions[1].data = vec![0xff].into()), "transactions");
    assert_eq!(with(|b| b.transactions[1].namespace = BYTES), "transactions");
    assert_eq!(with(|b| b.transactions[1].valid_until = Some(Timestamp(1))), "transactions");
    assert_eq!(with(|b| b.proof = NamespaceProof::Absent { left: None, right: None }), "namespace proof");
    let mut other = good.clone();
    other.proof = next.namespace_block(BYTES).proof;
    assert_eq!(refused(&verifier, other).part(), "namespace proof");
    let mut few = good.clone();
    few.certificate = chain.certify_by(&few.header, 2);
    assert_eq!(refused(&verifier, few).part(), "commit certificate");
    verifier.clone().verify(good).unwrap();
}

#[test]
fn certified_headers_that_do_not_follow_are_refused_too() {
    let (chain, verifier, next) = fixture();
    let certified = |change: fn(&mut NamespaceBlock)| {
        let mut block = next.namespace_block(EVM);
        change(&mut block);
        block.certificate = chain.certify(&block.header);
        refused(&verifier, block).part()
    };
    assert_eq!(certified(|b| b.header.parent_hash = HeaderHash::ZERO), "parent hash");
    assert_eq!(certified(|b| b.header.timestamp.0 -= testing::BLOCK_INTERVAL_MS), "timestamp");
    assert_eq!(certified(|b| b.header.next_committee_hash = Digest::ZERO), "next committee");
    assert_eq!(certified(|b| b.header.namespaces_root = MerkleRoot::ZERO), "namespace proof");
    assert_eq!(certified(|b| b.header.tx_count = 1), "transactions");
}

#[test]
fn no_flipped_bit_of_a_block_changes_what_is_handed_out() {
    let (_, verifier, next) = fixture();
    let good = next.namespace_block(EVM);
    let expected = verifier.clone().verify(good.clone()).unwrap();
    let bytes = good.to_bytes();
    let mut passed = 0;
    for at in 0..bytes.len() {
        let mut forged = bytes.to_vec();
        forged[at] ^= 1 << (at % 8);
        if let Ok(verified) = verifier.clone().verify_bytes(forged.into()) {
            assert_eq!(verified, expected, "byte {at}");
            passed += 1;
        }
    }
    assert_eq!(passed, 0, "every byte of a block without hints is covered");
}

#[test]
fn fee_hints_are_taken_off() {
    let (_, mut verifier, next) = fixture();
    let mut block = next.namespace_block(EVM);
    block.transactions[0].hint = Some(FeeHint { sender: Address::ZERO, fee: u64::MAX });
    let verified = verifier.verify(block).unwrap();
    assert!(verified.transactions().iter().all(|tx| tx.transaction.hint.is_none()));
}

#[test]
fn committees_are_followed_over_epochs_and_checkpoints_go_on() {
    let mut chain = TestChain::new(4);
    chain.next_signers = testing::keys(2, 4);
    let mut verifier = BlockVerifier::from_genesis(&chain.genesis, BYTES).unwrap();
    for epoch in 0..12_u64 {
        if epoch > 0 {
            chain.start_epoch(testing::keys(epoch + 2, 4 + epoch % 3));
        }
        for count in [2, 0, 1] {
            let verified = verifier.verify(chain.block(transactions(count)).namespace_block(BYTES)).unwrap();
            assert_eq!(*verified.checkpoint().committee().committee(), chain.committee());
            let checkpoint = Checkpoint::from_bytes(verified.checkpoint().to_bytes()).unwrap();
            assert_eq!(checkpoint, *verified.checkpoint());
            // A verifier that only knows the checkpoint goes on like one that never stopped.
            verifier = BlockVerifier::resume(checkpoint, BYTES);
        }
    }
    assert_eq!(verifier.next_height(), Height(37));
}

#[test]
fn an_epoch_starts_only_with_its_next_committee_listed() {
    let (mut chain, mut verifier, next) = fixture();
    verifier.verify(next.namespace_block(EVM)).unwrap();
    chain.start_epoch(testing::keys(2, 4));
    let mut first = chain.block(Vec::new()).namespace_block(EVM);
    let listed = first.next_committee.take();
    assert_eq!(refused(&verifier, first.clone()).part(), "next committee");
    first.next_committee = Some(testing::genesis(&testing::keys(9, 4)).validators);
    assert_eq!(refused(&verifier, first.clone()).part(), "next committee");
    first.next_committee = listed;
    verifier.verify(first).unwrap();
    assert_eq!(verifier.committees().newest().epoch(), Epoch(2));
}

#[test]
fn a_follower_that_starts_in_the_middle_needs_the_proofs_up_to_there() {
    let mut chain = TestChain::new(4);
    let mut proofs = vec![chain.block(Vec::new()).committee_proof().unwrap()];
    for _ in 0..2 {
        chain.start_epoch(testing::keys(2, 4));
        proofs.push(chain.block(Vec::new()).committee_proof().unwrap());
    }
    let trusted = TrustedCommittee::from_genesis(&chain.genesis).unwrap();
    let follower = CommitteeFollower::from_trusted(trusted);
    let mut verifier = BlockVerifier::from_trusted(follower, EVM, Height(4));
    let block = chain.block(transactions(1)).namespace_block(EVM);
    let error = verifier.verify(block.clone()).unwrap_err();
    assert_eq!(error, BlockError::UnknownCommittee { found: Epoch(2), newest: Epoch(0) });
    proofs[..2].iter().for_each(|proof| verifier.follow(proof).unwrap());
    verifier.verify(block).unwrap();
    // Nobody has shown the committee of epoch 3 to this verifier, so it may not guess it.
    chain.start_epoch(testing::keys(2, 4));
    let first = chain.block(Vec::new()).namespace_block(EVM);
    assert_eq!(refused(&verifier, first.clone()).part(), "committee");
    verifier.follow(&proofs[2]).unwrap();
    verifier.verify(first).unwrap();
}

#[test]
fn a_block_as_bytes_with_anything_behind_it_is_refused() {
    let (_, mut verifier, next) = fixture();
    let mut bytes = next.namespace_block(EVM).to_bytes().to_vec();
    bytes.push(0);
    assert_eq!(verifier.verify_bytes(bytes.into()).unwrap_err().part(), "form");
    assert!(NamespaceBlock::from_bytes(bytes::Bytes::new()).is_err());
}
