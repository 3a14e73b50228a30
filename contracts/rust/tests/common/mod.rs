//! What the tests of all contracts share: numbers that are the same each time, bytes that are nearly right, and a contract in
//! an EVM of its own.

use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{BlockEnv, CfgEnv, Journal, TxEnv},
    context_interface::result::ExecutionResult,
    database::{CacheDB, EmptyDB},
    primitives::{TxKind, U256, hardfork::SpecId},
};

/// Cases that are compared, of each contract.
pub(crate) const CASES: u64 = 100_000;
/// Threads that they are shared out to.
pub(crate) const SHARDS: u64 = 4;

type Evm = MainnetEvm<Context<BlockEnv, TxEnv, CfgEnv, CacheDB<EmptyDB>, Journal<CacheDB<EmptyDB>>>>;

/// A contract in an EVM of its own.
pub(crate) struct Deployed {
    evm: Evm,
    at: alloy_primitives::Address,
}

impl Deployed {
    /// Creates a contract at a time, in seconds since 1970.
    pub(crate) fn create(code: Vec<u8>, seconds: u64) -> Self {
        let mut cfg = CfgEnv::new_with_spec(SpecId::PRAGUE);
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        cfg.disable_nonce_check = true;
        let evm = Context::mainnet().with_db(CacheDB::new(EmptyDB::default())).with_cfg(cfg).build_mainnet();
        let mut deployed = Self { evm, at: alloy_primitives::Address::ZERO };
        deployed.set_time(seconds);
        let create = TxEnv::builder().kind(TxKind::Create).data(code.into()).gas_limit(30_000_000);
        let created = deployed.evm.transact_commit(create.build().unwrap()).unwrap();
        deployed.at = created.created_address().unwrap_or_else(|| panic!("the contract is not created: {created:?}"));
        deployed
    }

    pub(crate) fn set_time(&mut self, seconds: u64) {
        self.evm.ctx.block.timestamp = U256::from(seconds);
    }

    fn transaction(&self, data: Vec<u8>) -> TxEnv {
        let call = TxEnv::builder().kind(TxKind::Call(self.at)).data(data.into()).gas_limit(1_000_000_000);
        call.build().unwrap()
    }

    /// What a transaction would do. Nothing of it stays.
    pub(crate) fn call(&mut self, data: Vec<u8>) -> ExecutionResult {
        let transaction = self.transaction(data);
        self.evm.transact(transaction).unwrap().result
    }

    /// What a transaction does.
    #[allow(dead_code, reason = "not every contract has a state")]
    pub(crate) fn send(&mut self, data: Vec<u8>) -> ExecutionResult {
        let transaction = self.transaction(data);
        self.evm.transact_commit(transaction).unwrap()
    }
}

/// Numbers that are the same each time.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn hash(&mut self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&self.next().to_be_bytes());
        hash[31] = self.below(3) as u8;
        hash
    }

    /// Bytes that were changed in a place or two.
    pub(crate) fn mangle(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() as u64) as usize;
        match self.below(6) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.push(self.next() as u8),
            // The last byte: of a signature, its parity.
            4 => *bytes.last_mut().unwrap() ^= 1,
            _ => {
                let (from, len) = (self.below(bytes.len() as u64) as usize, self.below(40) as usize);
                let end = (from + len).min(bytes.len());
                let piece = bytes[from..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}
