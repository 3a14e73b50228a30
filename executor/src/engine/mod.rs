//! Following the namespace with an execution client that nobody here wrote: geth, reth, Nethermind, EthereumJS …
//!
//! ```text
//! Chain ─ new head ─► drive: the client's own head, then each block above it in order
//!                       │ payload: header and transactions as ExecutionPayloadV3
//!                       ▼
//!                     EngineClient ─ HTTP, JWT ─► engine_newPayloadV3/V4, engine_forkchoiceUpdatedV3 ─► the client
//! ```
//!
//! The executor decides what a block is; the client executes it again and must come to the same hash, so each of its
//! `VALID` is a second opinion on every root. Guarantee: the client is given each EVM block above its own head, once and
//! in order, and only blocks of verified ordered blocks. All of them are final, so head, safe and finalized are the same
//! block.
//!
//! A failure that can pass (not reachable, still syncing) is tried again for ever. One that cannot ([`EngineError`] says
//! which) ends the executor: two opinions on a root are nothing to go on with.
//!
//! Not here: blocks that the client builds, blobs, peers. Memory: one block and one answer at a time.

mod client;
mod drive;
mod error;
mod http;
mod jwt;
mod payload;

pub use drive::drive;
pub use error::EngineError;
pub use jwt::JwtSecret;

use crate::{Genesis, TimestampRule};

/// An execution client to feed.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Its Engine API, as `http://host:port`. Plain HTTP: it belongs on the same machine or a private network.
    pub url: String,
    /// The secret that both share.
    pub secret: JwtSecret,
}

/// Whether an unmodified client can come to the same blocks as this rollup.
///
/// # Errors
/// [`EngineError::Config`] with the rule that no other client has.
pub fn check_followable(genesis: &Genesis) -> Result<(), EngineError> {
    let fail = |rule: &str, instead: &str| {
        Err(EngineError::Config(format!("no other execution client has this rollup's {rule}; {instead}")))
    };
    if genesis.base_fee_vault.is_some() {
        return fail("baseFeeVault", "leave it out of the genesis, so that base fees are burnt");
    }
    if genesis.timestamp_rule != TimestampRule::After {
        return fail("timestampRule", "set it to \"after\", so that each block has a later second than its parent");
    }
    if (genesis.elasticity, genesis.base_fee_change_denominator) != (2, 8) {
        return fail("elasticity or baseFeeChangeDenominator", "set them to Ethereum's 2 and 8");
    }
    Ok(())
}
