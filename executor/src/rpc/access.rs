//! `eth_createAccessList`.

use super::{
    RpcContext,
    args::{Args, Reply},
    call_args,
    calls::{call_error, revert_message},
    format::{data, quantity},
    overrides::Overridden,
};
use crate::evm::{CallOutcome, access_list};
use serde_json::{Value, json};

pub(super) fn create(ctx: &RpcContext, mut args: Args) -> Reply {
    let (request, id) = (args.need(call_args::call)?, args.block()?);
    let overrides = args.maybe(call_args::overrides)?.unwrap_or_default();
    args.end()?;
    let (header, state) = ctx.state(id)?;
    let state = Overridden::new(state, overrides);
    let found = access_list(&ctx.chain.genesis, &header, state, &request).map_err(call_error)?;
    let items = found.list.iter().map(|item| {
        let keys: Vec<Value> = item.storage_keys.iter().map(|key| data(key.as_slice())).collect();
        json!({"address": data(item.address.as_slice()), "storageKeys": keys})
    });
    let mut out = json!({"accessList": items.collect::<Vec<_>>(), "gasUsed": quantity(found.gas_used)});
    // As geth: the list counts also where the call fails, and the failure is told beside it.
    match found.outcome {
        CallOutcome::Success(_) => {}
        CallOutcome::Revert(output) => out["error"] = json!(revert_message(&output)),
        CallOutcome::Halt(reason) => out["error"] = json!(reason),
    }
    Ok(out)
}
