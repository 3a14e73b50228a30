//! What is asked of a chain as it is now, before and after a transaction. Enough endpoints have to say the same, as for all
//! else.

use super::error::AccountError;
use super::revert::Revert;
use crate::endpoints::Endpoints;
use crate::error::L1Error;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_provider::transport::TransportError;
use alloy_provider::{Provider as _, RootProvider};
use alloy_rpc_types_eth::{Filter, TransactionInput, TransactionRequest};
use alloy_sol_types::SolCall;

/// What endpoints say where they know of no tip that others pay: a gwei.
const USUAL_TIP: u128 = 1_000_000_000;
/// The largest tip that is offered, whatever endpoints say: twenty gwei. A tip is paid in full.
const MOST_TIP: u128 = 20_000_000_000;
/// The most gas that an estimate is believed with: Ethereum takes no larger transaction (EIP-7825).
const MOST_GAS: u64 = 1 << 24;
/// Blocks that are asked about at a time where events are looked for: many endpoints refuse more.
const EVENT_BLOCKS: u64 = 5_000;
/// How many blocks are looked through at most: many times EigenLayer's delays.
const MOST_EVENT_BLOCKS: u64 = 1_000_000;

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, in seconds since 1970.
    pub timestamp: u64,
    /// What a unit of gas costs in it at least, in wei.
    pub base_fee: u64,
}

/// A call of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it is for; for errors.
    pub what: String,
    /// The contract.
    pub to: Address,
    /// Function and arguments.
    pub data: Bytes,
    /// Gas that it needs beyond an estimate. An estimate is the least that does not fail; where the contract goes on if a call of its
    /// own fails, that is less than lets all of it happen.
    pub spare: u64,
}

/// What an endpoint makes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It has it, since now or before.
    Yes,
    /// It has another one of that nonce, which offers as much.
    Underpriced,
    /// One of that nonce is in a block.
    NonceUsed,
}

/// What came of a transaction that is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Included {
    pub(super) done: bool,
    pub(super) block: u64,
    pub(super) block_hash: B256,
    pub(super) gas: u64,
    pub(super) price: u128,
}

fn request(from: Option<Address>, to: Address, data: &Bytes) -> TransactionRequest {
    let call = TransactionRequest { from, to: Some(to.into()), ..Default::default() };
    call.input(TransactionInput::new(data.clone()))
}

/// The reason of a call's failure, if it is the contract's.
fn revert(error: &TransportError) -> Option<Revert> {
    let payload = error.as_error_resp()?;
    let bare = payload.code == 3 || payload.message.contains("execution reverted");
    payload.as_revert_data().or_else(|| bare.then(Bytes::new)).map(Revert)
}

impl Endpoints {
    /// The newest block that enough endpoints have.
    pub async fn head(&self) -> Result<Head, L1Error> {
        self.block(self.height("the newest block", BlockNumberOrTag::Latest).await?).await
    }

    /// A block by its number.
    pub async fn block(&self, number: u64) -> Result<Head, L1Error> {
        let ask = async |provider: RootProvider| {
            let block = provider.get_block_by_number(BlockNumberOrTag::Number(number)).await?;
            Ok(block.filter(|block| block.header.number == number).map(|block| Head {
                number,
                hash: block.header.hash,
                timestamp: block.header.timestamp,
                base_fee: block.header.base_fee_per_gas.unwrap_or_default(),
            }))
        };
        self.agreed(&format!("block {number}"), ask).await
    }

    /// What an account holds as of a block, in wei.
    pub async fn balance(&self, at: &Head, account: Address) -> Result<U256, L1Error> {
        let block = BlockId::hash_canonical(at.hash);
        let ask = async |provider: RootProvider| Ok(Some(provider.get_balance(account).block_id(block).await?));
        self.agreed(&format!("the balance of {account}"), ask).await
    }

    /// What a call of a contract gives as of a block, or why it refuses. Nothing is sent.
    ///
    /// # Errors
    /// Too few endpoints that answer alike.
    pub async fn attempt(
        &self,
        at: &Head,
        from: Option<Address>,
        call: &Call,
    ) -> Result<Result<Bytes, Revert>, L1Error> {
        let ask = async |provider: RootProvider| {
            let asked = provider.call(request(from, call.to, &call.data)).block(BlockId::hash_canonical(at.hash));
            match asked.await {
                Ok(answer) => Ok(Some(Ok(answer))),
                Err(error) => revert(&error).map_or(Err(error), |revert| Ok(Some(Err(revert)))),
            }
        };
        self.agreed(&format!("{} at {}", call.what, call.to), ask).await
    }

    /// What a function of a contract answers as of a block.
    pub(crate) async fn read<C: SolCall>(&self, at: &Head, to: Address, call: C) -> Result<C::Return, AccountError> {
        let what = C::SIGNATURE.to_owned();
        let call = Call { what, to, data: call.abi_encode().into(), spare: 0 };
        let answer = self.attempt(at, None, &call).await?;
        let answer = answer.map_err(|revert| AccountError::Refused { what: call.what.clone(), to, revert })?;
        let why = if answer.is_empty() { Some("nothing".to_owned()) } else { None };
        match why.map_or_else(|| C::abi_decode_returns_validate(&answer).map_err(|error| error.to_string()), Err) {
            Ok(answer) => Ok(answer),
            Err(why) => Err(AccountError::NoSuchContract { what: call.what, to, why }),
        }
    }

