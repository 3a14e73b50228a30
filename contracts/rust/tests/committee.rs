//! Rust and Solidity choose the same members and give a committee the same hash, in an embedded EVM, over many of each; and
//! both say the same of what a key signs to belong to an operator.
#![allow(clippy::unwrap_used, missing_docs)]

use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, Journal, TxEnv},
    database::{CacheDB, EmptyDB},
    primitives::{TxKind, hardfork::SpecId},
    state::AccountInfo,
};
use squad_contracts::restaking;
use squad_types::hash::keccak256;
use squad_types::limits::MAX_COMMITTEE;
use squad_types::*;

/// Lists of members that are compared.
const CASES: u64 = 1_000;

type Evm = MainnetEvm<Context<BlockEnv, TxEnv, CfgEnv, CacheDB<EmptyDB>, Journal<CacheDB<EmptyDB>>>>;

/// Answers everything with its own address, which read as a number of blocks is a long delay: all that a stake table asks of
/// EigenLayer's core when it is created.
const CORE: u64 = 0x0002_0000;
/// ADDRESS PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
const ITS_ADDRESS: [u8; 7] = [0x30, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];

fn word(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

struct Chain {
    evm: Evm,
    table: alloy_primitives::Address,
}

impl Chain {
    fn new() -> Self {
        let mut cfg = CfgEnv::new_with_spec(SpecId::PRAGUE);
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        cfg.disable_nonce_check = true;
        let mut db = CacheDB::new(EmptyDB::default());
        let code = Bytecode::new_raw(ITS_ADDRESS.to_vec().into());
        let core = alloy_primitives::Address::from_slice(&word(CORE)[12..]);
        db.insert_account_info(core, AccountInfo::default().with_code(code));
        let evm = Context::mainnet().with_db(db).with_cfg(cfg).build_mainnet();
        let mut chain = Self { evm, table: core };
        // The settings: core, operator set, registrar, one strategy that counts one, limits and windows.
        let head = [32, CORE, 1, 1, 1, 320, 384, 1, 100, 300, 50_400];
        let lists = [1, 1, 1, 1_000_000_000_000_000_000];
        let settings: Vec<u8> = head.iter().chain(&lists).flat_map(|value| word(*value)).collect();
        chain.table = chain.create(restaking::stake_table().create_with(&settings));
        chain
    }

    fn create(&mut self, data: Vec<u8>) -> alloy_primitives::Address {
        let create = TxEnv::builder().kind(TxKind::Create).data(data.into()).gas_limit(30_000_000);
        let created = self.evm.transact_commit(create.build().unwrap()).unwrap();
        created.created_address().unwrap_or_else(|| panic!("the contract is not created: {created:?}"))
    }

    /// What a contract answers; none if it reverts.
    fn call(&mut self, to: alloy_primitives::Address, data: Vec<u8>) -> Option<Vec<u8>> {
        let call = TxEnv::builder().kind(TxKind::Call(to)).data(data.into()).gas_limit(1_000_000_000);
        let result = self.evm.transact(call.build().unwrap()).unwrap().result;
        result.is_success().then(|| result.output().unwrap().to_vec())
    }

    fn hash(&mut self, epoch: Epoch, members: &[Member]) -> Option<Digest> {
        let answer = self.call(self.table, restaking::hash_of(epoch, members))?;
        Some(Digest(answer.try_into().unwrap()))
    }
}

/// Numbers that are the same each time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        u64::from_be_bytes(keccak256(&self.0.to_be_bytes())[..8].try_into().unwrap())
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Up to `most` candidates with different keys, in no order; many weigh the same, and some nothing.
    fn candidates(&mut self, most: u64) -> Vec<Member> {
        let kinds = 1 + self.below(20);
        let candidate = |draw: &mut Self| {
            let mut key = [0; 20];
            key.copy_from_slice(&keccak256(&draw.next().to_be_bytes())[12..]);
            let stake = match draw.below(8) {
                0 => 0,
                1 => Committee::MAX_TOTAL / MAX_COMMITTEE as u64,
                2 => draw.below(1 << 40),
                _ => draw.below(kinds),
            };
            Member { address: Address(key), stake: Stake(stake) }
        };
        (0..self.below(most + 1)).map(|_| candidate(self)).collect()
    }
}

