//! What `squad executor` allows wallets and programs.

use clap::{Args, value_parser};

/// Limits on clients of an executor. The defaults are the executor's own.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits on wallets and programs")]
pub struct WalletLimits {
    /// Bytes of one request
    #[arg(long, default_value_t = 2 << 20, value_name = "BYTES", value_parser = value_parser!(u32).range(300_000..=256 << 20))]
    pub rpc_request_bytes: u32,
    /// Bytes of one answer, a batch's included
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES", value_parser = value_parser!(u32).range(1 << 20..=1 << 30))]
    pub rpc_response_bytes: u32,
    /// Requests in one batch; 0 allows none
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = value_parser!(u32).range(0..=100_000))]
    pub rpc_batch: u32,
    /// Connections, WebSockets included
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pub rpc_connections: u32,
    /// Requests of one WebSocket that are worked on or whose answers wait for the client
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub rpc_under_way: u32,
    /// Subscriptions of one WebSocket
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = value_parser!(u32).range(0..=10_000))]
    pub rpc_subscriptions: u32,
    /// Memory for requests under way and answers that wait for their clients, over all connections, in MiB
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = value_parser!(u32).range(1..=1 << 20))]
    pub rpc_memory_mib: u32,
    /// How long a client may be silent or take nothing, in milliseconds; then its connection is closed
    #[arg(long, default_value_t = 60_000, value_name = "MS", value_parser = value_parser!(u32).range(1_000..=3_600_000))]
    pub rpc_idle_ms: u32,
    /// Calls and estimates that execute at once; more wait
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = value_parser!(u32).range(1..=1_024))]
    pub rpc_calls: u32,
    /// Requests that read the database at once; more wait
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = value_parser!(u32).range(1..=1_024))]
    pub rpc_reads: u32,
    /// Blocks that one request for logs covers
    #[arg(long, default_value_t = 10_000, value_name = "BLOCKS", value_parser = value_parser!(u64).range(1..))]
    pub rpc_log_blocks: u64,
    /// Logs that one answer lists
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub rpc_logs: u32,
    /// Filters remembered at once
    #[arg(long, default_value_t = 1_024, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub rpc_filters: u32,
    /// Longest wait of eth_sendRawTransactionSync, in milliseconds
    #[arg(long, default_value_t = 10_000, value_name = "MS", value_parser = value_parser!(u32).range(100..=600_000))]
    pub rpc_sync_ms: u32,
}
