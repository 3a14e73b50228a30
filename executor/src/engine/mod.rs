//! Following the namespace with an execution client that nobody here wrote: geth, reth, Nethermind, EthereumJS …
//!
//! ```text
//! Chain ─ new head ─► drive: the client's own head, then each block above it in order
//!                       │ Sealed: header and transactions as ExecutionPayloadV3
//!                       ▼
//!                     EngineClient ─ HTTP, JWT ─► engine_newPayloadV3/V4, engine_forkchoiceUpdatedV3 ─► the client
//! ```
//!
//! The executor decides what a block is; the client executes it again and must come to the same hash, so each of its
//! `VALID` is a second opinion on every root. Guarantee: the client is given each EVM block above its own head, once and
//! in order, and only blocks of verified ordered blocks. All of them are final, so head, safe and finalized are the same
//! block.
//!
//! By [`EngineMode`], the client first builds the block itself from what decides it, and must come to the same one: every
//! field is compared. Then it is handed over as in the other modes.
//!
//! A failure that can pass (not reachable, still syncing) is tried again for ever. One that cannot ([`EngineError`] says
//! which) ends the executor: two opinions on a root are nothing to go on with.
//!
//! Not here: blobs, peers. Memory: one block and one answer at a time.

mod client;
mod drive;
mod error;
mod http;
mod jwt;
mod payload;

pub use drive::drive;
pub use error::EngineError;
pub use jwt::JwtSecret;

use crate::{DEV_FEE_VAULT, ExtraData, Genesis, Hardfork, TimestampRule};
use alloy_primitives::{Address, address};

/// How a client is fed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineMode {
    /// It is handed whole blocks, and executes them.
    #[default]
    Payload,
    /// It builds each block from the OP Stack's payload attributes first, which hold the transactions: op-geth, op-reth.
    OpAttributes,
    /// It builds each block by `testing_buildBlockV1` first: geth, reth, Nethermind, Besu, Erigon.
    TestingBuildBlock {
        /// Where it serves that method, as `http://host:port`: where its ordinary JSON-RPC is, without the secret.
        rpc: String,
    },
}

/// An execution client to feed.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Its Engine API, as `http://host:port`. Plain HTTP: it belongs on the same machine or a private network.
    pub url: String,
    /// The secret that both share.
    pub secret: JwtSecret,
    /// How it is fed.
    pub mode: EngineMode,
}

/// Where the OP Stack collects base fees.
const OP_FEE_VAULT: Address = DEV_FEE_VAULT;
/// Where the OP Stack reads what L1 costs, which its transactions pay too; nothing there means nothing to pay.
const OP_L1_BLOCK: Address = address!("0x4200000000000000000000000000000000000015");

/// Whether a client that is fed by `mode` can come to the same blocks as this rollup.
///
/// # Errors
/// [`EngineError::Config`] with the rule that no such client has.
pub fn check_followable(genesis: &Genesis, mode: &EngineMode) -> Result<(), EngineError> {
    if genesis.timestamp_rule != TimestampRule::After {
        let instead = "set it to \"after\", so that each block has a later second than its parent";
        return refuse("timestampRule", instead);
    }
    match mode {
        EngineMode::Payload | EngineMode::TestingBuildBlock { .. } => check_ethereum(genesis),
        EngineMode::OpAttributes => check_op(genesis),
    }
}

fn refuse(rule: &str, instead: impl std::fmt::Display) -> Result<(), EngineError> {
    Err(EngineError::Config(format!("no other execution client has this rollup's {rule}; {instead}")))
}

fn check_ethereum(genesis: &Genesis) -> Result<(), EngineError> {
    if genesis.base_fee_vault.is_some() {
        return refuse("baseFeeVault", "leave it out of the genesis, so that base fees are burnt");
    }
    if (genesis.elasticity, genesis.base_fee_change_denominator) != (2, 8) {
        return refuse("elasticity or baseFeeChangeDenominator", "set them to Ethereum's 2 and 8");
    }
    Ok(())
}

fn check_op(genesis: &Genesis) -> Result<(), EngineError> {
    if genesis.base_fee_vault != Some(OP_FEE_VAULT) {
        return refuse("baseFeeVault", format_args!("set it to {OP_FEE_VAULT}, where the OP Stack collects base fees"));
    }
    if genesis.hardfork != Hardfork::Cancun {
        // Isthmus has a contract's storage root in the header instead of the withdrawals root, and no requests.
        let instead =
            "the OP Stack's Isthmus is another rule than Prague; use Cancun's rules, which are those of Ecotone";
        return refuse("hardfork", instead);
    }
    if genesis.alloc.get(&OP_L1_BLOCK).is_some_and(|account| !account.code.is_empty() || !account.storage.is_empty()) {
        let instead = format_args!("leave {OP_L1_BLOCK} out of alloc: the OP Stack charges for L1 by what it says");
        return refuse("alloc", instead);
    }
    match genesis.extra_data {
        ExtraData::Place => {
            refuse("extraData", "set it to \"empty\" in config.squad, or to \"eip1559\" if the client has Holocene on")
        }
        ExtraData::Empty => Ok(()),
        // The first base fee follows from them.
        ExtraData::Eip1559 if genesis.header.extra_data == genesis.extra_data(0, 0) => Ok(()),
        ExtraData::Eip1559 => {
            let needed = genesis.extra_data(0, 0);
            refuse(
                "genesis block",
                format_args!("Holocene wants the EIP-1559 parameters in it: set extraData to {needed}"),
            )
        }
    }
}
