//! The configuration file.

use super::{ConfigError, LogFormat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A configuration file with every setting and its default, for an operator to start from.
pub const SAMPLE: &str = include_str!("sample.toml");

/// The file's form. All settings are optional here; what must be set can come from the environment or a flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// Where the node's state lies; relative paths start at the file's directory.
    pub data_dir: Option<PathBuf>,
    /// The genesis file of the network.
    pub genesis: Option<PathBuf>,
    /// The operator's key.
    pub key: FileKey,
    /// Peers.
    pub p2p: FileP2p,
    /// JSON-RPC, WebSocket and the page.
    pub rpc: FileListen,
    /// gRPC.
    pub grpc: FileListen,
    /// Metrics.
    pub metrics: FileListen,
    /// Executors by namespace: the URL of their JSON-RPC.
    pub executors: BTreeMap<String, String>,
    /// Limits on clients.
    pub limits: Limits,
    /// The settlement layer.
    pub l1: FileL1,
    /// The disk.
    pub storage: FileStorage,
    /// Logging.
    pub log: FileLog,
}

/// `[key]`, and `account` of `[l1]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileKey {
    /// An encrypted keystore (web3 secret storage, version 3).
    pub keystore: Option<PathBuf>,
    /// A file whose first line is the keystore's password.
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the keystore's password.
    pub password_env: Option<String>,
    /// A file with the bare key in hex; works only with the flag `--insecure-plaintext-key`.
    pub plaintext: Option<PathBuf>,
}

/// `[p2p]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileP2p {
    /// Multiaddrs to bind.
    pub listen: Option<Vec<String>>,
    /// Multiaddrs to tell peers, where they differ from those bound, or `none`.
    pub announce: Option<Vec<String>>,
    /// Multiaddrs of peers to begin with.
    pub bootstrap: Option<Vec<String>>,
}

/// `[rpc]`, `[grpc]`, `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileListen {
    /// The address and port to bind.
    pub listen: Option<SocketAddr>,
    /// Whether it is served at all; it is, if this is not set.
    pub enabled: Option<bool>,
}

/// `[l1]`: how to ask the settlement layer that the genesis names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileL1 {
    /// URLs of its JSON-RPC.
    pub endpoints: Option<Vec<String>>,
    /// How many of them have to say the same.
    pub agree: Option<usize>,
    /// How long each has for an answer, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long between two looks, in milliseconds.
    pub poll_ms: Option<u64>,
    /// The account that sends this node's transactions.
    pub account: FileKey,
    /// Whether evidence that this node holds is sent to where stake is taken for it.
    pub submit_evidence: Option<bool>,
}

/// `[storage]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileStorage {
    /// Bytes that must be free where the data directory lies; below, the node takes no transactions and proposes nothing.
    pub min_free_bytes: Option<u64>,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileLog {
    /// `text` or `json`.
    pub format: Option<LogFormat>,
    /// A level or `tracing` directives.
    pub filter: Option<String>,
}

