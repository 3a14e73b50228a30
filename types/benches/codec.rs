//! What encoding and decoding cost, for every message that is large: a full batch, and what grows with the committee.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros write undocumented functions

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use squad_types::*;
use std::hint::black_box;
use std::sync::Arc;

/// Members of the committee: the design point.
const MEMBERS: u16 = 100;
/// Over two thirds of them.
const QUORUM: u16 = 67;
/// Bytes of a transaction.
const TRANSACTION: usize = 512;
/// Batches between one that is proved and the tip that was acknowledged.
const CHAIN: u64 = 16;
/// Transactions of an ordered block that one namespace follows.
const BLOCK: usize = 10_000;

fn domain() -> Domain {
    Domain::new(NetworkId([7; 32]))
}

/// A keyed hash stands in for a signature: it is as long, and making one is not what is measured.
fn signer(at: u16) -> KeyedHashSigner {
    let mut address = Address([1; 20]);
    address.0[..2].copy_from_slice(&at.to_be_bytes());
    KeyedHashSigner(address)
}

fn sign<T: keys::Statement + Clone>(at: u16, statement: T) -> Signed<T> {
    Verified::sign(statement, &domain(), &signer(at)).into_signed()
}

fn tip(lane: u16) -> Tip {
    Tip { sequence: Sequence(lane.into()), batch: BatchId([lane as u8; 32]) }
}

fn transactions(count: usize) -> Vec<Transaction> {
    let transaction = |at: usize| {
        let mut data = vec![0; TRANSACTION];
        data[..8].copy_from_slice(&at.to_be_bytes());
        Transaction { namespace: NamespaceId(1), valid_until: Some(Timestamp(9_000)), hint: None, data: data.into() }
    };
    (0..count).map(transaction).collect()
}

fn batch_header(sequence: u64) -> BatchHeader {
    BatchHeader {
        operator: signer(0).address(),
        epoch: Epoch(0),
        sequence: Sequence(sequence),
        parent: BatchId([1; 32]),
        payload: PayloadDigest([2; 32]),
        transactions_root: MerkleRoot([3; 32]),
        count: 991,
        bytes: limits::MAX_BATCH_BYTES as u32,
    }
}

fn batch() -> Message {
    let count = limits::MAX_BATCH_BYTES / (TRANSACTION + 17);
    let payload = Payload::pack(transactions(count).into_iter().map(Into::into).collect());
    Message::Batch(Batch { header: sign(0, batch_header(1)), payload: payload.bytes().clone() })
}

fn ack() -> Message {
    let entry = |lane: u16| ack::AckEntry { lane: ValidatorIndex(lane), tip: Some(tip(lane)) };
    let statement = Ack { epoch: Epoch(0), counter: AckCounter(9), root: MerkleRoot([4; 32]) };
    let entries = AckEntries::Full((0..MEMBERS).map(entry).collect());
    Message::Ack(AckMessage { ack: sign(1, statement), entries })
}

fn header() -> Header {
    Header {
        version: PROTOCOL_VERSION,
        network_id: NetworkId([7; 32]),
        height: Height(9),
        epoch: Epoch(0),
        parent_hash: HeaderHash([5; 32]),
        proposer: signer(0).address(),
        origin_round: Round(0),
        timestamp: Timestamp(9),
        l1_anchor: L1Anchor::default(),
        cut_digest: Digest([6; 32]),
        namespaces_root: MerkleRoot([7; 32]),
        tx_count: BLOCK as u32,
        params_hash: Digest([8; 32]),
        committee_hash: Digest([9; 32]),
        next_committee_hash: Digest([9; 32]),
        signers: (0..MEMBERS).map(ValidatorIndex).collect(),
    }
}

fn members() -> Vec<Member> {
    (0..MEMBERS).map(|at| Member { address: signer(at).address(), stake: Stake(1) }).collect()
}