/// The weightiest first, and of those that weigh the same the lower key.
fn choose(mut candidates: Vec<Member>, most: u64, least: Stake) -> Vec<Member> {
    candidates.retain(|member| member.stake >= least && member.stake.0 > 0);
    candidates.sort_by_key(|member| (std::cmp::Reverse(member.stake), member.address));
    candidates.truncate(most as usize);
    candidates.sort_by_key(|member| member.address);
    candidates
}

#[test]
fn rust_and_solidity_choose_the_same_members_and_hash_them_alike() {
    let (mut chain, mut draw) = (Chain::new(), Draw(1));
    let (mut committees, mut largest) = (0, 0);
    for case in 0..CASES {
        let candidates = draw.candidates(120);
        let (most, least) = (1 + draw.below(100), Stake(draw.below(4)));
        let expected = choose(candidates.clone(), most, least);
        let answer = chain.call(chain.table, restaking::choose(&candidates, most, least)).unwrap();
        let members = restaking::chosen(&answer).unwrap();
        assert_eq!(members, expected, "case {case}: {most} of {candidates:?} with {least} or more");
        let epoch = Epoch(draw.next());
        let by_rust = Committee::new(epoch, members.clone()).ok().map(|committee| committee.hash());
        assert_eq!(chain.hash(epoch, &members), by_rust, "case {case}: epoch {epoch}, {members:?}");
        committees += u64::from(by_rust.is_some());
        largest = largest.max(members.len());
    }
    assert!(committees > CASES * 9 / 10 && largest > 95, "{committees} committees, the largest of {largest}");
}

#[test]
fn what_is_no_committee_to_rust_has_no_hash() {
    let (mut chain, mut draw) = (Chain::new(), Draw(2));
    let member = |key: u8, stake| Member { address: Address([key; 20]), stake: Stake(stake) };
    let third = u64::MAX / 3;
    let lists = [
        vec![],
        vec![member(1, 0)],
        vec![member(1, 1), member(1, 1)],
        vec![member(2, 1), member(1, 1)],
        vec![member(1, third), member(2, 1)],
        vec![member(1, third + 1)],
        vec![member(1, u64::MAX), member(2, u64::MAX)],
    ];
    for members in lists {
        assert!(Committee::new(Epoch(3), members.clone()).is_err() && chain.hash(Epoch(3), &members).is_none());
    }
    let at_most = vec![member(1, third - 1), member(2, 1)];
    assert_eq!(chain.hash(Epoch(3), &at_most), Some(Committee::new(Epoch(3), at_most.clone()).unwrap().hash()));
    // As many as there may be, and one more.
    let mut many: Vec<Member> =
        std::iter::repeat_with(|| draw.candidates(100)).flatten().take(MAX_COMMITTEE + 1).collect();
    many.sort_by_key(|member| member.address);
    many.iter_mut().for_each(|member| member.stake = Stake(5));
    assert!(chain.hash(Epoch(3), &many).is_none());
    many.pop();
    assert_eq!(chain.hash(Epoch(3), &many), Some(Committee::new(Epoch(3), many.clone()).unwrap().hash()));
}

#[test]
fn a_key_signs_the_same_to_belong_to_an_operator() {
    let (mut chain, mut draw) = (Chain::new(), Draw(3));
    let mut arguments = [0; 96];
    arguments[12..32].copy_from_slice(chain.table.as_slice());
    (arguments[63], arguments[95]) = (100, 50);
    let registrar = chain.create(restaking::squad_registrar().create_with(&arguments));
    for _ in 0..20 {
        let mut address = || Address(keccak256(&draw.next().to_be_bytes())[12..].try_into().unwrap());
        let (operator, key) = (address(), address());
        let mut data = keccak256(b"keyDigest(address,address)")[..4].to_vec();
        for argument in [&operator, &key] {
            data.extend_from_slice(&[0; 12]);
            data.extend_from_slice(&argument.0);
        }
        let expected = restaking::key_digest(1, &Address(registrar.into_array()), &operator, &key);
        assert_eq!(chain.call(registrar, data), Some(expected.to_vec()));
    }
}
