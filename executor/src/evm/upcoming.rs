//! The block that may come next: transactions whose place in the order is still open, on the head's state.
//!
//! What depends on the ordered block that will hold them is not known yet: its hash (so `prev_randao` is zero, and the
//! contract of EIP-4788 is not called), its time (the earliest that the rule allows is taken) and its proposer (tips go
//! to the zero address, unless the genesis names who gets them). All else follows the rules of an ordered block.

use super::{
    StoredBody,
    block::{Built, Piece, fatal, fill_roots, next_base_fee, next_timestamp},
};
use crate::{
    Genesis, Result, SenderTransaction, SkipCode,
    chain::Head,
    state::{Delta, Layered, StateRead},
};
use alloy_consensus::{Header, Transaction as _, constants::EMPTY_WITHDRAWALS};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A pending block as it is shown: complete but for its state root, and so without a hash.
#[derive(Debug)]
pub(crate) struct PendingBlock {
    /// The header; its state root is zero.
    pub(crate) header: Header,
    /// Transactions and receipts.
    pub(crate) body: StoredBody,
    /// What it changes in the state of its parent.
    pub(crate) changes: Arc<Delta>,
}

/// A pending block under construction. Each transaction runs once, however often the block is looked at in between.
#[derive(Debug)]
pub(crate) struct Upcoming {
    header: Header,
    /// The ordered height that it would have at the earliest, for errors.
    height: u64,
    body: StoredBody,
    changes: Arc<Delta>,
    /// Transactions that came before those with lower nonces.
    early: HashMap<Address, BTreeMap<u64, SenderTransaction>>,
}

impl Upcoming {
    /// An empty block on `head`, whose state is `base`.
    pub(crate) fn new(genesis: &Genesis, head: &Head, base: impl StateRead) -> Result<Self> {
        let parent = head.header.as_ref();
        let header = Header {
            parent_hash: head.hash,
            beneficiary: genesis.fee_recipient.unwrap_or_default(),
            state_root: B256::ZERO,
            number: parent.number + 1,
            gas_limit: genesis.gas_limit,
            timestamp: next_timestamp(genesis, parent, head.ordered.timestamp_ms),
            base_fee_per_gas: Some(next_base_fee(genesis, parent)),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        };
        let height = head.ordered.height + 1;
        let mut piece = Piece::new(genesis, base, &header);
        piece.keep_parent(height)?;
        let (body, changes) = piece.pause();
        Ok(Self { header, height, body, changes: Arc::new(changes), early: HashMap::new() })
    }

    /// Runs what `arrived`, in that order, each sender's by nonce. What does not execute is left out, and so is what does
    /// not fit into one block.
    ///
    /// # Errors
    /// [`Error::Evm`](crate::Error::Evm) if the state cannot be read; this block must then be given up.
    pub(crate) fn extend(
        &mut self,
        genesis: &Genesis,
        base: impl StateRead,
        arrived: impl IntoIterator<Item = SenderTransaction>,
    ) -> Result<()> {
        let state = Layered::new(base, self.changes.clone());
        let mut piece = Piece::resume(genesis, state, &self.header, std::mem::take(&mut self.body));
        for tx in arrived {
            let mut next = Some(tx);
            while let Some(tx) = next {
                next = self.take(&mut piece, tx)?;
            }
        }
        let (body, changes) = piece.pause();
        self.body = body;
        Arc::make_mut(&mut self.changes).then(changes);
        Ok(())
    }

