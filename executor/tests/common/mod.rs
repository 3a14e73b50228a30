//! What several tests share: a maker of ordered blocks, and small contracts.
#![allow(dead_code)]

pub(crate) mod wallet;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use squad_executor::OrderedBlock;

/// Makes a chain of ordered blocks, 300 ms apart.
pub(crate) struct Ordered {
    height: u64,
    parent: B256,
}

impl Ordered {
    pub(crate) fn new() -> Self {
        Self { height: 0, parent: B256::ZERO }
    }

    pub(crate) fn block(&mut self, transactions: Vec<Bytes>) -> OrderedBlock {
        self.height += 1;
        let mut preimage = self.parent.to_vec();
        preimage.extend(transactions.iter().flat_map(|raw| keccak256(raw).0));
        let block = OrderedBlock {
            height: self.height,
            timestamp_ms: 1_700_000_000_000 + self.height * 300,
            hash: keccak256(preimage),
            parent_hash: self.parent,
            proposer: Address::repeat_byte(0xab),
            transactions: transactions.into_iter().map(|raw| raw.0).collect(),
            checkpoint: bytes::Bytes::new(),
        };
        self.parent = block.hash;
        block
    }
}

/// `sstore(0, calldataload(0))`
pub(crate) const STORER: [u8; 6] = [0x5f, 0x35, 0x5f, 0x55, 0x00, 0x00];
/// `mstore(0, 42); log1(0, 32, 7)`
pub(crate) const LOGGER: [u8; 12] = [0x60, 0x2a, 0x5f, 0x52, 0x60, 0x07, 0x60, 0x20, 0x5f, 0xa1, 0x00, 0x00];
/// `mstore(0, 42); revert(0, 32)`
pub(crate) const REVERTER: [u8; 9] = [0x60, 0x2a, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xfd, 0x00];

/// Init code that deploys `code`.
pub(crate) fn deploy_code(code: &[u8]) -> Bytes {
    // push1 len, dup1, push1 11, push0, codecopy, push0, return
    let length = code.len() as u8;
    let mut init = vec![0x60, length, 0x80, 0x60, 0x0a, 0x5f, 0x39, 0x5f, 0xf3, 0x00];
    init.extend(code);
    init.into()
}
