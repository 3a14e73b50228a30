//! From one ordered block to EVM blocks.
//!
//! **Rule.** The namespace's transactions are taken in order. One that cannot execute at its
//! place (see [`SkipReason`]) is skipped. One that is otherwise
//! payable but does not fit into what is left in the current EVM block, by its gas limit or by
//! its bytes, closes that block and opens the next one. An EVM block without an executed
//! transaction is not made, so an ordered block with nothing but refused transactions leaves no
//! EVM block.
//!
//! **Header fields that follow from the ordered block.** `timestamp` by
//! [`TimestampRule`]; `prev_randao` and `parent_beacon_block_root` are the ordered header's hash
//! (known to its proposer beforehand, so no source of randomness to bet on); `extra_data` is by
//! [`ExtraData`](crate::ExtraData), by default the ordered height (8 bytes, big-endian) and the piece (4 bytes).
//! Everything else is Ethereum's.
//!
//! **System calls.** EIP-4788 and EIP-2935 before the first transaction, EIP-7002 and EIP-7251
//! after the last one (from Prague on), each only where its contract exists. No deposit contract is
//! watched. Base fees are credited to the vault after all of that, if the genesis names one; no
//! unmodified client does that, so a chain that others shall re-execute burns them.

use super::{Evm, EvmBlock, Skipped, StoredBody, StoredReceipt, StoredTransaction, block_env, evm};
use crate::{
    Error, Genesis, Hardfork, Result, SenderTransaction, SkipReason, TimestampRule, raw_hash,
    source::OrderedBlock,
    state::{Delta, Overlay, StateError, StateRead, StateWriter},
};
use alloy_consensus::{Header, Transaction as _, constants::EMPTY_WITHDRAWALS, proofs};
use alloy_eips::{eip1559::calc_next_block_base_fee, eip2935, eip4788, eip7002, eip7251, eip7685::Requests};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use revm::{
    ExecuteCommitEvm, SystemCallEvm,
    context_interface::result::{EVMError, ExecutionResult, InvalidTransaction},
    primitives::eip7825::TX_GAS_LIMIT_CAP,
};

/// What executing one ordered block gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Execution {
    /// EVM blocks, in order; empty if no transaction was executed.
    pub blocks: Vec<EvmBlock>,
    /// Transactions not executed.
    pub skipped: Vec<Skipped>,
}

/// Bytes of transactions in an EVM block at most: Ethereum's 8 MiB for a whole block (EIP-7934), less what a header and
/// the lengths in the list can take.
const MAX_TRANSACTION_BYTES: usize = (8 << 20) - (64 << 10);

pub(super) type Queue =
    std::iter::Peekable<std::iter::Enumerate<std::vec::IntoIter<Result<SenderTransaction, SkipReason>>>>;

/// Executes `ordered`, whose transactions are `decoded`, on top of `parent` and applies the changes to `state`.
///
/// Deterministic: the same genesis, parent state and ordered block give the same blocks.
///
/// # Errors
/// [`Error::Evm`] on a failure that no transaction can cause; `state` may then hold part of the block and must be
/// given up.
pub(crate) fn execute(
    genesis: &Genesis,
    state: &mut StateWriter<'_>,
    parent: (&Header, B256),
    ordered: &OrderedBlock,
    decoded: Vec<Result<SenderTransaction, SkipReason>>,
) -> Result<Execution> {
    let mut execution = Execution::default();
    let mut queue = decoded.into_iter().enumerate().peekable();
    let mut parent = (parent.0.clone(), parent.1);
    while queue.peek().is_some() {
        let piece = execution.blocks.len() as u32;
        let mut header = next_header(genesis, (&parent.0, parent.1), ordered, piece);
        let built = Piece::new(genesis, &*state, &header).run(ordered, &mut queue, &mut execution.skipped)?;
        let Some(Built { mut body, delta, requests_hash }) = built else {
            continue; // all skipped: the queue is empty now
        };
        (body.ordered_height, body.ordered_hash, body.piece) = (ordered.height, ordered.hash, piece);
        header.requests_hash = requests_hash;
        fill_roots(&mut header, &body);
        header.state_root = state.apply(header.number, &delta)?;
        let hash = header.hash_slow();
        state.seal(header.number, hash)?;
        parent = (header.clone(), hash);
        execution.blocks.push(EvmBlock { header, hash, body });
    }
    Ok(execution)
}

/// The header before execution: everything the EVM can see.
fn next_header(
    genesis: &Genesis,
    (parent, parent_hash): (&Header, B256),
    ordered: &OrderedBlock,
    piece: u32,
) -> Header {
    Header {
        parent_hash,
        beneficiary: genesis.fee_recipient.unwrap_or(ordered.proposer),
        number: parent.number + 1,
        gas_limit: genesis.gas_limit,
        timestamp: next_timestamp(genesis, parent, ordered.timestamp_ms),
        extra_data: genesis.extra_data(ordered.height, piece),
        mix_hash: ordered.hash,
        base_fee_per_gas: Some(next_base_fee(genesis, parent)),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(ordered.hash),
        ..Header::default()
    }
}

