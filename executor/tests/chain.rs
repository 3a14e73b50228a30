//! The chain over made-up ordered blocks: execution, splitting, skipping, restarting.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bloom, Bytes, TxKind, U256, b256};
use common::{LOGGER, Ordered, REVERTER, STORER, deploy_code};
use proptest::prelude::*;
use squad_executor::{
    Applied, Chain, DEV_FEE_VAULT, Error, Genesis, GenesisAccount, OrderedBlock, SkipCode, StateRead, TRANSFER_GAS,
    TimestampRule, dev_accounts,
};
use std::path::Path;

fn open(dir: &Path) -> Chain {
    Chain::open(dir, Genesis::devnet(), b"test").unwrap()
}

fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10u64).pow(U256::from(18))
}

#[test]
fn a_transfer_moves_value_pays_the_vault_and_leaves_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = open(dir.path());
    let accounts = dev_accounts();
    let to = Address::repeat_byte(9);
    let mut ordered = Ordered::new();
    let raw = accounts[0].transfer(1516, 0, to, ether(3));
    let hash = alloy_primitives::keccak256(&raw);
    let block = ordered.block(vec![raw]);
    let applied = chain.apply(&block, false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 1, transactions: 1, skipped: 0 });

    let reader = chain.reader();
    let head = reader.head();
    assert_eq!(head.header.number, 1);
    assert_eq!(head.header.gas_used, TRANSFER_GAS);
    assert_eq!(head.header.mix_hash, block.hash);
    assert_eq!(head.header.parent_beacon_block_root, Some(block.hash));
    assert_eq!(head.header.timestamp, block.timestamp_ms / 1000);
    let state = reader.state_at(1).unwrap();
    assert_eq!(state.account(to).unwrap().unwrap().balance, ether(3));
    let base_fee = head.header.base_fee_per_gas.unwrap();
    let vault = state.account(DEV_FEE_VAULT).unwrap().unwrap().balance;
    assert_eq!(vault, U256::from(base_fee * TRANSFER_GAS));
    let tip = U256::from(1_000_000_000u64 * TRANSFER_GAS);
    assert_eq!(state.account(block.proposer).unwrap().unwrap().balance, tip);
    assert_eq!(state.account(accounts[0].address()).unwrap().unwrap().balance, ether(10_000) - ether(3) - vault - tip);
    assert_eq!(reader.store.transaction(hash).unwrap(), Some((1, 0)));
    // The state before the block can still be read.
    assert!(reader.state_at(0).unwrap().account(to).unwrap().is_none());
}

#[test]
fn contracts_deploy_run_log_and_revert() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = open(dir.path());
    let sender = &dev_accounts()[1];
    let create =
        |nonce, code: &[u8]| sender.transact(1516, nonce, TxKind::Create, U256::ZERO, deploy_code(code), 200_000);
    let call = |nonce, to: Address, input: &[u8]| {
        let input = Bytes::copy_from_slice(input);
        sender.transact(1516, nonce, TxKind::Call(to), U256::ZERO, input, 100_000)
    };
    let at = |nonce| sender.address().create(nonce);
    let mut ordered = Ordered::new();
    let block = ordered.block(vec![
        create(0, &STORER),
        create(1, &LOGGER),
        create(2, &REVERTER),
        call(3, at(0), &U256::from(77).to_be_bytes::<32>()),
        call(4, at(1), &[]),
        call(5, at(2), &[]),
    ]);
    chain.apply(&block, false).unwrap();
    let reader = chain.reader();
    let body = reader.store.body(1).unwrap().unwrap();
    let success: Vec<_> = body.receipts.iter().map(|receipt| receipt.success).collect();
    assert_eq!(success, [true, true, true, true, true, false]);
    let state = reader.state_at(1).unwrap();
    assert_eq!(state.storage(at(0), U256::ZERO).unwrap(), U256::from(77));
    let stored = state.account(at(0)).unwrap().unwrap();
    assert_eq!(state.code(stored.code_hash).unwrap().original_bytes().as_ref(), STORER);

    let logs = &body.receipts[4].logs;
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].address, at(1));
    let header = reader.store.header(1).unwrap().unwrap();
    let mut bloom = Bloom::ZERO;
    bloom.accrue_log(&logs[0]);
    assert_eq!(header.logs_bloom, bloom);

    // The storage survives a restart, and clearing it works.
    let root = reader.head().header.state_root;
    drop((chain, reader, state));
    let mut chain = open(dir.path());
    assert_eq!(chain.head().header.state_root, root);
    chain.apply(&ordered.block(vec![call(6, at(0), &[0; 32])]), false).unwrap();
    let state = chain.reader().state_at(2).unwrap();
    assert_eq!(state.storage(at(0), U256::ZERO).unwrap(), U256::ZERO);
}

