//! `eth_sendRawTransaction`: refuse early what cannot execute, forward the rest.

use super::{
    RpcContext,
    args::{Args, Reply, internal, refused},
    format::data,
    methods::Waiting,
    parse::BlockId,
    turns::Turn,
};
use crate::{
    evm::next_base_fee,
    pending::{MAX_PENDING, Pending},
    source::{Behind, Refusal},
    state::{Account, StateRead},
    transaction::{SenderTransaction, raw_hash},
};
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, U256};
use jsonrpsee::types::ErrorObjectOwned;
use revm::{
    context_interface::cfg::gas::calculate_initial_tx_gas_for_tx,
    primitives::{eip3860, eip7825},
};
use squad_types::Tier;
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Largest transaction accepted, as geth's pool.
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;
/// How long a transaction waits for each of those with lower nonces, which may travel in other requests.
const GAP_WAIT: Duration = Duration::from_secs(2);

/// Why a transaction was not handed over.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It was before.
    Known,
    /// It cannot execute, or an operator refused it for good.
    Refused(ErrorObjectOwned),
    /// Lower nonces are missing.
    Gap { expected: u64, nonce: u64 },
    /// No operator took it now.
    Busy(String),
}

impl From<ErrorObjectOwned> for NotTaken {
    fn from(error: ErrorObjectOwned) -> Self {
        Self::Refused(error)
    }
}

impl NotTaken {
    /// What the caller is told.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Known => "already known".into(),
            Self::Refused(error) => error.message().to_owned(),
            Self::Gap { expected, nonce } => format!(
                "nonce too high: next nonce {expected}, tx nonce {nonce}; send the missing ones first, gaps are not kept"
            ),
            Self::Busy(reason) => format!("busy: {reason}"),
        }
    }
}

/// Checks the transaction against the head's state and hands it to an operator.
///
/// Answers with its hash once it is secured. Transactions of one sender leave in nonce order, without waiting for each
/// other's answers: one that is ahead waits a moment for the missing ones, then is refused.
pub(super) fn send_raw(ctx: &RpcContext, mut args: Args) -> Waiting<'_> {
    Box::pin(async move {
        let raw = args.bytes()?;
        args.end()?;
        match hand_over(ctx, raw).await? {
            Ok(hash) => Ok(data(hash.as_slice())),
            Err(NotTaken::Refused(error)) => Err(error),
            Err(other) => Err(refused(other.message())),
        }
    })
}

/// Hands over in a task of its own: a client that goes away in between does not leave a transaction forwarded and forgotten.
pub(super) async fn hand_over(ctx: &RpcContext, raw: Bytes) -> Reply<Result<B256, NotTaken>> {
    let ctx = ctx.clone();
    tokio::spawn(async move { hand_over_here(&ctx, raw).await }).await.map_err(internal)
}

async fn hand_over_here(ctx: &RpcContext, raw: Bytes) -> Result<B256, NotTaken> {
    if raw.len() > MAX_TRANSACTION_BYTES {
        let text = format!("oversized data: transaction size {}, limit {MAX_TRANSACTION_BYTES}", raw.len());
        return Err(refused(text).into());
    }
    let tx = SenderTransaction::decode(&raw, ctx.chain.genesis.chain_id).map_err(|reason| refused(reason.detail))?;
    let hash = tx.hash();
    // One that is only batched may be sent again: its operator could be gone.
    if ctx.pending.get(&hash).is_some_and(|known| known.tier >= Tier::Secured) {
        return Err(NotTaken::Known);
    }
    check_shape(ctx, &tx.envelope, &raw)?;
    check_account(ctx, &tx)?;
    forward_in_turn(ctx, tx, &raw).await?;
    // It may have been ordered and executed faster than the answer came.
    if super::blocks::locate(ctx, hash)?.is_some() {
        ctx.pending.settle([hash].iter());
    }
    Ok(hash)
}

