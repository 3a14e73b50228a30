//! A state that grows: transfers to accounts that were never seen before, thousands a block, with the rate and the
//! memory of the process on the way.
//!
//! `cargo bench -p squad-executor --bench growth -- ACCOUNTS CACHE_MIB`; 200,000 accounts and the default cache if none
//! is named.
#![allow(clippy::unwrap_used, missing_docs)]

mod workload;

use alloy_primitives::B256;
use squad_executor::{Chain, DEFAULT_CACHE_BYTES, StateConfig};
use std::time::{Duration, Instant};
use workload::{Kind, Workload};

/// Transfers in a block.
const TRANSFERS: usize = 1_000;
/// Reports on the way.
const REPORTS: u64 = 5;

/// Resident memory of this process in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<u64>().ok());
    let accounts = numbers.next().unwrap_or(200_000);
    let cache_bytes = numbers.next().map_or(DEFAULT_CACHE_BYTES, |mib| (mib as usize) << 20);
    let state = StateConfig { cache_bytes, ..StateConfig::default() };
    let blocks = accounts.div_ceil(TRANSFERS as u64);
    let dir = tempfile::tempdir().unwrap();
    let mut workload = Workload::new(Kind::FreshTransfers, TRANSFERS);
    let mut chain = Chain::open_with(dir.path(), workload.genesis(), b"", state).unwrap();
    let (mut spent, mut since) = (Duration::ZERO, 0u64);
    for height in 1..=blocks {
        let block = workload.block(height, chain.head().ordered.hash);
        let start = Instant::now();
        chain.apply(&block, true).unwrap();
        spent += start.elapsed();
        since += 1;
        if height.is_multiple_of(blocks.div_ceil(REPORTS)) || height == blocks {
            let rate = (since * TRANSFERS as u64) as f64 / spent.as_secs_f64();
            let size = std::fs::metadata(chain.reader().store.path()).map_or(0, |file| file.len() >> 20);
            let height = height * TRANSFERS as u64;
            println!("{height:>9} accounts  {rate:>8.0} transfers/s  {} MiB resident  {size} MiB on disk", resident());
            (spent, since) = (Duration::ZERO, 0);
        }
    }
    chain.flush().unwrap();
    let root = chain.head().header.state_root;
    drop(chain);
    let start = Instant::now();
    let chain = Chain::open_with(dir.path(), workload.genesis(), b"", state).unwrap();
    assert_eq!(chain.head().header.state_root, root);
    assert_ne!(root, B256::ZERO);
    println!("opened again in {:.3} s, {} MiB resident", start.elapsed().as_secs_f64(), resident());
}
