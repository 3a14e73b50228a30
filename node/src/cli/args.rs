//! What the command line takes.

use super::doctor::DoctorArgs;
use super::evidence::EvidenceCommand;
use super::genesis::GenesisCommand;
use super::keys::KeysCommand;
use super::operator::OperatorCommand;
use super::status::StatusArgs;
use super::submit::SubmitArgs;
use super::verify::VerifyArgs;
use super::wallets::WalletLimits;
use super::watch::WatchArgs;
use crate::bench::BenchArgs;
use crate::config::{ConfigError, NodeConfig, Overrides, load};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A network of operators that orders transactions for rollups.
#[derive(Debug, Parser)]
#[command(name = "squad", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a local network: operators, executors and a table of what they do
    Devnet(DevnetArgs),
    /// Run one operator's node
    Node(Box<NodeArgs>),
    /// Make, import and look at operator keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make and check a network's genesis file
    #[command(subcommand)]
    Genesis(GenesisCommand),
    /// Print a configuration file with every setting, to start from
    Config,
    /// Submit a transaction and wait for its confirmation
    Submit(SubmitArgs),
    /// Print a namespace's blocks as they are ordered
    Watch(WatchArgs),
    /// Check a confirmation, trusting no server
    Verify(VerifyArgs),
    /// List and check proofs of what operators were caught at
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Register with a settlement layer, allocate stake, replace keys, leave
    #[command(subcommand)]
    Operator(Box<OperatorCommand>),
    /// Show a node's state
    Status(StatusArgs),
    /// Look for what keeps a node from running well
    Doctor(DoctorArgs),
    /// Offer load to operators and report what becomes of it
    Bench(Box<BenchArgs>),
    /// Run the reference EVM executor of one namespace
    Executor(Box<ExecutorArgs>),
    /// Run a devnet's chain, and end it when standard input ends: for the devnet alone
    #[command(hide = true)]
    DevnetChain {
        /// The chain's program.
        program: PathBuf,
        /// Its arguments.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
}

/// `squad node`
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// The configuration file (TOML); also SQUAD_CONFIG
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow a key that lies unencrypted on disk; for development only
    #[arg(long)]
    pub insecure_plaintext_key: bool,
    /// End when standard input does: for a parent process that holds it open
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
    /// Pretend that the clock is this many milliseconds ahead: for tests only, so with a plaintext key only
    #[arg(long, hide = true, value_name = "MS", requires = "insecure_plaintext_key", allow_negative_numbers = true)]
    pub insecure_clock_offset_ms: Option<i64>,
    /// Sign without asking the others what this key signed before, so twice: for tests only, so with a plaintext key only
    #[arg(long, hide = true, requires = "insecure_plaintext_key")]
    pub insecure_unguarded: bool,
    /// Settings.
    #[command(flatten)]
    pub settings: Overrides,
}

impl NodeArgs {
    /// Puts the configuration together from the file, this process's environment and the flags.
    ///
    /// # Errors
    /// What is wrong with any of them.
    pub fn load(self) -> Result<NodeConfig, ConfigError> {
        // Variables that are no text cannot be settings of ours.
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        load(self.config.as_deref(), &environment, self.settings, self.insecure_plaintext_key)
    }
}

/// `squad devnet`
#[derive(Clone, Debug, Args)]
pub struct DevnetArgs {
    /// How many operators to run
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub operators: u16,
    /// How many executors of the namespace `evm` to run
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub executors: u16,
    /// Where keys, genesis and state lie; a second start continues from there
    #[arg(long, default_value = "devnet", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where operators are, in turns: AWS regions or sets of them (us-4, eu-5, alto-10, mysticeti-13), with commas
    /// between; what they say to each other takes as long as it would there. Next to each other if it is not given
    #[arg(long, value_delimiter = ',', value_name = "REGIONS")]
    pub regions: Vec<String>,
    /// Keep stake on a local Ethereum chain, with EigenLayer's core and the contracts of this network
    #[arg(long)]
    pub l1: bool,
    /// The program that runs that chain; looked for on PATH and under contracts/node_modules if it is not given
    #[arg(long, value_name = "PATH", requires = "l1")]
    pub anvil: Option<PathBuf>,
    /// EigenLayer's core, as contracts/core.mjs writes it; contracts/core/v1.4.json if it is not given
    #[arg(long, value_name = "FILE", requires = "l1")]
    pub core: Option<PathBuf>,
    /// The first of the ports to use; free ones are chosen if it is not given
    #[arg(long, value_name = "PORT")]
    pub base_port: Option<u16>,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub exit_after: Option<u64>,
    /// Set by the program's own `--json`: one JSON object a line.
    #[arg(skip)]
    pub json: bool,
}

/// How an execution client is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineModeArg {
    /// It is handed whole blocks
    #[default]
    Payload,
    /// It builds each block first from the OP Stack's payload attributes (op-geth, op-reth)
    OpAttributes,
    /// It builds each block first by testing_buildBlockV1 (geth, reth, Nethermind, Besu, Erigon)
    TestingBuildBlock,
}

/// `squad executor`
#[derive(Clone, Debug, Args)]
pub struct ExecutorArgs {
    /// Operators to follow: URLs of their gRPC, with commas between; none of them is trusted
    #[arg(long, value_delimiter = ',', required = true, value_name = "URLS")]
    pub operators: Vec<String>,
    /// The network's genesis file: what is trusted
    #[arg(long, value_name = "FILE")]
    pub genesis: PathBuf,
    /// The namespace to execute
    #[arg(long, default_value = "evm", value_name = "NAME")]
    pub namespace: String,
    /// The rollup's own genesis: geth's genesis.json, or the executor's own format; the development genesis if none is
    /// named. Fixed for the life of the data directory
    #[arg(long, value_name = "FILE")]
    pub genesis_file: Option<PathBuf>,
    /// Where its state lies
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Memory for caches over the state, in MiB
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..))]
    pub cache_mib: u32,
    /// EVM blocks behind the latest whose state can be read; blocks and receipts are kept for ever
    #[arg(long, default_value_t = 1_024, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..))]
    pub state_history: u64,
    /// Where wallets connect
    #[arg(long, default_value = "127.0.0.1:8545", value_name = "ADDR:PORT")]
    pub rpc_listen: SocketAddr,
    /// What clients may do.
    #[command(flatten)]
    pub limits: WalletLimits,
    /// The Engine API of an execution client that shall follow too (geth, reth, EthereumJS …), such as
    /// http://127.0.0.1:8551
    #[arg(long, value_name = "URL", requires = "engine_jwt")]
    pub engine: Option<String>,
    /// The file with the JWT secret that the execution client reads too
    #[arg(long, value_name = "FILE", requires = "engine")]
    pub engine_jwt: Option<PathBuf>,
    /// How the execution client is fed: payload hands it whole blocks; in the other modes it builds each block first, from
    /// the OP Stack's payload attributes or by testing_buildBlockV1, and must come to the same one
    #[arg(long, value_enum, default_value_t, value_name = "MODE", requires = "engine")]
    pub engine_mode: EngineModeArg,
    /// Where the execution client serves testing_buildBlockV1, such as http://127.0.0.1:8645
    #[arg(long, value_name = "URL", requires = "engine", required_if_eq("engine_mode", "testing-build-block"))]
    pub engine_rpc: Option<String>,
    /// A level, or directives such as info,squad_executor=debug
    #[arg(long = "log", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// End when standard input does: for a parent process that holds it open
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}
