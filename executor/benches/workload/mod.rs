//! Ordered blocks to execute: transfers, and calls of a token.
#![allow(dead_code)]

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, address, hex, keccak256};
use squad_executor::{DevAccount, Genesis, GenesisAccount, OrderedBlock};
use std::collections::BTreeMap;

/// Distinct senders.
pub(crate) const SENDERS: usize = 100;
/// Chain id.
pub(crate) const CHAIN: u64 = 7;
/// Where the token lives.
const TOKEN: Address = address!("0x00000000000000000000000000000000000e2c20");
/// An ERC-20's `transfer(address,uint256)`, the way Solidity does it: two balances in a mapping at slot 0, a check of
/// the sender's, and the event.
const TOKEN_CODE: &[u8] = &hex!(
    "5f35 60e0 1c 63a9059cbb 14 6011 57 5f5ffd"
    "5b 33 5f 52 6040 5f 20 80 54 6024 35 81 81 11 606c 57 80 91 03 90 91 55"
    "6004 35 5f 52 6040 5f 20 80 54 82 01 90 55"
    "5f 52 6004 35 33 7fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef 6020 5f a3"
    "6001 5f 52 6020 5f f3"
    "5b 5f5ffd"
);
/// Gas limit of a token transfer.
const TOKEN_GAS: u64 = 80_000;

/// What a block's transactions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ether to the same thousand accounts over and over.
    Transfers,
    /// Ether to accounts that did not exist.
    FreshTransfers,
    /// Of ten transactions six token transfers and four of ether.
    Mix,
}

/// Makes one block after the other.
pub(crate) struct Workload {
    kind: Kind,
    transactions: usize,
    senders: Vec<DevAccount>,
    nonces: Vec<u64>,
    made: u64,
}

impl Workload {
    pub(crate) fn new(kind: Kind, transactions: usize) -> Self {
        let secret = |at: usize| keccak256((at as u64).to_be_bytes());
        let senders = (0..SENDERS).map(|at| DevAccount::from_secret(secret(at)).unwrap()).collect();
        Self { kind, transactions, senders, nonces: vec![0; SENDERS], made: 0 }
    }

    pub(crate) fn genesis(&self) -> Genesis {
        let mut genesis = Genesis::new(CHAIN);
        // Blocks of a thousand token calls stay whole.
        genesis.gas_limit = 100_000_000;
        let balance = U256::from(10u64).pow(U256::from(24u64));
        let mut storage = BTreeMap::new();
        for sender in &self.senders {
            let funded = GenesisAccount { balance, ..GenesisAccount::default() };
            genesis.alloc.insert(sender.address(), funded);
            let mut key = [0u8; 64];
            key[12..32].copy_from_slice(sender.address().as_slice());
            storage.insert(U256::from_be_bytes(keccak256(key).0), balance);
        }
        let token = GenesisAccount { nonce: 1, code: Bytes::from_static(TOKEN_CODE), storage, ..Default::default() };
        genesis.alloc.insert(TOKEN, token);
        genesis
    }

    fn recipient(&mut self, at: usize) -> Address {
        self.made += 1;
        let number = if self.kind == Kind::FreshTransfers { self.made } else { at as u64 };
        Address::from_word(keccak256(number.to_le_bytes()))
    }

    /// Raw transactions of the next block.
    pub(crate) fn transactions(&mut self) -> Vec<bytes::Bytes> {
        (0..self.transactions)
            .map(|at| {
                let to = self.recipient(at);
                let sender = at % SENDERS;
                let nonce = self.nonces[sender];
                self.nonces[sender] += 1;
                let sender = &self.senders[sender];
                if self.kind == Kind::Mix && at % 10 < 6 {
                    let mut input = hex!("a9059cbb").to_vec();
                    input.extend(to.into_word());
                    input.extend(B256::with_last_byte(1));
                    sender.transact(CHAIN, nonce, TxKind::Call(TOKEN), U256::ZERO, input.into(), TOKEN_GAS).0
                } else {
                    sender.transfer(CHAIN, nonce, to, U256::ONE).0
                }
            })
            .collect()
    }

    pub(crate) fn block(&mut self, height: u64, parent_hash: B256) -> OrderedBlock {
        OrderedBlock {
            height,
            timestamp_ms: height * 1_000,
            hash: keccak256(height.to_be_bytes()),
            parent_hash,
            proposer: Address::ZERO,
            transactions: self.transactions(),
            checkpoint: bytes::Bytes::new(),
        }
    }
}
