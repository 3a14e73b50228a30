//! Every type of transaction, the order's effect on them, and what becomes of oversized blocks.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use alloy_consensus::{TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718,
    eip2930::{AccessList, AccessListItem},
    eip7702::Authorization,
};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use common::{LOGGER, Ordered, STORER, deploy_code};
use squad_executor::{Applied, Chain, DEV_FEE_VAULT, Genesis, Hardfork, LogFilter, SkipCode, StateRead, dev_accounts};

const CHAIN: u64 = 1516;
const FEE: u128 = 100_000_000_000;

fn raw(tx: TxEnvelope) -> Bytes {
    tx.encoded_2718().into()
}

fn open(genesis: Genesis) -> (tempfile::TempDir, Chain) {
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::open(dir.path(), genesis, b"").unwrap();
    (dir, chain)
}

#[test]
fn every_type_up_to_eip_7702_is_executed_with_its_own_receipt() {
    let (_dir, mut chain) = open(Genesis::devnet());
    let [deployer, sender, delegator, ..] = &dev_accounts()[..] else { unreachable!() };
    let contract = deployer.address().create(0);
    let mut ordered = Ordered::new();
    let deploy = deployer.transact(CHAIN, 0, TxKind::Create, U256::ZERO, deploy_code(&STORER), 200_000);
    chain.apply(&ordered.block(vec![deploy]), false).unwrap();

    let to = TxKind::Call(contract);
    let word = |value: u64| Bytes::from(U256::from(value).to_be_bytes::<32>());
    let legacy = |chain_id, nonce, value| TxLegacy {
        chain_id,
        nonce,
        gas_price: FEE,
        gas_limit: 100_000,
        to,
        value: U256::ZERO,
        input: word(value),
    };
    let access_list = AccessList(vec![AccessListItem { address: contract, storage_keys: vec![B256::ZERO] }]);
    let with_list = TxEip2930 {
        chain_id: CHAIN,
        nonce: 2,
        gas_price: FEE,
        gas_limit: 100_000,
        to,
        access_list,
        input: word(3),
        ..Default::default()
    };
    let authorization = Authorization { chain_id: U256::from(CHAIN), address: contract, nonce: 0 };
    let signature = delegator.sign_hash(authorization.signature_hash());
    let set_code = TxEip7702 {
        chain_id: CHAIN,
        nonce: 3,
        gas_limit: 200_000,
        max_fee_per_gas: FEE,
        max_priority_fee_per_gas: 0,
        to: delegator.address(),
        authorization_list: vec![authorization.into_signed(signature)],
        input: word(4),
        ..Default::default()
    };
    let block = ordered.block(vec![
        raw(sender.sign(legacy(Some(CHAIN), 0, 1))),
        // Signed before EIP-155: valid on every chain.
        raw(sender.sign(legacy(None, 1, 2))),
        raw(sender.sign(with_list)),
        raw(sender.sign(set_code)),
        sender.transact(CHAIN, 4, to, U256::ZERO, word(5), 100_000),
    ]);
    let applied = chain.apply(&block, false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 1, transactions: 5, skipped: 0 });
    let reader = chain.reader();
    let body = reader.store.body(2).unwrap().unwrap();
    let types: Vec<_> = body.receipts.iter().map(|receipt| (receipt.tx_type, receipt.success)).collect();
    assert_eq!(types, [(0, true), (0, true), (1, true), (4, true), (2, true)]);
    let state = reader.state_at(2).unwrap();
    assert_eq!(state.storage(contract, U256::ZERO).unwrap(), U256::from(5));
    // The delegator's own storage was written, through the code that it named.
    assert_eq!(state.storage(delegator.address(), U256::ZERO).unwrap(), U256::from(4));
    let delegated = state.account(delegator.address()).unwrap().unwrap();
    assert_eq!(delegated.nonce, 1);
    let designator = [&[0xef, 0x01, 0x00], contract.as_slice()].concat();
    assert_eq!(state.code(delegated.code_hash).unwrap().original_bytes().as_ref(), designator);
    // An account with delegated code may still send.
    let moved = delegator.transfer(CHAIN, 1, Address::repeat_byte(3), U256::ONE);
    let applied = chain.apply(&ordered.block(vec![moved]), false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 1, transactions: 1, skipped: 0 });
    // And the delegation lives on where the chain is opened anew.
    let root = chain.head().header.state_root;
    assert_eq!(chain.reader().state_at(3).unwrap().rebuild_root().unwrap(), root);
}

