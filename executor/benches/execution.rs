//! Transactions per second: the whole chain (signature recovery, EVM, state root, receipts, database) and its parts, next
//! to revm alone on its own in-memory database.
#![allow(clippy::unwrap_used, missing_docs)]

mod workload;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    context::CfgEnv,
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::{AccountInfo, Bytecode},
};
use squad_executor::{Applied, Chain, SenderTransaction, decode_all};
use std::time::{Duration, Instant};
use workload::{CHAIN, Kind, Workload};

/// Transactions in a block.
const TRANSACTIONS: usize = 1_000;

fn in_memory(workload: &Workload) -> CacheDB<EmptyDB> {
    let mut db = CacheDB::new(EmptyDB::default());
    for (address, account) in workload.genesis().alloc {
        let code = Bytecode::new_raw(account.code.clone());
        let info = AccountInfo::new(account.balance, account.nonce, alloy_primitives::keccak256(&account.code), code);
        db.insert_account_info(address, info);
        for (slot, value) in account.storage {
            db.insert_account_storage(address, slot, value).unwrap();
        }
    }
    db
}

fn execution(criterion: &mut Criterion) {
    for (name, kind) in [("transfers", Kind::Transfers), ("token mix", Kind::Mix)] {
        let mut group = criterion.benchmark_group(format!("{name}, a thousand a block"));
        group.throughput(Throughput::Elements(TRANSACTIONS as u64)).sample_size(20);

        let raws = Workload::new(kind, TRANSACTIONS).transactions();
        group.bench_function("recover signatures", |bench| bench.iter(|| decode_all(&raws, CHAIN)));

        group.bench_function("revm alone", |bench| {
            let decoded = decode_all(&raws, CHAIN).into_iter();
            let transactions: Vec<_> = decoded.map(|tx| SenderTransaction::environment(&tx.unwrap())).collect();
            let db = in_memory(&Workload::new(kind, TRANSACTIONS));
            bench.iter_batched(
                || (db.clone(), transactions.clone()),
                |(db, transactions)| {
                    let mut cfg = CfgEnv::new_with_spec(SpecId::PRAGUE).with_chain_id(CHAIN);
                    cfg.tx_gas_limit_cap = Some(u64::MAX);
                    let mut evm = Context::mainnet().with_db(db).with_cfg(cfg).build_mainnet();
                    for tx in transactions {
                        assert!(evm.transact_commit(tx).unwrap().is_success());
                    }
                },
                BatchSize::LargeInput,
            );
        });

        for (name, more_waits) in [("executor, synced each block", false), ("executor, catching up", true)] {
            group.bench_function(name, |bench| {
                let dir = tempfile::tempdir().unwrap();
                let mut workload = Workload::new(kind, TRANSACTIONS);
                let mut chain = Chain::open(dir.path(), workload.genesis(), b"").unwrap();
                // Signing the next block is not part of the measurement.
                bench.iter_custom(|rounds| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..rounds {
                        let next = workload.block(chain.next_height(), chain.head().ordered.hash);
                        let start = Instant::now();
                        let applied = chain.apply(&next, more_waits).unwrap();
                        spent += start.elapsed();
                        let expected = Applied::Executed { blocks: 1, transactions: TRANSACTIONS, skipped: 0 };
                        assert_eq!(applied, expected);
                    }
                    spent
                });
                let receipts = chain.reader().store.body(1).unwrap().unwrap().receipts;
                assert!(receipts.iter().all(|receipt| receipt.success), "a transaction of the workload fails");
            });
        }
        group.finish();
    }
}

criterion_group!(benches, execution);
criterion_main!(benches);
