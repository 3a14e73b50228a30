//! What signatures, hashes and proofs cost: the figures that the CPU budget of a transaction is made of.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros write undocumented functions

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use squad_types::keys::Statement;
use squad_types::transaction::ids;
use squad_types::*;
use std::hint::black_box;

/// Bytes of a transaction, as in all of this project's figures.
const TRANSACTION: usize = 512;
/// Members of committees: a small network, and the design point.
const COMMITTEES: [usize; 2] = [4, 100];

fn signers(count: usize) -> Vec<EcdsaSigner> {
    let secret = |at: usize| {
        let mut secret = [0x5a; 32];
        secret[24..].copy_from_slice(&(at as u64).to_be_bytes());
        EcdsaSigner::from_secret(secret).unwrap()
    };
    let mut signers: Vec<_> = (0..count).map(secret).collect();
    signers.sort_by_key(Signer::address);
    signers
}

fn domain() -> Domain {
    Domain::new(NetworkId([7; 32]))
}

fn precommit() -> Vote {
    Vote { kind: VoteKind::Precommit, height: Height(9), round: Round(0), block: Some(HeaderHash([3; 32])) }
}

fn signatures(c: &mut Criterion) {
    let (domain, signer) = (domain(), signers(1).remove(0));
    let digest = domain.digest(&precommit());
    let signature = signer.sign(&digest);
    let mut group = c.benchmark_group("signature");
    group.bench_function("digest of a vote", |b| b.iter(|| domain.digest(black_box(&precommit() as &dyn Statement))));
    group.bench_function("sign", |b| b.iter(|| signer.sign(black_box(&digest))));
    group.bench_function("verify", |b| {
        b.iter(|| assert!(EcdsaVerifier.verify(black_box(&digest), &signer.address(), &signature)));
    });
    for members in COMMITTEES {
        let signers = signers(members);
        let member = |signer: &EcdsaSigner| Member { address: signer.address(), stake: Stake(1) };
        let committee = Committee::new(Epoch(0), signers.iter().map(member).collect()).unwrap();
        let quorum = members * 2 / 3 + 1;
        let signed = signers.iter().enumerate().take(quorum);
        let precommits = signed.map(|(at, signer)| (ValidatorIndex(at as u16), signer.sign(&digest))).collect();
        let vote = precommit();
        let certificate = CommitCertificate::assemble(vote.height, vote.round, vote.block.unwrap(), precommits);
        group.throughput(Throughput::Elements(quorum as u64));
        group.bench_function(format!("verify a commit certificate of {quorum} of {members}"), |b| {
            b.iter(|| black_box(&certificate).verify(&domain, &committee, &EcdsaVerifier).unwrap());
        });
    }
    group.finish();
}

fn transactions(count: usize) -> Vec<IdentifiedTransaction> {
    let transaction = |at: usize| {
        let mut data = vec![0; TRANSACTION];
        data[..8].copy_from_slice(&at.to_be_bytes());
        let (valid_until, data) = (Some(Timestamp(9_000)), data.into());
        Transaction { namespace: NamespaceId(1), valid_until, hint: None, data }.into()
    };
    (0..count).map(transaction).collect()
}

/// As many transactions as the largest batch holds.
fn full_batch() -> Payload {
    Payload::pack(transactions(limits::MAX_BATCH_BYTES / (TRANSACTION + 17)))
}

fn batches(c: &mut Criterion) {
    let payload = full_batch();
    let (bytes, count) = (payload.bytes().clone(), payload.transactions().len());
    let mut group = c.benchmark_group("batch of 512 KiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("payload digest", |b| b.iter(|| hash::blake3(black_box(&bytes))));
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("id of a transaction", |b| {
        b.iter(|| payload.transactions().iter().map(|tx| tx.transaction.id()).fold(0_u8, |all, id| all ^ id.0[0]));
    });
    let leaves = ids(payload.transactions());
    group.bench_function("transactions root", |b| b.iter(|| merkle::root(black_box(&leaves))));
    group.bench_function("parse, digest and root", |b| b.iter(|| Payload::parse(Bytes::clone(&bytes)).unwrap()));
    let (domain, signer) = (domain(), signers(1).remove(0));
    let header = BatchHeader {
        operator: signer.address(),
        epoch: Epoch(0),
        sequence: Sequence(1),
        parent: BatchId([1; 32]),
        payload: payload.digest(),
        transactions_root: payload.root(),
        count: count as u32,
        bytes: bytes.len() as u32,
    };
    let batch = Batch { header: Verified::sign(header, &domain, &signer).into_signed(), payload: bytes.clone() };
    group.bench_function("verify", |b| b.iter(|| batch.clone().verify(&domain, &EcdsaVerifier).unwrap()));
    group.finish();
}

fn proofs(c: &mut Criterion) {
    let leaves: Vec<Digest> = (0..50_000_u32).map(|at| merkle::leaf(&[&at.to_be_bytes()])).collect();
    let mut group = c.benchmark_group("merkle tree of 50k leaves");
    group.throughput(Throughput::Elements(leaves.len() as u64));
    group.bench_function("root", |b| b.iter(|| merkle::root(black_box(&leaves))));
    group.throughput(Throughput::Elements(1));
    let (root, index) = (merkle::root(&leaves), leaves.len() / 3);
    let proof = merkle::prove(&leaves, index).unwrap();
    group.sample_size(20).bench_function("prove one leaf", |b| b.iter(|| merkle::prove(black_box(&leaves), index)));
    group.bench_function("verify a proof", |b| {
        b.iter(|| assert!(black_box(&proof).holds(&leaves[index], &root)));
    });
    group.finish();
}

criterion_group!(benches, signatures, batches, proofs);
criterion_main!(benches);
