//! What `squad bench` takes.

use clap::Args;
use squad_types::Tier;
use std::path::PathBuf;

/// Transactions of one run that are signed before it starts, about 200 bytes each in memory.
pub(super) const MAX_SIGNED: u64 = 4 << 20;

/// `squad bench`
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Operators to offer load to: URLs of their gRPC, with commas between
    #[arg(long, value_delimiter = ',', required_unless_present_any = ["devnet", "compare"], value_name = "URLS")]
    pub targets: Vec<String>,
    /// A running devnet's directory: its operators are the targets, and their CPU time is measured
    #[arg(long, value_name = "DIR")]
    pub devnet: Option<PathBuf>,
    /// The namespace to write to
    #[arg(long, value_name = "NAME")]
    pub namespace: String,
    /// Transactions a second, offered whether or not they are answered
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=2_000_000))]
    pub rate: u64,
    /// Bytes of a transaction; EVM transfers have their own size
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(8..=131_072))]
    pub size: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration: u64,
    /// Seconds of the same load before them, which are not measured
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub warmup: u64,
    /// The tier to wait for; of each tier below it, an eighth of the transactions is a sample
    #[arg(long, default_value_t = Tier::Ordered)]
    pub tier: Tier,
    /// Wait for that tier only, and sample none below it
    #[arg(long)]
    pub no_samples: bool,
    /// Calls to each target, each on a connection of its own
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub streams: u32,
    /// Processes of the operators, on this machine, whose CPU time is measured
    #[arg(long, value_delimiter = ',', value_name = "PIDS")]
    pub pids: Vec<u32>,
    /// The operators' metrics, to count durable writes and bytes to peers
    #[arg(long, value_delimiter = ',', value_name = "URLS")]
    pub metrics: Vec<String>,
    /// For EVM namespaces: an executor's JSON-RPC, for the accounts' nonces before and after
    #[arg(long, value_name = "URL")]
    pub executor: Option<String>,
    /// Compare two networks, given twice: each a program and options of its `devnet`, in one argument ('' is this program).
    /// They run one after the other, in turns, and what is reported is the ratio of each pair
    #[arg(
        long,
        value_name = "PROGRAM OPTIONS",
        allow_hyphen_values = true,
        conflicts_with_all = ["targets", "devnet", "pids", "metrics", "executor"]
    )]
    pub compare: Vec<String>,
    /// Pairs of runs that are compared
    #[arg(long, default_value_t = 5, requires = "compare", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub pairs: u32,
    /// Where compared networks keep their data while they run: on the disk that counts
    #[arg(long, default_value = ".", requires = "compare", value_name = "DIR")]
    pub dir: PathBuf,
    /// Write every measured latency into this file, as CSV: about 20 bytes of memory and of the file for each
    #[arg(long, value_name = "FILE")]
    pub latencies: Option<PathBuf>,
    /// Set by the program's own `--json`.
    #[arg(skip)]
    pub json: bool,
}