/// Timestamp of the block after `parent` in an ordered block of that time.
pub(super) fn next_timestamp(genesis: &Genesis, parent: &Header, ordered_ms: u64) -> u64 {
    let not_before = match genesis.timestamp_rule {
        TimestampRule::NotBefore => parent.timestamp,
        TimestampRule::After => parent.timestamp.saturating_add(1),
    };
    not_before.max(ordered_ms / 1000)
}

/// Base fee of the block after `parent` (EIP-1559).
pub(crate) fn next_base_fee(genesis: &Genesis, parent: &Header) -> u64 {
    calc_next_block_base_fee(
        parent.gas_used,
        parent.gas_limit,
        parent.base_fee_per_gas.unwrap_or_default(),
        genesis.base_fee_params(),
    )
}

/// Fills in what follows from the transactions and receipts.
pub(super) fn fill_roots(header: &mut Header, body: &StoredBody) {
    let receipts: Vec<_> = body.receipts.iter().map(StoredReceipt::envelope).collect();
    let raw: Vec<_> = body.transactions.iter().map(|tx| &tx.raw).collect();
    header.transactions_root = proofs::ordered_trie_root_encoded(&raw);
    header.receipts_root = proofs::calculate_receipt_root(&receipts);
    header.logs_bloom = body.receipts.iter().flat_map(|receipt| &receipt.logs).fold(Bloom::ZERO, |mut bloom, log| {
        bloom.accrue_log(log);
        bloom
    });
    header.gas_used = body.gas_used();
}

/// What an EVM block is made of, before its header.
pub(super) struct Built {
    pub(super) body: StoredBody,
    pub(super) delta: Delta,
    pub(super) requests_hash: Option<B256>,
}

/// One EVM block under construction.
pub(super) struct Piece<B: StateRead> {
    hardfork: Hardfork,
    vault: Option<Address>,
    evm: Evm<B>,
    base_fee: u64,
    parent_hash: B256,
    gas_limit: u64,
    gas_used: u64,
    /// Of the transactions so far.
    bytes: usize,
    body: StoredBody,
}

impl<B: StateRead> Piece<B> {
    pub(super) fn new(genesis: &Genesis, base: B, header: &Header) -> Self {
        Self::resume(genesis, base, header, StoredBody::default())
    }

    /// Goes on with a block that holds `body` already, on the state after that.
    pub(super) fn resume(genesis: &Genesis, base: B, header: &Header, body: StoredBody) -> Self {
        Self {
            hardfork: genesis.hardfork,
            vault: genesis.base_fee_vault,
            evm: evm(genesis, block_env(genesis, header), base),
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            parent_hash: header.parent_hash,
            gas_limit: header.gas_limit,
            gas_used: body.gas_used(),
            bytes: body.transactions.iter().map(|tx| tx.raw.len()).sum(),
            body,
        }
    }

