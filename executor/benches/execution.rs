//! Transfers per second: the whole chain (signature recovery, EVM, state root, database) and its parts, next to revm
//! alone on its own in-memory database.
#![allow(clippy::unwrap_used, missing_docs)]

use alloy_primitives::{Address, B256, U256, keccak256};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder, MainContext,
    context::CfgEnv,
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use squad_executor::{
    Applied, Chain, DevAccount, Genesis, GenesisAccount, OrderedBlock, SenderTransaction, decode_all,
};

/// Transfers in a block.
const TRANSFERS: usize = 1_000;
/// Distinct senders, each with its own recipient.
const SENDERS: u8 = 100;

fn senders() -> Vec<DevAccount> {
    (1..=SENDERS).map(|at| DevAccount::from_secret(B256::repeat_byte(at)).unwrap()).collect()
}

fn genesis() -> Genesis {
    let mut genesis = Genesis::new(7);
    let balance = U256::from(10u64).pow(U256::from(24u64));
    for sender in senders() {
        genesis.alloc.insert(sender.address(), GenesisAccount { balance, ..GenesisAccount::default() });
    }
    genesis
}

fn recipient(at: usize) -> Address {
    Address::from_word(keccak256(at.to_be_bytes()))
}

/// Block `height` of an endless chain of transfers.
fn block(senders: &[DevAccount], height: u64, parent_hash: B256) -> OrderedBlock {
    let per_sender = (TRANSFERS / senders.len()) as u64;
    let transactions = (0..TRANSFERS)
        .map(|at| {
            let sender = &senders[at % senders.len()];
            let nonce = (height - 1) * per_sender + (at / senders.len()) as u64;
            sender.transfer(7, nonce, recipient(at), U256::ONE).0
        })
        .collect();
    OrderedBlock {
        height,
        timestamp_ms: height * 1_000,
        hash: keccak256(height.to_be_bytes()),
        parent_hash,
        proposer: Address::ZERO,
        transactions,
        checkpoint: bytes::Bytes::new(),
    }
}

fn execution(criterion: &mut Criterion) {
    let senders = senders();
    let mut group = criterion.benchmark_group("transfers in a block of 1000");
    group.throughput(Throughput::Elements(TRANSFERS as u64)).sample_size(20);

    group.bench_function("recover signatures", |bench| {
        let raws = block(&senders, 1, B256::ZERO).transactions;
        bench.iter(|| decode_all(&raws, 7));
    });

    group.bench_function("revm alone", |bench| {
        let transactions: Vec<_> = decode_all(&block(&senders, 1, B256::ZERO).transactions, 7)
            .into_iter()
            .map(|tx| SenderTransaction::environment(&tx.unwrap()))
            .collect();
        let mut db = CacheDB::new(EmptyDB::default());
        for (address, account) in genesis().alloc {
            db.insert_account_info(address, AccountInfo { balance: account.balance, ..AccountInfo::default() });
        }
        bench.iter_batched(
            || (db.clone(), transactions.clone()),
            |(db, transactions)| {
                let cfg = CfgEnv::new_with_spec(SpecId::PRAGUE).with_chain_id(7);
                let mut evm = Context::mainnet().with_db(db).with_cfg(cfg).build_mainnet();
                for tx in transactions {
                    evm.transact_commit(tx).unwrap();
                }
            },
            BatchSize::LargeInput,
        );
    });

    for (name, more_waits) in [("executor, synced each block", false), ("executor, catching up", true)] {
        group.bench_function(name, |bench| {
            let dir = tempfile::tempdir().unwrap();
            let mut chain = Chain::open(dir.path(), genesis(), b"").unwrap();
            // Signing the next block is not part of the measurement.
            bench.iter_custom(|rounds| {
                let mut spent = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let next = block(&senders, chain.next_height(), chain.head().ordered.hash);
                    let start = std::time::Instant::now();
                    let applied = chain.apply(&next, more_waits).unwrap();
                    spent += start.elapsed();
                    assert_eq!(applied, Applied::Executed { blocks: 1, transactions: TRANSFERS, skipped: 0 });
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, execution);
criterion_main!(benches);
