//! Methods that read the state.

use super::{
    RpcContext,
    args::{Args, Reply, internal, refused},
    format::{data, quantity, storage_word},
    parse::BlockId,
};
use crate::state::{StateError, StateRead};
use jsonrpsee::types::ErrorObjectOwned;

/// What a caller is told of a state that cannot be read: its own mistake, or a failure here.
pub(super) fn unreadable(error: StateError) -> ErrorObjectOwned {
    match error {
        StateError::NotKept { .. } | StateError::TooManyChanges { .. } => refused(error.to_string()),
        failure => internal(failure),
    }
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
