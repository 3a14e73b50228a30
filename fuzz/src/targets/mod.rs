//! The targets. Each takes any bytes; a panic is the finding. What decodes must also encode to the same bytes again,
//! and is handed on to whoever checks it next, so that verification of hostile values is tried as well.

mod edges;
mod stored;
mod wire;

use bytes::Bytes;
use squad_types::{Committee, Decode, Domain, Encode, Genesis};
use std::sync::OnceLock;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on command lines.
    pub name: &'static str,
    /// The names that its seeds begin with.
    pub seeds: &'static [&'static str],
    /// The function.
    pub run: fn(&[u8]),
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! targets {
    ($($module:ident::$name:ident <- [$($seed:literal),*]),* $(,)?) => {
        /// Every target.
        pub const ALL: &[Target] = &[
            $(Target { name: stringify!($name), seeds: &[$($seed),*], run: $module::$name },)*
        ];
    };
}

targets! {
    wire::message <- ["message"],
    wire::request <- ["request"],
    wire::response <- ["response"],
    wire::header <- ["header"],
    wire::chain_state <- ["chain_state"],
    wire::proposed_block <- ["proposed_block"],
    wire::ordered_block <- ["ordered_block"],
    wire::namespace_block <- ["namespace_block"],
    wire::namespace_proof <- ["namespace_proof"],
    wire::confirmation <- ["confirmation"],
    wire::evidence <- ["evidence"],
    wire::commit_certificate <- ["commit_certificate"],
    wire::vote_certificate <- ["vote_certificate"],
    wire::batch_certificate <- ["batch_certificate"],
    wire::merkle_proof <- ["merkle.proof"],
    wire::transaction <- ["transaction"],
    wire::payload <- ["payload"],
    wire::peer_binding <- ["signed.peer_binding"],
    wire::committee <- ["committee"],
    wire::params <- ["params"],
    wire::namespace_spec <- ["namespace_spec"],
    stored::segment_records <- [],
    stored::log_entry <- ["log_entry"],
    stored::log_record <- ["log_record"],
    stored::checkpoint <- ["log_record.checkpoint"],
    stored::client_checkpoint <- ["client_checkpoint"],
    stored::trusted_committee <- ["trusted_committee"],
    edges::frame <- ["frame"],
    edges::hello <- ["hello"],
    edges::answer <- ["answer.contested", "hello.member"],
    edges::exchange <- ["exchange"],
    edges::genesis_json <- ["genesis.json"],
    edges::confirmation_json <- ["confirmation_json"],
    edges::evidence_json <- ["evidence_json"],
    edges::trusted_committee_json <- ["trusted_committee_json"],
    edges::grpc_messages <- ["namespace_block", "transaction"],
    edges::evm_admission <- ["evm_raw"],
    edges::evm_execution <- ["evm_raw"],
    edges::hex_text <- ["hex_text"],
    edges::config_toml <- ["config_toml"],
    edges::keystore_json <- ["keystore_json"],
}

/// The network that the vectors are about, to verify what decodes against.
struct Network {
    genesis: Genesis,
    domain: Domain,
    committee: Committee,
}

fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| {
        let seeds = crate::seeds::of(&["genesis.json"]);
        let genesis: Genesis = serde_json::from_slice(seeds[0]).expect("the frozen genesis parses");
        let committee = genesis.committee().expect("the frozen genesis names a committee");
        Network { domain: Domain::new(genesis.network_id()), committee, genesis }
    })
}

/// Decodes bytes; what decodes must encode to the same bytes.
fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_bytes(Bytes::copy_from_slice(bytes)).ok()?;
    assert_eq!(value.to_bytes(), bytes, "{} has two encodings of one value", std::any::type_name::<T>());
    Some(value)
}
