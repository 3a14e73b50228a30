//! Calls that change nothing: `eth_call` and `eth_estimateGas`.

use super::{Evm, block::EvmError, block_env, evm};
use crate::{
    Genesis, TRANSFER_GAS,
    state::{StateError, StateRead},
};
use alloy_consensus::Header;
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, Bytes, TxKind, U256};
use revm::{
    ExecuteEvm,
    context::{TxEnv, either::Either},
    context_interface::result::{ExecutionResult, HaltReason, InvalidTransaction},
    primitives::eip7825,
};

/// Gas that one call may use at most, as geth's default; it bounds the time of a call.
pub const CALL_GAS_CAP: u64 = 50_000_000;
/// The binary search ends within this share (per mille) of the answer, as geth's does.
const ESTIMATE_ERROR_PER_MILLE: u64 = 15;

/// What a wallet asks to call. Absent fields take Ethereum's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// The caller; the zero address if absent.
    pub from: Option<Address>,
    /// The callee; absent: a deployment.
    pub to: Option<Address>,
    /// Gas limit; capped at [`CALL_GAS_CAP`].
    pub gas: Option<u64>,
    /// Legacy gas price, or the fee cap.
    pub max_fee_per_gas: Option<u128>,
    /// The tip; makes the call an EIP-1559 one.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Wei sent along.
    pub value: Option<U256>,
    /// Call data or init code.
    pub input: Bytes,
    /// Nonce (only seen by deployments).
    pub nonce: Option<u64>,
    /// Access list.
    pub access_list: AccessList,
    /// EIP-7702 authorizations; any makes the call one of that type.
    pub authorization_list: Vec<SignedAuthorization>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// Returned.
    Success(Bytes),
    /// Reverted with data.
    Revert(Bytes),
    /// Stopped by the EVM (out of gas, invalid opcode …).
    Halt(String),
}

/// Why a call could not be made or estimated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call breaks a rule before it starts (balance, fees …).
    #[error("{0}")]
    Invalid(String),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The call reverts at any gas limit.
    #[error("execution reverted")]
    Reverted(Bytes),
    /// The call fails at the highest allowed gas.
    #[error("gas required exceeds allowance ({0})")]
    Allowance(u64),
    /// The call halts, not for lack of gas.
    #[error("{0}")]
    Halted(String),
}

pub(super) fn environment(request: &CallRequest, genesis: &Genesis, gas: u64) -> TxEnv {
    let tx_type = match (request.max_priority_fee_per_gas, request.access_list.is_empty()) {
        _ if !request.authorization_list.is_empty() => 4,
        (Some(_), _) => 2,
        (None, false) => 1,
        (None, true) => 0,
    };
    TxEnv {
        tx_type,
        caller: request.from.unwrap_or_default(),
        gas_limit: gas,
        gas_price: request.max_fee_per_gas.or(request.max_priority_fee_per_gas).unwrap_or_default(),
        kind: request.to.map_or(TxKind::Create, TxKind::Call),
        value: request.value.unwrap_or_default(),
        data: request.input.clone(),
        nonce: request.nonce.unwrap_or_default(),
        chain_id: Some(genesis.chain_id),
        access_list: request.access_list.clone(),
        gas_priority_fee: request.max_priority_fee_per_gas,
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: request.authorization_list.iter().cloned().map(Either::Left).collect(),
    }
}

fn run<B: StateRead>(
    genesis: &Genesis,
    header: &Header,
    base: B,
    request: &CallRequest,
    gas: u64,
) -> Result<ExecutionResult, EvmError> {
    caller(genesis, header, base, request).transact_one(environment(request, genesis, gas))
}

/// An EVM that lets `request` call, also where a transaction could not.
pub(super) fn caller<B: StateRead>(genesis: &Genesis, header: &Header, base: B, request: &CallRequest) -> Evm<B> {
    let mut evm = evm(genesis, block_env(genesis, header), base);
    let cfg = &mut evm.ctx.cfg;
    cfg.disable_nonce_check = true;
    cfg.disable_block_gas_limit = true;
    cfg.disable_eip3607 = true;
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    // A call that names no price pays none, as in geth.
    cfg.disable_base_fee = request.max_fee_per_gas.is_none() && request.max_priority_fee_per_gas.is_none();
    evm
}

pub(super) fn failure(error: EvmError) -> CallError {
    match error {
        EvmError::Database(error) => CallError::State(error),
        EvmError::Transaction(InvalidTransaction::LackOfFundForMaxFee { fee, balance }) => {
            CallError::Invalid(format!("insufficient funds for gas * price + value: have {balance} want {fee}"))
        }
        EvmError::Transaction(invalid) => CallError::Invalid(invalid.to_string()),
        other => CallError::Invalid(other.to_string()),
    }
}

