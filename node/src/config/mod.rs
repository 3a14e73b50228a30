//! A node's configuration: TOML file < environment `SQUAD_*` < flags.
//!
//! The file's form is [`FileConfig`]; every setting of it can be overridden ([`Overrides`]); [`NodeConfig`] is what the
//! node runs with. Unknown keys are refused in the file and in the environment.

mod file;
mod load;
mod overrides;

pub use file::{FileConfig, FileKey, FileL1, FileListen, FileLog, FileP2p, FileStorage, Limits, SAMPLE};
pub use load::load;
pub use overrides::{List, Overrides};

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// All that a node is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where its state lies. One node at a time.
    pub data_dir: PathBuf,
    /// The genesis file of its network (JSON).
    pub genesis: PathBuf,
    /// Where its operator's key comes from.
    pub key: KeySource,
    /// Multiaddrs that peers reach it at, as it binds them.
    pub p2p_listen: Vec<String>,
    /// Multiaddrs that it tells peers to reach it at; empty: the bound ones; `none` alone: nothing.
    pub p2p_announce: Vec<String>,
    /// Multiaddrs of peers to begin with.
    pub bootstrap: Vec<String>,
    /// Where JSON-RPC, WebSocket and the page are served; none: not at all.
    pub rpc_listen: Option<SocketAddr>,
    /// Where gRPC is served; none: not at all.
    pub grpc_listen: Option<SocketAddr>,
    /// Where metrics are served; none: not at all.
    pub metrics_listen: Option<SocketAddr>,
    /// Executors to ask on behalf of wallets: name of the namespace and the URL of its JSON-RPC.
    pub executors: Vec<(String, String)>,
    /// How to ask the settlement layer.
    pub l1: L1Config,
    /// Limits on what clients may do.
    pub limits: Limits,
    /// Bytes that must be free where the data directory lies; below, it takes no transactions and proposes nothing.
    pub min_free_bytes: u64,
    /// Logging.
    pub log: LogConfig,
}

/// How to ask the settlement layer that the genesis names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Config {
    /// URLs of its JSON-RPC; none where stake comes from the genesis file.
    pub endpoints: Vec<String>,
    /// How many of them have to say the same: over half.
    pub agree: usize,
    /// How long each has for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// How long between two looks, in milliseconds.
    pub poll_ms: u64,
    /// The account that sends this node's transactions, if there is one.
    pub account: Option<KeySource>,
    /// Whether evidence that this node holds is sent to where stake is taken for it; from that account.
    pub submit_evidence: bool,
}

/// Where an operator's key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// An encrypted keystore file.
    Keystore {
        /// The file.
        path: PathBuf,
        /// Where its password comes from.
        password: PasswordSource,
    },
    /// A file with the bare key in hex: for development, behind `--insecure-plaintext-key`.
    PlaintextDev {
        /// The file.
        path: PathBuf,
    },
}

/// Where a password comes from. Never from an argument, which every process of the machine can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// Asked for on the terminal.
    Prompt,
}

/// How and what to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// What is logged: a level, or `tracing` directives such as `info,squad_node=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("'{other}' is no log format: use text or json")),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {}: {source}; give an existing file to --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file does not parse.
    #[error("configuration file {}: {what}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column, the line itself and what is wrong.
        what: String,
    },
    /// A variable does not parse.
    #[error("environment variable {name} = '{value}': {what}")]
    Environment {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A variable that no setting has.
    #[error("environment variable {name} is no setting of squad{}; unset it, or see `squad node --help`", near.as_deref().map(|n| format!(" (did you mean {n}?)")).unwrap_or_default())]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The one that looks like it.
        near: Option<String>,
    },
    /// A setting without which nothing works.
    #[error("{setting} is not set: give --{flag}, set {variable}, or write `{setting} = …` in the configuration file")]
    Missing {
        /// The setting, as in the file.
        setting: &'static str,
        /// Its flag.
        flag: &'static str,
        /// Its variable.
        variable: &'static str,
    },
    /// Settings that do not go together, or a value out of range.
    #[error("{setting}: {what}")]
    Invalid {
        /// The setting, as in the file.
        setting: String,
        /// What is wrong, with the value, and what to do.
        what: String,
    },
}

#[cfg(test)]
mod tests;
