//! What goes wrong with calls and transactions.

use super::revert::Revert;
use crate::error::L1Error;
use alloy_primitives::{Address, B256, U256, utils::format_ether};

/// Why a contract could not be asked, or a transaction not be sent.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The endpoints do not agree, or do not answer.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// A contract refuses.
    #[error("{what}: {to} refuses: {revert}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The contract.
        to: Address,
        /// Its reason.
        revert: Revert,
    },
    /// What answers is no such contract.
    #[error("{what}: {to} gives no such answer ({why}): is that the contract, on this chain?")]
    NoSuchContract {
        /// What was asked for.
        what: String,
        /// The contract.
        to: Address,
        /// What is wrong with the answer.
        why: String,
    },
    /// The account cannot pay for the transaction.
    #[error(
        "the account {account} holds {} ETH, and the transaction may cost up to {} ETH: send it some",
        format_ether(*balance), format_ether(*needed)
    )]
    TooPoor {
        /// The account.
        account: Address,
        /// What it holds, in wei.
        balance: U256,
        /// What the transaction may cost, in wei.
        needed: U256,
    },
    /// Others of the account's transactions come first.
    #[error(
        "the account {account} has {} transactions under way, from nonce {nonce} on: wait until they are in a block, or \
         replace them with your wallet",
        pending - nonce
    )]
    UnderWay {
        /// The account.
        account: Address,
        /// Its next nonce, going by blocks.
        nonce: u64,
        /// Its next nonce, going by what is under way as well.
        pending: u64,
    },
    /// No endpoint takes it.
    #[error("no endpoint takes the transaction: {0}")]
    NotTaken(&'static str),
    /// It is in no block yet.
    #[error(
        "transaction {hash} was sent and is in no block after {seconds} s: it may still be; look again before sending another"
    )]
    NotMined {
        /// The transaction.
        hash: B256,
        /// How long it was waited for.
        seconds: u64,
    },
    /// It is in a block, and did nothing.
    #[error("transaction {hash} failed in block {block}: {why}")]
    Failed {
        /// The transaction.
        hash: B256,
        /// Its block.
        block: u64,
        /// The contract's reason, as far as it can be had.
        why: String,
    },
}
