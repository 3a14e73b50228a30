//! The chain stopped at every write of its database: killed (what was written stays), or cut from power (what was not
//! synced is gone). Either way it must stand at a whole block, know its whole state, and go on to the same chain.

use super::*;
use crate::{DevAccount, dev_accounts};
use alloy_primitives::{Bytes, TxKind};
use std::{
    io,
    sync::{Mutex, MutexGuard},
};

const BLOCKS: u64 = 14;
/// Short, so that history is pruned while the disk is watched.
const HISTORY: u64 = 4;
/// `sstore(calldataload(0), calldataload(32))`
const STORER: [u8; 6] = [0x60, 0x20, 0x35, 0x5f, 0x35, 0x55];

#[derive(Debug, Default)]
struct Sectors {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Writes and syncs seen; from `stop_at` on, none has an effect.
    operations: u64,
    stop_at: Option<u64>,
}

/// A disk in memory.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Sectors>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, Sectors> {
        self.0.lock().unwrap()
    }

    fn change(&self, with: impl FnOnce(&mut Sectors)) -> io::Result<()> {
        let mut disk = self.lock();
        if disk.stop_at.is_some_and(|stop| disk.operations >= stop) {
            return Err(io::Error::other("the process was killed"));
        }
        disk.operations += 1;
        with(&mut disk);
        Ok(())
    }

    /// The disk that the next process finds.
    fn after(&self, power_cut: bool) -> Self {
        let disk = self.lock();
        let bytes = if power_cut { &disk.synced } else { &disk.now };
        Self(Arc::new(Mutex::new(Sectors { now: bytes.clone(), synced: bytes.clone(), ..Sectors::default() })))
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.lock();
        let from = offset as usize;
        let bytes = disk.now.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|disk| disk.now.resize(len as usize, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|disk| disk.synced = disk.now.clone())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|disk| disk.now[offset as usize..][..data.len()].copy_from_slice(data))
    }
}

fn genesis() -> Genesis {
    let mut genesis = Genesis::devnet();
    // Small, so that ordered blocks become several.
    genesis.gas_limit = 200_000;
    genesis
}

fn open(disk: &Disk) -> Result<Chain> {
    let store = Store::on(disk.clone(), B256::ZERO, 1 << 20)?;
    Chain::on(store, genesis(), StateConfig { cache_bytes: 1 << 16, history: HISTORY })
}

fn transactions(sender: &DevAccount, nonce: &mut u64, height: u64) -> Vec<bytes::Bytes> {
    let contract = sender.address().create(0);
    let mut next = |to, input: Vec<u8>, value: u64| {
        *nonce += 1;
        sender.transact(1516, *nonce - 1, to, U256::from(value), Bytes::from(input), 120_000).0
    };
    if height == 1 {
        let mut init = vec![0x60, STORER.len() as u8, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3];
        init.extend(STORER);
        return vec![next(TxKind::Create, init, 0)];
    }
    if height.is_multiple_of(5) {
        return vec![];
    }
    (0..6)
        .map(|at| match at % 2 {
            0 => next(TxKind::Call(Address::repeat_byte((height * 3 + at) as u8)), vec![], 1 + height),
            _ => {
                // Some slots are set and cleared again.
                let mut input = U256::from(at + height % 3).to_be_bytes::<32>().to_vec();
                input.extend(U256::from(height % 4).to_be_bytes::<32>());
                next(TxKind::Call(contract), input, 0)
            }
        })
        .collect()
}

fn blocks() -> Vec<OrderedBlock> {
    let (sender, mut nonce, mut parent_hash) = (&dev_accounts()[0], 0, B256::ZERO);
    (1..=BLOCKS)
        .map(|height| {
            let transactions = transactions(sender, &mut nonce, height);
            let hash = keccak256(height.to_be_bytes());
            let block = OrderedBlock {
                height,
                timestamp_ms: 1_700_000_000_000 + height * 300,
                hash,
                parent_hash,
                proposer: Address::repeat_byte(0xab),
                transactions,
                checkpoint: bytes::Bytes::new(),
            };
            parent_hash = hash;
            block
        })
        .collect()
}

/// Applies what is missing; every third block waits for the disk.
fn go_on(chain: &mut Chain, blocks: &[OrderedBlock]) -> Result<()> {
    for block in &blocks[chain.next_height() as usize - 1..] {
        chain.apply(block, !block.height.is_multiple_of(3))?;
    }
    chain.flush()
}

/// The state of the head and of all kept history is whole.
fn check(chain: &Chain, steady: &Chain) {
    let (head, reader) = (chain.head(), chain.reader());
    assert_eq!(Some(&*head.header), steady.reader().store.header(head.header.number).unwrap().as_ref());
    let view = reader.state_at(head.header.number).unwrap();
    assert_eq!(view.rebuild_root().unwrap(), head.header.state_root);
    let contract = dev_accounts()[0].address().create(0);
    for number in head.header.number.saturating_sub(HISTORY)..=head.header.number {
        // The proof is checked against the block's root.
        let proof = reader.proof(number, contract, &[U256::ONE]).unwrap();
        let other = steady.reader().store.header(number).unwrap().unwrap();
        assert_eq!(reader.store.header(number).unwrap().unwrap(), other);
        assert_eq!(proof.slots.len(), 1);
    }
    if head.header.number > HISTORY {
        let error = reader.state_at(head.header.number - HISTORY - 1).unwrap_err();
        assert!(matches!(error, StateError::NotKept { .. }), "{error}");
    }
}

#[test]
fn stopped_at_any_write_the_chain_stands_at_a_whole_block_and_goes_on() {
    let blocks = blocks();
    let steady_disk = Disk::default();
    let mut steady = open(&steady_disk).unwrap();
    go_on(&mut steady, &blocks).unwrap();
    assert!(steady.head().header.number > BLOCKS, "no ordered block became several");
    check(&steady, &steady);
    let operations = steady_disk.lock().operations;
    let mut heights = std::collections::BTreeSet::new();
    // A prime, so that every kind of write is met; twice over, for both ways to stop.
    for (at, stop) in (1..operations).step_by(7).enumerate() {
        let disk = Disk::default();
        disk.lock().stop_at = Some(stop);
        let stopped = open(&disk).and_then(|mut chain| go_on(&mut chain, &blocks));
        assert!(stopped.is_err(), "operation {stop} of {operations} was never reached");
        let mut chain = open(&disk.after(at % 2 == 0)).unwrap();
        heights.insert(chain.head().ordered.height);
        check(&chain, &steady);
        go_on(&mut chain, &blocks).unwrap();
        assert_eq!(chain.head().hash, steady.head().hash, "stopped at operation {stop}");
        check(&chain, &steady);
    }
    assert!(heights.len() > 3, "stopped at {heights:?} only");
}

#[test]
fn a_failed_block_leaves_nothing_in_the_caches() {
    let blocks = blocks();
    let disk = Disk::default();
    let mut chain = open(&disk).unwrap();
    go_on(&mut chain, &blocks[..4]).unwrap();
    let before = chain.head();
    let written = disk.lock().operations;
    disk.lock().stop_at = Some(written);
    assert!(chain.apply(&blocks[5 - 1], false).is_ok(), "an empty block is not written at once");
    assert!(chain.apply(&blocks[6 - 1], false).is_err());
    assert_eq!(chain.head().header, before.header);
    drop(chain);
    let mut chain = open(&disk.after(false)).unwrap();
    go_on(&mut chain, &blocks).unwrap();
    check(&chain, &chain);
}
