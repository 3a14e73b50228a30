//! `squad evidence`: what operators were caught at, as files that prove themselves.

use super::Output;
use super::remote::{Remote, RemoteArgs};
use crate::api::NodeStatus;
use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use squad_types::{Address, Decode as _, Digest, Domain, EcdsaVerifier, Encode as _, Evidence, NetworkId};
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
    incident: Digest,
    /// The evidence itself, in hex with 0x: what the contract takes.
    bytes: String,
}

/// What a piece of evidence comes to.
struct Checked {
    accused: Address,
    incident: Digest,
    what: String,
}

fn check(evidence: &Evidence, network: NetworkId) -> anyhow::Result<Checked> {
    let accused = evidence.verify(&Domain::new(network), &EcdsaVerifier)?;
    let incident = evidence.incident(&network).context("it names no slot")?;
    Ok(Checked { accused, incident: Digest(incident), what: describe(evidence) })
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

pub(super) async fn run(command: EvidenceCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        EvidenceCommand::List(args) => list(args, output).await,
        EvidenceCommand::Verify(args) => verify(&args, output),
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

fn verify(args: &CheckArgs, output: Output) -> anyhow::Result<ExitCode> {
    let shown = args.file.display();
    let file = read(&args.file).with_context(|| shown.to_string())?;
    if let Some(genesis) = &args.genesis {
        let network = super::read_genesis(genesis)?.network_id();
        ensure!(
            network == file.network,
            "{shown} is about network {}, and the genesis is of network {network}",
            file.network
        );
    }
    let bytes = file.bytes.strip_prefix("0x").unwrap_or(&file.bytes);
    let bytes = hex::decode(bytes).with_context(|| format!("{shown}: bytes is no hex"))?;
    let evidence =
        Evidence::from_bytes(Bytes::from(bytes)).with_context(|| format!("{shown}: bytes is no evidence"))?;
    let checked = check(&evidence, file.network).with_context(|| format!("{shown} proves nothing"))?;
    ensure!(
        (checked.accused, checked.incident) == (file.accused, file.incident),
        "{shown} says that it accuses {} of {}, and proves that {} is guilty of {}",
        file.accused,
        file.incident,
        checked.accused,
        checked.incident
    );
    let answer = serde_json::json!({
        "network": file.network, "accused": checked.accused, "incident": checked.incident, "what": checked.what,
    });
    output.result(&answer, || {
        format!(
            "{} signed {}\n  network {}\n  incident {}",
            checked.accused, checked.what, file.network, checked.incident
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::Served;
    use crate::config::Limits;
    use squad_types::{EcdsaSigner, HeaderHash, Height, Round, Signed, Verified, Vote, VoteKind, VotePair};

    fn vote(network: NetworkId, block: u8) -> Signed<Vote> {
        let signer = EcdsaSigner::from_secret([4; 32]).unwrap();
        let block = Some(HeaderHash([block; 32]));
        let vote = Vote { kind: VoteKind::Prevote, height: Height(8), round: Round(2), block };
        Verified::sign(vote, &Domain::new(network), &signer).into_signed()
    }

    fn file(dir: &Path, change: impl FnOnce(&mut EvidenceFile)) -> CheckArgs {
        let network = NetworkId([3; 32]);
        let evidence = Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 2) });
        let Checked { accused, incident, what } = check(&evidence, network).unwrap();
        assert_eq!(what, "two prevotes at height 8, round 2");
        let bytes = format!("0x{}", hex::encode(evidence.to_bytes()));
        let mut file = EvidenceFile { network, accused, incident, bytes };
        change(&mut file);
        let path = dir.join("evidence.json");
        std::fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
        CheckArgs { file: path, genesis: None }
    }

    fn refused(change: impl FnOnce(&mut EvidenceFile)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let args = file(dir.path(), change);
        format!("{:#}", verify(&args, Output { json: true }).unwrap_err())
    }

    fn list_of(served: &Served, dir: &Path) -> ListArgs {
        ListArgs { remote: RemoteArgs { rpc: served.url("") }, out: Some(dir.to_owned()) }
    }

    #[tokio::test]
    async fn what_an_operator_knows_becomes_files_that_need_no_operator() {
        let served = Served::new(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("evidence");
        let output = Output { json: true };
        list(list_of(&served, &out), output).await.unwrap();
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
        let status: NodeStatus = Remote::new(&served.url("")).unwrap().call("squad_status", Vec::new()).await.unwrap();
        let network = status.network_id;
        served.node.catch(Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 2) }));
        // The same incident, proved by another pair: one file.
        served.node.catch(Evidence::Votes(VotePair { first: vote(network, 3), second: vote(network, 1) }));
        list(list_of(&served, &out), output).await.unwrap();
        let files: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(verify(&CheckArgs { file: files[0].clone(), genesis: None }, output).unwrap(), ExitCode::SUCCESS);
        // An operator that shows what proves nothing is not believed.
        served.node.catch(Evidence::Votes(VotePair { first: vote(network, 1), second: vote(network, 1) }));
        let error = format!("{:#}", list(list_of(&served, &out), output).await.unwrap_err());
        assert!(error.contains("shows evidence that does not hold"), "{error}");
    }

    #[test]
    fn a_file_is_believed_only_as_far_as_its_bytes_go() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(verify(&file(dir.path(), |_| {}), Output { json: true }).unwrap(), ExitCode::SUCCESS);
        assert!(refused(|file| file.network = NetworkId([4; 32])).contains("proves nothing"));
        assert!(refused(|file| file.accused = Address([1; 20])).contains("says that it accuses"));
        assert!(refused(|file| file.incident = Digest([1; 32])).contains("says that it accuses"));
        assert!(refused(|file| file.bytes = "0xzz".to_owned()).contains("no hex"));
        assert!(refused(|file| file.bytes.push('0')).contains("no hex"));
        assert!(refused(|file| file.bytes.truncate(40)).contains("no evidence"));
        let missing = CheckArgs { file: dir.path().join("none"), genesis: None };
        assert!(format!("{:#}", verify(&missing, Output { json: true }).unwrap_err()).contains("none"));
    }
}