#[test]
fn every_refusal_is_kept_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut genesis = Genesis::devnet();
    let poor = squad_executor::DevAccount::from_secret(B256::repeat_byte(5)).unwrap();
    genesis.alloc.insert(poor.address(), GenesisAccount { balance: U256::ONE, ..Default::default() });
    let mut chain = Chain::open(dir.path(), genesis, b"test").unwrap();
    let rich = &dev_accounts()[0];
    let to = Address::repeat_byte(1);
    let cheap = rich.sign(alloy_consensus::TxEip1559 {
        chain_id: 1516,
        gas_limit: TRANSFER_GAS,
        max_fee_per_gas: 1,
        to: TxKind::Call(to),
        ..Default::default()
    });
    let blob = rich.sign::<alloy_consensus::TxEip4844Variant>(alloy_consensus::TxEip4844Variant::TxEip4844(
        alloy_consensus::TxEip4844 {
            chain_id: 1516,
            blob_versioned_hashes: vec![B256::repeat_byte(1)],
            ..Default::default()
        },
    ));
    let raw =
        |tx: &alloy_consensus::TxEnvelope| -> Bytes { alloy_eips::eip2718::Encodable2718::encoded_2718(tx).into() };
    let cases = [
        (Bytes::from_static(b"garbage"), SkipCode::Undecodable),
        (Bytes::new(), SkipCode::Undecodable),
        (raw(&blob), SkipCode::BlobTransaction),
        (rich.transfer(1, 0, to, U256::ZERO), SkipCode::WrongChainId),
        (rich.transfer(1516, 1, to, U256::ZERO), SkipCode::NonceTooHigh),
        (poor.transfer(1516, 0, to, U256::ONE), SkipCode::InsufficientFunds),
        (raw(&cheap), SkipCode::FeeBelowBaseFee),
        (rich.transact(1516, 0, TxKind::Call(to), U256::ZERO, Bytes::new(), 20_999), SkipCode::IntrinsicGasTooLow),
        (rich.transact(1516, 0, TxKind::Call(to), U256::ZERO, Bytes::new(), 36_000_001), SkipCode::GasLimitTooHigh),
    ];
    let mut ordered = Ordered::new();
    let block = ordered.block(cases.iter().map(|(raw, _)| raw.clone()).collect());
    let applied = chain.apply(&block, false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 0, transactions: 0, skipped: cases.len() });
    let store = chain.reader().store;
    for (position, (raw, code)) in cases.iter().enumerate() {
        let record = store.skip(alloy_primitives::keccak256(raw)).unwrap().unwrap();
        assert_eq!(record.reason.code, *code, "{position}: {}", record.reason);
        assert_eq!((record.height, record.position), (1, position as u32));
        assert!(!record.reason.detail.is_empty());
    }
    assert_eq!(store.skips_at(1, 100).unwrap().len(), cases.len());
    // A repeat of an executed transaction is skipped, and its receipt stays.
    let once = rich.transfer(1516, 0, to, U256::ONE);
    let block = ordered.block(vec![once.clone(), once.clone()]);
    let applied = chain.apply(&block, false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 1, transactions: 1, skipped: 1 });
    let record = store.skip(alloy_primitives::keccak256(&once)).unwrap().unwrap();
    assert_eq!(record.reason.code, SkipCode::NonceTooLow);
}

#[test]
fn the_base_fee_follows_eip_1559() {
    let dir = tempfile::tempdir().unwrap();
    let mut genesis = Genesis::devnet();
    genesis.gas_limit = 4 * TRANSFER_GAS + 100_000;
    let limit = genesis.gas_limit;
    let mut chain = Chain::open(dir.path(), genesis, b"test").unwrap();
    let sender = &dev_accounts()[0];
    let mut ordered = Ordered::new();
    let mut nonce = 0..;
    let mut next = |count: usize| -> Vec<Bytes> {
        nonce.by_ref().take(count).map(|n| sender.transfer(1516, n, Address::ZERO, U256::ONE)).collect()
    };
    chain.apply(&ordered.block(next(1)), false).unwrap();
    // Block 0 was empty: an eighth down.
    assert_eq!(chain.head().header.base_fee_per_gas, Some(875_000_000));
    let (used, target) = (u128::from(TRANSFER_GAS), u128::from(limit / 2));
    let expected = 875_000_000 - 875_000_000 * (target - used) / target / 8;
    chain.apply(&ordered.block(next(8)), false).unwrap();
    assert_eq!(chain.head().header.base_fee_per_gas, Some(expected as u64));
    assert!(u128::from(chain.head().header.gas_used) > target);
    chain.apply(&ordered.block(next(1)), false).unwrap();
    assert!(chain.head().header.base_fee_per_gas.unwrap() > expected as u64);
}

