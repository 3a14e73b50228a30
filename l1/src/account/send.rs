//! From a call to a transaction in a block.

use super::Account;
use super::error::AccountError;
use super::questions::{Call, Head, Included, Taken};
use crate::endpoints::Endpoints;
use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, U256};
use std::time::Duration;
use tokio::time::Instant;

/// Gas that is granted above an estimate, in hundredths: other transactions before it may change what it takes.
const MARGIN: u64 = 130;
/// How often fees are raised against a transaction that is under way: to about ten times as much.
const MOST_RAISES: u32 = 10;

/// How a transaction is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long between two looks.
    pub poll: Duration,
    /// How long altogether.
    pub most: Duration,
}

/// What a transaction would take if it were sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Gas, as estimated.
    pub gas: u64,
    /// Gas that is granted.
    pub gas_limit: u64,
    /// What a unit of gas costs in the newest block, in wei.
    pub base_fee: u128,
    /// What is offered above that, in wei.
    pub tip: u128,
    /// The account's balance, in wei.
    pub balance: U256,
}

impl Quote {
    /// The most that a unit of gas may cost, in wei: the base fee may double, which takes six blocks.
    fn most_price(&self) -> u128 {
        self.base_fee.saturating_mul(2).saturating_add(self.tip)
    }

    /// What it probably costs, in wei.
    pub fn likely(&self) -> U256 {
        U256::from(self.gas) * U256::from(self.base_fee.saturating_add(self.tip))
    }

    /// What it costs at most, in wei: the account has to hold so much.
    pub fn most(&self) -> U256 {
        U256::from(self.gas_limit) * U256::from(self.most_price())
    }
}

/// A transaction that is in a block and did what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Its hash.
    pub hash: B256,
    /// Its block, which is not final yet.
    pub block: u64,
    /// Gas that it took.
    pub gas: u64,
    /// What it cost, in wei.
    pub cost: U256,
}

impl Endpoints {
    /// Tries a call as of the newest block without sending it, and says what sending it takes.
    ///
    /// # Errors
    /// The contract's own reason, if it refuses.
    pub async fn quote(&self, from: Address, call: &Call) -> Result<Quote, AccountError> {
        let head = self.head().await?;
        let refused = |revert| AccountError::Refused { what: call.what.clone(), to: call.to, revert };
        self.attempt(&head, Some(from), call).await?.map_err(refused)?;
        let gas = self.gas(from, call).await?.map_err(refused)?;
        Ok(Quote {
            gas,
            gas_limit: gas.saturating_mul(MARGIN) / 100 + call.spare,
            base_fee: head.base_fee.into(),
            tip: self.tip().await,
            balance: self.balance(&head, from).await?,
        })
    }

    /// Sends a call as a transaction, and waits until it is in a block.
    ///
    /// With `replace`, it takes the place of whatever of the account's is under way: for accounts that nothing else uses.
    ///
    /// # Errors
    /// An account that cannot pay, or has others under way; what is not taken, not in a block in time, or failed there.
    pub async fn send(
        &self,
        account: &Account,
        call: &Call,
        quote: &Quote,
        replace: bool,
        patience: Patience,
    ) -> Result<Mined, AccountError> {
        if quote.balance < quote.most() {
            let (balance, needed) = (quote.balance, quote.most());
            return Err(AccountError::TooPoor { account: account.address(), balance, needed });
        }
        let (nonce, pending) = self.nonces(account.address()).await?;
        if pending > nonce && !replace {
            return Err(AccountError::UnderWay { account: account.address(), nonce, pending });
        }
        let mut transaction = TxEip1559 {
            chain_id: self.chain_id(),
            nonce,
            gas_limit: quote.gas_limit,
            max_fee_per_gas: quote.most_price(),
            max_priority_fee_per_gas: quote.tip,
            to: call.to.into(),
            value: U256::ZERO,
            access_list: Default::default(),
            input: call.data.clone(),
        };
        for _ in 0..=MOST_RAISES {
            let signature = account.sign(transaction.signature_hash());
            let signed = transaction.clone().into_signed(signature);
            match self.submit(&signed.encoded_2718()).await? {
                Taken::Yes => return self.wait(account.address(), call, *signed.hash(), patience).await,
                Taken::NonceUsed => {
                    return Err(AccountError::NotTaken("another one of its nonce is in a block already"));
                }
                Taken::Underpriced if !replace => {
                    return Err(AccountError::NotTaken("another one of its nonce is under way"));
                }
                // A tenth more replaces one that is under way.
                Taken::Underpriced => {
                    let raised = |fee: u128| fee.saturating_mul(5) / 4 + 1;
                    transaction.max_fee_per_gas = raised(transaction.max_fee_per_gas);
                    transaction.max_priority_fee_per_gas = raised(transaction.max_priority_fee_per_gas);
                    let needed = U256::from(transaction.gas_limit) * U256::from(transaction.max_fee_per_gas);
                    if quote.balance < needed {
                        return Err(AccountError::TooPoor {
                            account: account.address(),
                            balance: quote.balance,
                            needed,
                        });
                    }
                }
            }
        }
        Err(AccountError::NotTaken("another one of its nonce is under way, and offers ten times as much"))
    }

    /// Waits until a transaction is in a block.
    async fn wait(&self, from: Address, call: &Call, hash: B256, patience: Patience) -> Result<Mined, AccountError> {
        let until = Instant::now() + patience.most;
        loop {
            // That endpoints fail for a while is no reason to give up on what was sent.
            if let Ok(included) = self.included(hash).await {
                return self.outcome(from, call, hash, included).await;
            }
            if Instant::now() >= until {
                return Err(AccountError::NotMined { hash, seconds: patience.most.as_secs() });
            }
            tokio::time::sleep(patience.poll).await;
        }
    }

    async fn outcome(&self, from: Address, call: &Call, hash: B256, found: Included) -> Result<Mined, AccountError> {
        let Included { done, block, block_hash, gas, price } = found;
        if done {
            return Ok(Mined { hash, block, gas, cost: U256::from(gas) * U256::from(price) });
        }
        // As of its block, the same call mostly fails for the same reason.
        let head = Head { number: block, hash: block_hash, timestamp: 0, base_fee: 0 };
        let why = match self.attempt(&head, Some(from), call).await {
            Ok(Err(revert)) => revert.to_string(),
            Ok(Ok(_)) => {
                format!("it took {gas} gas, and would go through now: another one came before it, or it lacked gas")
            }
            Err(error) => format!("its reason cannot be had: {error}"),
        };
        Err(AccountError::Failed { hash, block, why })
    }
}