/// A block that moves every lane and lists the next committee.
fn block() -> ProposedBlock {
    let entry = |lane: u16| CutEntry { lane: LaneId { epoch: Epoch(0), author: ValidatorIndex(lane) }, tip: tip(lane) };
    ProposedBlock::new(header(), (0..MEMBERS).map(entry).collect(), Vec::new(), Some(members()))
}

fn proposal() -> Message {
    let block = Arc::new(block());
    let statement = Proposal { height: Height(9), round: Round(0), valid_round: None, block: block.hash() };
    Message::Proposal(ProposalMessage { proposal: sign(0, statement), block })
}

fn commit_certificate() -> CommitCertificate {
    let vote = Vote { kind: VoteKind::Precommit, height: Height(9), round: Round(0), block: Some(HeaderHash([5; 32])) };
    let precommits = (0..QUORUM).map(|at| (ValidatorIndex(at), sign(at, vote).signature)).collect();
    CommitCertificate::assemble(vote.height, vote.round, HeaderHash([5; 32]), precommits)
}

fn batch_certificate() -> Message {
    let vector: Vec<Option<Tip>> = (0..MEMBERS).map(|lane| Some(tip(lane))).collect();
    let leaves = ack::vector_leaves(&vector);
    let proof = |at: u16| AckProof {
        validator: ValidatorIndex(at),
        ack: sign(at, Ack { epoch: Epoch(0), counter: AckCounter(9), root: ack::vector_root(&vector) }),
        tip: tip(0),
        path: merkle::prove(&leaves, 0).unwrap(),
    };
    Message::Secured(BatchCertificate {
        lane: LaneId { epoch: Epoch(0), author: ValidatorIndex(0) },
        headers: (0..CHAIN).map(|sequence| sign(0, batch_header(sequence))).collect(),
        acks: (0..QUORUM).map(proof).collect(),
    })
}

fn snapshot() -> Response {
    let named = || (0..MEMBERS).map(ValidatorIndex).collect();
    let tips: Vec<Option<Tip>> = (0..MEMBERS).map(|lane| Some(tip(lane))).collect();
    let state = ChainState {
        previous_tips: tips.clone(),
        tips,
        named_by: (0..MEMBERS).map(|_| named()).collect(),
        failed_turns: vec![0; MEMBERS.into()],
        ..ChainState::default()
    };
    let tip = OrderedBlock { block: Arc::new(block()), certificate: commit_certificate(), skipped: Vec::new() };
    Response::Snapshot(Some(Box::new(Snapshot { tip, state })))
}

fn namespace_block() -> NamespaceBlock {
    let leaf = NamespaceLeaf { namespace: NamespaceId(1), count: BLOCK as u32, transactions_root: MerkleRoot([7; 32]) };
    NamespaceBlock {
        header: header(),
        certificate: commit_certificate(),
        next_committee: Some(members()),
        namespace: NamespaceId(1),
        proof: NamespaceProof::build(&[leaf], NamespaceId(1)),
        transactions: transactions(BLOCK),
    }
}

fn both<T: Encode + Decode + PartialEq + std::fmt::Debug>(c: &mut Criterion, name: &str, value: &T) {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(bytes.clone()).unwrap(), *value);
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |b| b.iter(|| black_box(value).to_bytes()));
    group.bench_function("decode", |b| b.iter(|| T::from_bytes(black_box(bytes.clone())).unwrap()));
    group.finish();
}

fn codec(c: &mut Criterion) {
    both(c, "batch of 512 KiB", &batch());
    both(c, "ack of 100 lanes", &ack());
    both(c, "proposal of 100 lanes", &proposal());
    both(c, "commit certificate of 67", &Message::Commit(commit_certificate()));
    both(c, "batch certificate of 67, 16 headers", &batch_certificate());
    both(c, "snapshot of a committee of 100", &snapshot());
    both(c, "namespace block of 10k transactions", &namespace_block());
}

criterion_group!(benches, codec);
criterion_main!(benches);
