//! Settings from the environment and from flags: one list, so that neither lacks one.

use super::{ConfigError, LogFormat};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A list with commas between its items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<String>);

impl FromStr for List {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])* $field:ident: $kind:ty = $flag:literal, $variable:literal, $value:literal;)*) => {
        /// Settings given by environment or flags; they override the file.
        #[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
        pub struct Overrides {
            $($(#[doc = $doc])* #[arg(long = $flag, value_name = $value, help_heading = "Settings (over SQUAD_* and the file)")] pub $field: Option<$kind>,)*
        }

        impl Overrides {
            /// The variables that stand for these settings.
            pub const VARIABLES: &'static [&'static str] = &[$($variable),*];

            /// Reads the settings from an environment.
            ///
            /// # Errors
            /// A value that does not parse, with the variable's name.
            pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
                Ok(Self { $($field: parse($variable, lookup($variable))?,)* })
            }

            /// These settings, and where they are silent, those of `lower`.
            #[must_use]
            pub fn over(self, lower: Self) -> Self {
                Self { $($field: self.$field.or(lower.$field),)* }
            }
        }
    };
}

settings! {
    /// Where the node's state lies
    data_dir: PathBuf = "data-dir", "SQUAD_DATA_DIR", "DIR";
    /// The network's genesis file
    genesis: PathBuf = "genesis", "SQUAD_GENESIS", "FILE";
    /// The operator's encrypted key
    keystore: PathBuf = "keystore", "SQUAD_KEYSTORE", "FILE";
    /// A file whose first line is the keystore's password
    password_file: PathBuf = "password-file", "SQUAD_PASSWORD_FILE", "FILE";
    /// An environment variable that holds the keystore's password
    password_env: String = "password-env", "SQUAD_PASSWORD_ENV", "NAME";
    /// A file with the bare key in hex; needs --insecure-plaintext-key
    plaintext_key: PathBuf = "plaintext-key", "SQUAD_PLAINTEXT_KEY", "FILE";
    /// Multiaddrs to bind for peers, with commas between
    p2p_listen: List = "p2p-listen", "SQUAD_P2P_LISTEN", "MULTIADDRS";
    /// Multiaddrs to tell peers, where they differ, or none
    p2p_announce: List = "p2p-announce", "SQUAD_P2P_ANNOUNCE", "MULTIADDRS";
    /// Multiaddrs of peers to begin with
    bootstrap: List = "bootstrap", "SQUAD_BOOTSTRAP", "MULTIADDRS";
    /// JSON-RPC, WebSocket and the page: address and port
    rpc_listen: SocketAddr = "rpc-listen", "SQUAD_RPC_LISTEN", "ADDR:PORT";
    /// gRPC: address and port
    grpc_listen: SocketAddr = "grpc-listen", "SQUAD_GRPC_LISTEN", "ADDR:PORT";
    /// Metrics: address and port
    metrics_listen: SocketAddr = "metrics-listen", "SQUAD_METRICS_LISTEN", "ADDR:PORT";
    /// Executors, as NAMESPACE=URL with commas between
    executors: List = "executors", "SQUAD_EXECUTORS", "NAMESPACE=URL";
    /// JSON-RPC of the settlement layer, URLs with commas between
    l1_endpoints: List = "l1-endpoints", "SQUAD_L1_ENDPOINTS", "URLS";
    /// Bytes that must be free at the data directory for the node to take transactions and propose
    min_free_bytes: u64 = "min-free-bytes", "SQUAD_MIN_FREE_BYTES", "BYTES";
    /// text or json
    log_format: LogFormat = "log-format", "SQUAD_LOG_FORMAT", "FORMAT";
    /// A level, or directives such as info,squad_node=debug
    log_filter: String = "log", "SQUAD_LOG", "FILTER";
}

fn parse<T: FromStr>(variable: &str, value: Option<String>) -> Result<Option<T>, ConfigError>
where
    T::Err: std::fmt::Display,
{
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(error) => Err(ConfigError::Environment { name: variable.into(), what: error.to_string(), value }),
    }
}
