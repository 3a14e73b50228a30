//! `eth_call` and `eth_estimateGas`, with state and block overrides.

use super::{
    RpcContext,
    args::{Args, REVERTED, Reply, invalid, refused},
    call_args,
    format::{data, quantity},
    overrides::Overridden,
    state::unreadable,
};
use crate::{
    evm::{CallError, CallOutcome, CallRequest, call, estimate_gas},
    state::{Layered, StateView},
};
use alloy_consensus::Header;
use alloy_primitives::{Bytes, U256};
use jsonrpsee::types::ErrorObjectOwned;

/// What a call runs on: the request, the block that it sees, and the state.
type Setting = (CallRequest, Header, Overridden<Layered<StateView>>);

fn setting(ctx: &RpcContext, mut args: Args) -> Reply<Setting> {
    let (request, id) = (args.need(call_args::call)?, args.block()?);
    let overrides = args.maybe(call_args::overrides)?.unwrap_or_default();
    let (header, state) = ctx.state(id)?;
    let changed = args.maybe(|value| call_args::block_overrides(value, header.clone()))?;
    args.end()?;
    let mut header = changed.unwrap_or(header);
    if header.gas_limit == 0 {
        return Err(invalid("block override gasLimit: a block without gas runs nothing"));
    }
    // The EVM computes with the base fee in 64 bits and the rest of the header as it is.
    header.base_fee_per_gas.get_or_insert_default();
    Ok((request, header, Overridden::new(state, overrides)))
}

pub(super) fn eth_call(ctx: &RpcContext, args: Args) -> Reply {
    let (request, header, state) = setting(ctx, args)?;
    match call(&ctx.chain.genesis, &header, state, &request).map_err(call_error)? {
        CallOutcome::Success(output) => Ok(data(&output)),
        CallOutcome::Revert(output) => Err(reverted(&output)),
        CallOutcome::Halt(reason) => Err(refused(reason)),
    }
}

pub(super) fn estimate(ctx: &RpcContext, args: Args) -> Reply {
    let (request, header, state) = setting(ctx, args)?;
    let gas = estimate_gas(&ctx.chain.genesis, &header, state, &request).map_err(call_error)?;
    Ok(quantity(gas))
}

pub(super) fn call_error(error: CallError) -> ErrorObjectOwned {
    match error {
        CallError::Reverted(output) => reverted(&output),
        CallError::State(error) => unreadable(error),
        other => refused(other.to_string()),
    }
}

/// Code 3 with the revert data, and the reason in the message where it is a string.
fn reverted(output: &Bytes) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(REVERTED, revert_message(output), Some(data(output)))
}

/// What geth says of a revert.
pub(super) fn revert_message(output: &[u8]) -> String {
    match revert_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    }
}

/// The text of Solidity's `Error(string)` or the code of `Panic(uint256)`.
fn revert_reason(output: &[u8]) -> Option<String> {
    const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
    const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];
    let (selector, rest) = output.split_at_checked(4)?;
    let word = |at: usize| -> Option<U256> { Some(U256::from_be_slice(rest.get(at..at + 32)?)) };
    if selector == PANIC {
        return Some(format!("panic: 0x{:02x}", word(0)?));
    }
    if selector != ERROR || word(0)? != U256::from(32) {
        return None;
    }
    let length = usize::try_from(word(32)?).ok()?;
    let text = rest.get(64..64usize.checked_add(length)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_soliditys_revert_reasons() {
        let mut error = hex::decode("08c379a0").unwrap();
        error.extend(U256::from(32).to_be_bytes::<32>());
        error.extend(U256::from(4).to_be_bytes::<32>());
        error.extend(b"nope");
        error.extend([0u8; 28]);
        assert_eq!(revert_reason(&error).as_deref(), Some("nope"));
        let mut panic = hex::decode("4e487b71").unwrap();
        panic.extend(U256::from(0x11).to_be_bytes::<32>());
        assert_eq!(revert_reason(&panic).as_deref(), Some("panic: 0x11"));
        assert_eq!(revert_reason(b""), None);
        let mut long = error.clone();
        long[36..68].fill(0xff);
        assert_eq!(revert_reason(&long), None);
    }
}
