//! `eth_getProof` (EIP-1186).

use super::{
    RpcContext,
    args::{Args, Reply, invalid, refused},
    format::{data, quantity},
    parse::{self, BlockId, list},
    state::unreadable,
};
use serde_json::{Value, json};

/// Slots that one request names at most, as geth.
const MAX_SLOTS: usize = 1_024;

pub(super) fn answer(ctx: &RpcContext, mut args: Args) -> Reply {
    let address = args.address()?;
    // A key is answered as it was written, a quantity or 32 bytes.
    let keys = args.need(|value| list(value, |key| Ok((key.clone(), parse::slot(key)?))))?;
    let id = args.block()?;
    args.end()?;
    if keys.len() > MAX_SLOTS {
        return Err(invalid(format!("{} slots are over the limit of {MAX_SLOTS}", keys.len())));
    }
    if id == BlockId::Pending {
        return Err(refused("there is no proof under a pending block: it has no state root; ask for latest"));
    }
    let number = ctx.resolve(id)?.ok_or_else(|| refused("header not found"))?;
    let slots: Vec<_> = keys.iter().map(|(_, slot)| *slot).collect();
    let found = ctx.chain.proof(number, address, &slots).map_err(unreadable)?;
    let nodes = |proof: &[alloy_primitives::Bytes]| -> Value { proof.iter().map(|node| data(node)).collect() };
    let storage = keys
        .into_iter()
        .zip(&found.slots)
        .map(|((key, _), slot)| json!({"key": key, "value": quantity(slot.value), "proof": nodes(&slot.proof)}));
    Ok(json!({
        "address": data(address.as_slice()),
        "accountProof": nodes(&found.proof),
        "balance": quantity(found.account.balance),
        "codeHash": data(found.account.code_hash.as_slice()),
        "nonce": quantity(found.account.nonce),
        "storageHash": data(found.storage_root.as_slice()),
        "storageProof": storage.collect::<Vec<_>>(),
    }))
}
