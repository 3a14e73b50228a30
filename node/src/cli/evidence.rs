//! `squad evidence`: what operators were caught at, as files that prove themselves.

mod onchain;
#[cfg(test)]
mod tests;

use onchain::{ShowArgs, SubmitArgs};

use super::Output;
use super::remote::{Remote, RemoteArgs};
use crate::api::NodeStatus;
use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use squad_types::{Address, Decode as _, Domain, EcdsaVerifier, Encode as _, Evidence, IncidentId, NetworkId};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Two acks with the longest chain of headers between them take less than two megabytes in hex.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// `squad evidence`
#[derive(Clone, Debug, Subcommand)]
pub enum EvidenceCommand {
    /// What an operator knows of others' faults; each piece is checked here
    List(ListArgs),
    /// Check a file, trusting nobody: from its bytes alone
    Verify(CheckArgs),
    /// Show what a file proves, and whether stake was taken for it
    Show(ShowArgs),
    /// Have stake taken for what a file proves
    Submit(Box<SubmitArgs>),
}

/// `squad evidence list`
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Write each piece into a file of this folder, named by its incident
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// `squad evidence verify`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The file, as `squad evidence list --out` writes it
    file: PathBuf,
    /// The genesis of the network that it must be about
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

/// Evidence as a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceFile {
    /// The network that the statements were made for.
    network: NetworkId,
    /// Whom it accuses. For readers; checked.
    accused: Address,
    /// Of which incident. For readers; checked.
    incident: IncidentId,
    /// The evidence itself, in hex with 0x: what the contract takes.
    bytes: String,
}

/// What a piece of evidence comes to.
struct Checked {
    accused: Address,
    incident: IncidentId,
    what: String,
    /// What was stated, one and the other.
    statements: [String; 2],
}

fn check(evidence: &Evidence, network: NetworkId) -> anyhow::Result<Checked> {
    let accused = evidence.verify(&Domain::new(network), &EcdsaVerifier)?;
    let incident = evidence.incident(&network).context("it names no slot")?;
    Ok(Checked { accused, incident, what: describe(evidence), statements: stated(evidence) })
}

fn describe(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Votes(pair) => {
            let vote = &pair.first.statement;
            format!("two {:?}s at height {}, round {}", vote.kind, vote.height, vote.round).to_lowercase()
        }
        Evidence::Proposals(pair) => {
            let proposal = &pair.first.statement;
            format!("two proposals at height {}, round {}", proposal.height, proposal.round)
        }
        Evidence::Batches(pair) => {
            let header = &pair.first.statement;
            format!("two batches at place {} of its lane of epoch {}", header.sequence, header.epoch)
        }
        Evidence::Acks(pair) => {
            let (at, epoch) = (pair.lower.tip.sequence, pair.lower.ack.statement.epoch);
            format!("two acks for different batches at place {at} of lane {} of epoch {epoch}", pair.lane)
        }
    }
}

/// The two statements, by what sets them apart.
fn stated(evidence: &Evidence) -> [String; 2] {
    match evidence {
        Evidence::Votes(pair) => [&pair.first, &pair.second].map(|vote| {
            vote.statement.block.map_or_else(|| "for nil".to_owned(), |block| format!("for block {block}"))
        }),
        Evidence::Proposals(pair) => [&pair.first, &pair.second].map(|proposal| {
            let valid = proposal.statement.valid_round;
            let valid = valid.map_or_else(String::new, |round| format!(", of round {round}"));
            format!("block {}{valid}", proposal.statement.block)
        }),
        Evidence::Batches(pair) => [&pair.first, &pair.second].map(|header| format!("batch {}", header.statement.id())),
        Evidence::Acks(pair) => [&pair.lower, &pair.higher].map(|ack| {
            let (tip, statement) = (&ack.tip, &ack.ack.statement);
            format!("ack {} of the lane up to place {}, batch {}", statement.counter, tip.sequence, tip.batch)
        }),
    }
}

pub(super) async fn run(command: EvidenceCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        EvidenceCommand::List(args) => list(args, output).await,
        EvidenceCommand::Verify(args) => verify(&args, output),
        EvidenceCommand::Show(args) => Box::pin(onchain::show(args, output)).await,
        EvidenceCommand::Submit(args) => Box::pin(onchain::submit(*args, output)).await,
    }
}

async fn list(args: ListArgs, output: Output) -> anyhow::Result<ExitCode> {
    let remote = Remote::new(&args.remote.rpc)?;
    let status: NodeStatus = remote.call("squad_status", Vec::new()).await?;
    let all: Vec<Evidence> = remote.call("squad_evidence", Vec::new()).await?;
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let (mut files, mut lines) = (Vec::new(), Vec::new());
    for evidence in &all {
        let checked = check(evidence, status.network_id)
            .with_context(|| format!("{} shows evidence that does not hold", args.remote.rpc))?;
        let bytes = format!("0x{}", hex::encode(evidence.to_bytes()));
        let file =
            EvidenceFile { network: status.network_id, accused: checked.accused, incident: checked.incident, bytes };
        let mut shown = format!("{}  {}  {}", checked.accused, checked.incident, checked.what);
        if let Some(dir) = &args.out {
            let path = dir.join(format!("{}.json", checked.incident));
            let text = serde_json::to_string_pretty(&file)? + "\n";
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            shown = format!("{shown}\n  {}", path.display());
        }
        lines.push(shown);
        files.push(file);
    }
    output.result(&files, || if lines.is_empty() { "nobody was caught".to_owned() } else { lines.join("\n") })?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<EvidenceFile> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    serde_json::from_str(&text).context("no file that `squad evidence list --out` wrote")
}

/// What a file proves: the network, the bytes that the contract takes, and what they come to.
fn load(path: &Path) -> anyhow::Result<(NetworkId, Vec<u8>, Checked)> {
    let shown = path.display();
    let file = read(path).with_context(|| shown.to_string())?;
    let bytes = file.bytes.strip_prefix("0x").unwrap_or(&file.bytes);
    let bytes = hex::decode(bytes).with_context(|| format!("{shown}: bytes is no hex"))?;
    let evidence =
        Evidence::from_bytes(Bytes::from(bytes.clone())).with_context(|| format!("{shown}: bytes is no evidence"))?;
    let checked = check(&evidence, file.network).with_context(|| format!("{shown} proves nothing"))?;
    ensure!(
        (checked.accused, checked.incident) == (file.accused, file.incident),
        "{shown} says that it accuses {} of {}, and proves that {} is guilty of {}",
        file.accused,
        file.incident,
        checked.accused,
        checked.incident
    );
    Ok((file.network, bytes, checked))
}

fn verify(args: &CheckArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (network, _, checked) = load(&args.file)?;
    if let Some(genesis) = &args.genesis {
        let of = super::read_genesis(genesis)?.network_id();
        let shown = args.file.display();
        ensure!(of == network, "{shown} is about network {network}, and the genesis is of network {of}");
    }
    let answer = serde_json::json!({
        "network": network, "accused": checked.accused, "incident": checked.incident, "what": checked.what,
    });
    output.result(&answer, || {
        format!("{} signed {}\n  network {}\n  incident {}", checked.accused, checked.what, network, checked.incident)
    })?;
    Ok(ExitCode::SUCCESS)
}