    /// Runs one; the one of the same sender that waited for it.
    fn take<B: StateRead>(&mut self, piece: &mut Piece<B>, tx: SenderTransaction) -> Result<Option<SenderTransaction>> {
        let (sender, nonce, raw) = (tx.sender, tx.envelope.nonce(), tx.envelope.encoded_2718());
        if piece.must_wait(&tx, raw.len()).map_err(|error| fatal(self.height, error))? {
            return Ok(None);
        }
        match piece.transact(self.height, tx.clone(), raw.into())? {
            Ok(()) => Ok(self.early.get_mut(&sender).and_then(|early| early.remove(&(nonce + 1)))),
            Err(reason) if reason.code == SkipCode::NonceTooHigh => {
                self.early.entry(sender).or_default().entry(nonce).or_insert(tx);
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// The block as it is now, with what the end of a block does.
    ///
    /// # Errors
    /// [`Error::Evm`](crate::Error::Evm) if the state cannot be read.
    pub(crate) fn shown(&self, genesis: &Genesis, base: impl StateRead) -> Result<PendingBlock> {
        let (mut header, mut changes) = (self.header.clone(), self.changes.clone());
        let mut body = self.body.clone();
        // An empty block is not made, so nothing ends it.
        if !body.transactions.is_empty() {
            let state = Layered::new(base, changes.clone());
            let built = Piece::resume(genesis, state, &header, body).end(self.height)?;
            let Built { body: ended, delta, requests_hash } = built;
            Arc::make_mut(&mut changes).then(delta);
            (body, header.requests_hash) = (ended, requests_hash);
        }
        fill_roots(&mut header, &body);
        Ok(PendingBlock { header, body, changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DevAccount, dev_accounts,
        state::{Account, StateError},
        store::OrderedTip,
    };
    use alloy_primitives::U256;
    use revm::state::Bytecode;

    /// The genesis' balances, and nothing else.
    struct Funded<'a>(&'a Genesis);

    impl StateRead for Funded<'_> {
        fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
            let funded = self.0.alloc.get(&address);
            Ok(funded.map(|funded| Account { balance: funded.balance, ..Account::default() }))
        }
        fn storage(&self, _: Address, _: U256) -> Result<U256, StateError> {
            Ok(U256::ZERO)
        }
        fn code(&self, _: B256) -> Result<Bytecode, StateError> {
            Ok(Bytecode::default())
        }
        fn block_hash(&self, _: u64) -> Result<B256, StateError> {
            Ok(B256::ZERO)
        }
    }

    fn empty(genesis: &Genesis) -> Upcoming {
        let header = Arc::new(genesis.header(B256::ZERO));
        let head = Head { hash: header.hash_slow(), header, ordered: OrderedTip::default() };
        Upcoming::new(genesis, &head, Funded(genesis)).unwrap()
    }

    fn transfer(from: &DevAccount, nonce: u64, value: U256) -> SenderTransaction {
        let raw = from.transfer(1516, nonce, Address::repeat_byte(7), value);
        SenderTransaction::decode(&raw, 1516).unwrap()
    }

    #[test]
    fn runs_in_order_of_arrival_but_each_senders_by_nonce() {
        let genesis = Genesis::devnet();
        let (a, b) = (&dev_accounts()[0], &dev_accounts()[1]);
        let one = |from, nonce| transfer(from, nonce, U256::ONE);
        let arrived = [one(a, 2), one(a, 1), one(b, 0), one(a, 0), one(b, 2), one(a, 3)];
        let wanted = [&arrived[2], &arrived[3], &arrived[1], &arrived[0], &arrived[5]].map(SenderTransaction::hash);
        let mut at_once = empty(&genesis);
        at_once.extend(&genesis, Funded(&genesis), arrived.clone()).unwrap();
        let at_once = at_once.shown(&genesis, Funded(&genesis)).unwrap();
        let hashes: Vec<_> = at_once.body.transactions.iter().map(|tx| tx.hash).collect();
        assert_eq!(hashes, wanted, "the gap of b stays open");
        assert_eq!(at_once.header.gas_used, 5 * crate::TRANSFER_GAS);

        // Looked at after each arrival, it comes to the same.
        let mut one_by_one = empty(&genesis);
        for tx in arrived {
            one_by_one.extend(&genesis, Funded(&genesis), [tx]).unwrap();
            one_by_one.shown(&genesis, Funded(&genesis)).unwrap();
        }
        let one_by_one = one_by_one.shown(&genesis, Funded(&genesis)).unwrap();
        assert_eq!(one_by_one.header, at_once.header);
        assert_eq!((&one_by_one.body, &one_by_one.changes), (&at_once.body, &at_once.changes));
    }

    #[test]
    fn what_cannot_pay_is_left_out_and_what_comes_after_it_too() {
        let genesis = Genesis::devnet();
        let (a, b) = (&dev_accounts()[0], &dev_accounts()[1]);
        let most = genesis.alloc[&a.address()].balance / U256::from(2);
        let mut upcoming = empty(&genesis);
        let arrived = [transfer(a, 0, most), transfer(a, 1, most), transfer(a, 2, U256::ONE), transfer(b, 0, most)];
        let wanted = [arrived[0].hash(), arrived[3].hash()];
        upcoming.extend(&genesis, Funded(&genesis), arrived).unwrap();
        let hashes: Vec<_> = upcoming.body.transactions.iter().map(|tx| tx.hash).collect();
        assert_eq!(hashes, wanted);
    }
}
