//! `squad genesis`

use super::Output;
use crate::genesis::{NamespaceLine, assemble, namespace, parse_namespace, parse_validator};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use squad_types::{Genesis, Member, NamespaceKind, Params, Timestamp};
use std::path::{Path, PathBuf};

/// A genesis of a thousand validators and as many namespaces is under a megabyte.
const MAX_GENESIS_BYTES: u64 = 16 * 1024 * 1024;

/// `squad genesis …`
#[derive(Clone, Debug, Subcommand)]
pub enum GenesisCommand {
    /// Write a new genesis file
    New(NewArgs),
    /// Check a genesis file
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the network id: the hash of the genesis
    Id {
        /// The file
        file: PathBuf,
    },
}

/// `squad genesis new`
#[derive(Clone, Debug, Args)]
pub struct NewArgs {
    /// The network's name: lower-case letters, digits and dashes
    #[arg(long)]
    pub name: String,
    /// The file to write; it must not exist
    #[arg(long, default_value = "genesis.json", value_name = "FILE")]
    pub out: PathBuf,
    /// A validator of the first committee; repeat for each
    #[arg(long = "validator", value_name = "ADDRESS:STAKE", required = true, value_parser = parse_validator)]
    pub validators: Vec<Member>,
    /// A namespace, NAME:evm:CHAINID[:POLICY] or NAME:opaque[:POLICY]; repeat for each; ids count from 1
    #[arg(long = "namespace", value_name = "SPEC", required = true, value_parser = parse_namespace)]
    pub namespaces: Vec<NamespaceLine>,
    /// When the network starts, in milliseconds since 1970; now, if it is not given
    #[arg(long, value_name = "MILLISECONDS")]
    pub time: Option<u64>,
    /// A TOML file with parameters that differ from the defaults
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
}

/// Reads and checks a genesis file.
///
/// # Errors
/// The file, the line or field, and what is wrong.
pub fn read_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("genesis file {shown}"))?.len();
    anyhow::ensure!(length <= MAX_GENESIS_BYTES, "genesis file {shown}: {length} bytes are too many for a genesis");
    let text = std::fs::read_to_string(path).with_context(|| format!("genesis file {shown}"))?;
    let genesis: Genesis = serde_json::from_str(&text).with_context(|| format!("genesis file {shown}"))?;
    genesis.check().with_context(|| format!("genesis file {shown}"))?;
    Ok(genesis)
}

pub(super) fn run(command: GenesisCommand, output: Output) -> anyhow::Result<()> {
    match command {
        GenesisCommand::New(args) => new(args, output),
        GenesisCommand::Check { file } => {
            let genesis = read_genesis(&file)?;
            output.result(&summary(&genesis), || describe(&genesis))
        }
        GenesisCommand::Id { file } => {
            let id = read_genesis(&file)?.network_id();
            output.result(&json!({ "network_id": id }), || id.to_string())
        }
    }
}

fn new(args: NewArgs, output: Output) -> anyhow::Result<()> {
    let params = match &args.params {
        None => Params::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("parameters {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("parameters {}", path.display()))?
        }
    };
    let named = |(at, line): (usize, &NamespaceLine)| {
        u32::try_from(at + 1).map(|id| namespace(id, &line.name, line.kind, line.policy)).context("too many namespaces")
    };
    let namespaces = args.namespaces.iter().enumerate().map(named).collect::<anyhow::Result<Vec<_>>>()?;
    let time = args.time.map_or_else(super::now, Timestamp);
    let genesis = assemble(&args.name, time, params, namespaces, args.validators)?;
    let mut text = serde_json::to_string_pretty(&genesis)?;
    text.push('\n');
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(&args.out).with_context(|| {
        format!("{}: a genesis is never overwritten; choose another file with --out", args.out.display())
    })?;
    std::io::Write::write_all(&mut file, text.as_bytes()).with_context(|| args.out.display().to_string())?;
    output.result(&summary(&genesis), || format!("{}\nwritten to {}", describe(&genesis), args.out.display()))
}

fn summary(genesis: &Genesis) -> serde_json::Value {
    json!({
        "name": genesis.name,
        "network_id": genesis.network_id(),
        "time": genesis.time,
        "validators": genesis.validators.len(),
        "namespaces": genesis.namespaces.iter().map(|ns| json!({ "id": ns.id, "name": ns.name })).collect::<Vec<_>>(),
    })
}

fn describe(genesis: &Genesis) -> String {
    let mut lines = vec![format!("network {}  {}", genesis.name, genesis.network_id())];
    lines.extend(
        genesis.validators.iter().map(|member| format!("validator {}  stake {}", member.address, member.stake)),
    );
    lines.extend(genesis.namespaces.iter().map(|ns| {
        let kind = match ns.kind {
            NamespaceKind::Evm { chain_id } => format!("evm, chain id {chain_id}"),
            NamespaceKind::Opaque => "opaque".to_owned(),
        };
        format!("namespace {} {}  {kind}", ns.id, ns.name)
    }));
    lines.join("\n")
}
