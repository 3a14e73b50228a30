//! Methods that read the state or call into it.

use super::{
    RpcContext,
    args::{Args, BlockId, REVERTED, Reply, refused},
    format::{data, quantity, storage_word},
};
use crate::{
    evm::{CallError, CallOutcome, call, estimate_gas},
    state::{StateError, StateRead},
};
use alloy_primitives::{Bytes, U256};
use jsonrpsee::types::ErrorObjectOwned;

fn unreadable(error: StateError) -> ErrorObjectOwned {
    refused(error.to_string())
}

pub(super) fn balance(ctx: &RpcContext, mut args: Args) -> Reply {
    let (address, id) = (args.address()?, args.block()?);
    args.end()?;
    let account = ctx.state(id)?.1.account(address).map_err(unreadable)?;
    Ok(quantity(account.unwrap_or_default().balance))
}

pub(super) fn nonce(ctx: &RpcContext, mut args: Args) -> Reply {
    let (address, id) = (args.address()?, args.block()?);
    args.end()?;
    let account = ctx.state(id)?.1.account(address).map_err(unreadable)?;
    let nonce = account.unwrap_or_default().nonce;
    Ok(quantity(match id {
        BlockId::Pending => ctx.pending.next_nonce(address, nonce),
        _ => nonce,
    }))
}

pub(super) fn code(ctx: &RpcContext, mut args: Args) -> Reply {
    let (address, id) = (args.address()?, args.block()?);
    args.end()?;
    let state = ctx.state(id)?.1;
    let Some(account) = state.account(address).map_err(unreadable)? else {
        return Ok(data(&[]));
    };
    let code = state.code(account.code_hash).map_err(unreadable)?;
    Ok(data(&code.original_bytes()))
}

pub(super) fn storage(ctx: &RpcContext, mut args: Args) -> Reply {
    let (address, slot, id) = (args.address()?, args.slot()?, args.block()?);
    args.end()?;
    let value = ctx.state(id)?.1.storage(address, slot).map_err(unreadable)?;
    Ok(storage_word(value))
}

pub(super) fn eth_call(ctx: &RpcContext, mut args: Args) -> Reply {
    let (request, id) = (args.call()?, args.block()?);
    args.end()?;
    let (header, state) = ctx.state(id)?;
    match call(&ctx.chain.genesis, &header, state, &request).map_err(call_error)? {
        CallOutcome::Success(output) => Ok(data(&output)),
        CallOutcome::Revert(output) => Err(reverted(&output)),
        CallOutcome::Halt(reason) => Err(refused(reason)),
    }
}

pub(super) fn estimate(ctx: &RpcContext, mut args: Args) -> Reply {
    let (request, id) = (args.call()?, args.block()?);
    args.end()?;
    let (header, state) = ctx.state(id)?;
    let gas = estimate_gas(&ctx.chain.genesis, &header, state, &request).map_err(call_error)?;
    Ok(quantity(gas))
}

fn call_error(error: CallError) -> ErrorObjectOwned {
    match error {
        CallError::Reverted(output) => reverted(&output),
        other => refused(other.to_string()),
    }
}

/// Code 3 with the revert data, and the reason in the message where it is a string.
fn reverted(output: &Bytes) -> ErrorObjectOwned {
    let message = match revert_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    };
    ErrorObjectOwned::owned(REVERTED, message, Some(data(output)))
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