/// Runs a call on the state after the block of `header`.
///
/// # Errors
/// [`CallError::Invalid`] or [`CallError::State`].
pub fn call<B: StateRead>(
    genesis: &Genesis,
    header: &Header,
    base: B,
    request: &CallRequest,
) -> Result<CallOutcome, CallError> {
    let gas = request.gas.unwrap_or(CALL_GAS_CAP).min(CALL_GAS_CAP);
    run(genesis, header, base, request, gas).map(outcome).map_err(failure)
}

pub(super) fn outcome(result: ExecutionResult) -> CallOutcome {
    match result {
        ExecutionResult::Success { output, .. } => CallOutcome::Success(output.into_data()),
        ExecutionResult::Revert { output, .. } => CallOutcome::Revert(output),
        ExecutionResult::Halt { reason, .. } => CallOutcome::Halt(halt_text(&reason)),
    }
}

fn halt_text(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".into(),
        other => format!("{other:?}"),
    }
}

/// The smallest gas limit (within 1.5 %) with which the call succeeds.
///
/// # Errors
/// [`CallError`] with why no limit is enough.
pub fn estimate_gas<B: StateRead + Clone>(
    genesis: &Genesis,
    header: &Header,
    base: B,
    request: &CallRequest,
) -> Result<u64, CallError> {
    let mut high = request.gas.unwrap_or(genesis.gas_limit).min(genesis.gas_limit).min(CALL_GAS_CAP);
    if genesis.hardfork.has_tx_gas_cap() {
        high = high.min(eip7825::TX_GAS_LIMIT_CAP);
    }
    high = high.min(affordable(&base, request)?);
    let try_gas = |gas: u64| run(genesis, header, base.clone(), request, gas);
    if high >= TRANSFER_GAS
        && request.input.is_empty()
        && let Some(to) = request.to
        && base.account(to)?.is_none_or(|account| account.code_hash == revm::primitives::KECCAK_EMPTY)
        && matches!(try_gas(TRANSFER_GAS), Ok(ExecutionResult::Success { .. }))
    {
        return Ok(TRANSFER_GAS);
    }
    let spent = match try_gas(high) {
        Ok(ExecutionResult::Success { gas, .. }) => gas.total_gas_spent(),
        Ok(ExecutionResult::Revert { output, .. }) => return Err(CallError::Reverted(output)),
        Ok(ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. }) => {
            return Err(CallError::Allowance(high));
        }
        Ok(ExecutionResult::Halt { reason, .. }) => {
            return Err(CallError::Halted(halt_text(&reason)));
        }
        Err(error) if too_little(&error) => return Err(CallError::Allowance(high)),
        Err(error) => return Err(failure(error)),
    };
    let mut low = spent.saturating_sub(1).min(high);
    // Most calls need little more than they used: the 63/64 rule and the call stipend.
    let mut middle = (spent + 2_300).saturating_mul(64) / 63;
    while low + 1 < high && (high - low) * 1000 > high * ESTIMATE_ERROR_PER_MILLE {
        if middle <= low || middle >= high {
            middle = low + (high - low) / 2;
        }
        match try_gas(middle) {
            Ok(result) if result.is_success() => high = middle,
            Ok(_) => low = middle,
            Err(error) if too_little(&error) => low = middle,
            Err(error) => return Err(failure(error)),
        }
        middle = low + (high - low) / 2;
    }
    Ok(high)
}

fn too_little(error: &EvmError) -> bool {
    use InvalidTransaction as I;
    matches!(error, EvmError::Transaction(I::CallGasCostMoreThanGasLimit { .. } | I::GasFloorMoreThanGasLimit { .. }))
}

/// Gas that the caller's balance can buy at the price it names.
fn affordable<B: StateRead>(base: &B, request: &CallRequest) -> Result<u64, CallError> {
    let price = request.max_fee_per_gas.unwrap_or_default();
    if price == 0 {
        return Ok(u64::MAX);
    }
    let account = base.account(request.from.unwrap_or_default())?.unwrap_or_default();
    let value = request.value.unwrap_or_default();
    let left = account
        .balance
        .checked_sub(value)
        .ok_or_else(|| CallError::Invalid("insufficient funds for transfer".to_owned()))?;
    Ok((left / U256::from(price)).saturating_to::<u64>())
}