/// Rules that need no account.
fn check_shape(ctx: &RpcContext, tx: &TxEnvelope, raw: &Bytes) -> Reply<()> {
    let genesis = &ctx.chain.genesis;
    if tx.chain_id().is_none() {
        return Err(refused("only replay-protected (EIP-155) transactions allowed over RPC"));
    }
    if let Some(authorizations) = tx.authorization_list() {
        if !genesis.hardfork.has_requests() {
            return Err(refused("transaction type not supported: this chain's rules are older than EIP-7702"));
        }
        if authorizations.is_empty() {
            return Err(refused("EIP-7702 transaction with empty auth list"));
        }
    }
    if tx.is_create() && tx.input().len() > eip3860::MAX_INITCODE_SIZE {
        let (size, limit) = (tx.input().len(), eip3860::MAX_INITCODE_SIZE);
        return Err(refused(format!("max initcode size exceeded: code size {size}, limit {limit}")));
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

fn sender(ctx: &RpcContext, tx: &SenderTransaction) -> Reply<Account> {
    let account = ctx.state(BlockId::Latest)?.1.account(tx.sender).map_err(super::state::unreadable)?;
    Ok(account.unwrap_or_default())
}

fn check_account(ctx: &RpcContext, tx: &SenderTransaction) -> Reply<()> {
    let (account, nonce) = (sender(ctx, tx)?, tx.envelope.nonce());
    if nonce < account.nonce {
        return Err(refused(format!("nonce too low: next nonce {}, tx nonce {nonce}", account.nonce)));
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

/// Behind what was answered for and is not executed yet: those of these nonces. What is executed may still be remembered.
fn behind_answered(pending: &Arc<Pending>, sender: Address, nonces: Range<u64>) -> Behind {
    match pending.below(sender, nonces.clone(), 1).pop() {
        None => Behind::Nothing,
        Some(last) => {
            let pending = pending.clone();
            let earlier = move || pending.below(sender, nonces.clone(), MAX_PENDING);
            Behind::AnsweredFor(last, Arc::new(earlier))
        }
    }
}

/// Forwards the transaction behind those of its sender with lower nonces, and remembers it once it is answered for.
///
/// At first it leaves behind one that has no answer yet. If that one was not taken where this one arrived, this one is
/// not taken either, and leaves once that one has its answer, to any operator. While one below it is on its way it waits;
/// for one that is missing, no longer than [`GAP_WAIT`].
async fn forward_in_turn(ctx: &RpcContext, tx: SenderTransaction, raw: &Bytes) -> Result<(), NotTaken> {
    let nonce = tx.envelope.nonce();
    let (mut answers, mut departures) = (ctx.pending.subscribe(), ctx.turns.subscribe());
    let mut deadline = Instant::now() + GAP_WAIT;
    let (mut alone, mut place) = (false, None);
    let (mut executed, mut awaited) = ((B256::ZERO, 0), 0);
    loop {
        answers.borrow_and_update();
        departures.borrow_and_update();
        // Read once for each head: many may wait here, and all of them wake when one leaves.
        let head = ctx.head().hash;
        if executed.0 != head {
            executed = (head, sender(ctx, &tx)?.nonce);
        }
        let answered = ctx.pending.next_nonce(tx.sender, executed.1);
        let forward = |on_its_way: Option<Bytes>| {
            let behind = match on_its_way {
                Some(before) => Behind::OnItsWay(before.0),
                None => behind_answered(&ctx.pending, tx.sender, executed.1..nonce),
            };
            (ctx.forward)(raw.0.clone(), behind)
        };
        let turn = ctx.turns.take((tx.sender, nonce, raw), answered, alone, &mut place, forward);
        let missing = match turn {
            Turn::Sent { answer, behind } => match answer.await {
                Ok(tier) => {
                    // Before it leaves its place: for those behind it there is no gap in between.
                    ctx.pending.insert(tx.envelope, tx.sender, tier);
                    return Ok(());
                }
                Err(Refusal::Rejected(reason)) => return Err(NotTaken::Refused(refused(reason))),
                Err(Refusal::Busy(_) | Refusal::OutOfTurn(_)) if behind => {
                    alone = true;
                    deadline = Instant::now() + GAP_WAIT;
                    continue;
                }
                Err(Refusal::Busy(reason) | Refusal::OutOfTurn(reason)) => return Err(NotTaken::Busy(reason)),
            },
            Turn::Wait => None,
            Turn::Missing(expected) => Some(expected),
        };
        let change = async {
            tokio::select! {
                _ = answers.changed() => {}
                _ = departures.changed() => {}
            }
        };
        match missing {
            None => {
                change.await;
                deadline = Instant::now() + GAP_WAIT;
            }
            Some(expected) => {
                // The time is for each that is missing: they may be many, and on their way.
                if expected > std::mem::replace(&mut awaited, expected) {
                    deadline = Instant::now() + GAP_WAIT;
                }
                let changed = tokio::time::timeout_at(deadline, change).await;
                changed.map_err(|_| NotTaken::Gap { expected, nonce })?;
            }
        }
    }
}