#[test]
fn without_a_vault_base_fees_are_burnt_and_ether_only_disappears_so() {
    let total = |chain: &Chain, number: u64, proposer: Address| {
        let state = chain.reader().state_at(number).unwrap();
        let known = dev_accounts().into_iter().map(|account| account.address());
        let all = known.chain([proposer, DEV_FEE_VAULT, Address::repeat_byte(9)]);
        all.map(|who| state.account(who).unwrap().unwrap_or_default().balance).sum::<U256>()
    };
    for vault in [None, Some(DEV_FEE_VAULT)] {
        let mut genesis = Genesis::devnet();
        genesis.base_fee_vault = vault;
        let (_dir, mut chain) = open(genesis);
        let sender = &dev_accounts()[0];
        let block = Ordered::new().block(vec![sender.transfer(CHAIN, 0, Address::repeat_byte(9), U256::from(5))]);
        chain.apply(&block, false).unwrap();
        let header = chain.head().header;
        let fees = U256::from(header.base_fee_per_gas.unwrap()) * U256::from(header.gas_used);
        let burnt = total(&chain, 0, block.proposer) - total(&chain, 1, block.proposer);
        assert_eq!(burnt, if vault.is_some() { U256::ZERO } else { fees });
    }
}

#[test]
fn osaka_refuses_more_gas_than_its_cap_without_closing_the_block() {
    let mut genesis = Genesis::devnet();
    genesis.hardfork = Hardfork::Osaka;
    let (_dir, mut chain) = open(genesis);
    let [first, second, ..] = &dev_accounts()[..] else { unreachable!() };
    let to = TxKind::Call(Address::repeat_byte(1));
    let heavy = |sender: &squad_executor::DevAccount, nonce, gas| {
        sender.transact(CHAIN, nonce, to, U256::ZERO, Bytes::new(), gas)
    };
    let raws = vec![heavy(first, 0, 16_777_216), heavy(second, 0, 35_990_000), heavy(first, 1, 21_000)];
    let hash = alloy_primitives::keccak256(&raws[1]);
    let applied = chain.apply(&Ordered::new().block(raws), false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 1, transactions: 2, skipped: 1 });
    assert_eq!(chain.reader().store.skip(hash).unwrap().unwrap().reason.code, SkipCode::GasLimitTooHigh);
}

#[test]
fn more_bytes_than_ethereum_takes_in_a_block_become_several_blocks() {
    let mut genesis = Genesis::devnet();
    genesis.gas_limit = 1_000_000_000;
    let (_dir, mut chain) = open(genesis);
    let sender = &dev_accounts()[0];
    let large = |nonce| {
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 6_000_000,
            max_fee_per_gas: FEE,
            to: TxKind::Call(Address::repeat_byte(1)),
            input: vec![0; 500_000].into(),
            ..Default::default()
        };
        raw(sender.sign(tx))
    };
    let block = Ordered::new().block((0..20).map(large).collect());
    let applied = chain.apply(&block, false).unwrap();
    assert_eq!(applied, Applied::Executed { blocks: 2, transactions: 20, skipped: 0 });
    let counts = [1, 2].map(|number| chain.reader().store.body(number).unwrap().unwrap().transactions.len());
    assert_eq!(counts, [16, 4]);
}

#[test]
fn logs_are_found_by_address_and_topic_and_the_limit_is_a_whole_block() {
    let (_dir, mut chain) = open(Genesis::devnet());
    let sender = &dev_accounts()[0];
    let mut ordered = Ordered::new();
    let create = |nonce| sender.transact(CHAIN, nonce, TxKind::Create, U256::ZERO, deploy_code(&LOGGER), 200_000);
    chain.apply(&ordered.block(vec![create(0), create(1)]), false).unwrap();
    let (one, other) = (sender.address().create(0), sender.address().create(1));
    let mut nonce = 2..;
    let mut call =
        |to: Address| sender.transact(CHAIN, nonce.next().unwrap(), TxKind::Call(to), U256::ZERO, Bytes::new(), 60_000);
    let blocks = [vec![call(one), call(other)], vec![call(Address::ZERO)], vec![call(one), call(one), call(other)]];
    for block in blocks {
        chain.apply(&ordered.block(block), false).unwrap();
    }
    let store = chain.reader().store;
    let topic = B256::with_last_byte(7);
    let filter = LogFilter { addresses: vec![one], topics: vec![vec![B256::ZERO, topic]] };
    let found = store.logs(0, 100, &filter, 10).unwrap();
    let places: Vec<_> = found.logs.iter().map(|log| (log.number, log.transaction_index, log.log_index)).collect();
    assert_eq!((places, found.stopped_at), (vec![(2, 0, 0), (4, 0, 0), (4, 1, 1)], None));
    let header = store.header(4).unwrap().unwrap();
    assert_eq!((found.logs[2].block_hash, found.logs[2].timestamp), (header.hash_slow(), header.timestamp));
    assert_eq!(found.logs[2].transaction_hash, store.body(4).unwrap().unwrap().transactions[1].hash);
    assert_eq!(found.logs[0].log.topics(), [topic]);
    let cut = store.logs(0, 100, &filter, 2).unwrap();
    assert_eq!((cut.logs.len(), cut.stopped_at), (1, Some(4)));
    assert_eq!(store.logs(3, 3, &LogFilter::default(), 10).unwrap().logs, []);
    assert_eq!(store.logs(2, 4, &LogFilter::default(), 10).unwrap().logs.len(), 5);
    let never = LogFilter { topics: vec![vec![], vec![topic]], ..LogFilter::default() };
    assert_eq!(store.logs(0, 100, &never, 10).unwrap().logs, []);
}
