//! `eth_sendRawTransaction`: refuse early what cannot execute, forward the rest.

use super::{
    RpcContext,
    args::{Args, Reply, refused},
};
use crate::{
    evm::next_base_fee,
    source::Refusal,
    state::StateRead,
    transaction::{SenderTransaction, raw_hash},
};
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Bytes, U256};
use jsonrpsee::types::ErrorObjectOwned;
use revm::{context_interface::cfg::gas::calculate_initial_tx_gas_for_tx, primitives::eip7825};
use std::time::Duration;

/// Largest transaction accepted, as geth's pool.
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;
/// How long a transaction waits for the ones with lower nonces, which may travel in other requests.
const GAP_WAIT: Duration = Duration::from_secs(2);

/// Checks the transaction against the head's state and hands it to an operator.
///
/// Answers with its hash once an operator accepted it. Transactions of one sender leave in nonce
/// order: one that is ahead waits a moment for the missing ones, then is refused.
pub(super) async fn send_raw(ctx: &RpcContext, mut args: Args) -> Reply {
    let raw = args.bytes()?;
    args.end()?;
    if raw.len() > MAX_TRANSACTION_BYTES {
        return Err(refused(format!("oversized data: transaction size {}, limit {MAX_TRANSACTION_BYTES}", raw.len())));
    }
    let tx = SenderTransaction::decode(&raw, ctx.chain.genesis.chain_id).map_err(|reason| refused(reason.detail))?;
    let hash = tx.hash();
    if ctx.pending.get(&hash).is_some() {
        return Err(refused("already known"));
    }
    check_shape(ctx, &tx.envelope, &raw)?;
    check_account(ctx, &tx)?;
    wait_for_turn(ctx, &tx).await?;
    (ctx.forward)(raw.0).await.map_err(|refusal| match refusal {
        Refusal::Rejected(reason) => refused(reason),
        Refusal::Busy(reason) => refused(format!("busy: {reason}")),
    })?;
    ctx.pending.insert(tx.envelope, tx.sender);
    Ok(super::format::data(hash.as_slice()))
}

/// Rules that need no account.
fn check_shape(ctx: &RpcContext, tx: &TxEnvelope, raw: &Bytes) -> Reply<()> {
    let genesis = &ctx.chain.genesis;
    if tx.chain_id().is_none() {
        return Err(refused("only replay-protected (EIP-155) transactions allowed over RPC"));
    }
    let limit = if genesis.hardfork.has_tx_gas_cap() {
        genesis.gas_limit.min(eip7825::TX_GAS_LIMIT_CAP)
    } else {
        genesis.gas_limit
    };
    if tx.gas_limit() > limit {
        return Err(refused(format!("exceeds block gas limit: have {} want at most {limit}", tx.gas_limit())));
    }
    if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
        return Err(refused("max priority fee per gas higher than max fee per gas"));
    }
    let environment = SenderTransaction { envelope: tx.clone(), sender: Default::default() }.environment();
    let needed = calculate_initial_tx_gas_for_tx(&environment, genesis.hardfork.spec(), None);
    let minimum = needed.initial_total_gas().max(needed.floor_gas());
    if tx.gas_limit() < minimum {
        return Err(refused(format!("intrinsic gas too low: gas {}, minimum needed {minimum}", tx.gas_limit())));
    }
    let base_fee = next_base_fee(genesis, &ctx.head().header);
    if tx.max_fee_per_gas() < u128::from(base_fee) {
        return Err(refused(format!(
            "max fee per gas less than block base fee: transaction {}, maxFeePerGas: {}, baseFee: {base_fee}",
            raw_hash(raw),
            tx.max_fee_per_gas()
        )));
    }
    Ok(())
}

fn check_account(ctx: &RpcContext, tx: &SenderTransaction) -> Reply<()> {
    let state = ctx.state(super::BlockId::Latest)?.1;
    let account = state.account(tx.sender).map_err(|error| refused(error.to_string()))?;
    let account = account.unwrap_or_default();
    let nonce = tx.envelope.nonce();
    if nonce < account.nonce {
        return Err(too_low(account.nonce, nonce));
    }
    let cost = U256::from(tx.envelope.gas_limit())
        .saturating_mul(U256::from(tx.envelope.max_fee_per_gas()))
        .saturating_add(tx.envelope.value());
    if account.balance < cost {
        return Err(refused(format!(
            "insufficient funds for gas * price + value: balance {}, tx cost {cost}, overshot {}",
            account.balance,
            cost - account.balance
        )));
    }
    Ok(())
}

fn too_low(next: u64, nonce: u64) -> ErrorObjectOwned {
    refused(format!("nonce too low: next nonce {next}, tx nonce {nonce}"))
}

/// Waits until all lower nonces of the sender are executed or forwarded.
async fn wait_for_turn(ctx: &RpcContext, tx: &SenderTransaction) -> Reply<()> {
    let nonce = tx.envelope.nonce();
    let mut changes = ctx.pending.subscribe();
    let next = || -> Reply<u64> {
        let state = ctx.state(super::BlockId::Latest)?.1;
        let account = state.account(tx.sender).map_err(|error| refused(error.to_string()))?;
        Ok(ctx.pending.next_nonce(tx.sender, account.unwrap_or_default().nonce))
    };
    let deadline = tokio::time::Instant::now() + GAP_WAIT;
    loop {
        let next = next()?;
        if nonce <= next {
            return Ok(());
        }
        let too_high = || {
            refused(format!(
                "nonce too high: next nonce {next}, tx nonce {nonce}; send the missing ones first, gaps are not kept"
            ))
        };
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(Ok(())) => {}
            _ => return Err(too_high()),
        }
    }
}
