//! Executing ordered blocks and calls with revm.

mod access;
mod block;
mod call;
mod record;
mod upcoming;

pub use access::{AccessOutcome, access_list};
pub use block::Execution;
pub(crate) use block::{execute, next_base_fee};
pub use call::{CALL_GAS_CAP, CallError, CallOutcome, CallRequest, call, estimate_gas};
pub use record::{EvmBlock, Skipped, StoredBody, StoredReceipt, StoredTransaction};
pub(crate) use upcoming::{PendingBlock, Upcoming};

use crate::{
    Genesis,
    state::{Overlay, StateRead},
};
use alloy_consensus::Header;
use revm::{
    Context, MainBuilder, MainContext, MainnetEvm,
    context::{BlockEnv, CfgEnv, Journal, TxEnv},
    primitives::{U256, eip4844},
};

/// The mainnet EVM over an overlay.
pub(crate) type Evm<B> = MainnetEvm<Context<BlockEnv, TxEnv, CfgEnv, Overlay<B>, Journal<Overlay<B>>, ()>>;

/// The EVM's view of a block with the environment fields of `header`.
pub(crate) fn block_env(genesis: &Genesis, header: &Header) -> BlockEnv {
    let mut env = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    };
    let fraction = if genesis.hardfork.has_requests() {
        eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE
    } else {
        eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_CANCUN
    };
    env.set_blob_excess_gas_and_price(header.excess_blob_gas.unwrap_or_default(), fraction);
    env
}

/// An EVM with the rollup's rules.
pub(crate) fn evm<B: StateRead>(genesis: &Genesis, block: BlockEnv, base: B) -> Evm<B> {
    let cfg = CfgEnv::new_with_spec(genesis.hardfork.spec()).with_chain_id(genesis.chain_id);
    Context::mainnet().with_db(Overlay::new(base)).with_cfg(cfg).with_block(block).build_mainnet()
}

#[cfg(test)]
mod official;
