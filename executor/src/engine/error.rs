//! What can go wrong with an execution client.

use alloy_primitives::B256;

/// Why a client cannot be fed. [`EngineError::passes`] says which of these are worth waiting for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The URL, the secret or the rollup's genesis cannot work.
    #[error("execution client: {0}")]
    Config(String),
    /// It cannot be reached, or did not answer in time.
    #[error("execution client: no answer from {url}: {detail}; start it, or correct the URL of its Engine API")]
    Unreachable {
        /// Its Engine API.
        url: String,
        /// What failed.
        detail: String,
    },
    /// It refuses the token.
    #[error(
        "the execution client at {url} refuses our token ({detail}): give both the same JWT secret file, and set both clocks (they may differ by a minute)"
    )]
    Unauthorised {
        /// Its Engine API.
        url: String,
        /// HTTP status and what it said.
        detail: String,
    },
    /// What answers is not the Engine API.
    #[error("what {url} answers to {method} is not the Engine API's: {detail}")]
    Malformed {
        /// Its Engine API.
        url: String,
        /// The method called.
        method: &'static str,
        /// What is wrong with the answer.
        detail: String,
    },
    /// It answered with a JSON-RPC error.
    #[error("the execution client refused {method}: {message} ({code})")]
    Refused {
        /// The method called.
        method: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// Its message.
        message: String,
    },
    /// It lacks a method that this rollup's rules, or the way to feed it, need.
    #[error(
        "the execution client does not offer {method}, which is needed here; use a later version of it, or turn the method's namespace on"
    )]
    Missing {
        /// The method.
        method: &'static str,
    },
    /// It runs another chain.
    #[error(
        "the execution client is of another network: its {what} is {theirs}, ours is {ours}; start it with this rollup's genesis file"
    )]
    OtherNetwork {
        /// What differs: chain id or genesis hash.
        what: &'static str,
        /// The executor's.
        ours: String,
        /// The client's.
        theirs: String,
    },
    /// Its chain left ours.
    #[error(
        "the execution client holds {theirs} as block {number}, ours is {ours}: something else fed it; remove its data and start it again"
    )]
    Forked {
        /// Block number.
        number: u64,
        /// The executor's hash.
        ours: B256,
        /// The client's hash.
        theirs: B256,
    },
    /// It executed a block and came to another result.
    #[error(
        "the execution client says that block {number} ({hash}) is invalid: {detail}; the two disagree about a rule: keep both data directories and report it"
    )]
    Invalid {
        /// Block number.
        number: u64,
        /// Its hash.
        hash: B256,
        /// What the client says.
        detail: String,
    },
    /// It built a block that is not ours.
    #[error(
        "the execution client built block {number} with another {field}: {theirs}, ours is {ours}; {}",
        advice(field)
    )]
    Differs {
        /// Block number.
        number: u64,
        /// The first field that differs, as the Engine API names it.
        field: &'static str,
        /// The executor's.
        ours: String,
        /// The client's.
        theirs: String,
    },
    /// It lacks the state below the block; it may be starting.
    #[error(
        "the execution client says SYNCING at block {number}: it lacks the state below; if this stays, it waits for peers: remove its data, or turn its own syncing off"
    )]
    Syncing {
        /// Block number.
        number: u64,
    },
    /// The executor's own database failed.
    #[error("reading blocks for the execution client: {0}")]
    Store(String),
}

fn advice(field: &str) -> &'static str {
    match field {
        "gasLimit" => "give it the rollup's gas limit as the one that it aims at",
        "extraData" => "the OP Stack's forks that it has on want another extraData in config.squad of the genesis",
        "baseFeePerGas" => "give it the rollup's EIP-1559 parameters",
        "executionRequests" | "blockHash" => "it has forks on that this rollup has not",
        _ => "the two disagree about a rule: keep both data directories and report it",
    }
}

impl EngineError {
    /// Whether trying again can help without anybody changing something here.
    pub fn passes(&self) -> bool {
        /// JSON-RPC's "internal error" and the range of server errors: of the moment, as long as nothing else is known.
        const SERVER_ERRORS: std::ops::RangeInclusive<i64> = -32_099..=-32_000;
        /// The Engine API's "unknown payload": the client was started anew since the block was begun.
        const UNKNOWN_PAYLOAD: i64 = -38_001;
        match self {
            Self::Unreachable { .. } | Self::Syncing { .. } => true,
            Self::Refused { code: UNKNOWN_PAYLOAD, .. } => true,
            Self::Refused { code, .. } => *code == -32_603 || SERVER_ERRORS.contains(code),
            _ => false,
        }
    }
}