#[test]
fn an_ordered_block_above_the_gas_limit_becomes_several_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut genesis = Genesis::devnet();
    genesis.gas_limit = 5 * TRANSFER_GAS;
    genesis.timestamp_rule = TimestampRule::After;
    let mut chain = Chain::open(dir.path(), genesis, b"test").unwrap();
    let sender = &dev_accounts()[0];
    let mut ordered = Ordered::new();
    let mut raws: Vec<_> = (0..12).map(|n| sender.transfer(1516, n, Address::ZERO, U256::ONE)).collect();
    // What can never execute does not close a block.
    let hungry = sender.transact(1516, 99, TxKind::Create, U256::ZERO, Bytes::new(), 105_000);
    raws.insert(3, hungry);
    let block = ordered.block(raws);
    let applied = chain.apply(&block, false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 3, transactions: 12, skipped: 1 });
    let store = chain.reader().store;
    assert_eq!(store.evm_blocks(1).unwrap(), Some((1, 3)));
    let counts: Vec<_> = (1..=3).map(|number| store.body(number).unwrap().unwrap().transactions.len()).collect();
    assert_eq!(counts, [5, 5, 2]);
    let headers: Vec<_> = (0..=3).map(|number| store.header(number).unwrap().unwrap()).collect();
    for pair in headers.windows(2) {
        assert_eq!(pair[1].parent_hash, pair[0].hash_slow());
        assert!(pair[1].timestamp > pair[0].timestamp);
    }
    assert_eq!(headers[3].extra_data[8..], [0, 0, 0, 2]);
}

#[test]
fn gaps_forks_repeats_and_wrong_parents_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = open(dir.path());
    let sender = &dev_accounts()[0];
    let mut ordered = Ordered::new();
    let first = ordered.block(vec![sender.transfer(1516, 0, Address::ZERO, U256::ONE)]);
    let second = ordered.block(vec![sender.transfer(1516, 1, Address::ZERO, U256::ONE)]);
    let third = ordered.block(vec![]);
    assert!(matches!(chain.apply(&second, false), Err(Error::Gap { expected: 1, found: 2, .. })));
    chain.apply(&first, false).unwrap();
    let before = chain.head();
    assert_eq!(chain.apply(&first, false).unwrap(), Applied::Repeated);
    assert!(matches!(chain.apply(&third, false), Err(Error::Gap { expected: 2, found: 3, .. })));
    let forged = OrderedBlock { parent_hash: B256::repeat_byte(0xee), ..second.clone() };
    let error = chain.apply(&forged, false).unwrap_err();
    assert!(error.to_string().contains("ordered block 2 was refused: its parent hash"), "{error}");
    let fork = OrderedBlock { hash: B256::repeat_byte(1), ..first.clone() };
    assert!(matches!(chain.apply(&fork, false), Err(Error::Fork { height: 1, .. })));
    assert_eq!(chain.head().hash, before.hash);
    chain.apply(&second, false).unwrap();
}

#[test]
fn another_rollups_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let error = Chain::open(dir.path(), Genesis::devnet(), b"other").unwrap_err();
    assert!(matches!(error, Error::ForeignData { .. }), "{error}");
    let mut genesis = Genesis::devnet();
    genesis.base_fee_vault = None;
    assert!(Chain::open(dir.path(), genesis, b"test").is_err());
}

/// The roots of two allocations, computed with alloy-trie's full rebuild.
#[test]
fn the_genesis_root_is_ethereums() {
    let dir = tempfile::tempdir().unwrap();
    let mut genesis = Genesis::new(7);
    genesis.alloc.clear();
    let chain = Chain::open(dir.path(), genesis.clone(), b"empty").unwrap();
    // Ethereum's empty trie.
    let empty = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
    assert_eq!(chain.head().header.state_root, empty);

    let genesis = Genesis::devnet();
    let expected = alloy_trie::root::state_root_unhashed(genesis.alloc.iter().map(|(who, account)| {
        let code_hash = alloy_primitives::keccak256(&account.code);
        let storage = alloy_trie::EMPTY_ROOT_HASH;
        (*who, alloy_trie::TrieAccount::new(account.nonce, account.balance, storage, code_hash))
    }));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).head().header.state_root, expected);
}