    /// Takes from the queue what this block holds; `None` if nothing was executed.
    pub(super) fn run(
        mut self,
        ordered: &OrderedBlock,
        queue: &mut Queue,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Option<Built>> {
        self.begin(ordered)?;
        self.take(ordered, queue, skipped)?;
        if self.body.transactions.is_empty() { Ok(None) } else { self.end(ordered.height).map(Some) }
    }

    /// The calls before the first transaction.
    pub(super) fn begin(&mut self, ordered: &OrderedBlock) -> Result<()> {
        self.system_call(ordered.height, eip4788::BEACON_ROOTS_ADDRESS, ordered.hash)?;
        self.keep_parent(ordered.height)
    }

    /// Gives the parent's hash to the contract that keeps them.
    pub(super) fn keep_parent(&mut self, height: u64) -> Result<()> {
        if self.hardfork.has_requests() {
            self.system_call(height, eip2935::HISTORY_STORAGE_ADDRESS, self.parent_hash)?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, ordered: &OrderedBlock, queue: &mut Queue, skipped: &mut Vec<Skipped>) -> Result<()> {
        let height = ordered.height;
        while let Some((position, decoded)) = queue.peek() {
            let position = *position;
            if let Ok(tx) = decoded
                && self.must_wait(tx, ordered.transactions[position].len()).map_err(|error| fatal(height, error))?
            {
                break;
            }
            let Some((_, decoded)) = queue.next() else { break };
            let raw = ordered.transactions[position].clone();
            let outcome = match decoded {
                Ok(tx) => self.transact(height, tx, raw.clone())?,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                skipped.push(Skipped { position: position as u32, hash: raw_hash(&raw), reason });
            }
        }
        Ok(())
    }

    /// The calls after the last transaction, and the fee vault.
    pub(super) fn end(mut self, height: u64) -> Result<Built> {
        self.body.requests = self.requests(height)?;
        let requests = self.body.requests.as_ref().map(|requests| Requests::from_requests(requests.iter().cloned()));
        let requests_hash = requests.map(|requests| requests.requests_hash());
        let mut overlay = self.evm.ctx.journaled_state.database;
        credit_vault(self.vault, &mut overlay, self.base_fee, self.gas_used).map_err(|error| fatal(height, error))?;
        Ok(Built { body: self.body, delta: overlay.into_delta(), requests_hash })
    }

    /// The block so far, and what it changed since it was begun or resumed.
    pub(super) fn pause(self) -> (StoredBody, Delta) {
        (self.body, self.evm.ctx.journaled_state.database.into_delta())
    }

    /// Whether `tx` belongs into the next block: it does not fit into the gas or the bytes left
    /// here, but nothing else speaks against it.
    pub(super) fn must_wait(&mut self, tx: &SenderTransaction, bytes: usize) -> Result<bool, StateError> {
        let (sender, tx) = (tx.sender, &tx.envelope);
        let gas = tx.gas_limit();
        let fits = gas <= self.gas_limit - self.gas_used && self.bytes + bytes <= MAX_TRANSACTION_BYTES;
        let never = gas > self.gas_limit || (self.hardfork.has_tx_gas_cap() && gas > TX_GAS_LIMIT_CAP);
        if fits || never || self.body.transactions.is_empty() {
            return Ok(false);
        }
        let account = self.evm.ctx.journaled_state.database.account(sender)?.unwrap_or_default();
        let cost = U256::from(gas).saturating_mul(U256::from(tx.max_fee_per_gas())).saturating_add(tx.value());
        Ok(account.nonce == tx.nonce() && account.balance >= cost && tx.max_fee_per_gas() >= u128::from(self.base_fee))
    }

    pub(super) fn transact(
        &mut self,
        height: u64,
        tx: SenderTransaction,
        raw: bytes::Bytes,
    ) -> Result<Result<(), SkipReason>> {
        let result = match self.evm.transact_commit(tx.environment()) {
            Ok(result) => result,
            Err(EVMError::Transaction(invalid)) => return Ok(Err(invalid.into())),
            Err(error) => return Err(fatal(height, error)),
        };
        let gas_used = result.tx_gas_used();
        self.gas_used += gas_used;
        self.bytes += raw.len();
        self.body.receipts.push(StoredReceipt {
            tx_type: tx.envelope.tx_type() as u8,
            success: result.is_success(),
            gas_used,
            cumulative_gas_used: self.gas_used,
            logs: if result.is_success() { result.into_logs() } else { Vec::new() },
        });
        let hash = tx.hash();
        let stored = StoredTransaction { raw: raw.into(), sender: tx.sender, hash };
        self.body.transactions.push(stored);
        Ok(Ok(()))
    }

    /// Calls a system contract with a hash, if it exists. A revert inside it changes nothing.
    fn system_call(&mut self, height: u64, contract: Address, input: B256) -> Result<()> {
        self.system_output(height, contract, Bytes::copy_from_slice(input.as_slice())).map(drop)
    }

    fn system_output(&mut self, height: u64, contract: Address, input: Bytes) -> Result<Bytes> {
        let database = &mut self.evm.ctx.journaled_state.database;
        let account = database.account(contract).map_err(|error| fatal(height, error))?;
        if account.is_none_or(|account| account.code_hash == revm::primitives::KECCAK_EMPTY) {
            return Ok(Bytes::new());
        }
        let result = self.evm.system_call_one(contract, input).map_err(|error| fatal(height, error))?;
        self.evm.commit_inner();
        match result {
            ExecutionResult::Success { output, .. } => Ok(output.into_data()),
            failed => Err(fatal(height, format!("system contract {contract} failed: {failed}"))),
        }
    }

    fn requests(&mut self, height: u64) -> Result<Option<Vec<Bytes>>> {
        if !self.hardfork.has_requests() {
            return Ok(None);
        }
        let mut requests = Requests::default();
        for (kind, contract) in [
            (eip7002::WITHDRAWAL_REQUEST_TYPE, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS),
            (eip7251::CONSOLIDATION_REQUEST_TYPE, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS),
        ] {
            let output = self.system_output(height, contract, Bytes::new())?;
            if !output.is_empty() {
                requests.push_request_with_type(kind, output);
            }
        }
        Ok(Some(requests.take()))
    }
}

fn credit_vault<B: StateRead>(
    vault: Option<Address>,
    overlay: &mut Overlay<B>,
    base_fee: u64,
    gas_used: u64,
) -> Result<(), StateError> {
    match vault {
        Some(vault) => overlay.credit(vault, U256::from(base_fee) * U256::from(gas_used)),
        None => Ok(()),
    }
}

pub(super) fn fatal(height: u64, error: impl std::fmt::Display) -> Error {
    Error::Evm { height, detail: error.to_string() }
}

/// revm's own error type for a transaction over [`StateError`].
pub(crate) type EvmError = EVMError<StateError, InvalidTransaction>;