/// `[limits]`: what clients may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one JSON-RPC request. A transaction takes twice its bytes in hex; a batch of a few fits.
    pub rpc_request_bytes: u32,
    /// Bytes of one JSON-RPC answer. A namespace's block takes twice its bytes in hex.
    pub rpc_response_bytes: u32,
    /// Calls in one JSON-RPC batch.
    pub rpc_batch: u32,
    /// Connections to the JSON-RPC port, WebSockets included. A connection costs some tens of kilobytes.
    pub rpc_connections: u32,
    /// Subscriptions of one WebSocket connection.
    pub rpc_subscriptions: u32,
    /// Calls of one WebSocket connection that are worked on or whose answers the client has not taken. One more is refused.
    pub rpc_under_way: u32,
    /// Messages that wait for one slow WebSocket client before the node stops producing more for it.
    pub rpc_buffered_messages: u32,
    /// Mebibytes of calls under way and of answers that clients have not taken, over all connections. What does not fit is
    /// refused.
    pub rpc_memory_mib: u32,
    /// How long a client may send nothing, take nothing of an answer, or give no sign of life on a WebSocket, in
    /// milliseconds. Its connection is closed then, at the latest after twice that time.
    pub rpc_idle_ms: u32,
    /// Connections to the gRPC port.
    pub grpc_connections: u32,
    /// Streams and calls of one gRPC connection at a time.
    pub grpc_streams: u32,
    /// Submissions that wait for their tier at a time, over all clients.
    pub pending_submissions: u32,
    /// How long a call waits for a tier, in milliseconds.
    pub wait_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rpc_request_bytes: 2 * 1024 * 1024,
            rpc_response_bytes: 64 * 1024 * 1024,
            rpc_batch: 100,
            rpc_connections: 1_024,
            rpc_subscriptions: 64,
            rpc_under_way: 1_024,
            rpc_buffered_messages: 16,
            rpc_memory_mib: 512,
            rpc_idle_ms: 60_000,
            grpc_connections: 1_024,
            grpc_streams: 256,
            pending_submissions: 131_072,
            wait_ms: 15_000,
        }
    }
}

impl Limits {
    /// Whether the JSON-RPC port can serve what the other limits allow.
    ///
    /// # Errors
    /// Memory that does not hold one request and one answer of the largest size.
    pub fn check_memory(&self) -> Result<(), ConfigError> {
        let largest = u64::from(self.rpc_request_bytes) + u64::from(self.rpc_response_bytes);
        if u64::from(self.rpc_memory_mib) << 20 >= largest {
            return Ok(());
        }
        let what = format!(
            "{} MiB do not hold one request and one answer of the largest size ({largest} bytes): use at least {}, or lower \
             rpc_request_bytes or rpc_response_bytes",
            self.rpc_memory_mib,
            largest.div_ceil(1 << 20)
        );
        Err(ConfigError::Invalid { setting: "limits.rpc_memory_mib".into(), what })
    }

    /// What bounds clients of the JSON-RPC port.
    pub fn rpc(&self) -> squad_rpc::Limits {
        squad_rpc::Limits {
            request_bytes: self.rpc_request_bytes,
            response_bytes: self.rpc_response_bytes,
            batch: self.rpc_batch,
            connections: self.rpc_connections,
            under_way: self.rpc_under_way,
            subscriptions: self.rpc_subscriptions,
            buffered: self.rpc_buffered_messages,
            memory: (self.rpc_memory_mib as usize) << 20,
            idle: Duration::from_millis(self.rpc_idle_ms.into()),
        }
    }

    /// Each limit with its name, its value and the range it must lie in.
    pub fn ranges(&self) -> [(&'static str, u32, std::ops::RangeInclusive<u32>); 13] {
        [
            // The largest transaction of the protocol must fit, in hex.
            ("rpc_request_bytes", self.rpc_request_bytes, 300_000..=256 << 20),
            ("rpc_response_bytes", self.rpc_response_bytes, 1 << 20..=1 << 30),
            ("rpc_batch", self.rpc_batch, 0..=10_000),
            ("rpc_connections", self.rpc_connections, 1..=100_000),
            ("rpc_subscriptions", self.rpc_subscriptions, 0..=10_000),
            ("rpc_under_way", self.rpc_under_way, 1..=1_000_000),
            ("rpc_buffered_messages", self.rpc_buffered_messages, 1..=10_000),
            ("rpc_memory_mib", self.rpc_memory_mib, 1..=1 << 20),
            ("rpc_idle_ms", self.rpc_idle_ms, 1_000..=3_600_000),
            ("grpc_connections", self.grpc_connections, 1..=100_000),
            ("grpc_streams", self.grpc_streams, 1..=100_000),
            ("pending_submissions", self.pending_submissions, 1_024..=10_000_000),
            ("wait_ms", self.wait_ms, 100..=600_000),
        ]
    }
}