    /// Blocks from `from` up to `at` with an event of a contract whose first topics are these.
    pub(super) async fn events(
        &self,
        at: &Head,
        from: u64,
        of: Address,
        topics: [B256; 2],
    ) -> Result<Vec<u64>, L1Error> {
        let (mut found, mut from) = (Vec::new(), from.max(at.number.saturating_sub(MOST_EVENT_BLOCKS)));
        while from <= at.number {
            let to = at.number.min(from.saturating_add(EVENT_BLOCKS - 1));
            let filter = Filter::new().address(of).event_signature(topics[0]).topic1(topics[1]);
            let filter = filter.from_block(from).to_block(to);
            let ask = async |provider: RootProvider| {
                let logs = provider.get_logs(&filter).await?;
                Ok(Some(logs.iter().filter_map(|log| log.block_number).collect::<Vec<u64>>()))
            };
            found.extend(self.agreed(&format!("events of {of} in blocks {from} to {to}"), ask).await?);
            let Some(next) = to.checked_add(1) else { break };
            from = next;
        }
        Ok(found)
    }

    /// The gas that a call takes if it is sent now, or why it would fail.
    pub(super) async fn gas(&self, from: Address, call: &Call) -> Result<Result<u64, Revert>, L1Error> {
        let ask = async |provider: RootProvider| {
            let asked = provider.estimate_gas(request(Some(from), call.to, &call.data));
            match asked.block(BlockId::latest()).await {
                Ok(gas) => Ok(Some((gas, None))),
                Err(error) => revert(&error).map_or(Err(error), |revert| Ok(Some((0, Some(revert.0))))),
            }
        };
        let what = format!("an estimate of the gas of {}", call.what);
        // Estimates differ from one endpoint to the next: what enough of them reach.
        let numbers = |answers: &[(usize, (u64, Option<Bytes>))]| {
            let mut answers: Vec<_> = answers.iter().map(|(_, answer)| answer.clone()).collect();
            answers.sort_unstable_by(|a, b| b.cmp(a));
            answers.get(self.count().1 - 1).cloned()
        };
        let found = self.gather(&what, ask, |answers, over| if over { numbers(answers) } else { None }).await?;
        Ok(match found {
            (_, Some(data)) => Err(Revert(data)),
            (gas, None) => Ok(gas.min(MOST_GAS)),
        })
    }

    /// What others pay above the base fee for a unit of gas, in wei.
    pub(super) async fn tip(&self) -> u128 {
        let ask = async |provider: RootProvider| match provider.get_max_priority_fee_per_gas().await {
            // Not every endpoint knows this question.
            Err(error) if error.as_error_resp().is_some() => Ok(Some(USUAL_TIP)),
            answer => answer.map(Some),
        };
        self.reached("the tip", ask).await.unwrap_or(USUAL_TIP).min(MOST_TIP)
    }

    /// The nonce of an account's next transaction: going by blocks, and with what is under way.
    pub(super) async fn nonces(&self, account: Address) -> Result<(u64, u64), L1Error> {
        let ask = async |provider: RootProvider| {
            let nonce = provider.get_transaction_count(account).block_id(BlockId::latest()).await?;
            // Others may not have seen what is under way: one that knows of it is enough.
            let pending = provider.get_transaction_count(account).block_id(BlockId::pending()).await?;
            Ok(Some((nonce, pending)))
        };
        let (nonce, pending) = self.reached(&format!("the nonce of {account}"), ask).await?;
        Ok((nonce, pending.max(nonce)))
    }

    /// Hands a signed transaction to all.
    pub(super) async fn submit(&self, signed: &[u8]) -> Result<Taken, L1Error> {
        let ask = async |provider: RootProvider| match provider.send_raw_transaction(signed).await {
            Ok(_) => Ok(Some(Taken::Yes)),
            Err(error) => {
                let said = error.as_error_resp().map(|payload| payload.message.to_lowercase()).unwrap_or_default();
                let says = |words: &str| said.contains(words);
                if says("already known") || says("already imported") || says("known transaction") {
                    Ok(Some(Taken::Yes))
                } else if says("underpriced") || says("fee too low") || says("replacement") {
                    Ok(Some(Taken::Underpriced))
                } else if says("nonce too low") || says("nonce is too low") {
                    Ok(Some(Taken::NonceUsed))
                } else {
                    Err(error)
                }
            }
        };
        let best = |answers: &[(usize, Taken)]| {
            let any = |wanted: Taken| answers.iter().any(|(_, taken)| *taken == wanted).then_some(wanted);
            any(Taken::Yes).or_else(|| any(Taken::NonceUsed)).or_else(|| any(Taken::Underpriced))
        };
        self.gather("the transaction is not taken", ask, |answers, over| if over { best(answers) } else { None }).await
    }

    /// What came of a transaction, once enough endpoints have it in the same block.
    pub(super) async fn included(&self, hash: B256) -> Result<Included, L1Error> {
        let ask = async |provider: RootProvider| {
            let Some(receipt) = provider.get_transaction_receipt(hash).await? else { return Ok(None) };
            let (Some(block), Some(block_hash)) = (receipt.block_number, receipt.block_hash) else { return Ok(None) };
            let (done, gas, price) = (receipt.status(), receipt.gas_used, receipt.effective_gas_price);
            Ok((receipt.transaction_hash == hash).then_some(Included { done, block, block_hash, gas, price }))
        };
        self.agreed(&format!("the receipt of {hash}"), ask).await
    }
}