/// A random transaction: mostly sound, sometimes with a wrong nonce, sometimes garbage.
#[derive(Debug, Clone)]
enum Step {
    Transfer { from: usize, to: u8, skew: u64 },
    Store { from: usize, value: u8 },
    Deploy { from: usize },
    Garbage(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..3, 0u8..6, prop_oneof![9 => Just(0u64), 1 => Just(1u64)])
            .prop_map(|(from, to, skew)| Step::Transfer { from, to, skew }),
        3 => (0usize..3, 0u8..3).prop_map(|(from, value)| Step::Store { from, value }),
        1 => (0usize..3).prop_map(|from| Step::Deploy { from }),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Step::Garbage),
    ]
}

const STORE_AT: Address = Address::repeat_byte(0x57);

fn random_genesis() -> Genesis {
    let mut genesis = Genesis::devnet();
    genesis.gas_limit = 300_000;
    let storage = [(U256::ZERO, U256::from(5))].into_iter().collect();
    let code = Bytes::from_static(&STORER);
    let contract = GenesisAccount { nonce: 1, code, storage, ..Default::default() };
    genesis.alloc.insert(STORE_AT, contract);
    genesis
}

fn random_blocks(steps: Vec<Vec<Step>>) -> Vec<OrderedBlock> {
    let accounts = dev_accounts();
    let mut nonces = [0u64; 3];
    let mut ordered = Ordered::new();
    let mut raw = |step: Step| -> Bytes {
        match step {
            Step::Garbage(bytes) => bytes.into(),
            Step::Transfer { from, to, skew } => {
                let nonce = nonces[from] + skew;
                nonces[from] += u64::from(skew == 0);
                accounts[from].transfer(1516, nonce, Address::repeat_byte(to), U256::from(to))
            }
            Step::Store { from, value } => {
                nonces[from] += 1;
                let input = U256::from(value).to_be_bytes::<32>().into();
                let to = TxKind::Call(STORE_AT);
                accounts[from].transact(1516, nonces[from] - 1, to, U256::ZERO, input, 60_000)
            }
            Step::Deploy { from } => {
                nonces[from] += 1;
                let code = deploy_code(&LOGGER);
                accounts[from].transact(1516, nonces[from] - 1, TxKind::Create, U256::ZERO, code, 120_000)
            }
        }
    };
    steps
        .into_iter()
        .map(|steps| {
            let raws = steps.into_iter().map(&mut raw).collect();
            ordered.block(raws)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn executors_agree_whatever_is_ordered_and_whenever_they_restart(
        steps in prop::collection::vec(prop::collection::vec(step(), 0..12), 1..8),
        restarts in prop::collection::vec(any::<bool>(), 8),
        unsynced in prop::collection::vec(any::<bool>(), 8),
    ) {
        let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut steady = Chain::open(dir_a.path(), random_genesis(), b"").unwrap();
        let mut restless = Chain::open(dir_b.path(), random_genesis(), b"").unwrap();
        let blocks = random_blocks(steps);
        for (at, block) in blocks.iter().enumerate() {
            steady.apply(block, false).unwrap();
            restless.apply(block, unsynced[at]).unwrap();
            if restarts[at] {
                // Dropped without a flush, as a killed process would leave it.
                drop(restless);
                restless = Chain::open(dir_b.path(), random_genesis(), b"").unwrap();
                for missing in &blocks[(restless.next_height() - 1) as usize..=at] {
                    restless.apply(missing, true).unwrap();
                }
            }
            let (a, b) = (steady.head(), restless.head());
            prop_assert_eq!(a.hash, b.hash);
            prop_assert_eq!(a.ordered, b.ordered);
        }
        let store = steady.reader().store;
        for number in 0..=steady.head().header.number {
            prop_assert_eq!(store.header(number).unwrap(), restless.reader().store.header(number).unwrap());
            let body = store.body(number).unwrap().unwrap();
            prop_assert_eq!(&body, &restless.reader().store.body(number).unwrap().unwrap());
            for tx in &body.transactions {
                let decoded = squad_executor::SenderTransaction::decode(&tx.raw, 1516).unwrap();
                prop_assert_eq!(decoded.sender, tx.sender);
                prop_assert!(decoded.envelope.gas_limit() <= 300_000);
            }
        }
    }
}
