//! A development rollup without a network: it orders what its wallets send, every 200 ms, by itself.
//!
//! `cargo run -p squad-executor --example solo -- 8545`
// They panic when nobody reads what they print.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use alloy_primitives::{Address, B256, keccak256};
use squad_executor::{
    ChannelForwarder, ChannelSource, Error, Genesis, OrderedBlock, RollupConfig, RpcLimits, StateConfig, run_with,
};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// Time between two blocks.
const PERIOD: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8545);
    let dir = std::env::temp_dir().join(format!("squad-solo-{}", std::process::id()));
    let config = RollupConfig {
        dir: dir.clone(),
        genesis: Genesis::devnet(),
        rpc: ([127, 0, 0, 1], port).into(),
        limits: RpcLimits::default(),
        state: StateConfig::default(),
        engine: None,
    };
    let (blocks, source) = ChannelSource::new(4);
    let (transactions, queue) = mpsc::channel(10_000);
    let (listening, address) = oneshot::channel();
    let (stop, shutdown) = watch::channel(false);
    tokio::spawn(order(queue, blocks));
    tokio::spawn(async move {
        if let Ok(address) = address.await {
            let _ = writeln!(std::io::stdout(), "wallets connect to http://{address}; ctrl-c stops");
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
    });
    let forwarder = ChannelForwarder { transactions };
    let result = run_with(config, b"solo", async |_| Ok(source), forwarder, Some(listening), shutdown).await;
    // The directory is this run's own; what cannot be removed is left to the system's cleaner.
    let _ = std::fs::remove_dir_all(dir);
    result
}

/// Cuts what arrived into a block every [`PERIOD`].
async fn order(mut queue: mpsc::Receiver<bytes::Bytes>, blocks: mpsc::Sender<OrderedBlock>) {
    let (mut height, mut parent_hash) = (0u64, B256::ZERO);
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let mut transactions = Vec::new();
        while let Ok(raw) = queue.try_recv() {
            transactions.push(raw);
        }
        height += 1;
        let hash = keccak256([parent_hash.as_slice(), &transactions.concat()].concat());
        let timestamp_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let block = OrderedBlock {
            height,
            timestamp_ms,
            hash,
            parent_hash,
            proposer: Address::ZERO,
            transactions,
            checkpoint: bytes::Bytes::new(),
        };
        if blocks.send(block).await.is_err() {
            return;
        }
        parent_hash = hash;
    }
}
